"""Ways to run jobs, from the memory of a pool to a durable queue: what a job costs, and what survives a kill.

Each measurement runs in a process of its own (`one_way`). The ways take turns, round after round, and the table of
costs shows medians. In the second table, one process is killed per second. In the third, the program of the pool on
Dask is killed.
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from benchmarks.report import draw, write
from helpers import charts

ROOT = Path(__file__).parents[1]
ROUNDS, TIME_LIMIT = 3, 280.0
WAYS = {  # the name of a way in `one_way`, and the number of jobs in the measurement of the cost
    "WorkerPool, in memory": ("pool", 200_000),
    "WorkerPool on Dask": ("dask", 3_000),
    "our table, SKIP LOCKED": ("table", 5_000),
    "procrastinate": ("procrastinate", 2_000),
}
SURVIVORS = tuple(WAYS)  # measured with kills, too
KILLED = ("program", "program", "Dask processes", "workers", "workers")  # in the rows of the chart
if find_spec("pgqueuer"):
    WAYS["pgqueuer"] = ("pgqueuer", 5_000)
KILLED_JOBS = 10_000


def measure(way: str, what: str, jobs: int) -> dict[str, float]:
    """Return one measurement of one way. Raises CalledProcessError or TimeoutExpired if it fails."""
    command = [sys.executable, "-m", "benchmarks.one_way", WAYS[way][0], what, str(jobs)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True, timeout=TIME_LIMIT)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def costs(rounds: int = ROUNDS) -> pd.DataFrame:
    """Return a row per round, way, and measured number."""
    rows = []
    for number in range(1, rounds + 1):
        for way, (_, jobs) in WAYS.items():
            for key, value in measure(way, "speed", jobs).items():
                rows.append({"round": number, "way": way, "number": key, "value": value})
                print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def kills(jobs: int = KILLED_JOBS) -> pd.DataFrame:
    """Return a row per way."""
    rows = []
    for way in SURVIVORS:
        rows.append({"way": way} | measure(way, "kills", jobs))
        print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def program_kill(jobs: int = KILLED_JOBS) -> pd.DataFrame:
    """Return one row: the pool on Dask, if its program is killed."""
    way = "WorkerPool on Dask"
    return pd.DataFrame([{"way": way} | measure(way, "program", jobs)])


def cost_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table for the page: medians over the rounds."""
    wide = table.pivot_table(index="way", columns="number", values="value", sort=False, aggfunc="median")
    shown = pd.DataFrame(index=wide.index)
    shown["ms per job"] = (wide["us"] / 1000).map(two_digits)
    shown["jobs/s"] = (1e6 / wide["us"]).map(two_digits)
    shown["ms from submit to start, median"] = wide["latency_ms"].map(two_digits)
    shown["95th percentile"] = wide["latency_p95_ms"].map(two_digits)
    return shown


def two_digits(value: float) -> str:
    """Return the number rounded to two digits that count, without an exponent: 0.0031, 2.7, 210,000."""
    return f"{float(f'{value:.2g}'):,.10g}"


def kill_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table for the page: what was lost and what was done twice."""
    shown = table.set_index("way")[["jobs", "kills", "lost", "doubled"]].astype(int)
    redelivery = table.set_index("way")["redelivery_ms"]
    shown["ms from a kill to the second start"] = redelivery.map("{:,.0f}".format).replace("nan", "never")
    return shown


def both(cost: pd.DataFrame, killed: pd.DataFrame) -> pd.DataFrame:
    """Return the table of the chart: a row per way."""
    us = cost.query("number == 'us'").groupby("way", sort=False)["value"].median()
    return killed[["way", "jobs", "kills", "lost", "doubled", "redelivery_ms"]].assign(
        ms=(us.reindex(killed["way"]) / 1000).to_numpy()
    )


def chart_rows(killed: pd.DataFrame, program: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the chart. The two killed programs come first, and each label says what was killed."""
    rows = pd.concat([killed.head(1), program, killed.tail(3)], ignore_index=True)
    labels = zip(rows["way"], rows["kills"].astype(int), KILLED, strict=True)
    return rows.assign(way=[f"{way}\n{kills} {what} killed" for way, kills, what in labels])


def run() -> None:
    cost = costs()
    write("beyond", cost, cost_table(cost))
    killed = kills()
    write("beyond_kills", both(cost, killed), kill_table(killed))
    program = program_kill()
    write("beyond_program", program, kill_table(program))
    picture(killed, program)


def picture(killed: pd.DataFrame, program: pd.DataFrame) -> None:
    chart = charts.survival(chart_rows(killed, program))
    charts.headline(
        chart,
        "Killed programs lost most of their jobs; other kills lost none",
        "Jobs of 1 ms. A program was killed once; of the other processes, one per second",
    )
    draw("beyond", chart)


if __name__ == "__main__":
    run()
