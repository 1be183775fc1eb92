"""`Verdict`, what a check returns, and what the checks share."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from helpers.pools.words import describe, describe_error

PATIENCE = 5.0  # seconds an answer may take before it counts as stuck: a hundred times what a right one needs


@dataclass(frozen=True)
class Verdict:
    """Right or not yet, and why. A notebook shows it as one line."""

    right: bool
    why: str

    def __repr__(self) -> str:
        return f"{'✓ Right' if self.right else '✗ Not yet'}: {self.why}"


def never_raises(check: Callable[[Any], Verdict]) -> Callable[[Any], Verdict]:
    """Decorate a check, so that an answer with methods that raise gets a verdict too.

    A check compares, measures, and iterates over what the answer returned. All of these run the reader's code.
    """

    @wraps(check)
    def checked(answer: Any) -> Verdict:
        try:
            return check(answer)
        except KeyboardInterrupt:
            raise  # the Stop button
        except BaseException as error:
            return Verdict(False, f"what the answer returned cannot be checked: {describe_error(error)}")

    return checked


def attempt(answer: Callable[..., Any], *args: Any) -> tuple[Any, str | None]:
    """Return (what answer(*args) returned, None), or (None, what went wrong) if it raised or took over `PATIENCE` s.

    The answer runs in a daemon thread, so that an answer that never ends does not block the notebook.
    """
    box: list[tuple[Any, str | None]] = []

    def run() -> None:
        try:
            box.append((answer(*args), None))
        except BaseException as error:
            box.append((None, f"it raised {describe_error(error)}"))

    thread = threading.Thread(target=run, name="exercise", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return box[0] if box else (None, f"it was still running after {PATIENCE:g} s")


def expect(answer: Callable[..., Any], cases: list[tuple[tuple[Any, ...], Any]], praise: str) -> Verdict:
    """Call the answer with each case's arguments. Right if every value is the expected one (numbers: to 1 in 10⁹)."""
    if not callable(answer):
        return Verdict(False, f"a function is wanted, this is {describe(answer)}")
    name = getattr(answer, "__name__", None)
    name = name if type(name) is str else "answer"
    for args, wanted in cases:
        found, problem = attempt(answer, *args)
        call = f"{name}({', '.join(map(repr, args))})"
        if problem is not None:
            return Verdict(False, f"{call}: {problem}")
        if found is None or found is ...:
            return Verdict(False, f"{call} returns nothing so far.")
        if not same(found, wanted):
            return Verdict(False, f"{call} gave {describe(found)}, and {wanted!r} is expected.")
    return Verdict(True, praise)


def same(found: Any, wanted: Any) -> bool:
    """Return whether two values are equal, numbers to 1 in 10⁹. A comparison that raises means that they are not."""
    try:
        if isinstance(wanted, int | float) and not isinstance(wanted, bool):
            return isinstance(found, int | float) and abs(found - wanted) <= 1e-9 * max(1.0, abs(wanted))
        return bool(found == wanted)
    except Exception:
        return False
