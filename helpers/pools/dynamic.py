"""A pool that hires when the orders pile up and sends home who has nothing to do.

    with DynamicPool(handler, min_workers=2, max_workers=10, idle_timeout=30) as pool:
        for result in pool.stream(jobs):
            ...
    pool.decisions()                            # who came and went, when and why

What holds, beside all that holds for `WorkerPool`:
- There are never fewer workers than the minimum and never more than the maximum: that one may go is decided and
  counted under the lock, so that two cannot both be the one too many. Who goes keeps its place until its resource is
  closed: there are never more connections than the maximum either.
- A worker that times out in the moment in which a job arrives does not take the job with it: see `WorkerPool._get_up`.
- All that the backlog needs are hired at once, in the thread that submits the job that was one too many; and if
  nobody submits any more and the queue does not move, by an alarm, when its head has waited `max_wait` seconds.
- If the machine has no thread to give, the jobs stay queued, the crew that is there works on, and the pool asks again
  in a second.
- An idle worker called is the one that came last. So under a small load the same few work, and the others' time runs.

What it costs: as `WorkerPool`, and a thread that wakes at most once in `max_wait` seconds while jobs wait. Starting a
worker takes about 0.1 ms, and more if it opens a connection. What not to do: hope that more workers make a database
faster that is full already. The maximum is a promise to whoever is behind the handlers.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from . import checks, scaling
from .alarm import Alarm
from .basic import Order, WorkerPool
from .result import PoolClosed
from .scaling import Decision, Limits, Load
from .worker import Worker

Job = TypeVar("Job")
Value = TypeVar("Value")

LOG_SIZE = 10_000  # decisions kept: a pool that runs for a year must not grow
AGAIN = 1.0  # seconds until a machine that had no thread to give is asked again


class DynamicPool(WorkerPool[Job, Value]):
    """Between `min_workers` and `max_workers` threads that call handler(job).

    Args:
        handler, queue_size:       as for `WorkerPool`.
        min_workers, max_workers:  the crew's bounds; `resize` changes them.
        idle_timeout:  seconds without a job after which a worker may go.
        backlog:       how many waiting jobs one worker is trusted with; more, and the crew grows.
        max_wait:      seconds that the first in the queue may have waited; longer, and the crew grows.
        options:       `resource` and `clock` of `WorkerPool`.

    Raises TypeError or ValueError for an argument that breaks its rule.
    """

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
        # The pool's lock guards all: the crew is within the limits, but for those still in a job after a resize.
        self._limits = Limits(*_bounds(min_workers, max_workers), idle_timeout, backlog, max_wait)
        self._log: deque[Decision] = deque(maxlen=LOG_SIZE)
        self._leaving = 0  # let go, and still closing their resources
        self._not_before = 0.0  # when the machine may be asked for threads again
        super().__init__(handler, workers=min_workers, queue_size=queue_size, **options)

    @property
    def worker_count(self) -> int:
        """Workers there are now."""
        return self._present

    @property
    def queue_depth(self) -> int:
        """Jobs that wait now."""
        return len(self._queue)

    def decisions(self) -> tuple[Decision, ...]:
        """Every change of the crew, in order; the last 10,000 of them. `measure.crew_frame` makes it a table."""
        with self._lock:
            return tuple(self._log)

    def resize(self, min_workers: int | None = None, max_workers: int | None = None) -> None:
        """Change the bounds while the pool works; None leaves one as it is.

        Those missing to the minimum are hired at once. Those above the maximum go when they have finished their job.
        Raises TypeError or ValueError if the two bounds break their rule, PoolClosed once a shutdown has begun; then
        nothing has changed.
        """
        with self._lock:
            now = self._limits
            low = now.min_workers if min_workers is None else min_workers
            high = now.max_workers if max_workers is None else max_workers
            low, high = _bounds(low, high)
            if self._closed:
                raise PoolClosed(f"{self._name} is shut down and cannot be resized to {low} to {high} workers")
            self._limits = now._replace(min_workers=low, max_workers=high)
            self._not_before = 0.0
            self._call_all()  # idle workers look again: some may be too many
            self._look(scaling.RESIZED)

    # -- the crew grows -------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        super()._prepare()
        self._scaling = Alarm(self._lock, self._look, self._clock, f"{self._name}-scaling")
        self._alarms.append(self._scaling)

    def _open(self, workers: int) -> None:
        super()._open(workers)
        with self._lock:
            self._note(0, scaling.START)

    def _enqueue(self, order: Order[Job, Value]) -> None:
        super()._enqueue(order)
        if self._present >= self._most():
            return
        # What time alone may change the alarm sees to: a job that finds it set need not look.
        if not self._scaling.is_set or len(self._queue) > self._limits.backlog * self._present:
            self._look()

    def _look(self, because: str = "") -> None:
        """Hire what is needed now, and see to it that there is a later look if time alone may change the answer."""
        with self._lock:
            if self._closed and not self._queue:
                return  # workers go home, and that there are few is as it should be
            now, load = self._clock(), self._load()
            crew, reason = scaling.wanted(load, self._limits)
            crew = min(crew, self._most())
            if crew > load.workers and now >= self._not_before:
                self._grow(crew, because or reason)
            if self._present < min(self._limits.min_workers, self._most()):
                self._scaling.at(self._not_before)
            elif self._queue and self._present < self._most():
                too_long = self._queue[0][0].waiting_since + self._limits.max_wait
                later = too_long if too_long > now else now + self._limits.max_wait
                self._scaling.at(max(later, self._not_before))

    def _most(self) -> int:
        """How many there may be now: who leaves keeps its place until what it had open is closed, a connection say."""
        return self._limits.max_workers - self._leaving

    def _load(self) -> Load:
        return Load(self._present, len(self._idle), len(self._queue), self.oldest_wait())

    def _grow(self, crew: int, reason: str) -> None:
        before = self._present
        try:
            while self._present < crew:
                self._hire_one()
        except (RuntimeError, MemoryError):  # no more threads: the jobs are queued, and who is there does them
            self._not_before = self._clock() + AGAIN
            reason = scaling.NO_THREAD
        finally:
            self._note(before, reason)

    def _note(self, before: int, reason: str) -> None:
        load = self._load()
        self._log.append(Decision(self._clock(), before, load.workers, reason, load.queued, load.oldest_wait))

    # -- and shrinks ----------------------------------------------------------------------------------------------

    def _take(self, worker: Worker) -> Order[Job, Value] | None:
        with self._lock:
            worker.idle_since = self._clock()
            if self._present > self._limits.max_workers and not self._closed:
                self._let_go(worker)  # whether there are jobs or not: somebody has promised that we are fewer
                return None
            return super()._take(worker)

    def _may_go(self, worker: Worker) -> bool:
        """The check, when there is no job; `_take` counts the worker off before it lets go of the lock."""
        return super()._may_go(worker) if self._closed else bool(self._too_many(worker))

    def _too_many(self, worker: Worker) -> str:
        return scaling.may_retire(self._present, self._clock() - worker.idle_since, self._limits)

    def _idle_time(self, worker: Worker) -> float | None:
        if self._closed or self._present <= self._limits.min_workers:
            return None  # needed, until a resize says otherwise and calls all
        return max(0.0, worker.idle_since + self._limits.idle_timeout - self._clock())

    def _let_go(self, worker: Worker) -> None:
        reason = self._too_many(worker)
        super()._let_go(worker)
        self._leaving += 1
        if not self._closed:
            self._note(self._present + 1, reason)

    def _gone(self, error: BaseException | None) -> None:
        with self._lock:
            super()._gone(error)
            self._leaving -= 1
            self._look()  # its place is free: somebody may have been needed meanwhile


def _bounds(low: Any, high: Any) -> tuple[int, int]:
    low, high = checks.whole_number("min_workers", low), checks.whole_number("max_workers", high)
    if low > high:
        raise ValueError(f"min_workers must be at most max_workers, not {low} to {high}")
    return low, high
