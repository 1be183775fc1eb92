"""How far a second worker helps jobs that compute: with Pillow, which releases the GIL, and in pure Python.

All ways of a handler run the same function with the same jobs. They take turns in short rounds, because other programs
can slow a round down. The wall time of a round is about three seconds on two cores.

    python -m benchmarks computing
"""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.engine_tasks import sum_of_squares
from benchmarks.report import write
from helpers.pools import ImageJob, ImageProcessor, WorkerPool
from helpers.services import PHOTOS

ROUNDS, JOBS, WORKERS = 10, 16, (1, 2, 8)
PICTURES = [ImageJob(f"same{number}", PHOTOS / "photo1.jpg", 800, 600) for number in range(JOBS)]
COUNTS = [600_000] * JOBS


def run() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        ways = plan(Path(folder))
        for number in range(1, ROUNDS + 1):
            for (handler, way, workers), measure in ways.items():
                row = {"round": number, "handler": handler, "way": way, "workers": workers, **measure()}
                rows.append(row)
                print(row, flush=True)
    table = pd.DataFrame(rows)
    write("computing", table, shown(table))


def plan(output: Path) -> dict[tuple[str, str, int], Callable[[], dict[str, float]]]:
    """Return the measurement of each (handler, way, number of workers)."""
    ways: dict[tuple[str, str, int], Callable[[], dict[str, float]]] = {}
    for workers in WORKERS:
        images = partial(ImageProcessor, workers=workers, output=output)
        sums = partial(WorkerPool, sum_of_squares, workers=workers)
        ways["Pillow", "threads", workers] = partial(in_threads, images, PICTURES)
        ways["pure Python", "threads", workers] = partial(in_threads, sums, COUNTS)
    ways["pure Python", "processes", 2] = partial(in_processes, 2)
    return ways


def in_threads(make_pool: Callable[[], Any], jobs: list[Any]) -> dict[str, float]:
    """Return jobs per second, and seconds per job: of the cores, and from taking a job to its result."""
    with make_pool() as pool:
        begun, used = time.perf_counter(), time.process_time()
        results = list(pool.stream(jobs))
        seconds, core_seconds = time.perf_counter() - begun, time.process_time() - used
    assert all(result.ok for result in results)
    durations = [result.duration for result in results]
    return {
        "throughput": len(jobs) / seconds,
        "core_time": core_seconds / len(jobs),
        "service_time": sum(durations) / len(jobs),
    }


def in_processes(workers: int) -> dict[str, float]:
    """Return jobs per second. The processes are started before the measurement."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
        list(executor.map(sum_of_squares, COUNTS))
        begun = time.perf_counter()
        list(executor.map(sum_of_squares, COUNTS))
        return {"throughput": len(COUNTS) / (time.perf_counter() - begun)}


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table for the page: medians, and the ratio of the throughput to one thread in the same round."""
    one = table[(table["way"] == "threads") & (table["workers"] == 1)].set_index(["round", "handler"])["throughput"]
    bases = [one[number, handler] for number, handler in zip(table["round"], table["handler"], strict=True)]
    ratios = table.assign(ratio=table["throughput"] / bases, service_ms=1e3 * table["service_time"])
    found = ratios.groupby(["handler", "way", "workers"], sort=False)[["throughput", "ratio", "service_ms"]].median()
    names = {"throughput": "jobs/s", "ratio": "of one thread", "service_ms": "service time, ms"}
    found = found.round({"throughput": 1, "ratio": 2, "service_ms": 1}).rename(columns=names)
    return found.astype(object).fillna("not measured")


if __name__ == "__main__":
    run()
