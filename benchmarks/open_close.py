"""The cost of creating a pool, running one job, and closing the pool.

The contenders take turns, repeat after repeat, so that a slow moment of the machine affects all of them. The table
shows the median over all repeats, the quartiles, and the ratio of the median to the median of `ThreadPoolExecutor`.
"""

import time

import pandas as pd

from benchmarks.contenders import ONCE
from benchmarks.report import write

REPEATS, WORKERS = 500, 5
WARM_UP = 5  # repeats before the measurement, so that imports and the first allocations do not count
BASE = "ThreadPoolExecutor"


def noop(job):
    return job


def microseconds(name: str) -> float:
    """Return the time to create a pool, run one job, and close the pool."""
    begun = time.perf_counter()
    value = ONCE[name](noop, "job", WORKERS)
    seconds = time.perf_counter() - begun
    assert value == "job", (name, value)
    return seconds * 1e6


def contest(repeats: int) -> pd.DataFrame:
    """Return one row per repeat and contender, without the warm-up."""
    rows = [
        {"repeat": number, "contender": name, "us": microseconds(name)}
        for number in range(1 - WARM_UP, repeats + 1)
        for name in ONCE
    ]
    return pd.DataFrame(rows).query("repeat > 0").reset_index(drop=True)


def quartiles(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table for the page: the median and the quartiles per contender, and the ratio of the medians."""
    found = table.groupby("contender", sort=False)["us"].quantile([0.25, 0.5, 0.75]).unstack()
    found.columns = ["us, lower quartile", "us, median", "us, upper quartile"]
    found[f"of {BASE}"] = found["us, median"] / found.loc[BASE, "us, median"]
    return found[["us, median", "us, lower quartile", "us, upper quartile", f"of {BASE}"]].round(
        {"us, median": 0, "us, lower quartile": 0, "us, upper quartile": 0, f"of {BASE}": 2}
    )


def run() -> None:
    table = contest(REPEATS)
    write("open_close", table, quartiles(table))


if __name__ == "__main__":
    run()
