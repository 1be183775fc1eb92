"""A crew that grows when jobs pile up and shrinks when workers have nothing to do.

Owns the limits and the log of decisions. Always true, beside what holds for every crew:

- There are never fewer workers than the minimum and never more than the maximum, apart from workers that are still in
  a job after a `resize`. A worker that retires keeps its place until its resource is closed, so there are never more
  connections than the maximum either.
- All workers that the backlog needs are started at once, by the thread that submits the job that was one too many.
  If no more jobs come and the queue does not move, an alarm starts them when the first job has waited `max_wait`.
- If the machine has no thread left, the jobs stay queued, the workers that are there go on, and the crew tries
  again after a second.

Workers are reserved under the lock and started without it: `reserve` counts them, so two threads that look at the same
time cannot both start the last worker. What a mistake would break: a crew above its maximum overloads the server that
the maximum protects.
"""

from collections import deque
from typing import Any

from . import scaling
from .alarm import Alarm
from .crew import Crew
from .errors import PoolClosed
from .interrupts import uninterrupted
from .scaling import Decision, Limits, Load
from .state import PoolState
from .worker import Worker

LOG_SIZE = 10_000  # decisions kept: the log of a pool that runs for a year must not grow
AGAIN = 1.0  # seconds until the crew asks again for threads that the machine did not have


class ElasticCrew(Crew):
    """Between `limits.min_workers` and `limits.max_workers` workers.

    Attributes:
        limits:      guarded by the pool's lock.
        log:         the last decisions; guarded by the pool's lock.
        not_before:  when the machine may be asked for threads again, seconds on the pool's clock.
    """

    def __init__(self, state: PoolState[Any, Any], workers: int, *, limits: Limits) -> None:
        super().__init__(state, workers)
        self.limits = limits
        self.state.most = limits.max_workers
        self.log: deque[Decision] = deque(maxlen=LOG_SIZE)
        self.not_before = -float("inf")
        self.after_submit = self._after_submit
        self.alarm = Alarm(state.lock, self.look, state.clock, f"{state.name}-scaling")
        state.alarms.append(self.alarm)

    def open(self) -> None:
        """Start the first workers, and note that in the log. An act."""
        super().open()
        now = self.state.clock()
        with self.state.lock:
            self._note(now, 0, scaling.START)

    def set_limits(self, limits: Limits) -> None:
        """Keep to other limits from now on; the caller holds the lock, and calls `look` afterwards.

        Raises PoolClosed once a shutdown has begun.
        """
        if self.state.closed:
            low, high = limits.min_workers, limits.max_workers
            raise PoolClosed(f"{self.state.name} is shut down and cannot be resized to {low} to {high} workers")
        self.limits = limits
        self.state.most = limits.max_workers
        self.not_before = -float("inf")
        self.state.wake_all_idle()  # they look again: some may not be needed any more

    # -- the crew grows -------------------------------------------------------------------------------------------

    def _after_submit(self) -> None:
        # Read without the lock, and that is enough: what only time can change is left to the alarm. So a job that
        # finds the alarm set need not look, unless the queue has become too long.
        too_long = len(self.state.queue) > self.limits.backlog * self.state.present
        if self.state.present < self.most_now() and (too_long or not self.alarm.is_set):
            uninterrupted(self.look)

    def look(self, because: str = "") -> None:
        """Start the workers that are needed now. An act; the alarm calls it too, and a worker that has left."""
        now = self.state.clock()
        with self.state.lock:
            decision, reserved = self._decide(now, because)
            self._set_alarm(now)
        while reserved:
            try:
                self.start(reserved[0])
                reserved.pop(0)
            except BaseException as error:
                self._no_thread(decision, reserved)
                if not isinstance(error, RuntimeError | MemoryError):  # not for want of a thread: this thread has died
                    raise
                return

    def _decide(self, now: float, because: str) -> tuple[Decision | None, list[Worker]]:
        """Reserve the workers that are needed now, and note why; the caller holds the lock."""
        if self.state.closed and not self.state.queue:
            return None, []  # workers are ending, and that there are few is as it should be
        wanted, reason = scaling.wanted(self._load(now), self.limits)
        missing = min(wanted, self.most_now()) - self.state.present
        if missing <= 0 or now < self.not_before:
            return None, []
        before = self.state.present
        reserved = [self.reserve() for _ in range(missing)]
        return self._note(now, before, because or reason), reserved

    def _set_alarm(self, now: float) -> None:
        """See to it that there is a later look if time alone may change the answer; the caller holds the lock."""
        if self.state.closed and not self.state.queue:
            return
        if self.state.present < min(self.limits.min_workers, self.most_now()):
            self.alarm.at(self.not_before)
        elif self.state.queue and self.state.present < self.most_now():
            too_long = self.state.queue[0][0].waiting_since + self.limits.max_wait
            self.alarm.at(max(too_long if too_long > now else now + self.limits.max_wait, self.not_before))

    def _no_thread(self, decision: Decision | None, reserved: list[Worker]) -> None:
        """The machine has no thread for these workers: the jobs stay queued, and the present workers do them."""
        now = self.state.clock()
        with self.state.lock:
            planned = self.state.present
            for worker in reserved[1:]:  # the first has given its place back itself
                self.give_back(worker)
            self.not_before = now + AGAIN
            if decision is not None and self.log and self.log[-1] is decision:
                self.log.pop()
                planned = decision.before
            self._note(now, planned, scaling.NO_THREAD)
            self._set_alarm(now)

    def most_now(self) -> int:
        """How many there may be: a worker that has retired keeps its place until its resource is closed."""
        return self.limits.max_workers - (len(self.members) - self.state.present)

    def _load(self, now: float) -> Load:
        state = self.state
        return Load(state.present, len(state.idle), len(state.queue), state.oldest_wait(now))

    def _note(self, now: float, before: int, reason: str) -> Decision:
        load = self._load(now)
        decision = Decision(now, before, load.workers, reason, load.queued, load.oldest_wait)
        self.log.append(decision)
        return decision

    # -- and shrinks ----------------------------------------------------------------------------------------------

    def may_retire(self, idle_for: float) -> bool:
        """As for every crew; before the pool is closed also a worker that was idle for too long."""
        if self.state.closed:
            return super().may_retire(idle_for)
        return bool(scaling.may_retire(self.state.present, idle_for, self.limits))

    def idle_limit(self, idle_for: float) -> float | None:
        """As for every crew: seconds until the worker may have been idle for too long."""
        if self.state.closed or self.state.present <= self.limits.min_workers:
            return None  # needed, until a resize says otherwise and wakes all
        return max(0.0, self.limits.idle_timeout - idle_for)

    def retire(self, worker: Worker, now: float) -> None:
        """Count off a worker, and note why; the caller holds the lock."""
        reason = scaling.may_retire(self.state.present, now - worker.idle_since, self.limits)
        super().retire(worker, now)
        if not self.state.closed:
            self._note(now, self.state.present + 1, reason)

    def left(self) -> None:
        """A worker has ended."""
        self.look()  # its place is free, and a worker may have been needed meanwhile
