"""Ways to run jobs, from the memory of a pool to a durable queue: what a job costs, and what survives a kill.

Each measurement runs in a process of its own (`one_way`). The ways take turns, round after round, and the table of
costs shows medians. In the table of kills, each way is measured twice: once, its program is killed when half of the
jobs have started, and once, ten jobs kill the worker that runs them. The third table has a kill every second. The last
one shows the rate of the two queues with more and more workers.
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
    "pool, in memory": ("pool", 200_000),
    "pool on Processes()": ("processes", 50_000),
    "pool on Dask": ("dask", 3_000),
    "our table": ("table", 5_000),
    "procrastinate": ("procrastinate", 2_000),
}
if find_spec("pgqueuer"):
    WAYS["pgqueuer"] = ("pgqueuer", 5_000)
KILLS = {"program": "The program is killed", "kills": "10 of 2,000 jobs kill their worker"}  # the panels of the chart
KILLED = {  # the ways of the table of kills
    "pool on Processes()": "processes",
    "pool on Dask": "dask",
    "our table": "table",
    "procrastinate": "procrastinate",
}
KILLED_JOBS = 2_000
EVERY_SECOND_JOBS = 10_000
WORKERS = (1, 2, 4, 8, 16)
QUEUES = {"our table": ("table", 8_000), "procrastinate": ("procrastinate", 1_500)}  # and the number of jobs


def measure(way: str, what: str, jobs: int) -> dict[str, float]:
    """Return one measurement of one way. Raises CalledProcessError or TimeoutExpired if it fails."""
    command = [sys.executable, "-m", "benchmarks.one_way", way, what, str(jobs)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True, timeout=TIME_LIMIT)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def costs(rounds: int = ROUNDS) -> pd.DataFrame:
    """Return a row per round, way, and measured number."""
    rows = []
    for number in range(1, rounds + 1):
        for name, (way, jobs) in WAYS.items():
            for key, value in measure(way, "speed", jobs).items():
                rows.append({"round": number, "way": name, "number": key, "value": value})
                print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def kills(jobs: int = KILLED_JOBS) -> pd.DataFrame:
    """Return a row per kind of kill and way."""
    rows = []
    for what in KILLS:
        for name, way in KILLED.items():
            rows.append({"kill": what, "way": name} | measure(way, what, jobs))
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def every_second(jobs: int = EVERY_SECOND_JOBS) -> pd.DataFrame:
    """Return a row per way that survives the kill of a worker."""
    rows = []
    for name, way in KILLED.items():
        if way != "processes":  # it loses the job of each killed process: see the table of kills
            rows.append({"way": name} | measure(way, "seconds", jobs))
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def rates(rounds: int = ROUNDS) -> pd.DataFrame:
    """Return a row per round, queue, and number of workers."""
    rows = []
    for number in range(1, rounds + 1):
        for workers in WORKERS:
            for queue, (way, jobs) in QUEUES.items():
                found = measure(way, f"rate:{workers}", jobs)
                rows.append({"round": number, "queue": queue, "workers": workers} | found)
                print(rows[-1], flush=True)
    return pd.DataFrame(rows)


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
    table = table.assign(kill=table["kill"].map(KILLS))
    shown = table.set_index(["kill", "way"])[["jobs", "kills", "lost", "doubled"]].astype(int)
    again = table.set_index(["kill", "way"])["again_ms"]
    shown["ms from the first start to the second"] = again.map("{:,.0f}".format).replace("nan", "never")
    return shown


def every_second_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table for the page: what was lost, what was done twice, and how soon."""
    shown = table.set_index("way")[["jobs", "kills", "lost", "doubled"]].astype(int)
    shown["ms from a kill to the second start"] = table.set_index("way")["redelivery_ms"].map("{:,.0f}".format)
    return shown


def rate_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table for the page: the best round, and the CPU time per job in that round."""
    best = table.loc[table.groupby(["queue", "workers"])["rate"].idxmax()].set_index(["queue", "workers"])
    shown = pd.DataFrame(index=best.index)
    shown["jobs/s"] = best["rate"].map(two_digits)
    shown["CPU ms per job, server"] = best["server_ms"].map(two_digits)
    shown["CPU ms per job, workers"] = best["worker_ms"].map(two_digits)
    return shown


def run() -> None:
    cost = costs()
    write("beyond", cost, cost_table(cost))
    killed = kills()
    write("beyond_kills", killed, kill_table(killed))
    picture(killed, cost)
    seconds = every_second()
    write("beyond_seconds", seconds, every_second_table(seconds))
    rate = rates()
    write("beyond_workers", rate, rate_table(rate))


def picture(killed: pd.DataFrame, cost: pd.DataFrame) -> None:
    microseconds = cost[cost["number"] == "us"]
    chart = charts.survival(
        killed.assign(kill=killed["kill"].map(KILLS)), microseconds.assign(ms=microseconds["value"] / 1000)
    )
    charts.headline(
        chart,
        "Only the durable queues lost no job to either kill",
        "Cost: jobs that do nothing, three rounds. Lost: 2,000 jobs of 1 ms per bar, two workers",
    )
    draw("beyond", chart)


if __name__ == "__main__":
    run()
