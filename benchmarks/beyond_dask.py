"""The pool on a Dask cluster of two processes: what a job costs, and what becomes of jobs whose process is killed.

`python -m benchmarks.one_way dask MEASURE JOBS` prints one measurement as a line of JSON. Each measurement should run
in a process of its own, because Dask's helpers live as long as their process.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from distributed import Client

from benchmarks.beyond_durable import killed_processes, killed_program
from benchmarks.beyond_tasks import pool_speed, short_job, start_time
from helpers.cluster import dask_cluster
from helpers.pools import WorkerPool

PROCESSES, QUEUE_SIZE = 2, 1000
WORKERS = 4  # for the cost: two per process, so that a process need not wait for a worker
WARM_UP, ALONE = 50, 500  # jobs


@contextmanager
def dask_pool(handler: Callable[[int], Any], workers: int) -> Iterator[tuple[Any, WorkerPool[int, Any]]]:
    """Yield a Dask cluster, and a pool that runs the handler on it."""
    with dask_cluster(PROCESSES) as cluster, Client(cluster) as client:
        engine = client.get_executor(pure=False)
        with WorkerPool(handler, workers=workers, queue_size=QUEUE_SIZE, engine=engine) as pool:
            yield cluster, pool


def speed(jobs: int) -> dict[str, float]:
    """Microseconds per job that does nothing, and milliseconds from submit to start for a job that comes alone."""
    with dask_pool(start_time, WORKERS) as (_, pool):
        assert len(list(pool.stream(range(WARM_UP)))) == WARM_UP
        return pool_speed(pool, jobs, ALONE)


def program(jobs: int, file: str, every: int = 0) -> None:
    """The whole program: the pool, the scheduler, and the client are in one process."""
    with dask_pool(partial(short_job, file=file, every=every), PROCESSES) as (_, pool):
        for _ in pool.stream(range(jobs)):
            pass


def measure(way: str, what: str, jobs: int) -> dict[str, float]:
    """Return one measurement: `speed`, `kills` of Dask processes, or `program`, a kill of the whole program."""
    if what == "program":
        return killed_program(program, jobs)
    return speed(jobs) if what == "speed" else killed_processes(program, jobs)
