"""Checks for notebook 01."""

import threading
import time
from typing import Any

from helpers.exercises.verdict import Verdict, attempt, expect, never_raises


@never_raises
def check_refused(answer: Any) -> Verdict:
    """refused(jobs, limit): how many of `jobs` connections that are all wanted at one moment a server must refuse."""
    cases = [((250, 100), 150), ((10_000, 100), 9_900), ((100, 100), 0), ((5, 100), 0)]
    return expect(answer, cases, "what does not fit is refused, and five jobs never notice the limit.")


class Counter:
    """A resource that only counts: how many are in it now, and how many were at most."""

    def __init__(self) -> None:
        # The lock guards: most is the greatest value that inside has had.
        self.lock = threading.Lock()
        self.inside = self.most = 0
        self.done: list[int] = []

    def handler(self, job: int) -> int:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        time.sleep(0.002)
        with self.lock:
            self.inside -= 1
            self.done.append(job)
        return job * 10


@never_raises
def check_semaphore(answer: Any) -> Verdict:
    """bounded(handler, jobs, limit): a thread a job, but never more than `limit` handlers at a time."""
    jobs, limit = list(range(60)), 4
    counter = Counter()
    _, problem = attempt(answer, counter.handler, jobs, limit)
    if problem is not None:
        return Verdict(False, f"bounded(handler, {len(jobs)} jobs, {limit}): {problem}")
    if sorted(counter.done) != jobs:
        return Verdict(False, f"not all of the {len(jobs)} jobs were done when bounded() returned.")
    if counter.most > limit:
        return Verdict(False, f"more than {limit} handlers ran at the same time.")
    if counter.most < limit:
        return Verdict(False, f"fewer than {limit} ran at the same time, although so many are allowed.")
    return Verdict(True, f"{len(jobs)} jobs, never more than {limit} at a time. (How many threads did you start?)")


@never_raises
def check_gentle(answer: Any) -> Verdict:
    """gentle(handler, jobs): the value of every job, by job, with five workers."""
    jobs = list(range(40))
    counter = Counter()
    before = threading.enumerate()
    found, problem = attempt(answer, counter.handler, jobs)
    if problem is not None:
        return Verdict(False, f"gentle(handler, {len(jobs)} jobs): {problem}")
    if found is None or found is ...:
        return Verdict(False, "gentle(handler, jobs) returns nothing so far.")
    if found != {job: job * 10 for job in jobs}:
        return Verdict(False, "a dict is wanted that has for every job what handler(job) returned.")
    if counter.most != 5:
        return Verdict(False, f"{'more' if counter.most > 5 else 'fewer'} than five handlers ran at the same time.")
    if any(thread not in before for thread in threading.enumerate()):
        return Verdict(False, "workers are still there after gentle() has returned: shut the pool down, or use `with`.")
    return Verdict(True, f"{len(jobs)} results from five workers, and nobody left in the kitchen.")
