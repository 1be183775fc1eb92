"""The same jobs with 1, 2, 5, … workers: throughput and latency as a tidy table."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import cycle, islice
from typing import Any

import pandas as pd

from helpers.measure.frames import to_frame
from helpers.pools import Result, WorkerPool
from helpers.pools.checks import function, iterable, number, whole_number

MakePool = Callable[[int, int], WorkerPool[Any, Any]]

# Jobs in the pool for every worker. Both models are closed: a new job comes in whenever one has left.
LOADS = {"batch": 1, "stream": 3}


def sweep(
    make_pool: MakePool,
    jobs: Iterable[Any],
    *,
    workers: Iterable[int] = (1, 2, 5, 10, 20, 50, 100),
    repeats: int = 3,
    seconds: float | Mapping[int, float] | None = None,
    load: str = "batch",
    ideal: float | None = None,
) -> pd.DataFrame:
    """Measure a pool at each worker count: a row for each (workers, repeat).

    Args:
        make_pool: make_pool(workers, queue_size) -> a pool, which is shut down when its point is measured.
        jobs:      what it is given; with `seconds` they start anew when they run out.
        workers:   the worker counts.
        repeats:   how often; in turns, all worker counts once before any comes twice, so that a slow spell of the
                   machine hits them all.
        seconds:   how long each point is measured, or a mapping from workers to that; None: as long as the jobs last.
        load:      "batch": as many jobs in the pool as workers, so that none waits; "stream": three times as many, so
                   that always two wait for each that runs. State which when you quote a latency.
        ideal:     mean service time of the job itself, seconds, if you know it.

    What is measured: the time from when the jobs brought first are all out (by then each job in the pool was brought
    because another had left: the steady state) until the last one that finishes within `seconds` from then, or until
    the first one, if even that takes longer; with seconds=None, until the last job is brought. What finishes later has
    an emptying kitchen to itself and is left out.

    Columns: workers; repeat, from 1; load; jobs that finished in that time; seconds, its length; throughput, jobs/s;
    latency p50, p95, p99 and latency_mean, wait_p50, wait_p95, service_p50, service_p95, service_mean, all in seconds;
    efficiency = throughput x ideal / workers: the part of the physical limit workers / ideal. Without `ideal` it is
    computed with service_mean, and then does not show a bottleneck that workers share: waiting for that is service too.

    Raises TypeError or ValueError for bad arguments, ValueError if there are too few jobs to measure anything.
    """
    function("make_pool", make_pool)
    counts = [whole_number("workers", count) for count in iterable("workers", workers)]
    if not counts:
        raise ValueError("workers must name at least one worker count, not none")
    if not isinstance(load, str) or load not in LOADS:
        raise ValueError(f"load must be one of {list(LOADS)}, not {load!r}")
    lengths = {count: _length(seconds, count) for count in counts}
    if ideal is not None:
        _positive("ideal", ideal)
    jobs = list(iterable("jobs", jobs))
    if not jobs:
        raise ValueError("jobs must have at least one job to measure, not none")
    rows = []
    for repeat in range(1, whole_number("repeats", repeats) + 1):
        for count in counts:
            results = _steady(make_pool, jobs, count, LOADS[load] * count, lengths[count])
            rows.append({"workers": count, "repeat": repeat, "load": load} | _figures(results, count, ideal))
    return pd.DataFrame(rows)


def _steady(make_pool: MakePool, jobs: list[Any], workers: int, inside: int, seconds: float | None) -> pd.DataFrame:
    """The results of the steady state, and `begin`, the instant at which it begins, as an attribute of the table."""
    source: Iterator[Any] = iter(jobs) if seconds is None else cycle(jobs)
    measured: list[Result[Any, Any]] = []
    begin, end = math.inf, math.inf
    pool = make_pool(workers, inside)
    if not isinstance(pool, WorkerPool):
        raise TypeError(f"make_pool must return a pool, not {pool!r}")
    with pool:
        for job in islice(source, inside):
            pool.submit(job)
        for number, result in enumerate(pool.results(), start=1):
            if number == inside:
                begin = result.finished
                end = math.inf if seconds is None else begin + seconds
            elif number > inside and (result.finished <= end or not measured):
                measured.append(result)
            try:
                pool.submit(next(source))
            except StopIteration:
                break
            if time.monotonic() > end and measured:
                break
        pool.force_shutdown()  # the rest is not measured: the next point need not wait for it
    if not measured:
        raise ValueError(
            f"nothing to measure with {workers} workers: {len(jobs)} jobs were given, seconds={seconds}; the first "
            f"{inside} fill the pool. Give more of them, or a longer time"
        )
    frame = to_frame(measured)
    frame.attrs["seconds"] = max(r.finished for r in measured) - begin
    return frame


def _figures(frame: pd.DataFrame, workers: int, ideal: float | None) -> dict[str, float]:
    length = frame.attrs["seconds"]
    throughput = len(frame) / length if length else math.nan
    service_mean = float(frame["duration"].mean())
    figures: dict[str, float] = {"jobs": len(frame), "seconds": length, "throughput": throughput}
    for name, column, parts in (
        ("", "latency", (50, 95, 99)),
        ("wait_", "wait", (50, 95)),
        ("service_", "duration", (50, 95)),
    ):
        figures |= {f"{name}p{part}": float(frame[column].quantile(part / 100)) for part in parts}
    figures |= {"latency_mean": float(frame["latency"].mean()), "service_mean": service_mean}
    return figures | {"efficiency": throughput * (service_mean if ideal is None else ideal) / workers}


def _length(seconds: float | Mapping[int, float] | None, workers: int) -> float | None:
    if isinstance(seconds, Mapping):
        if workers not in seconds:
            raise ValueError(f"seconds must name a time for each worker count, and has none for {workers}")
        seconds = seconds[workers]
    return None if seconds is None else _positive("seconds", seconds)


def _positive(name: str, value: Any) -> float:
    return number(f"{name} must be a number of seconds greater than 0", value, above=0)
