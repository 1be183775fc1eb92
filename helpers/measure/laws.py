"""Little's law, the same quantity measured in a table of results, and the shortest time that a list of jobs can take.

Little's law: if the number of jobs in a system neither grows nor shrinks over time, then its average L is the rate λ
at which jobs leave, times the average time W that a job spends in the system: L = λ W. The law assumes nothing about
the order of the jobs, the distributions, or the number of workers. Source: J. D. C. Little, "A Proof for the Queuing
Formula: L = λW", Operations Research 9(3), 1961, doi:10.1287/opre.9.3.383.
"""

import heapq
from collections.abc import Iterable

import pandas as pd
from pandas.api.types import is_numeric_dtype

from helpers.measure.frames import need
from helpers.pools.checks import iterable, number, whole_number
from helpers.pools.words import describe


def littles_law(throughput: float, latency: float) -> float:
    """Return L = λ W, the average number of jobs in the system.

    throughput is in jobs/s, latency in seconds. With the service time in place of the latency, the result is the
    number of jobs that are being worked on, and so the number of workers needed. Raises TypeError if an argument is
    not a number, ValueError if it is negative or not finite. Source: see the top of this file.
    """
    number("throughput must be a number of jobs/s, 0 or more", throughput)
    number("latency must be a number of seconds, 0 or more", latency)
    return throughput * latency


def in_system(frame: pd.DataFrame) -> float:
    """Return the number of jobs in the system, averaged over the time from the first submit to the last finish.

    The average is the sum of the times that the jobs spent in the system, divided by the length of that interval.
    `frame` is a table of `to_frame`. Raises TypeError if it is not a table, ValueError if it lacks columns, has no
    rows, or spans no time.
    """
    need(frame, "submitted", "finished")
    span = _span(frame)
    return float((frame["finished"] - frame["submitted"]).sum() / span)


def utilization(frame: pd.DataFrame, workers: int) -> float:
    """Return the share of the workers' time that was spent on jobs, from 0.0 to 1.0.

    The time runs from the first submit to the last finish. `frame` is a table of `to_frame`. Raises TypeError or
    ValueError for a bad table or number of workers.
    """
    need(frame, "submitted", "finished", "duration")
    return float(frame["duration"].sum() / (whole_number("workers", workers) * _span(frame)))


def list_schedule(durations: Iterable[float], workers: int) -> float:
    """Return the seconds until the last job is done if each worker takes the next job in the list when it is free.

    A pool without any overhead would need this long, including the tail, when there are fewer jobs left than workers.
    The result is never below sum(durations) / workers, never below the longest duration, and at most 2 - 1 / workers
    times the result of the best order. Source: R. L. Graham, "Bounds for Certain Multiprocessing Anomalies", Bell
    System Technical Journal 45(9), 1966. Raises TypeError if a duration is not a number, ValueError if it is negative
    or not finite.
    """
    free = [0.0] * whole_number("workers", workers)  # a heap of the instants at which the workers are free again
    for seconds in iterable("durations", durations):
        number("a duration must be a number of seconds, 0 or more", seconds)
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def _span(frame: pd.DataFrame) -> float:
    if frame.empty:
        raise ValueError("the table has no rows: there is no time to average over")
    for column in ("submitted", "finished"):
        if not is_numeric_dtype(frame[column]) or frame[column].isna().any():
            raise ValueError(f"the column {column} must hold seconds in each row, not {describe(list(frame[column]))}")
    span = float(frame["finished"].max() - frame["submitted"].min())
    if not 0 < span < float("inf"):
        raise ValueError(
            f"the table must span some time, from the first submit to the last finish, not {describe(span)} s"
        )
    return span
