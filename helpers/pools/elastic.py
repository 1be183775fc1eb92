"""A crew that grows when jobs pile up, and shrinks when workers have no job.

Owns the limits and the log of decisions. Always true, in addition to what holds for every crew:

- Until the pool closes, there are at least as many workers as the minimum, if the machine has the threads. There are
  never more than the maximum, except for workers that are still running a job after a `resize`. A retired worker counts
  until it has closed its resource, so there are never more connections than the maximum either.
- A submit that makes the queue longer than `backlog` jobs per worker starts all workers that are needed. If no more
  jobs come and the queue does not move, an alarm starts the workers when the first job has waited for `max_wait`.
- If the machine has no thread left, the jobs stay queued, the present workers continue, and the crew tries again after
  a second.

Workers are reserved under the lock and started without it. `reserve` counts them, so two threads that check at the same
time cannot both start the last worker. What a mistake would break: a crew that exceeds its maximum overloads the server
that the maximum protects.
"""

from collections import deque
from typing import Any

from . import scaling
from .alarm import RETRY_WAIT, Alarm
from .crew import Crew
from .errors import PoolClosed
from .interrupts import uninterrupted
from .scaling import Decision, Limits, Load
from .state import PoolState
from .worker import Worker

LOG_SIZE = 10_000  # decisions kept, because the log of a pool that runs for a year must not grow


class ElasticCrew(Crew):
    """Between `limits.min_workers` and `limits.max_workers` workers.

    Attributes:
        limits:      guarded by the pool's lock.
        log:         the last decisions; guarded by the pool's lock.
        not_before:  when the crew may try again to start threads, in seconds on the pool's clock.
    """

    def __init__(self, state: PoolState[Any, Any], workers: int, *, limits: Limits) -> None:
        super().__init__(state, workers)
        self.limits = limits
        self.state.max_workers = limits.max_workers
        self.log: deque[Decision] = deque(maxlen=LOG_SIZE)
        self.not_before = -float("inf")
        self.after_submit = self._after_submit
        self.alarm = Alarm(state.lock, self.start_needed_workers, state.clock, f"{state.name}-scaling")
        state.alarms.append(self.alarm)

    def open(self) -> None:
        """Start the first workers, and record that in the log. Run it with `uninterrupted`."""
        super().open()
        now = self.state.clock()
        with self.state.lock:
            self._note(now, 0, scaling.START)

    def set_limits(self, limits: Limits) -> None:
        """Use other limits from now on. The caller holds the lock, and calls `start_needed_workers` afterwards.

        Raises PoolClosed once a shutdown has begun.
        """
        if self.state.closed:
            low, high = limits.min_workers, limits.max_workers
            raise PoolClosed(f"{self.state.name} is shut down and cannot be resized to {low} to {high} workers")
        self.limits = limits
        self.state.max_workers = limits.max_workers
        self.not_before = -float("inf")
        self.state.wake_all_idle()  # Each checks whether it is still needed.

    # -- the crew grows -------------------------------------------------------------------------------------------

    def _after_submit(self) -> None:
        # Reading without the lock is enough here. If the alarm is set, it makes the decisions that depend on time. So
        # only a queue that has become too long needs a check now.
        too_long = len(self.state.queue) > self.limits.backlog * self.state.present
        if self.state.present < self.max_workers_now() and (too_long or not self.alarm.is_set):
            uninterrupted(self.start_needed_workers)

    def start_needed_workers(self, because: str = "") -> None:
        """Start the workers that are needed now. An act. Submitters, the alarm, and workers that end call it."""
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
                if not isinstance(error, RuntimeError | MemoryError):  # another thread has injected this error
                    raise
                return

    def _decide(self, now: float, because: str) -> tuple[Decision | None, list[Worker]]:
        """Reserve the workers that are needed now, and record the reason; the caller holds the lock."""
        if self.state.closed and not self.state.queue:
            return None, []  # The workers are ending, so it is right that there are few.
        wanted, reason = scaling.wanted(self._load(now), self.limits)
        missing = min(wanted, self.max_workers_now()) - self.state.present
        if missing <= 0 or now < self.not_before:
            return None, []
        before = self.state.present
        reserved = [self.reserve() for _ in range(missing)]
        return self._note(now, before, because or reason), reserved

    def _set_alarm(self, now: float) -> None:
        """Set the alarm if the passing of time alone may make a worker necessary; the caller holds the lock."""
        if self.state.closed and not self.state.queue:
            return
        if self.state.present < min(self.limits.min_workers, self.max_workers_now()):
            self.alarm.at(self.not_before)
        elif self.state.queue and self.state.present < self.max_workers_now():
            too_long = self.state.queue[0][0].waiting_since + self.limits.max_wait
            self.alarm.at(max(too_long if too_long > now else now + self.limits.max_wait, self.not_before))

    def _no_thread(self, decision: Decision | None, reserved: list[Worker]) -> None:
        """Cancel the reservation of workers that the machine has no thread for. The present workers do the jobs."""
        now = self.state.clock()
        with self.state.lock:
            planned = self.state.present
            for worker in reserved[1:]:  # `start` has cancelled the first reservation.
                self.cancel_reservation(worker)
            self.not_before = now + RETRY_WAIT
            if decision is not None and self.log and self.log[-1] is decision:
                self.log.pop()
                planned = decision.before
            self._note(now, planned, scaling.NO_THREAD)
            self._set_alarm(now)

    def max_workers_now(self) -> int:
        """Return the maximum now. A retired worker keeps its place until its resource is closed."""
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
        """Return True as for every crew, and before the pool closes also for a worker that was idle for too long."""
        if self.state.closed:
            return super().may_retire(idle_for)
        return bool(scaling.may_retire(self.state.present, idle_for, self.limits))

    def idle_limit(self, idle_for: float) -> float | None:
        """Return the seconds until the worker has been idle for long enough to retire; None means never."""
        if self.state.closed or self.state.present <= self.limits.min_workers:
            return None  # The worker is needed until a resize, which wakes all idle workers.
        return max(0.0, self.limits.idle_timeout - idle_for)

    def retire(self, worker: Worker, now: float) -> None:
        """Count a worker as retired, and record the reason; the caller holds the lock."""
        reason = scaling.may_retire(self.state.present, now - worker.idle_since, self.limits)
        super().retire(worker, now)
        if not self.state.closed:
            self._note(now, self.state.present + 1, reason)

    def after_end(self) -> None:
        """Check whether a worker is needed, because the place of the worker that has ended is free now."""
        self.start_needed_workers()
