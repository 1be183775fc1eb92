"""Checks for notebook 00."""

from typing import Any

from helpers.exercises.verdict import Verdict, expect, never_raises
from helpers.pools.words import describe

KITCHEN = {"order": "job", "cook": "worker", "rail": "queue", "dish": "result", "full rail": "backpressure"}


@never_raises
def check_words(answer: Any) -> Verdict:
    """A dict that gives the pattern's word for each word of the kitchen."""
    if not issubclass(type(answer), dict):
        return Verdict(False, f"a dict is wanted, this is {describe(answer)}.")
    for word, term in KITCHEN.items():
        given = answer.get(word, ...)
        if given is ...:
            return Verdict(False, f"what is the {word!r} called in a program? Replace the dots.")
        if not issubclass(type(given), str) or given.strip().lower() != term:
            return Verdict(False, f"a {word!r} is not a {describe(given)}. Look at the table of words again.")
    return Verdict(True, "you speak both languages.")


@never_raises
def check_dinner(answer: Any) -> Verdict:
    """minutes(orders, cooks, minutes_a_dish): how long a kitchen needs at the least, all dishes being alike."""
    cases = [((20, 5, 4), 16), ((21, 5, 4), 20), ((3, 5, 4), 4), ((0, 5, 4), 0), ((7, 1, 3), 21)]
    return expect(
        answer, cases, "the cooks work in rounds, and the last round counts in full even if it is half empty."
    )
