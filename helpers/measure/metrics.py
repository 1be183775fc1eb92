"""Metrics of pools for Prometheus. They are read from `stats()` only when a program requests them.

    metrics = PoolMetrics()
    with WorkerPool(send, workers=4) as pool, metrics.serve() as url:      # http://127.0.0.1:40213/metrics
        metrics.add("mails", pool)
        for result in metrics.observed("mails", pool.stream(jobs)):
            ...

| metric | what it is |
|---|---|
| worker_pool_jobs_submitted_total | counter: the jobs that the pool has accepted |
| worker_pool_jobs_finished_total | counter with the label `outcome`: succeeded, failed, unknown, or cancelled |
| worker_pool_queue_jobs | the jobs that wait in the queue |
| worker_pool_queue_limit_jobs | the maximum number of jobs in the queue |
| worker_pool_delayed_jobs | the jobs that wait for a retry |
| worker_pool_running_jobs | the jobs that run |
| worker_pool_workers | the workers that have not retired |
| worker_pool_oldest_wait_seconds | the time that the first job in the queue has waited until now |
| worker_pool_wait_seconds | histogram: from the time at which an attempt could start to its start |
| worker_pool_service_seconds | histogram: from the start of an attempt to its end |

Every metric has the label `pool`. Nothing here runs code of the user, apart from a `clock=` that the user gave to the
pool. `import helpers.measure` does not import this module, because it needs the package prometheus_client.
"""

import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from itertools import accumulate, pairwise
from threading import Lock, Thread
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, MetricsHandler, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from helpers.pools import PoolStats, Result, WorkerPool, checks
from helpers.pools.words import describe

Job = TypeVar("Job")
Value = TypeVar("Value")
Pool = WorkerPool[Any, Any]
Buckets = list[tuple[str, float]]  # of a histogram: a bound, and the number of times up to it

HOST = "127.0.0.1"
LABEL = "pool"
OUTCOMES = ("succeeded", "failed", "unknown", "cancelled")
# Seconds. Each is at most 2.5 times the one before, which bounds the error of a quantile that is computed from them.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0)
PATIENCE = 2.0  # seconds that a client may be silent; leaving `serve` waits at most that long for its thread

GAUGES: dict[str, tuple[str, Callable[[Pool, PoolStats], float]]] = {
    "queue_jobs": ("Jobs that wait in the queue.", lambda pool, stats: stats.queued),
    "queue_limit_jobs": ("The maximum number of jobs in the queue.", lambda pool, stats: pool.queue_size),
    "delayed_jobs": ("Jobs that wait for a retry.", lambda pool, stats: stats.delayed),
    "running_jobs": ("Jobs that run.", lambda pool, stats: stats.running),
    "workers": ("Workers that have not retired.", lambda pool, stats: stats.workers),
    "oldest_wait_seconds": ("How long the first job in the queue has waited.", lambda pool, stats: pool.oldest_wait()),
}


