"""A pool that starts workers when jobs pile up, and stops workers that have no job.

    with DynamicPool(handler, min_workers=2, max_workers=10, idle_timeout=30) as pool:
        for result in pool.stream(jobs):
            ...
    pool.decisions()                            # when the number of workers changed, and why

It is a `WorkerPool` with a different crew. `elastic` states what always holds, and `scaling` decides when the crew
grows and shrinks. A new job goes to the worker that became idle last. So under a small load the same few workers stay
busy, and the other workers become idle for long enough to retire.

The cost: as for `WorkerPool`, plus a thread that wakes at most once per `max_wait` seconds while jobs wait. Starting a
worker takes about 0.1 ms, and longer if it opens a connection. What not to do: do not expect that more workers make a
busy database faster. The maximum protects the server behind the handlers.
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
        backlog:       the number of queued jobs per worker above which workers are started.
        max_wait:      the wait of the first queued job, in seconds, above which workers are started.
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
        """The number of workers now."""
        return self._state.present

    @property
    def queue_depth(self) -> int:
        """The number of queued jobs now."""
        return len(self._state.queue)

    def decisions(self) -> tuple[Decision, ...]:
        """Return the last 10,000 changes of the number of workers. `measure.crew_frame` makes a table of them."""
        with self._state.lock:
            return tuple(self._crew.log)

    def resize(self, min_workers: int | None = None, max_workers: int | None = None) -> None:
        """Change the bounds while the pool works. None leaves a bound unchanged.

        If there are fewer workers than the minimum, the missing ones are started at once. Workers above the maximum end
        when they have finished their jobs. Raises TypeError or ValueError if the bounds break their rule, and
        PoolClosed once a shutdown has begun. Then nothing has changed.
        """
        low = None if min_workers is None else checks.whole_number("min_workers", min_workers)
        high = None if max_workers is None else checks.whole_number("max_workers", max_workers)
        uninterrupted(partial(self._resize, low, high))

    def _resize(self, low: int | None, high: int | None) -> None:
        with self._state.lock:  # Another resize must not come between reading and setting.
            now = self._crew.limits
            low, high = _bounds(low or now.min_workers, high or now.max_workers)
            self._crew.set_limits(now._replace(min_workers=low, max_workers=high))
        self._crew.start_needed_workers(scaling.RESIZED)


def _bounds(low: Any, high: Any) -> tuple[int, int]:
    low, high = checks.whole_number("min_workers", low), checks.whole_number("max_workers", high)
    if low > high:
        raise ValueError(f"min_workers must be at most max_workers, not {low} to {high}")
    return low, high
