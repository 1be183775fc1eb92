"""The costs and the failures of engines: `Processes` and its peers, with two workers.

Each measurement runs in its own process (`benchmarks.one_engine`). The contenders take turns, round after round, and
the tables show medians. A contender that does not end within the time limit counts as hanging.
"""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd

from benchmarks.engine_contenders import ENGINES
from benchmarks.report import write

ROOT = Path(__file__).parents[1]
WORKERS, ROUNDS, TIME_LIMIT = 2, 3, 90.0
BASE = "ProcessPoolExecutor"
SPEED = ("tiny", "payload", "spin", "start")
SAFETY = ("kill", "hang")


def measure(name: str, what: str, workers: int = WORKERS, python: str = sys.executable) -> dict[str, float]:
    """Return one measurement of one engine on that Python, or a dictionary that says that it hung or failed."""
    command = [python, "-m", "benchmarks.one_engine", name, what, str(workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            said, _ = process.communicate(timeout=TIME_LIMIT)
            return dict(json.loads(said.splitlines()[-1]))
        except subprocess.TimeoutExpired:
            stop_all(process.pid)
            said, _ = process.communicate()
            # The measurement can be complete although the engine hangs at its end.
            return dict(json.loads(said.splitlines()[-1])) if said else {"hung": 1.0}
        except (ValueError, IndexError):
            return {"broke": 1.0}


def stop_all(pid: int) -> None:
    """Kill a process and all its child processes."""
    import psutil

    parent = psutil.Process(pid)
    for process in [*parent.children(recursive=True), parent]:
        process.kill()


def contest(measures: tuple[str, ...], rounds: int) -> pd.DataFrame:
    """Return a row per round, contender, and measured value."""
    rows = []
    for number in range(1, rounds + 1):
        for name in ENGINES:
            for what in measures:
                if name == "threads" and what in SAFETY:
                    continue  # SIGKILL would end the measuring program itself, and Python cannot stop a thread.
                for key, value in measure(name, what).items():
                    rows.append({"round": number, "engine": name, "measure": what, "number": key, "value": value})
                    print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def speed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table for the page: medians, and the ratio of a tiny job's time to that of `ProcessPoolExecutor`."""
    wide = table.pivot_table(index=["round", "engine"], columns="number", values="value", sort=False)
    wide["ratio"] = wide["us"] / wide["us"].xs(BASE, level="engine").reindex(wide.index, level="round")
    wide["share"] = wide["jobs_s"] / (WORKERS * wide["one_core_jobs_s"])
    found = wide.groupby("engine", sort=False).median()
    shown = {
        "us": "us per tiny job",
        "ratio": f"of {BASE}",
        "ms_1_mib": "ms per job of 1 MiB",
        "ms_10_mib": "ms per echo of 10 MiB",
        "share": "pure Python, of 2 x one core",
        "start_s": "start and end, s",
        "mib_per_worker": "MiB per worker",
    }
    digits = {"us": 1, "ratio": 2, "ms_1_mib": 2, "ms_10_mib": 1, "share": 2, "start_s": 2, "mib_per_worker": 1}
    return found[list(shown)].round(digits).rename(columns=shown)


def safety(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table for the page: lost jobs, and seconds. A value is missing if the run did not end."""
    found = table.pivot_table(index="engine", columns="number", values="value", sort=False)
    shown = {
        "lost": "of 20 jobs, lost if one kills its process",
        "lost_afterwards": "of the next 20, lost",
        "hang_s": "20 jobs, one hangs, limit 0.5 s: seconds",
        "hang_lost": "jobs lost",
    }
    return found.reindex(columns=list(shown)).round(2).astype(object).fillna("never ended").rename(columns=shown)


def run() -> None:
    table = contest(SPEED, ROUNDS)
    write("engines", table, speed(table))
    table = contest(SAFETY, 1)
    write("engines_safety", table, safety(table))


if __name__ == "__main__":
    run()
