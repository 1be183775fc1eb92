"""The cost of a pool: a million jobs that do nothing, on 5 workers, with each contender in its own process.

The contenders take turns, round after round, so that a slow minute of the machine affects all of them. Each time is
divided by the time of `ThreadPoolExecutor.map` in the same round and on the same Python. The table shows the medians
over the rounds.

`Executor.map` has the argument `buffersize` from Python 3.14 on. If an older Python runs this file, the contenders with
this argument run on a Python 3.14 of this machine, if there is one. `ThreadPoolExecutor.map` and `WorkerPool` then run
on both.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

from benchmarks.contenders import NEED_3_14, NOOP
from benchmarks.report import write

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from pythons import ASK, answers, find  # noqa: E402

JOBS, QUEUE_SIZE, ROUNDS = 1_000_000, 1000, 3
BOUNDS = (10, 100, 1000, 10_000)
BASE = "ThreadPoolExecutor.map"


def in_a_process(name: str, jobs: int, queue_size: int, python: str = sys.executable) -> dict[str, float]:
    """Run one contender with this interpreter; see `benchmarks.one_run`."""
    command = [python, "-m", "benchmarks.one_run", name, str(jobs), str(queue_size)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900, env=env, cwd=ROOT)
    return json.loads(out.stdout)


def line_up() -> list[tuple[str, str]]:
    """Return pairs of a contender and the interpreter on which it runs."""
    here = [(name, sys.executable) for name in NOOP if name not in NEED_3_14]
    if sys.version_info >= (3, 14):
        return here + [(name, sys.executable) for name in NEED_3_14]
    newer = find("3.14")
    if newer is None:
        print(f"no Python 3.14 on this machine: left out {', '.join(NEED_3_14)}", flush=True)
        return here
    return here + [(name, newer) for name in (BASE, "WorkerPool", *NEED_3_14)]


def contest(jobs: int, rounds: int) -> pd.DataFrame:
    """Run all contenders in turn, and return one row per round and contender."""
    pairs = line_up()
    versions = {python: answers(python, ASK) for _, python in pairs}
    rows = []
    for number in range(1, rounds + 1):
        for name, python in pairs:
            row = {"round": number, "python": versions[python], "contender": name, "queue_size": QUEUE_SIZE}
            rows.append(row | in_a_process(name, jobs, QUEUE_SIZE, python))
            print(rows[-1], flush=True)
    return with_ratios(pd.DataFrame(rows))


def with_ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Add the ratio of each time to that of `ThreadPoolExecutor.map` in the same round and on the same Python."""
    keys = ["round", "python"]
    base = table[table.contender == BASE].set_index(keys)["us"].rename("base")
    joined = table.join(base, on=keys)
    return table.assign(ratio=joined["us"] / joined["base"])


def medians(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table for the page: per Python and contender, the medians over the rounds."""
    found = table.groupby(["contender", "python"], sort=False)[["us", "ratio", "mib"]].median()
    columns = {"us": "us per job", "ratio": f"of {BASE}", "mib": "extra memory, MiB"}
    digits = {"us per job": 2, f"of {BASE}": 3, "extra memory, MiB": 1}
    return found.rename(columns=columns).round(digits)


def bounds(jobs: int, rounds: int) -> pd.DataFrame:
    """Run a WorkerPool with queues of several sizes, and return one row per round and size."""
    rows = []
    for number in range(1, rounds + 1):
        base_us = in_a_process(BASE, jobs, QUEUE_SIZE)["us"]
        for bound in BOUNDS:
            found = in_a_process("WorkerPool", jobs, bound)
            rows.append({"round": number, "queue_size": bound, "us": found["us"], "ratio": found["us"] / base_us})
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def run() -> None:
    table = contest(JOBS, ROUNDS)
    write("noop", table, medians(table))
    table = bounds(JOBS // 5, ROUNDS)
    shown = table.groupby("queue_size")[["us", "ratio"]].median()
    write("noop_bounds", table, shown.rename(columns={"us": "us per job", "ratio": f"of {BASE}"}).round(3))


if __name__ == "__main__":
    run()
