"""What a newer Python offers against the GIL, measured: sub-interpreters, and threads on the build without a GIL.

Each Python of this machine that has psutil takes part: this one, 3.14, 3.15, and the free-threaded builds that
`tests/pythons.py` finds. The rows of gil.csv that were measured with other Pythons stay, because they may come from
another machine. So compare within one Python: the throughput is divided by that of a plain loop on the same Python.
"""

import sys
from pathlib import Path

import pandas as pd

from benchmarks.engines import ROOT, measure
from benchmarks.report import HERE, write

sys.path.insert(0, str(ROOT / "tests"))

from pythons import FREE_THREADED, answers, find

ROUNDS, WORKERS = 3, (1, 2, 4)
VERSION = (
    "import platform, psutil, sysconfig; "
    "print(platform.python_version() + 't' * bool(sysconfig.get_config_var('Py_GIL_DISABLED')))"
)
STORED = HERE / "gil.csv"


def pythons() -> dict[str, str]:
    """Return the interpreters that can be measured by their full version, such as "3.14.2" or "3.13.5t"."""
    found = [sys.executable, *map(find, ("3.14", "3.15", *FREE_THREADED))]
    named = {answers(python, VERSION): python for python in reversed(found) if python is not None}
    return {version: python for version, python in sorted(named.items(), key=str) if version is not None}


def engines(version: str) -> list[str]:
    """Return the engines to measure on that Python."""
    newer = tuple(map(int, version.rstrip("t").split(".")[:2])) >= (3, 14) and not version.endswith("t")
    return ["threads", "Processes", *(["InterpreterPoolExecutor"] if newer else [])]


def contest(rounds: int) -> pd.DataFrame:
    """Return a row per round, Python, engine, number of workers, and measured number."""
    rows = []
    plan = [("tiny", 2), ("payload", 2), ("start", 2), *(("spin", workers) for workers in WORKERS)]
    for number in range(1, rounds + 1):
        for version, python in pythons().items():
            for name in engines(version):
                for what, workers in plan:
                    row = {"round": number, "python": version, "engine": name, "workers": workers}
                    found = measure(name, what, workers, python)
                    rows += [row | {"number": key, "value": value} for key, value in found.items()]
                    print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def with_stored(table: pd.DataFrame, path: Path = STORED) -> pd.DataFrame:
    """Return the table, and the stored rows of all Pythons that were not measured now."""
    if not path.exists():
        return table
    stored = pd.read_csv(path)
    return pd.concat([stored[~stored.python.isin(table.python)], table], ignore_index=True)


def best(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table for the page: the best round of each measurement, because other programs only slow it down."""
    keys = ["engine", "python"]
    numbers = table.groupby([*keys, "workers", "number"], sort=False)["value"]
    fastest = numbers.max().unstack("number")
    one_core = fastest["one_core_jobs_s"].groupby("python").max()
    times = fastest["jobs_s"].dropna().unstack("workers").div(one_core, level="python", axis=0)
    least = numbers.min().unstack("number").groupby(keys, sort=False).min()
    memory = least["mib_per_worker"] + least["grown_mib_per_worker"].clip(lower=0)
    return pd.DataFrame(
        {
            "us per tiny job": least["us"].round(1),
            "ms per job of 1 MiB": least["ms_1_mib"].round(2),
            "ms per echo of 10 MiB": least["ms_10_mib"].round(1),
            **{f"pure Python, {n} workers, of one core": times[n].round(2) for n in WORKERS},
            "start and end, s": least["start_s"].round(2),
            "MiB per worker": memory.round(1),
        }
    ).reindex(least.index)


def run() -> None:
    table = with_stored(contest(ROUNDS))
    write("gil", table, best(table))


if __name__ == "__main__":
    run()
