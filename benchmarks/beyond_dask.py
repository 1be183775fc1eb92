"""The pool on a Dask cluster of two processes: what a job costs, and what becomes of jobs whose process is killed.

`python -m benchmarks.one_way dask MEASURE JOBS` prints one measurement as a line of JSON. Each measurement should run
in a process of its own, because Dask's helpers live as long as their process.
"""

import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from distributed import Client

from benchmarks.beyond_durable import killed_program
from benchmarks.beyond_tasks import note_start, pool_speed, survived
from helpers.cluster import dask_cluster
from helpers.pools import WorkerPool

PROCESSES, WORKERS, QUEUE_SIZE = 2, 4, 1000  # two workers per process, so that a process need not wait for a worker
WARM_UP, ALONE = 50, 500  # jobs
EVERY = 1.0  # seconds between two kills


def start_time(job: int) -> float:
    """Return the time at which the handler has started, on the clock that all processes of a computer share."""
    return time.monotonic()


@contextmanager
def dask_pool(handler: Callable[[int], Any]) -> Iterator[tuple[Any, WorkerPool[int, Any]]]:
    """Yield a Dask cluster, and a pool that runs the handler on it."""
    with dask_cluster(PROCESSES) as cluster, Client(cluster) as client:
        engine = client.get_executor(pure=False)
        with WorkerPool(handler, workers=WORKERS, queue_size=QUEUE_SIZE, engine=engine) as pool:
            yield cluster, pool


def speed(jobs: int) -> dict[str, float]:
    """Microseconds per job that does nothing, and milliseconds from submit to start for a job that comes alone."""
    with dask_pool(start_time) as (_, pool):
        assert len(list(pool.stream(range(WARM_UP)))) == WARM_UP
        return pool_speed(pool, jobs, ALONE, lambda result: result.value)


def kills(jobs: int) -> dict[str, float]:
    """Kill one of two processes every second. How many jobs have no value, and how many handlers started again?"""
    killed: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "starts"))
        with dask_pool(partial(note_start, file=file)) as (cluster, pool):
            over = threading.Event()
            killer = threading.Thread(target=kill_at_random, args=(cluster, over, killed))
            killer.start()
            try:
                values = {result.value for result in pool.stream(range(jobs)) if result.ok}
            finally:
                over.set()
                killer.join()
        return survived(jobs, killed, file) | {"lost": jobs - len(values)}


def kill_at_random(cluster: Any, over: threading.Event, killed: list[float]) -> None:
    """Kill one process per `EVERY` seconds, and note the times. Ends with `over`.

    One process is always spared: if a new one needs more than `EVERY` seconds to start, no job would ever be done.
    """
    rng = random.Random(1)
    while not over.wait(EVERY):
        connected = set(cluster.scheduler.workers)
        nannies = [nanny for nanny in cluster.workers.values() if nanny.worker_address in connected and nanny.pid]
        with suppress(ProcessLookupError):  # Dask has not noticed yet that this process has died.
            if len(nannies) > 1:
                os.kill(rng.choice(nannies).pid, 9)
                killed.append(time.monotonic())


def program(jobs: int, file: str) -> None:
    """The whole program: the pool, the scheduler, and the client are in one process."""
    with dask_pool(partial(note_start, file=file)) as (_, pool):
        for _ in pool.stream(range(jobs)):
            pass


def measure(way: str, what: str, jobs: int) -> dict[str, float]:
    """Return one measurement: `speed`, `kills` of Dask processes, or `program`, a kill of the whole program."""
    if what == "program":
        return killed_program(program, jobs)
    return speed(jobs) if what == "speed" else kills(jobs)
