"""What a pool itself costs: a million jobs that do nothing, on 5 workers, each run in a process of its own.

The contenders take turns, round after round, so that a slow minute of the machine hits them all. Quoted is the
median of the rounds' ratios to `ThreadPoolExecutor.map` in the same round. A no-op returns its job.
"""

import json
import subprocess
import sys
import time

import pandas as pd

from benchmarks.contenders import NOOP
from benchmarks.report import write

JOBS, WORKERS, QUEUE_SIZE, ROUNDS = 1_000_000, 5, 1000, 3
BOUNDS = (10, 100, 1000, 10_000)
BASE = "ThreadPoolExecutor.map"


def noop(job):
    return job


def peak_memory() -> int:
    """Bytes this process has held at most, as the kernel saw it."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(name: str, jobs: int, queue_size: int) -> dict[str, float]:
    """Seconds a job and bytes more than before, in this process."""
    NOOP[name](noop, range(1000), WORKERS, queue_size)  # imports and first allocations do not count
    before = peak_memory()
    begun = time.perf_counter()
    count = NOOP[name](noop, range(jobs), WORKERS, queue_size)
    seconds = time.perf_counter() - begun
    assert count == jobs, (name, count)
    return {"us": seconds / jobs * 1e6, "mib": (peak_memory() - before) / 2**20}


def in_a_process(name: str, jobs: int, queue_size: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.noop", name, str(jobs), str(queue_size)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900)
    return json.loads(out.stdout)


def run() -> None:
    rows = []
    for number in range(1, ROUNDS + 1):
        for name in NOOP:
            found = in_a_process(name, JOBS, QUEUE_SIZE)
            rows.append({"round": number, "contender": name, "queue_size": QUEUE_SIZE} | found)
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    base = table[table.contender == BASE].set_index("round")["us"]
    table["ratio"] = table["us"] / table["round"].map(base)
    order = table.groupby("contender", sort=False)[["us", "ratio", "mib"]].median()
    shown = order.rename(columns={"us": "us a job", "ratio": f"of {BASE}", "mib": "extra memory, MiB"})
    write("noop", table, shown.round({"us a job": 2, f"of {BASE}": 3, "extra memory, MiB": 1}))

    rows = []
    for number in range(1, ROUNDS + 1):
        base_us = in_a_process(BASE, JOBS // 5, QUEUE_SIZE)["us"]
        for bound in BOUNDS:
            found = in_a_process("WorkerPool", JOBS // 5, bound)
            rows.append({"round": number, "queue_size": bound, "us": found["us"], "ratio": found["us"] / base_us})
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    shown = table.groupby("queue_size")[["us", "ratio"]].median()
    write("noop_bounds", table, shown.rename(columns={"us": "us a job", "ratio": f"of {BASE}"}).round(3))


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
