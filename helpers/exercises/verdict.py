"""`Verdict`, the return value of a check, and the functions that all checks share."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from helpers.pools.words import describe, describe_error

PATIENCE = 5.0  # seconds: an answer that runs longer counts as stuck; a right answer needs a hundredth of it


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and why. A notebook displays it as one line."""

    right: bool
    why: str

    def __repr__(self) -> str:
        return f"{'✓ Right' if self.right else '✗ Not yet'}: {self.why}"


def never_raises(check: Callable[[Any], Verdict]) -> Callable[[Any], Verdict]:
    """Decorate a check so that it also returns a verdict if a method of the returned object raises.

    A check compares the returned object, takes its length, and iterates over it. All of these can run code of the
    reader.
    """

    @wraps(check)
    def checked(answer: Any) -> Verdict:
        try:
            return check(answer)
        except KeyboardInterrupt:
            raise  # it comes from the Stop button
        except BaseException as error:
            return Verdict(False, f"what the answer returned cannot be checked: {describe_error(error)}")

    return checked


def attempt(answer: Callable[..., Any], *args: Any) -> tuple[Any, str | None]:
    """Call answer(*args). Return (value, None), or (None, problem) if it raised or took longer than `PATIENCE` seconds.

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
    """Call the answer with the arguments of each case, and compare its values with the expected ones (see `same`)."""
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
    """Return whether two values are equal. Numbers may differ by 1 in 10⁹. If the comparison raises, return False."""
    try:
        if isinstance(wanted, int | float) and not isinstance(wanted, bool):
            return isinstance(found, int | float) and abs(found - wanted) <= 1e-9 * max(1.0, abs(wanted))
        return bool(found == wanted)
    except Exception:
        return False
