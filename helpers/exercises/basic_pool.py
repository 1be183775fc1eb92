"""Checks for notebook 02."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from helpers.exercises.verdict import PATIENCE, Verdict, attempt, expect, never_raises
from helpers.pools.words import describe

SLOTS, JOBS = 3, 6
BAD = 3  # the job that fails
MOST_WAIT = 2.0  # seconds until the jobs may end, even if fewer than SLOTS have been accepted
MORE = 0.2  # seconds in which a wrong answer accepts more jobs than SLOTS


@never_raises
def check_lower_bound(answer: Any) -> Verdict:
    """Check lower_bound(durations, workers): the seconds below which no pool can finish."""
    cases = [
        (([0.1] * 10, 5), 0.2),
        (([0.3, 0.1, 0.1, 0.1], 2), 0.3),
        (([2.0, 0.1], 4), 2.0),
        (([0.25], 1), 0.25),
        (([], 3), 0.0),
    ]
    return expect(answer, cases, "no pool is faster than the evenly shared work, or than the longest job.")


@never_raises
def check_bounded_submit(answer: Any) -> Verdict:
    """Check bounded_submit(executor, slots, function, job): at most as many unfinished jobs as there are slots.

    Six jobs are submitted with three slots. All of them wait until the slots are taken, and then one of them fails.
    """
    gate, slots = threading.Event(), threading.Semaphore(SLOTS)
    futures: list[Any] = []
    early: list[int] = []

    def double(job: int) -> int:
        gate.wait()
        if job == BAD:
            raise ValueError("a bad job")
        return job * 2

    def open_gate() -> None:
        """Open the gate soon after SLOTS jobs have been accepted, or after MOST_WAIT seconds."""
        deadline = time.monotonic() + MOST_WAIT
        while len(futures) < SLOTS and time.monotonic() < deadline and not gate.is_set():
            time.sleep(0.01)
        gate.wait(MORE)  # A wrong answer accepts more jobs meanwhile.
        early.append(len(futures))
        gate.set()

    def submit_all() -> None:
        for job in range(1, JOBS + 1):
            futures.append(answer(executor, slots, double, job))

    executor = ThreadPoolExecutor(max_workers=2)
    opener = threading.Thread(target=open_gate, daemon=True)
    opener.start()
    try:
        _, problem = attempt(submit_all)
        if problem is not None:
            return Verdict(False, f"{JOBS} jobs, {SLOTS} slots: {problem}{_hint(problem, len(futures))}")
        opener.join(PATIENCE)
        return _judge(futures, early[0], slots, executor)
    finally:
        gate.set()
        slots.release(JOBS)  # so that an answer that still waits for a slot can end
        executor.shutdown(cancel_futures=True)


def _hint(problem: str, submitted: int) -> str:
    if "still running" in problem and submitted == SLOTS:
        return ". No slot came back: release one when a job has finished or failed."
    return ""


def _judge(futures: list[Any], early: int, slots: threading.Semaphore, executor: ThreadPoolExecutor) -> Verdict:
    """Return the verdict on the futures, the number of jobs accepted before any was done, and the slots."""
    for found in futures:
        if type(found) is not Future:
            return Verdict(False, f"each call must return the job's future; one returned {describe(found)}.")
    if early != SLOTS:
        return Verdict(False, f"{early} jobs were accepted while none was done, and {SLOTS} are expected.")
    executor.shutdown()  # returns when all callbacks have run
    values = [None if future.exception() else future.result() for future in futures]
    if values != [None if job == BAD else job * 2 for job in range(1, JOBS + 1)]:
        return Verdict(False, f"the futures hold {describe(values)}, which are not the values of the {JOBS} jobs.")
    free = 0
    while free <= JOBS and slots.acquire(blocking=False):
        free += 1
    if free != SLOTS:
        return Verdict(False, f"after all jobs {free} slots are free, and {SLOTS} are expected, also if a job fails.")
    return Verdict(True, f"at most {SLOTS} jobs are unfinished at any time, and a failed job gives its slot back.")


@never_raises
def check_workers_needed(answer: Any) -> Verdict:
    """Check workers_needed(throughput, seconds, connections): the fewest workers, or 0 for too few connections."""
    cases = [
        ((100, 0.0625, 25), 7),
        ((50, 0.1, 25), 5),
        ((1, 0.5, 1), 1),
        ((200, 0.25, 50), 50),
        ((200, 0.25, 25), 0),
    ]
    praise = "Little's law: running jobs = throughput x service time, rounded up, and never more than connections."
    return expect(answer, cases, praise)
