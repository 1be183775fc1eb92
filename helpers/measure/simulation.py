"""A simulation of a worker pool: which job waits for how long, computed without threads and without waiting.

The simulated pool has `workers` workers and one queue, and the jobs start in the order of their arrival. So it is
enough to keep the instants at which the workers are free again, in a heap. Each job starts when it has arrived and the
first worker is free. 200,000 jobs take about a tenth of a second.

The result has the columns of `to_frame`, so `in_system`, `utilization`, and the charts take it, too.
"""

from collections import deque
from collections.abc import Iterable
from heapq import heapreplace
from typing import Any

import numpy as np
import pandas as pd

from helpers.pools.checks import iterable, whole_number
from helpers.pools.words import describe


def simulate(
    arrivals: Iterable[float], service_times: Iterable[float], *, workers: int, queue_size: int | None = None
) -> pd.DataFrame:
    """Return when each job starts and finishes in a pool of `workers` workers.

    Args:
        arrivals:       the instants at which the jobs arrive, in seconds, in ascending order.
        service_times:  the seconds that a worker needs for each job.
        workers:        the number of workers. All of them are free at the beginning.
        queue_size:     the maximum number of waiting jobs. A job that finds the queue full is refused: it leaves at
                        once. None means that the queue has no bound.

    Columns: job, the place of the job in `arrivals`, from 0; submitted, started, and finished, in the seconds of
    `arrivals`; wait, duration (the service time), and latency, in seconds. The rows are in the order of the arrivals.
    A refused job has no row.

    Raises TypeError if an argument holds anything but numbers. Raises ValueError if the arrivals are not finite or not
    in ascending order, if a service time is negative or not finite, if there are not as many service times as
    arrivals, or if a number is out of its range.
    """
    submitted, durations = _checked(arrivals, service_times)
    count = whole_number("workers", workers)
    if queue_size is None:
        started = _starts(submitted, durations, count)
        jobs = list(range(len(started)))
    else:
        jobs, started = _bounded_starts(submitted, durations, count, whole_number("queue_size", queue_size, least=0))
    frame = pd.DataFrame({"job": jobs, "submitted": np.take(submitted, jobs), "started": started}, dtype="float64")
    frame["finished"] = frame["started"] + np.take(durations, jobs)
    frame["wait"] = frame["started"] - frame["submitted"]
    frame["duration"] = np.take(durations, jobs)
    frame["latency"] = frame["finished"] - frame["submitted"]
    return frame.astype({"job": "int64"})


def _starts(submitted: list[float], durations: list[float], workers: int) -> list[float]:
    free = [0.0 if not submitted else submitted[0]] * workers  # a heap: when each worker is free again
    started = []
    for arrival, duration in zip(submitted, durations, strict=True):
        start = max(arrival, free[0])
        heapreplace(free, start + duration)
        started.append(start)
    return started


def _bounded_starts(
    submitted: list[float], durations: list[float], workers: int, queue_size: int
) -> tuple[list[int], list[float]]:
    """Return the jobs that are accepted, and their starts."""
    free = [0.0 if not submitted else submitted[0]] * workers
    waiting: deque[float] = deque()  # the starts of the jobs that wait, in order: they start in order of arrival
    jobs, started = [], []
    for job, (arrival, duration) in enumerate(zip(submitted, durations, strict=True)):
        while waiting and waiting[0] <= arrival:
            waiting.popleft()
        start = free[0]
        if start <= arrival:
            start = arrival
        elif len(waiting) >= queue_size:
            continue  # refused
        else:
            waiting.append(start)
        heapreplace(free, start + duration)
        jobs.append(job)
        started.append(start)
    return jobs, started


def _checked(arrivals: Iterable[float], service_times: Iterable[float]) -> tuple[list[float], list[float]]:
    times = _numbers("arrivals", arrivals)
    durations = _numbers("service_times", service_times)
    if len(times) != len(durations):
        raise ValueError(f"each job needs one service time: there are {len(times)} arrivals and {len(durations)} times")
    if (np.diff(times) < 0).any():
        place = int(np.argmax(np.diff(times) < 0)) + 1
        raise ValueError(f"arrivals must be in ascending order, and {times[place]} follows {times[place - 1]}")
    if len(durations) and durations.min() < 0:
        raise ValueError(f"service_times must be 0 or more, not {durations.min()}")
    return times.tolist(), durations.tolist()


def _numbers(name: str, values: Iterable[float]) -> Any:
    rule = f"{name} must be finite numbers of seconds"
    kept: Any = values if isinstance(values, np.ndarray) else list(iterable(name, values))
    try:
        found = np.array(kept, float)
    except (TypeError, ValueError):
        raise TypeError(f"{rule}, not {describe(kept)}") from None
    if found.ndim != 1 or not np.isfinite(found).all():
        raise ValueError(f"{rule}, not {describe(kept)}")
    return found
