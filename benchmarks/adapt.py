"""The cost and the gain of a changing number of workers, and the lateness of retries.

Burst: 100 jobs of 100 ms on 2 to 10 workers, compared with ten workers from the start in the same round. The article's
dynamic pool takes 1.41 times as long as ten workers.

Lateness: 100 jobs that all fail once, on 100 workers, so that a worker is free whenever a retry is due.

Pending: the time per job that fails, waits for a microsecond, and runs again, while up to 100,000 other jobs are
delayed by an hour. The delayed jobs are in a heap, so this time grows at most like the logarithm of their number.
"""

import time
from collections.abc import Callable

import pandas as pd

from benchmarks.report import write
from helpers.pools import DynamicPool, RetryingPool, RetryPolicy, WorkerPool

ROUNDS, JOBS, SERVICE = 10, 100, 0.100
PENDING = (100, 1_000, 10_000, 100_000)
HOUR = 3600.0  # seconds; longer than the benchmark runs


def work(job: int) -> int:
    time.sleep(SERVICE)
    return job


def ten() -> WorkerPool[int, int]:
    return WorkerPool(work, workers=10, queue_size=JOBS)


def two_to_ten() -> DynamicPool[int, int]:
    return DynamicPool(work, min_workers=2, max_workers=10, queue_size=JOBS)


def seconds(make: Callable[[], WorkerPool[int, int]]) -> float:
    """Return the seconds from the first submit to the last result."""
    with make() as pool:
        begun = time.perf_counter()
        assert sum(1 for _ in pool.stream(range(JOBS))) == JOBS
        return time.perf_counter() - begun


def burst() -> None:
    rows = []
    for number in range(1, ROUNDS + 1):
        fixed, grown = seconds(ten), seconds(two_to_ten)
        rows.append({"round": number, "fixed_10_s": fixed, "dynamic_2_10_s": grown, "ratio": grown / fixed})
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    shown = table.drop(columns="round").agg(["median", "min", "max"]).round(3)
    write("adapt_burst", table, shown.rename_axis("over rounds"))


def lateness() -> None:
    """Return started - due of each job's second attempt, in ms, for several backoffs."""
    rows = []
    for number in range(1, ROUNDS + 1):
        for base in (0.02, 0.1, 0.5):
            failed: set[int] = set()

            def once(job: int, failed: set[int] = failed) -> int:
                if job not in failed:
                    failed.add(job)
                    raise ValueError(job)
                return job

            policy = RetryPolicy(2, base, base, seed=number)
            with RetryingPool(once, workers=JOBS, queue_size=JOBS, policy=policy) as pool:
                late = [r.attempts[1].started - r.attempts[1].due for r in pool.stream(range(JOBS))]
            assert len(late) == JOBS and min(late) >= 0
            rows += [{"round": number, "backoff_s": base, "late_ms": value * 1000} for value in late]
    table = pd.DataFrame(rows)
    shown = table.groupby("backoff_s")["late_ms"].agg(
        mean="mean", p50="median", p95=lambda late: late.quantile(0.95), max="max"
    )
    write("adapt_late", table.groupby(["round", "backoff_s"], as_index=False)["late_ms"].mean(), shown.round(2))


def pending() -> None:
    """Measure the us per job that runs twice, while n other jobs are delayed."""
    rows = []
    for number in range(1, ROUNDS + 1):
        for waiting in PENDING:
            rows.append({"round": number, "pending": waiting, "us_a_retry": delay_and_back(waiting)})
    table = pd.DataFrame(rows)
    shown = table.groupby("pending")["us_a_retry"].agg(["median", "min", "max"])
    shown["min, of the first"] = shown["min"] / shown["min"].iloc[0]  # the minima come from the least disturbed rounds
    write("adapt_pending", table, shown.round(2))


def delay_and_back(waiting: int, times: int = 20_000) -> float:
    """Return the us per job for `times` jobs that fail, become due, and run again while `waiting` others are delayed.

    `max_delayed` is larger than the number of delayed jobs. Otherwise the submitter would have to wait.
    """
    policy = RetryPolicy(2, 1e-6, 1e-6, jitter=False, max_retry_after=HOUR)
    failed: set[int] = set()

    class NotForAnHour(Exception):
        retry_after = HOUR

    def handler(job: int) -> None:
        if job < 0:
            raise NotForAnHour
        if job not in failed:
            failed.add(job)
            raise ValueError

    room = waiting + times
    with RetryingPool(handler, workers=1, queue_size=1000, max_delayed=room, policy=policy) as pool:
        for job in range(waiting):
            pool.submit(-1 - job)
        while pool.stats().delayed < waiting:
            time.sleep(0.001)
        begun = time.perf_counter()
        for job in range(times):
            pool.submit(job)
        while pool.stats().succeeded < times:
            time.sleep(0.001)
        spent = time.perf_counter() - begun
        pool.force_shutdown()
    return spent / times * 1e6


def run() -> None:
    burst()
    lateness()
    pending()
