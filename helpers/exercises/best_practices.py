"""Checks for notebook 07."""

import threading
from collections.abc import Callable
from typing import Any

from helpers.exercises.verdict import Verdict, attempt, expect, never_raises
from helpers.pools.words import describe


@never_raises
def check_workers(answer: Any) -> Verdict:
    """workers(wait, python, limit): enough for the narrower of the interpreter and the service."""
    cases = [
        ((0.099, 0.001, 1000), 100),
        ((0.099, 0.001, 25), 25),
        ((0.0, 0.05, 10), 1),
        ((0.005, 0.002, 10), 4),
        ((0.03, 0.01, 4), 4),
    ]
    return expect(answer, cases, "the interpreter or the service, whichever is narrower.")


@never_raises
def check_stops(answer: Any) -> Verdict:
    """ten_portions(cancelled, portion): how many portions were made, until `cancelled`, an event, is set."""
    for stop_after, wanted in ((None, 10), (4, 4), (0, 0)):
        made: list[int] = []
        cancelled = threading.Event()
        if stop_after == 0:
            cancelled.set()
        found, problem = attempt(answer, cancelled, _cook(made, cancelled, stop_after))
        if problem is not None:
            return Verdict(False, problem)
        when = "nobody closes" if stop_after is None else f"the kitchen closes after {stop_after} portions"
        if len(made) != wanted:
            return Verdict(False, f"when {when}, {wanted} portions are wanted, and {len(made)} were made.")
        if found != wanted:
            return Verdict(False, f"when {when}, {wanted} should be returned, not {describe(found)}.")
    return Verdict(True, "it asks the event, and asks before it begins the next.")


def _cook(made: list[int], cancelled: threading.Event, stop_after: int | None) -> Callable[[int], None]:
    def portion(number: int) -> None:
        made.append(number)
        if len(made) == stop_after:
            cancelled.set()

    return portion


@never_raises
def check_time_left(answer: Any) -> Verdict:
    """time_left(deadline, now, longest): seconds; TimeoutError if there are none."""
    for case, wanted in (((100.0, 99.0, 5.0), 1.0), ((100.0, 10.0, 5.0), 5.0), ((100.0, 95.0, 5.0), 5.0)):
        verdict = expect(answer, [(case, wanted)], "")
        if not verdict.right:
            return verdict
    for now in (100.0, 100.5):
        found, problem = attempt(answer, 100.0, now, 5.0)
        if problem is None or "TimeoutError" not in problem:
            heard = problem or f"it returned {describe(found)}"
            return Verdict(False, f"at {now} the deadline of 100.0 has come: a TimeoutError is wanted, but {heard}.")
    return Verdict(True, "never longer than is left, never longer than is sensible.")
