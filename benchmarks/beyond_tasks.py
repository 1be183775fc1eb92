"""Handlers of the benchmark of ways to run jobs, and what they have written. Child processes import them from here."""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from helpers.pools import Result, WorkerPool

SIGNAL = 0.05  # seconds from the decision to kill a process to its last line


def note(job: int, file: str) -> None:
    """Append the job, the time, and the process id to the file in one write, which no kill can tear."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{job} {time.monotonic()} {os.getpid()}\n".encode())
    finally:
        os.close(descriptor)


def note_start(job: int, file: str) -> int:
    """Note the start, take 1 ms, and return the job."""
    note(job, file)
    time.sleep(0.001)
    return job


def nothing(*arguments: object) -> None:
    """Do nothing."""


def lines(file: str) -> list[list[str]]:
    """Return what has been noted so far: job, time, and process id, as text."""
    return [line.split() for line in Path(file).read_text().splitlines()] if Path(file).exists() else []


def starts(file: str) -> dict[int, list[float]]:
    """Return the times at which the handler of each job has started, the first one first."""
    found = defaultdict(list)
    for job, at, _ in lines(file):
        found[int(job)].append(float(at))
    return {job: sorted(times) for job, times in found.items()}


def seen(file: str) -> set[int]:
    """Return the ids of the processes that have started a job."""
    return {int(process) for _, _, process in lines(file)}


def pool_speed(
    pool: WorkerPool[int, Any], jobs: int, alone: int, started: Callable[[Result[int, Any]], float]
) -> dict[str, float]:
    """Measure a pool: microseconds per job, and milliseconds from submit to start for `alone` jobs that come alone.

    `started` returns the time at which the handler of a result has started.
    """
    begun = time.perf_counter()
    done = sum(result.ok for result in pool.stream(range(jobs)))
    took = time.perf_counter() - begun
    assert done == jobs
    waits = [1e3 * (started(result) - result.submitted) for job in range(alone) for result in pool.stream([job])]
    return {"us": 1e6 * took / jobs, "latency_ms": median(waits), "latency_p95_ms": quantiles(waits, n=20)[-1]}


def latencies(submitted: Sequence[float], file: str) -> dict[str, float]:
    """Return median and 95th percentile of the ms from the submission of job 0, 1, ... to the start of its handler."""
    started = starts(file)
    waits = [1e3 * (started[job][0] - at) for job, at in enumerate(submitted)]
    return {"latency_ms": median(waits), "latency_p95_ms": quantiles(waits, n=20)[-1]}


def survived(jobs: int, killed: Sequence[float], file: str) -> dict[str, float]:
    """Return how many jobs never started, how many started more than once, and the median ms from a kill to that.

    The kill of a job is the first one after its start. Its process may note a start until the signal has arrived.
    """
    started = starts(file)
    waits = []
    for times in started.values():
        for before, again in pairwise(times):
            kills = [kill for kill in killed if before - SIGNAL < kill < again]
            waits += [1e3 * (again - min(kills))] if kills else []
    return {
        "jobs": jobs,
        "kills": len(killed),
        "lost": jobs - len(started),
        "doubled": sum(len(times) > 1 for times in started.values()),
        "redelivery_ms": median(waits) if waits else float("nan"),
    }