class PoolMetrics:
    """The metrics of one or more pools, each under a name of its own.

    Args:
        buckets: the upper bounds of the histograms' buckets, in seconds and ascending.

    Attributes:
        registry: a CollectorRegistry that only these metrics belong to. You may register more metrics in it.

    Raises TypeError if a bound is not a number, ValueError if one is not more than 0 or the bounds do not ascend.
    """

    def __init__(self, *, buckets: Sequence[float] = BUCKETS) -> None:
        self._bounds = _ascending(buckets)
        self.registry = CollectorRegistry()
        self._pools: dict[str, Pool] = {}
        self._times: dict[str, _Times] = {}
        self._changing = Lock()
        self.registry.register(self)

    def add(self, name: str, pool: Pool) -> None:
        """Report the counts of `pool` under `name`, also after its shutdown, until `remove(name)`.

        Raises TypeError if the name is not a string or the pool is not a pool, ValueError if the name is in use, is
        empty, or has characters that cannot be printed.
        """
        _check_name(name)
        if not issubclass(type(pool), WorkerPool):  # isinstance() may run the argument's own code
            raise TypeError(f"pool must be a WorkerPool, not {describe(pool)}")
        with self._changing:
            if name in self._pools:
                raise ValueError(f"{describe(name)} names another pool already: choose another name, or remove() it")
            # A new dictionary each time, because a scrape may be reading the old one.
            self._pools = {**self._pools, name: pool}

    def remove(self, name: str) -> None:
        """Report the pool under `name` no more, and forget what was observed. Raises KeyError for an unknown name."""
        with self._changing:
            if name not in self._pools:
                raise KeyError(name)
            self._pools = {other: pool for other, pool in self._pools.items() if other != name}
            self._times = {other: times for other, times in self._times.items() if other != name}

    def observer(self, name: str) -> Callable[[Result[Job, Value]], Result[Job, Value]]:
        """Return a function that adds the times of a result to the histograms of `name`, and returns the result.

        Each attempt at a job counts once. A job that never started counts in neither histogram. The function may be
        called in any thread, so you can also give it to a pool as `on_result`.
        """
        _check_name(name)
        with self._changing:
            if name not in self._times:
                self._times = {**self._times, name: _Times(self._bounds)}
        add = self._times[name].add

        def observe(result: Result[Job, Value]) -> Result[Job, Value]:
            started = result.started
            if result.attempt == 1 and started is not None:  # as nearly all results; `attempts` takes more time
                add(started - result.submitted, result.finished - started)
            else:
                for attempt in result.attempts:
                    add(attempt.started - attempt.due, attempt.finished - attempt.started)
            return result

        return observe

    def observed(self, name: str, results: Iterable[Result[Job, Value]]) -> Iterator[Result[Job, Value]]:
        """Yield the results of `stream()` or `results()`, and add the times of each to the histograms of `name`."""
        observe: Callable[[Result[Job, Value]], Result[Job, Value]] = self.observer(name)
        return map(observe, results)

    def collect(self) -> Iterator[Metric]:
        """Yield the counts of all pools as they are now. The registry calls this once per scrape.

        The counts of one pool belong to the same instant, apart from the oldest wait, which is read just after them.
        """
        rows = [(name, pool, pool.stats()) for name, pool in self._pools.items()]
        submitted = CounterMetricFamily("worker_pool_jobs_submitted", "Jobs that the pool accepted.", labels=[LABEL])
        finished = CounterMetricFamily("worker_pool_jobs_finished", "Jobs with a result.", labels=[LABEL, "outcome"])
        for name, _, stats in rows:
            submitted.add_metric([name], stats.submitted)
            for outcome in OUTCOMES:
                finished.add_metric([name, outcome], getattr(stats, outcome))
        yield submitted
        yield finished
        for gauge, (text, read) in GAUGES.items():
            family = GaugeMetricFamily(f"worker_pool_{gauge}", text, labels=[LABEL])
            for name, pool, stats in rows:
                family.add_metric([name], read(pool, stats))
            yield family
        yield from self._histograms()

    def _histograms(self) -> Iterator[Metric]:
        wait = HistogramMetricFamily(
            "worker_pool_wait_seconds", "From when an attempt could start to its start.", labels=[LABEL]
        )
        service = HistogramMetricFamily(
            "worker_pool_service_seconds", "From the start of an attempt to its end.", labels=[LABEL]
        )
        for name, times in self._times.items():
            waits, services = times.read()
            wait.add_metric([name], *waits)
            service.add_metric([name], *services)
        yield wait
        yield service

    def text(self) -> str:
        """Return what a scrape would return now, in Prometheus' text format."""
        return generate_latest(self.registry).decode()

    @contextmanager
    def serve(self, port: int = 0) -> Iterator[str]:
        """Serve the metrics on 127.0.0.1 for as long as the `with` block runs, and give it their URL.

        `port` 0 means any free port. Afterwards neither a thread nor a socket is left. Raises OSError if the port
        is in use.
        """
        server = _Server((HOST, port), _Handler.factory(self.registry))
        thread = Thread(target=server.serve_forever, args=(0.1,), name="metrics-server", daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}/metrics"
        finally:
            server.shutdown()
            server.server_close()  # waits for the threads that still answer
            thread.join()


class _Times:
    """The wait and service times of one pool: two histograms that are filled, and read, together.

    `prometheus_client.Histogram` takes its lock twice per time and compares the time with each bound. This class takes
    one lock per attempt, and finds the bucket by bisection. It needs less than half of the time.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._lock = Lock()
        self._waits, self._services = [0] * (len(bounds) + 1), [0] * (len(bounds) + 1)
        self._waited = self._served = 0.0  # sums, in seconds

    def add(self, wait: float, service: float) -> None:
        """Count one attempt, in seconds. A clock that is set back gives a negative time, which counts as 0.

        Otherwise the sum could decrease, and Prometheus would take that for a restart of the program.
        """
        wait, service = wait if wait > 0 else 0.0, service if service > 0 else 0.0
        waits, services = bisect_left(self._bounds, wait), bisect_left(self._bounds, service)
        with self._lock:
            self._waits[waits] += 1
            self._services[services] += 1
            self._waited += wait
            self._served += service

    def read(self) -> tuple[tuple[Buckets, float], tuple[Buckets, float]]:
        """Return the buckets and the sum of the waits, and those of the service times."""
        with self._lock:
            waits, waited, services, served = [*self._waits], self._waited, [*self._services], self._served
        return (self._up_to_each_bound(waits), waited), (self._up_to_each_bound(services), served)

    def _up_to_each_bound(self, counts: list[int]) -> Buckets:
        names = [*map(str, self._bounds), "+Inf"]
        return list(zip(names, accumulate(counts), strict=True))


class _Handler(MetricsHandler):
    timeout = PATIENCE


class _Server(ThreadingHTTPServer):
    """A server that knows the threads of its answers, and so can wait for them when it closes."""

    daemon_threads = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client that has gone away is no news
            super().handle_error(request, client_address)


def _ascending(buckets: Sequence[float]) -> list[float]:
    bounds = [
        checks.number("a bound must be a number of seconds, more than 0", bound, above=0)
        for bound in checks.iterable("buckets", buckets)
    ]
    if not bounds or any(low >= high for low, high in pairwise(bounds)):
        raise ValueError(f"buckets must be one or more bounds in ascending order, not {describe(bounds)}")
    return bounds


def _check_name(name: Any) -> None:
    if type(name) is not str:
        raise TypeError(f"the name of a pool must be a string, not {describe(name)}")
    if not name or not name.isprintable():  # half a surrogate pair cannot be encoded, and would fail every scrape
        raise ValueError(f"the name of a pool must be one or more printable characters, not {describe(name)}")
