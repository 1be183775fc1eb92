"""A kill every second, while 10,000 jobs of 1 ms run: how many are lost, how many start twice, and how soon.

The worker that is killed has begun to work, and is replaced. `benchmarks.one_way` prints one measurement, for `dask`,
`table`, or `procrastinate`.
"""

import os
import random
import signal
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.beyond_durable import WORKERS, prepared, wait_until
from benchmarks.beyond_tasks import lines, short_job, starts, survived

EVERY = 1.0  # seconds between two kills
SIGNAL = 0.05  # seconds from the decision to kill a process to its last line


def queue_kills(queue: Any, jobs: int) -> dict[str, float]:
    """A durable queue: every second, a worker process is killed."""
    killed: list[float] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        file = str(Path(folder, "starts"))

        def start() -> Any:
            return stack.enter_context(queue.worker(file, "short_job"))

        queue.put("short_job", range(jobs), file)
        workers = [start() for _ in range(WORKERS)]
        wait_until(Path(file).exists)
        due = time.monotonic() + EVERY
        while queue.left():
            seen = {int(process) for _, _, process in lines(file)} if time.monotonic() > due else set()
            for worker in [worker for worker in workers if worker.pid in seen][:1]:
                killed.append(time.monotonic())
                worker.kill()
                workers.remove(worker)
                workers.append(start())
                due = killed[-1] + EVERY
            time.sleep(0.02)
        return survived(jobs, file) | after_kills(killed, file)


def dask_kills(jobs: int) -> dict[str, float]:
    """The pool on Dask: every second, a Dask process is killed."""
    from benchmarks.beyond_dask import PROCESSES, dask_pool

    killed: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "starts"))
        with dask_pool(partial(short_job, file=file), PROCESSES) as (cluster, pool):
            over = threading.Event()
            killer = threading.Thread(target=kill_at_random, args=(cluster, over, killed))
            killer.start()
            try:
                values = {result.value for result in pool.stream(range(jobs)) if result.ok}
            finally:
                over.set()
                killer.join()
        return survived(jobs, file) | after_kills(killed, file) | {"lost": jobs - len(values)}


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
                os.kill(rng.choice(nannies).pid, signal.SIGKILL)
                killed.append(time.monotonic())


def after_kills(killed: list[float], file: str) -> dict[str, float]:
    """Return the number of kills, and the median ms from a kill to the second start of the job that it hit.

    The kill of a job is the first one after its start. Its process may note a start until the signal has arrived.
    """
    waits = []
    for times in starts(file).values():
        for before, again in pairwise(times):
            kills = [kill for kill in killed if before - SIGNAL < kill < again]
            waits += [1e3 * (again - min(kills))] if kills else []
    return {"kills": len(killed), "redelivery_ms": median(waits) if waits else float("nan")}


def measure(way: str, what: str, jobs: int) -> dict[str, float]:
    """Return the measurement of one way."""
    if way == "dask":
        return dask_kills(jobs)
    with prepared(way) as queue:
        return queue_kills(queue, jobs)
