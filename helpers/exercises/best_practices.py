"""Checks for notebook 07."""

import threading
from collections.abc import Callable
from typing import Any

from helpers.exercises.verdict import Verdict, attempt, expect, never_raises
from helpers.pools.words import describe

CHUNKS = 10


@never_raises
def check_workers(answer: Any) -> Verdict:
    """Check workers(wait, compute, lanes, limit, processes): the rule of thumb, rounded up, within a process's share.

    The times are in ms. All processes together may make `limit` calls at a time.
    """
    cases = [
        ((99, 1, 1, 1000, 1), 100),
        ((99, 1, 1, 200, 4), 50),
        ((99, 1, 1, 50, 4), 12),
        ((5, 2, 1, 100, 1), 4),
        ((0, 50, 4, 100, 2), 4),
        ((0, 50, 4, 6, 2), 3),
    ]
    return expect(answer, cases, "the lanes of each process are busy, and together they stay within the limit.")


@never_raises
def check_stops(answer: Any) -> Verdict:
    """Check process_all(cancelled, process): how many of ten chunks it processed until `cancelled`, an Event, was set.

    There are three cases: the event is never set, it is set while the fourth chunk is processed, and it is set before
    the answer is called.
    """
    for stop_after, wanted in ((None, CHUNKS), (4, 4), (0, 0)):
        processed: list[int] = []
        cancelled = threading.Event()
        if stop_after == 0:
            cancelled.set()
        found, problem = attempt(answer, cancelled, _recorder(processed, cancelled, stop_after))
        if problem is not None:
            return Verdict(False, problem)
        when = "nobody cancels" if stop_after is None else f"the job is cancelled after {stop_after} chunks"
        if len(processed) != wanted:
            return Verdict(False, f"when {when}, {wanted} calls are expected, and there were {len(processed)}.")
        if found != wanted:
            return Verdict(False, f"when {when}, {wanted} should be returned, not {describe(found)}.")
    return Verdict(True, "the function asks the event, and asks before each chunk.")


def _recorder(processed: list[int], cancelled: threading.Event, stop_after: int | None) -> Callable[[int], None]:
    def process(number: int) -> None:
        processed.append(number)
        if len(processed) == stop_after:
            cancelled.set()

    return process


@never_raises
def check_time_left(answer: Any) -> Verdict:
    """Check time_left(deadline, now, longest): the seconds for the next call, or TimeoutError if none are left."""
    for case, wanted in (((100.0, 99.0, 5.0), 1.0), ((100.0, 10.0, 5.0), 5.0), ((100.0, 95.0, 5.0), 5.0)):
        verdict = expect(answer, [(case, wanted)], "")
        if not verdict.right:
            return verdict
    for now in (100.0, 100.5):
        found, problem = attempt(answer, 100.0, now, 5.0)
        if problem is None or "TimeoutError" not in problem:
            heard = problem or f"it returned {describe(found)}"
            return Verdict(False, f"at {now} the deadline of 100.0 has passed: TimeoutError is expected, but {heard}.")
    return Verdict(True, "the next call gets neither more time than is left, nor more than is reasonable for it.")
