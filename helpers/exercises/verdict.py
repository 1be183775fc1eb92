"""What a check says."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PATIENCE = 5.0  # seconds an answer may take before it counts as stuck: a hundred times what a right one needs


@dataclass(frozen=True)
class Verdict:
    """Right or not yet, and why. A notebook shows it as one line."""

    right: bool
    why: str

    def __repr__(self) -> str:
        return f"{'✓ Right' if self.right else '✗ Not yet'}: {self.why}"


def attempt(answer: Callable[..., Any], *args: Any) -> tuple[Any, str | None]:
    """(what answer(*args) returned, None), or (None, what went wrong): it raised, or was stuck for `PATIENCE` seconds.

    It runs in a daemon thread, so that an answer that never ends does not keep the notebook.
    """
    box: list[tuple[Any, str | None]] = []

    def run() -> None:
        try:
            box.append((answer(*args), None))
        except BaseException as error:
            box.append((None, f"it raised {type(error).__name__}: {error}"))

    thread = threading.Thread(target=run, name="exercise", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return box[0] if box else (None, f"it was still running after {PATIENCE:g} s")


def expect(answer: Callable[..., Any], cases: list[tuple[tuple[Any, ...], Any]], praise: str) -> Verdict:
    """Call the answer with each case's arguments. Right if every value is the expected one (numbers: to 1 in 10⁹)."""
    name = getattr(answer, "__name__", "answer")
    if not callable(answer):
        return Verdict(False, f"a function is wanted, this is {answer!r}")
    for args, wanted in cases:
        found, problem = attempt(answer, *args)
        call = f"{name}({', '.join(map(repr, args))})"
        if problem is not None:
            return Verdict(False, f"{call}: {problem}")
        if found is None or found is ...:
            return Verdict(False, f"{call} returns nothing so far.")
        if not _same(found, wanted):
            return Verdict(False, f"{call} gave {found!r}, and {wanted!r} is expected.")
    return Verdict(True, praise)


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, int | float) and not isinstance(wanted, bool):
        return isinstance(found, int | float) and abs(found - wanted) <= 1e-9 * max(1.0, abs(wanted))
    return bool(found == wanted)
