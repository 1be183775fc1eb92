"""Little's law, how to see it in a table of results, and the least time that a list of jobs can take.

In a system that is neither filling nor emptying, the average number of jobs in it is the rate at which they leave times
the average time they spend in it: L = λ W. J. D. C. Little, "A Proof for the Queuing Formula: L = λW", Operations
Research 9(3), 1961, doi:10.1287/opre.9.3.383. Nothing is assumed about order, distribution or the number of workers.
"""

import heapq
from collections.abc import Iterable

import pandas as pd
from pandas.api.types import is_numeric_dtype

from helpers.measure.frames import need
from helpers.pools.checks import iterable, number, whole_number


def littles_law(throughput: float, latency: float) -> float:
    """L = λ W: jobs in the system, from jobs/s and the mean latency in seconds.

    Put the service time for the latency and it is the jobs in service: the workers needed. Raises TypeError for what is
    no number, ValueError for one that is negative or not finite.
    """
    number("throughput must be a number of jobs/s, 0 or more", throughput)
    number("latency must be a number of seconds, 0 or more", latency)
    return throughput * latency


def in_system(frame: pd.DataFrame) -> float:
    """The number of jobs in the system, averaged over the time from the first submit to the last finish.

    Every job adds the seconds it was there: their sum over the length of the whole is the average. `frame` is a table
    of `to_frame`; raises ValueError if it lacks columns, has no rows or spans no time, TypeError if it is no table.
    """
    need(frame, "submitted", "finished")
    span = _span(frame)
    return float((frame["finished"] - frame["submitted"]).sum() / span)


def utilisation(frame: pd.DataFrame, workers: int) -> float:
    """The part of the workers' time, from the first submit to the last finish, that was spent on jobs: 0.0 to 1.0."""
    need(frame, "submitted", "finished", "duration")
    return float(frame["duration"].sum() / (whole_number("workers", workers) * _span(frame)))


def list_schedule(durations: Iterable[float], workers: int) -> float:
    """Seconds until the last job is done if each of `workers` takes the next job in the list as soon as it is free.

    This is what a pool without any cost of its own would need, the tail included, in which workers run dry. It is never
    below sum / workers nor below the longest job, and at most 2 - 1 / workers times the best that any order could do:
    R. L. Graham, "Bounds for Certain Multiprocessing Anomalies", Bell System Technical Journal 45(9), 1966.
    Raises TypeError or ValueError for a duration that is no number, negative or not finite.
    """
    free = [0.0] * whole_number("workers", workers)  # when each worker is free again, the earliest first
    for seconds in iterable("durations", durations):
        number("a duration must be a number of seconds, 0 or more", seconds)
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def _span(frame: pd.DataFrame) -> float:
    if frame.empty:
        raise ValueError("the table has no rows: there is no time to average over")
    for column in ("submitted", "finished"):
        if not is_numeric_dtype(frame[column]) or frame[column].isna().any():
            raise ValueError(f"the column {column} must hold seconds in each row, not {list(frame[column])}")
    span = float(frame["finished"].max() - frame["submitted"].min())
    if not 0 < span < float("inf"):
        raise ValueError(f"the table must span some time, from the first submit to the last finish, not {span!r} s")
    return span
