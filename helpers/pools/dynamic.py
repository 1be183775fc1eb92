"""A pool that starts workers when jobs pile up and stops those that have nothing to do.

    with DynamicPool(handler, min_workers=2, max_workers=10, idle_timeout=30) as pool:
        for result in pool.stream(jobs):
            ...
    pool.decisions()                            # when the number of workers changed, and why

It is a `WorkerPool` with another crew: `elastic` says what always holds for it, `scaling` when it grows and shrinks.
When a job comes, the worker that became idle last gets it. So under a small load the same few workers are busy, and
the idle time of the others runs.

The cost: as for `WorkerPool`, and a thread that wakes at most once per `max_wait` seconds while jobs wait. Starting a
worker takes about 0.1 ms, and longer if it opens a connection. What not to do: hope that more workers make a full
database faster. The maximum is a promise to the server behind the handlers.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from . import checks, scaling
from .basic import WorkerPool
from .elastic import ElasticCrew
from .interrupts import uninterrupted
from .scaling import Decision, Limits

Job = TypeVar("Job")
Value = TypeVar("Value")


class DynamicPool(WorkerPool[Job, Value]):
    """Between `min_workers` and `max_workers` threads that call handler(job).

    Args:
        handler, queue_size:       as for `WorkerPool`.
        min_workers, max_workers:  the bounds of the number of workers; `resize` changes them.
        idle_timeout:  seconds without a job after which a worker above the minimum ends.
        backlog:       how many waiting jobs there may be per worker; with more, workers are started.
        max_wait:      seconds that the first job in the queue may have waited; after more, workers are started.
        options:       the other arguments of `WorkerPool`.

    Raises TypeError or ValueError for an argument that breaks its rule.
    """

    _crew: ElasticCrew

    def __init__(
        self,
        handler: Callable[[Job], Value],
        *,
        min_workers: int,
        max_workers: int,
        queue_size: int = 100,
        idle_timeout: float = 30.0,
        backlog: int = 5,
        max_wait: float = 0.1,
        **options: Any,
    ) -> None:
        checks.seconds("idle_timeout", idle_timeout)
        checks.seconds("max_wait", max_wait)
        checks.whole_number("backlog", backlog)
        low, high = _bounds(min_workers, max_workers)
        crew = partial(ElasticCrew, limits=Limits(low, high, idle_timeout, backlog, max_wait))
        super().__init__(handler, workers=low, queue_size=queue_size, crew=crew, **options)

    @property
    def worker_count(self) -> int:
        """How many workers there are now."""
        return self._state.present

    @property
    def queue_depth(self) -> int:
        """How many jobs wait in the queue now."""
        return len(self._state.queue)

    def decisions(self) -> tuple[Decision, ...]:
        """Every change of the number of workers, in order; the last 10,000. `measure.crew_frame` makes it a table."""
        with self._state.lock:
            return tuple(self._crew.log)

    def resize(self, min_workers: int | None = None, max_workers: int | None = None) -> None:
        """Change the bounds while the pool works; None leaves one as it is.

        Workers that are missing to the minimum are started at once. Workers above the maximum end when they have
        finished their job. Raises TypeError or ValueError if the two bounds break their rule, PoolClosed once a
        shutdown has begun; then nothing has changed.
        """
        low = None if min_workers is None else checks.whole_number("min_workers", min_workers)
        high = None if max_workers is None else checks.whole_number("max_workers", max_workers)
        uninterrupted(partial(self._resize, low, high))

    def _resize(self, low: int | None, high: int | None) -> None:
        with self._state.lock:  # from the limits as they are to the new ones: another resize must not come between
            now = self._crew.limits
            low, high = _bounds(low or now.min_workers, high or now.max_workers)
            self._crew.set_limits(now._replace(min_workers=low, max_workers=high))
        self._crew.look(scaling.RESIZED)


def _bounds(low: Any, high: Any) -> tuple[int, int]:
    low, high = checks.whole_number("min_workers", low), checks.whole_number("max_workers", high)
    if low > high:
        raise ValueError(f"min_workers must be at most max_workers, not {low} to {high}")
    return low, high
