"""Checks for notebook 02."""

import queue
from typing import Any

from helpers.exercises.verdict import Verdict, attempt, expect, never_raises
from helpers.pools.words import describe


@never_raises
def check_least_time(answer: Any) -> Verdict:
    """least_time(durations, workers): the seconds below which no pool can finish."""
    cases = [
        (([0.1] * 10, 5), 0.2),
        (([0.3, 0.1, 0.1, 0.1], 2), 0.3),
        (([2.0, 0.1], 4), 2.0),
        (([0.25], 1), 0.25),
        (([], 3), 0.0),
    ]
    return expect(answer, cases, "no pool beats the work shared out evenly, and none beats its longest job.")


@never_raises
def check_worker(answer: Any) -> Verdict:
    """worker(handler, jobs, results): until None comes, put (job, value, error) on results for each job on jobs."""
    orders: queue.Queue[Any] = queue.Queue()
    results: queue.Queue[Any] = queue.Queue()
    for job in [1, 2, "bad", 3, None]:
        orders.put(job)

    def handler(job: Any) -> Any:
        if job == "bad":
            raise ValueError("a bad order")
        return job * 2

    _, problem = attempt(answer, handler, orders, results)
    if problem is not None:
        return Verdict(False, f"on the jobs 1, 2, 'bad', 3, None: {problem}")
    found = [results.get() for _ in range(results.qsize())]
    if len(found) != 4:
        return Verdict(False, f"four jobs went in, {len(found)} results came out.")
    if any(not isinstance(item, tuple) or len(item) != 3 for item in found):
        return Verdict(False, f"each result is to be a tuple (job, value, error); one is {describe(found[0])}.")
    if [(job, value) for job, value, error in found if error is None] != [(1, 2), (2, 4), (3, 6)]:
        return Verdict(False, "the good jobs 1, 2, 3 are to come out with the values 2, 4, 6 and the error None.")
    if not any(job == "bad" and isinstance(error, ValueError) for job, _, error in found):
        return Verdict(False, "the bad job is to come out with its ValueError as the error.")
    return Verdict(True, "a bad order, and the cook goes on with the next one.")


@never_raises
def check_workers_needed(answer: Any) -> Verdict:
    """workers_needed(throughput, service): the fewest workers that carry jobs/s of so many seconds each."""
    cases = [((100, 0.0625), 7), ((50, 0.1), 5), ((1, 0.5), 1), ((200, 0.25), 50), ((3, 0.5), 2)]
    return expect(
        answer, cases, "Little's law: in the kitchen at a time = dishes a second x seconds a dish, rounded up."
    )
