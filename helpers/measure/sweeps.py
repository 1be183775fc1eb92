"""Run the same jobs with 1, 2, 5, … workers, and return throughput and latency as a table."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import cycle, islice
from typing import Any

import pandas as pd

from helpers.measure.frames import to_frame
from helpers.pools import Result, WorkerPool
from helpers.pools.checks import function, iterable, number, whole_number
from helpers.pools.words import describe

MakePool = Callable[[int, int], WorkerPool[Any, Any]]

# Jobs in the pool per worker. Both models are closed: a new job is submitted whenever one has finished.
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
    """Measure a pool at each number of workers and return a table with one row per (workers, repeat).

    Args:
        make_pool: called as make_pool(workers, queue_size); returns a pool, which is shut down after its measurement.
        jobs:      the jobs to submit. With `seconds`, they start again from the first when they run out.
        workers:   the numbers of workers to measure.
        repeats:   the number of measurements for each number of workers. All numbers of workers are measured once
                   before any is measured again, so that a slow phase of the machine affects all of them.
        seconds:   the length of each measurement, or a mapping from the number of workers to that length. None means
                   until the jobs run out.
        load:      "batch" keeps as many jobs in the pool as there are workers, so that no job waits. "stream" keeps
                   three times as many, so that two jobs wait per running job. Name the load when you quote a latency.
        ideal:     the mean service time of the job itself in seconds, if you know it.

    The measurement covers the steady state, in which each job was submitted because another one had finished. It begins
    when the jobs that filled the pool have all finished. It ends with the last job that finishes within `seconds` from
    then (or with the first job, if that takes longer), or, with seconds=None, when the last job has been submitted.
    Later jobs are left out, because they run in a pool that is emptying.

    Columns: workers; repeat, from 1; load; jobs that finished in the measured time; seconds, its length; throughput in
    jobs/s; latency p50, p95, p99, and latency_mean, wait_p50, wait_p95, service_p50, service_p95, service_mean, all in
    seconds; efficiency = throughput x ideal / workers, the share of the physical limit workers / ideal that the pool
    reached. Without `ideal`, efficiency is computed with service_mean. Then it does not show a bottleneck that the
    workers share, because waiting for that bottleneck counts as service time too.

    Raises TypeError or ValueError for bad arguments, ValueError if there are too few jobs to measure anything.
    """
    function("make_pool", make_pool)
    counts = [whole_number("workers", count) for count in iterable("workers", workers)]
    if not counts:
        raise ValueError("workers must name at least one worker count, not none")
    if not issubclass(type(load), str) or load not in LOADS:
        raise ValueError(f"load must be one of {list(LOADS)}, not {describe(load)}")
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
    """Return the results of the steady state as a table. Its attrs["seconds"] is the length of the measured time."""
    source: Iterator[Any] = iter(jobs) if seconds is None else cycle(jobs)
    measured: list[Result[Any, Any]] = []
    begin, end = math.inf, math.inf
    pool = make_pool(workers, inside)
    if not issubclass(type(pool), WorkerPool):
        raise TypeError(f"make_pool must return a pool, not {describe(pool)}")
    with pool:
        for job in islice(source, inside):
            pool.submit(job)
        for number, result in enumerate(pool.results(), start=1):
            if number == inside:
                begin = result.finished
                end = math.inf if seconds is None else begin + seconds
            # Two workers may finish in one order and deliver in the other. A job that finished before `begin` does not
            # belong to the measured time, although its result comes later.
            elif number > inside and result.finished > begin and (result.finished <= end or not measured):
                measured.append(result)
            try:
                pool.submit(next(source))
            except StopIteration:
                break
            if time.monotonic() > end and measured:
                break
        pool.force_shutdown()  # the other jobs are not measured, so the next measurement need not wait for them
    if not measured:
        raise ValueError(
            f"nothing to measure with {workers} workers: {len(jobs)} jobs were given, seconds={seconds}; the first "
            f"{inside} fill the pool. Give more jobs or a longer time"
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
