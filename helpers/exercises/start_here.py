"""Checks for notebook 00."""

from typing import Any

from helpers.exercises.verdict import Verdict, expect, never_raises
from helpers.pools.words import describe

KITCHEN = {"cook": "worker", "rail": "queue", "full rail": "backpressure"}


@never_raises
def check_words(answer: Any) -> Verdict:
    """Check the dictionary that names the standard term for each word of the kitchen."""
    if not issubclass(type(answer), dict):
        return Verdict(False, f"a dict is wanted, this is {describe(answer)}.")
    for word, term in KITCHEN.items():
        given = answer.get(word, ...)
        if given is ...:
            return Verdict(False, f"what is the term for {word!r}? Replace the dots.")
        if not issubclass(type(given), str) or given.strip().lower() != term:
            return Verdict(False, f"the term for {word!r} is not {describe(given)}. Look at the table of terms again.")
    return Verdict(True, "you speak both languages.")


@never_raises
def check_seconds(answer: Any) -> Verdict:
    """Check seconds_needed(jobs, workers, seconds_per_job): the time that a pool needs for jobs of equal length."""
    cases = [((20, 5, 4), 16), ((21, 5, 4), 20), ((3, 5, 4), 4), ((0, 5, 4), 0), ((7, 1, 3), 21), ((7, 3, 0.1), 0.3)]
    return expect(
        answer,
        cases,
        "the workers go through the jobs in rounds, and a round takes its full time even if some workers are idle.",
    )
