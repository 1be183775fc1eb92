"""Handlers of the benchmark of ways to run jobs, and what they have written. Child processes import them from here."""

import os
import signal
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from helpers.pools import WorkerPool

ENDS = ".ends"  # the file of the ends has the name of the file of the starts, and this


def note(job: int, file: str) -> None:
    """Append the job, the time, and the process id to the file in one write, which no kill can tear."""
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{job} {time.monotonic()} {os.getpid()}\n".encode())
    finally:
        os.close(descriptor)


def short_job(job: int, file: str, every: int = 0) -> int:
    """Note the start, take 1 ms, note the end in a second file, and return the job.

    Each job number `every` is doomed: it kills its process in its first run, before its end. With 0, no job is.
    """
    note(job, file)
    time.sleep(0.001)
    if every and job % every == every - 1 and len(starts(file)[job]) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    note(job, file + ENDS)
    return job


def start_time(job: int) -> float:
    """Return the time at which the handler has started, on the clock that all processes of a computer share."""
    return time.monotonic()


def lines(file: str) -> list[list[str]]:
    """Return what has been noted so far: job, time, and process id, as text."""
    return [line.split() for line in Path(file).read_text().splitlines()] if Path(file).exists() else []


def starts(file: str) -> dict[int, list[float]]:
    """Return the times at which the handler of each job has started, the first one first."""
    found = defaultdict(list)
    for job, at, _ in lines(file):
        found[int(job)].append(float(at))
    return {job: sorted(times) for job, times in found.items()}


def pool_speed(pool: WorkerPool[int, Any], jobs: int, alone: int) -> dict[str, float]:
    """Measure a pool: microseconds per job, and milliseconds from submit to start for `alone` jobs that come alone.

    The handler of the pool must return the time at which it has started.
    """
    begun = time.perf_counter()
    done = sum(result.ok for result in pool.stream(range(jobs)))
    took = time.perf_counter() - begun
    assert done == jobs
    waits = [1e3 * (result.value - result.submitted) for job in range(alone) for result in pool.stream([job])]
    return {"us": 1e6 * took / jobs, "latency_ms": median(waits), "latency_p95_ms": quantiles(waits, n=20)[-1]}


def latencies(submitted: Sequence[float], file: str) -> dict[str, float]:
    """Return median and 95th percentile of the ms from the submission of job 0, 1, ... to the start of its handler."""
    started = starts(file)
    waits = [1e3 * (started[job][0] - at) for job, at in enumerate(submitted)]
    return {"latency_ms": median(waits), "latency_p95_ms": quantiles(waits, n=20)[-1]}


def survived(jobs: int, file: str) -> dict[str, float]:
    """Return how many jobs never ended, how many started twice, and the median ms between these two starts."""
    again = [1e3 * (times[1] - times[0]) for times in starts(file).values() if len(times) > 1]
    return {
        "jobs": jobs,
        "lost": jobs - len(starts(file + ENDS)),
        "doubled": len(again),
        "again_ms": median(again) if again else float("nan"),
    }
