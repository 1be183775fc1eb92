"""Little's law, and how to see it in a table of results.

In a system that is neither filling nor emptying, the average number of jobs in it is the rate at which they leave times
the average time they spend in it: L = λ W. J. D. C. Little, "A Proof for the Queuing Formula: L = λW", Operations
Research 9(3), 1961, doi:10.1287/opre.9.3.383. Nothing is assumed about order, distribution or the number of workers.
"""

import math

import pandas as pd

from helpers.measure.frames import need
from helpers.pools.checks import whole_number


def littles_law(throughput: float, latency: float) -> float:
    """L = λ W: jobs in the system, from jobs/s and the mean latency in seconds.

    Put the service time for the latency and it is the jobs in service: the workers needed. Raises ValueError for a
    negative number or NaN.
    """
    for name, value in (("throughput", throughput), ("latency", latency)):
        if math.isnan(value) or value < 0:
            raise ValueError(f"{name} must be 0 or more, not {value!r}")
    return throughput * latency


def in_system(frame: pd.DataFrame) -> float:
    """The number of jobs in the system, averaged over the time from the first submit to the last finish.

    Every job adds the seconds it was there: their sum over the length of the whole is the average. `frame` is a table
    of `to_frame`; raises ValueError if it lacks columns or has no rows.
    """
    need(frame, "submitted", "finished")
    return float((frame["finished"] - frame["submitted"]).sum() / _span(frame))


def utilisation(frame: pd.DataFrame, workers: int) -> float:
    """The part of the workers' time, from the first submit to the last finish, that was spent on jobs: 0.0 to 1.0."""
    need(frame, "submitted", "finished", "duration")
    return float(frame["duration"].sum() / (whole_number("workers", workers) * _span(frame)))


def _span(frame: pd.DataFrame) -> float:
    if frame.empty:
        raise ValueError("the table has no rows: there is no time to average over")
    return float(frame["finished"].max() - frame["submitted"].min())
