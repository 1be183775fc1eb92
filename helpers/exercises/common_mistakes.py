"""Checks for notebook 08."""

from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from typing import Any

from helpers.exercises.verdict import Verdict, attempt, never_raises
from helpers.pools.words import describe

HINTS = {  # what becomes of it, and where to look if the answer is another
    "five cooks, one None on a plain queue, then join all": ("hangs", "how many cooks does one None send home?"),
    "submit to a WorkerPool that is shut down": ("refused", "look at mistake 2, the second half."),
    "put on a plain queue after its None": ("loses", "who will fetch it, and who is told?"),
    "a pass with one place, and a waiter": ("fine", "look at the table of mistake 5."),
    "submit to a Future-based pool, errors never asked for": ("loses", "where is the error, and who opens it?"),
    "submit to the own WorkerPool from inside a handler": ("refused", "look at mistake 9, the second half."),
}


@never_raises
def check_endings(answer: Any) -> Verdict:
    """What becomes of each: hangs, loses, refused or fine."""
    if not isinstance(answer, Mapping):
        return Verdict(False, f"a dictionary is wanted, this is {describe(answer)}")
    for case, (ending, hint) in HINTS.items():
        found = answer.get(case, ...)
        if found is ...:
            return Verdict(False, f"“{case}” has no answer so far.")
        if found not in ("hangs", "loses", "refused", "fine"):
            return Verdict(False, f"“{case}”: the answer is one of hangs, loses, refused, fine, not {describe(found)}.")
        if found != ending:
            return Verdict(False, f"“{case}”: {hint}")
    return Verdict(True, "two lose something and say nothing. Those are the ones to fear.")


@never_raises
def check_tasks(answer: Any) -> Verdict:
    """tasks(numbers): a function a number, which returns its square."""
    for numbers, squares in (([1, 2, 3], [1, 4, 9]), ([7], [49]), ([], [])):
        made, problem = attempt(answer, numbers)
        if problem is not None:
            return Verdict(False, f"tasks({numbers}): {problem}")
        found, problem = attempt(lambda made=made: [task() for task in made])
        if problem is not None:
            return Verdict(False, f"calling what tasks({numbers}) returned: {problem}")
        if found != squares:
            return Verdict(False, f"the tasks of {numbers} gave {describe(found)}, and {squares!r} is expected.")
    return Verdict(True, "each has its own number with it.")


@never_raises
def check_gather(answer: Any) -> Verdict:
    """gather(futures): (values, errors), each in the order of the futures, nothing swallowed."""
    burnt, raw = ValueError("burnt"), KeyError("raw")
    cases: list[tuple[str, list[Future[int]], list[int], list[Exception | type[Exception]]]] = [
        ("two good, two bad", [_done(1), _failed(burnt), _done(2), _failed(raw)], [1, 2], [burnt, raw]),
        ("one good, one cancelled", [_done(1), _gone()], [1], [CancelledError]),
        ("none at all", [], [], []),
    ]
    for what, futures, values, errors in cases:
        found, problem = attempt(answer, futures)
        if problem is not None:
            return Verdict(False, f"{what}: {problem}")
        if not isinstance(found, tuple) or len(found) != 2:
            return Verdict(False, f"{what}: (values, errors) is wanted, not {describe(found)}.")
        if list(found[0]) != values:
            return Verdict(False, f"{what}: the values are {describe(found[0])}, and {values!r} is expected.")
        if len(found[1]) != len(errors) or not all(map(_is, found[1], errors)):
            return Verdict(
                False, f"{what}: {len(errors)} errors in their order are expected, not {describe(found[1])}."
            )
    return Verdict(True, "whatever went wrong is in the list, and what went well was not lost for it.")


def _is(found: Any, wanted: Exception | type[Exception]) -> bool:
    return isinstance(found, wanted) if isinstance(wanted, type) else found is wanted


def _done(value: int) -> "Future[int]":
    future: Future[int] = Future()
    future.set_result(value)
    return future


def _failed(error: Exception) -> "Future[int]":
    future: Future[int] = Future()
    future.set_exception(error)
    return future


def _gone() -> "Future[int]":
    future: Future[int] = Future()
    future.cancel()
    return future
