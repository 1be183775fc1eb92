"""Checks for notebook 12."""

from collections.abc import Mapping
from math import inf
from typing import Any

from helpers.exercises.verdict import Verdict, attempt, expect, never_raises
from helpers.pools.words import describe

STATES = ("healthy", "drowning", "failing", "stuck", "no jobs", "down")
HINTS = {  # the signals of a pool, its state, and a question that leads to it
    "900 queued all day, oldest wait 0.4 s, 4 of 4 busy, 0% errors": ("healthy", "how long does a job wait?"),
    "12 queued, oldest wait 95 s and rising, 4 of 4 busy, 8 jobs/min": ("drowning", "is a wait of 95 s within 1 s?"),
    "0 queued, oldest wait 0 s, 2 of 4 busy, 60% errors": ("failing", "what happens to six of ten jobs?"),
    "50 queued, oldest wait 240 s, 4 of 4 busy, 0 jobs/min": ("stuck", "how many jobs have the busy workers finished?"),
    "0 queued, oldest wait 0 s, 0 of 4 busy, 0 submitted/min": ("no jobs", "what do the workers have to do?"),
    "no numbers: the scrape fails": ("down", "can a program that has ended answer a scrape?"),
}


@never_raises
def check_states(answer: Any) -> Verdict:
    """The state of a pool with four workers, whose jobs should wait at most 1 s, for each of six sets of signals."""
    if not isinstance(answer, Mapping):
        return Verdict(False, f"a dict is wanted, not {describe(answer)}")
    for case, (state, hint) in HINTS.items():
        found = answer.get(case, ...)
        if found is ...:
            return Verdict(False, f"“{case}” has no answer so far.")
        if found not in STATES:
            return Verdict(False, f"“{case}”: the answer is one of {', '.join(STATES)}, not {describe(found)}.")
        if found != state:
            return Verdict(False, f"“{case}”: {hint}")
    return Verdict(True, "three of these pools have 4 of 4 workers busy, and only one of the three is healthy.")


@never_raises
def check_share_within(answer: Any) -> Verdict:
    """share_within(promise, bounds, counts): the share of jobs that took at most `promise`, or None."""
    bounds = [0.1, 0.25, 0.5, inf]
    cases = [
        ((0.25, bounds, [10, 80, 95, 100]), 0.8),
        ((0.1, bounds, [10, 80, 95, 100]), 0.1),
        ((0.5, bounds, [1, 2, 3, 4]), 0.75),
        ((0.5, bounds, [0, 0, 0, 8]), 0.0),
    ]
    verdict = expect(answer, cases, "a histogram is exact at its bounds, and only there.")
    if not verdict.right:
        return verdict
    found, problem = attempt(answer, 0.2, bounds, [10, 80, 95, 100])
    if problem is not None or found is not None:
        seen = problem or f"it gave {describe(found)}"
        return Verdict(False, f"share_within(0.2, …): no bound is 0.2, so None is expected, but {seen}.")
    return verdict


@never_raises
def check_fires(answer: Any) -> Verdict:
    """fires(waits, limit, hold): the index of the sample at which an alert fires, -1 if it never does."""
    cases = [
        (([0.1, 2, 2, 2], 1, 2), 3),
        (([2, 2, 0.1, 2, 2, 2, 2], 1, 2), 5),
        (([2, 2, 0.1, 2, 2, 0.1], 1, 2), -1),
        (([0.1, 2], 1, 0), 1),
        (([1, 1, 1], 1, 0), -1),
        (([], 1, 0), -1),
    ]
    return expect(answer, cases, "the condition must be true without a break, and a break starts the count again.")
