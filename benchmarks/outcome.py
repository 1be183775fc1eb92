"""The picture in the README and in notebook 00: runs from naive.csv, naive ones and with a pool.

The naive bar of each limit is the naive run with the most successes. Every run has 10,000 jobs.
"""

import pandas as pd

from benchmarks.report import HERE, draw
from helpers import charts

TITLE = "Started all at once, most jobs fail; with five workers, all succeed"
SUBTITLE = "10,000 jobs per bar, at three limits: connections, requests per second, memory"
DATABASE, API, MEMORY = "database with 100 connections", "API with 250 requests per second", "memory of 1 GiB"
THREADS, TASKS, POOL = "one thread per job", "one task per job", "five workers"
RUNS = [
    ("database, threads", DATABASE, THREADS, "refused: too many clients"),
    ("database, five workers", DATABASE, POOL, ""),
    ("API, threads", API, THREADS, "refused: too fast, then banned"),
    ("API, five workers", API, POOL, ""),
    ("1 GiB, tasks with data", MEMORY, TASKS, "failed: out of memory"),
    ("1 GiB, five workers with data", MEMORY, POOL, ""),
]


def selected(naive: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the picture from the table of all runs. Raises KeyError if a run is missing."""
    totals = naive.groupby("run")["jobs"].sum()
    seconds = naive.groupby("run")["seconds"].first().round(1)
    succeeded = naive[naive["outcome"] == "succeeded"].set_index("run")["jobs"]
    rows = [
        {"place": place, "way": way, "jobs": totals[run], "succeeded": succeeded[run], "failure": failure}
        | {"seconds": seconds[run]}
        for run, place, way, failure in RUNS
    ]
    return pd.DataFrame(rows)


def run() -> None:
    table = selected(pd.read_csv(HERE / "naive.csv"))
    table.to_csv(HERE / "outcome.csv", index=False)
    draw("outcome", charts.headline(charts.shares(table), TITLE, SUBTITLE))
    print(table.to_string())


if __name__ == "__main__":
    run()
