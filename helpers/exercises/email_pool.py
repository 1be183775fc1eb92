"""Checks for notebook 04."""

from collections.abc import Iterator
from itertools import count, islice
from typing import Any

from helpers.exercises.verdict import Verdict, attempt, expect, never_raises
from helpers.pools.words import describe


@never_raises
def check_rate(answer: Any) -> Verdict:
    """rate(latencies, workers): mails a second, the tail included."""
    cases = [
        (([0.25] * 8, 2), 8.0),
        (([0.25, 0.25, 0.5], 1), 3.0),
        (([0.5, 0.25, 0.25, 1.0], 2), 4 / 1.5),
        (([1.0] * 3, 2), 1.5),
        (([0.5], 10), 2.0),
    ]
    return expect(answer, cases, "so many mails, from the first to the last answer.")


@never_raises
def check_fate(answer: Any) -> Verdict:
    """fate(step, answer): what became of a mail."""
    cases = [
        (("content", 250), "sent"),
        (("content", 451), "failed"),
        (("address", 554), "failed"),
        (("content", None), "unknown"),
        (("address", None), "again"),
        (("connect", None), "again"),
        (("connect", 421), "again"),
        (("address", 421), "again"),
        (("content", 421), "failed"),
    ]
    return expect(answer, cases, "only what was handed over can be in doubt, and only what was not can be sent again.")


@never_raises
def check_batches(answer: Any) -> Verdict:
    """batches(jobs, size): lists of `size` jobs out of any iterable, read no further than needed."""
    cases: list[tuple[list[Any], int]] = [(list(range(7)), 3), (list(range(6)), 3), ([], 3), (list("abcd"), 1)]
    for jobs, size in cases:
        found, problem = attempt(lambda jobs=jobs, size=size: list(islice(answer(iter(jobs), size), 100)))
        call = f"batches({jobs!r}, {size})"
        if problem is not None:
            return Verdict(False, f"{call}: {problem}")
        wanted = [jobs[n : n + size] for n in range(0, len(jobs), size)]
        if [list(batch) for batch in found] != wanted:
            return Verdict(False, f"{call} gave {describe(found)}, and {wanted!r} is expected.")
    read: list[int] = []
    found, problem = attempt(lambda: list(next(iter(answer(_noted(read), 3)))))
    if problem is not None:
        return Verdict(False, f"an endless source: {problem}")
    if found != [0, 1, 2]:
        return Verdict(False, f"of an endless source the first batch was {describe(found)}, and [0, 1, 2] is expected.")
    if len(read) > 3:
        return Verdict(False, f"to hand out a batch of 3 it read {len(read)} jobs.")
    return Verdict(True, "any source, even an endless one, and never further than the batch in hand.")


def _noted(read: list[int]) -> Iterator[int]:
    for number in count():
        if number >= 10_000:  # who reads so far reads for ever
            raise RuntimeError("it read 10,000 jobs of an endless source before it handed out the first batch")
        read.append(number)
        yield number
