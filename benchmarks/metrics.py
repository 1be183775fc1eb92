"""The cost of metrics for Prometheus per job: no metrics, an unread collector, a scraped collector, and histograms.

All contenders run jobs that do nothing on a `WorkerPool`, and take turns. "collector" adds the pool to a `PoolMetrics`,
which is read only at a scrape. "scraped" reads it 10 times per second. "histograms" also observes the two times of each
result where it is read. Measured is the CPU time of the whole program. The difference is taken within one round, and
the table shows its median over the rounds. The second table is the CPU time of observing one result, without a pool at
work beside it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pandas as pd

from benchmarks.report import write
from helpers.measure.metrics import PoolMetrics
from helpers.pools import WorkerPool

JOBS, ROUNDS, WORKERS, QUEUE = 100_000, 15, 5, 1000
SCRAPES = 10  # per second
BASE = "no metrics"
CONTENDERS = (BASE, "collector", "scraped", "histograms")


def noop(job: int) -> int:
    return job


@contextmanager
def scraped(metrics: PoolMetrics) -> Iterator[None]:
    """Read the metrics `SCRAPES` times per second in a thread."""
    ended = Event()

    def read() -> None:
        while not ended.wait(1 / SCRAPES):
            metrics.text()

    thread = Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def count(name: str, jobs: int) -> tuple[float, int]:
    """Return the microseconds of CPU time per job, and the number of results."""
    metrics = PoolMetrics()
    with WorkerPool(noop, workers=WORKERS, queue_size=QUEUE) as pool:
        results = pool.stream(range(jobs))
        if name != BASE:
            metrics.add("noop", pool)
        begun = time.process_time()
        if name == "histograms":
            found = sum(1 for _ in metrics.observed("noop", results))
        elif name == "scraped":
            with scraped(metrics):
                found = sum(1 for _ in results)
        else:
            found = sum(1 for _ in results)
        seconds = time.process_time() - begun
    return seconds / jobs * 1e6, found


def observe_alone(jobs: int) -> float:
    """Return the microseconds of CPU time that observing one result takes, without a pool at work beside it."""
    metrics = PoolMetrics()
    with WorkerPool(noop, workers=1) as pool:
        results = list(pool.stream(range(100)))
    observe = metrics.observer("noop")
    begun = time.process_time()
    for _ in range(jobs // 100):
        for result in results:
            observe(result)
    return (time.process_time() - begun) / jobs * 1e6


def contest(rounds: int, jobs: int) -> pd.DataFrame:
    """Return one row per round and contender: microseconds per job."""
    rows = []
    for number in range(1, rounds + 1):
        for name in CONTENDERS:
            us, found = count(name, jobs)
            assert found == jobs, (name, found)
            rows.append({"round": number, "contender": name, "us": us})
    return pd.DataFrame(rows)


def medians(table: pd.DataFrame) -> pd.DataFrame:
    """The median per contender, the median of its difference to `BASE` in the same round, and of the ratio."""
    rounds = table.pivot(index="round", columns="contender", values="us")
    shown = pd.DataFrame({"us per job": rounds.median()})
    shown["more than without, us"] = rounds.sub(rounds[BASE], axis=0).median()
    shown["of the pool without"] = rounds.div(rounds[BASE], axis=0).median()
    return shown.reindex(CONTENDERS).round(2)


def run() -> None:
    contest(1, JOBS // 10)  # a warm-up
    table = contest(ROUNDS, JOBS)
    write("metrics", table, medians(table))
    alone = pd.DataFrame({"round": range(1, ROUNDS + 1), "us": [observe_alone(JOBS) for _ in range(ROUNDS)]})
    write("metrics_cost", alone, alone["us"].agg(["median", "min", "max"]).round(2).rename("us per result").to_frame())


if __name__ == "__main__":
    run()
