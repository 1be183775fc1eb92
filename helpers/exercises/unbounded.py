"""Checks for notebook 01."""

import threading
from typing import Any

from helpers.exercises.counter import Counter
from helpers.exercises.verdict import Verdict, attempt, expect, never_raises


@never_raises
def check_workers(answer: Any) -> Verdict:
    """Check workers_per_process(limit, reserved, processes): the maximum for each of several equal pools."""
    cases = [((100, 0, 1), 100), ((100, 3, 4), 24), ((100, 3, 1), 97), ((10, 0, 3), 3), ((5, 3, 4), 0), ((3, 5, 2), 0)]
    return expect(answer, cases, "4 processes with 24 workers each want 96 of 97 connections; with 25 they want 100.")


LAST_JOB = 0.3  # seconds that the last job takes at most, so that an answer that does not wait returns before its end


@never_raises
def check_semaphore(answer: Any) -> Verdict:
    """Check bounded(handler, jobs, limit): one thread per job, but never more than `limit` handlers at a time."""
    jobs, limit = list(range(60)), 4
    counter, returned, finished = Counter(limit), threading.Event(), list[int]()

    def handler(job: int) -> int:
        if job == jobs[-1]:
            returned.wait(LAST_JOB)
        with counter:
            finished.append(job)
        return job * 10

    _, problem = attempt(answer, handler, jobs, limit)
    done = sorted(finished)
    returned.set()
    if problem is not None:
        return Verdict(False, f"bounded(handler, {len(jobs)} jobs, {limit}): {problem}")
    if done != jobs:
        return Verdict(False, f"not all of the {len(jobs)} jobs were done when bounded() returned.")
    if counter.most > limit:
        return Verdict(False, f"more than {limit} handlers ran at the same time.")
    if counter.most < limit:
        return Verdict(False, f"fewer than {limit} handlers ran at the same time, although {limit} are allowed.")
    return Verdict(True, f"{len(jobs)} jobs, never more than {limit} at a time. (How many threads did you start?)")


@never_raises
def check_gentle(answer: Any) -> Verdict:
    """Check gentle(handler, jobs): a dictionary from each job to its value, computed by five workers."""
    jobs = list(range(40))
    counter = Counter(5)

    def handler(job: int) -> int:
        with counter:
            return job * 10

    before = threading.enumerate()
    found, problem = attempt(answer, handler, jobs)
    if problem is not None:
        return Verdict(False, f"gentle(handler, {len(jobs)} jobs): {problem}")
    if found is None or found is ...:
        return Verdict(False, "gentle(handler, jobs) returns nothing so far.")
    if found != {job: job * 10 for job in jobs}:
        return Verdict(False, "a dict is wanted with an entry for every job: the job, and what handler(job) returned.")
    if counter.most != 5:
        return Verdict(False, f"{'more' if counter.most > 5 else 'fewer'} than five handlers ran at the same time.")
    if any(thread not in before for thread in threading.enumerate()):
        return Verdict(False, "worker threads are left after gentle() has returned: shut the pool down, or use `with`.")
    return Verdict(True, f"{len(jobs)} results from five workers, and no thread is left.")
