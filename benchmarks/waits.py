"""The throughput with jobs that wait for 20 to 100 ms, in the steady state, with 10 to 1,000 workers.

The maximum is workers / mean service time. The jobs count that finish between one second after the start and the moment
when the last job is taken from the queue. So every worker has a job during the whole measurement.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from benchmarks.report import write
from helpers.pools import WorkerPool

WORKERS, ROUNDS, WARM, SECONDS = (10, 50, 200, 1000), 3, 1.0, 5.0


def service(job: int) -> float:
    """Return the seconds that a job takes: 20 to 100 ms, uniformly distributed, with a mean of 60 ms per 81 jobs."""
    return (20 + job * 37 % 81) / 1000


def nap(job: int) -> float:
    time.sleep(service(job))
    return time.monotonic()


def jobs_for(workers: int) -> range:
    return range(int(workers / 0.060 * (WARM + SECONDS)))


def worker_pool(workers: int) -> list[float]:
    with WorkerPool(nap, workers=workers, queue_size=2 * workers) as pool:
        return [result.value for result in pool.stream(jobs_for(workers))]


def executor(workers: int) -> list[float]:
    with ThreadPoolExecutor(workers) as pool:
        return [future.result() for future in [pool.submit(nap, job) for job in jobs_for(workers)]]


def efficiency(run, workers: int) -> float:
    """Return the throughput in the measured time, divided by workers / mean service time."""
    begun = time.monotonic()
    finished = sorted(run(workers))
    begin, end = begun + WARM, finished[-workers]  # the tail begins when a worker finds no job
    done = sum(begin <= instant < end for instant in finished)
    return done / (end - begin) / (workers / 0.060)


def run() -> None:
    rows = []
    for number in range(1, ROUNDS + 1):
        for workers in WORKERS:
            for name, contender in (("WorkerPool", worker_pool), ("ThreadPoolExecutor", executor)):
                found = efficiency(contender, workers)
                rows.append({"round": number, "workers": workers, "contender": name, "of_limit": found})
                print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    shown = table.pivot_table(index="workers", columns="contender", values="of_limit", aggfunc="median", sort=False)
    write("waits", table, shown.round(3))


if __name__ == "__main__":
    run()
