"""Checks for notebook 08."""

from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from typing import Any

from helpers.exercises.verdict import Verdict, attempt, never_raises
from helpers.pools.words import describe

WORDS = ("hangs", "loses", "refused", "works")
HINTS = {  # for each case: what happens, and a hint for other answers
    "five workers, one None in a plain queue, then join all": ("hangs", "how many workers does one None stop?"),
    "submit to a WorkerPool that is shut down": ("refused", "look at the second output of mistake 2."),
    "put into a plain queue after its None": ("loses", "who takes this job, and who gets an error?"),
    "two workers count in one variable, without a lock": ("loses", "look at the table in mistake 8."),
    "wait in a job for another job of the same executor with one worker": ("hangs", "which worker runs the other job?"),
    "a result queue with a bound of 1, and a reader": ("works", "look at the last output of mistake 4."),
    "submit a job that fails, and never look at its future": ("loses", "where is the error, and who reads it?"),
    "submit to a WorkerPool from one of its own handlers": ("refused", "look at the last output of mistake 10."),
}


@never_raises
def check_endings(answer: Any) -> Verdict:
    """Check what happens in each case: one of the four `WORDS`."""
    if not isinstance(answer, Mapping):
        return Verdict(False, f"a dictionary is wanted, this is {describe(answer)}")
    for case, (ending, hint) in HINTS.items():
        found = answer.get(case, ...)
        if found is ...:
            return Verdict(False, f"“{case}” has no answer so far.")
        if found not in WORDS:
            return Verdict(False, f"“{case}”: use one of hangs, loses, refused, works, not {describe(found)}.")
        if found != ending:
            return Verdict(False, f"“{case}”: {hint}")
    return Verdict(True, "three cases lose something without an error. They are the hardest to notice.")


@never_raises
def check_tasks(answer: Any) -> Verdict:
    """Check tasks(numbers): one function per number, which returns the square of its number."""
    for numbers, squares in (([1, 2, 3], [1, 4, 9]), ([7], [49]), ([], [])):
        made, problem = attempt(answer, numbers)
        if problem is not None:
            return Verdict(False, f"tasks({numbers}): {problem}")
        found, problem = attempt(lambda made=made: [task() for task in made])
        if problem is not None:
            return Verdict(False, f"calling the functions of tasks({numbers}): {problem}")
        if found != squares:
            return Verdict(
                False, f"tasks({numbers}): the functions gave {describe(found)}, and {squares!r} is expected."
            )
    return Verdict(True, "each function keeps its own number.")


@never_raises
def check_gather(answer: Any) -> Verdict:
    """Check gather(futures): (values, errors), both in the order of the futures, and no error lost or raised."""
    bad, worse, leaving = ValueError("bad job"), KeyError("worse job"), SystemExit("leaving")
    cases: list[tuple[str, list[Future[int]], list[int], list[BaseException | type[BaseException]]]] = [
        ("two values and two errors", [_done(1), _failed(bad), _done(2), _failed(worse)], [1, 2], [bad, worse]),
        ("a value and a cancelled future", [_done(1), _cancelled()], [1], [CancelledError]),
        ("a SystemExit and a value", [_failed(leaving), _done(1)], [1], [leaving]),
        ("no futures", [], [], []),
    ]
    for what, futures, values, errors in cases:
        found, problem = attempt(answer, futures)
        if problem is not None:
            return Verdict(False, f"{what}: {problem}")
        if not isinstance(found, tuple) or len(found) != 2:
            return Verdict(False, f"{what}: a tuple (values, errors) is wanted, not {describe(found)}.")
        if list(found[0]) != values:
            return Verdict(False, f"{what}: the values are {describe(found[0])}, and {values!r} is expected.")
        if len(found[1]) != len(errors) or not all(map(_is, found[1], errors)):
            return Verdict(
                False, f"{what}: {len(errors)} errors in their order are expected, not {describe(found[1])}."
            )
    return Verdict(True, "each future is in one of the two lists, whatever happened to its job.")


def _is(found: Any, wanted: BaseException | type[BaseException]) -> bool:
    return isinstance(found, wanted) if isinstance(wanted, type) else found is wanted


def _done(value: int) -> "Future[int]":
    future: Future[int] = Future()
    future.set_result(value)
    return future


def _failed(error: BaseException) -> "Future[int]":
    future: Future[int] = Future()
    future.set_exception(error)
    return future


def _cancelled() -> "Future[int]":
    future: Future[int] = Future()
    future.cancel()
    return future
