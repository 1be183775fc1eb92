"""How a pool ends: close, cancel, stop waiting, and report.

Owns nothing of its own. Each step is an act (see `interrupts`), so an interrupt ends the wait of a shutdown and never
its work, and each step may be repeated, from any thread.

Always true: no job is accepted after `close`. Jobs that are queued when a shutdown stops waiting are cancelled in the
same step in which the running handlers are told, so that no job starts in between. A shutdown never waits for a
reader.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Generic, TypeVar

from .crew import Crew
from .interrupts import release_if_owned, uninterrupted
from .outlet import Outlet
from .parker import SLICE, Parker
from .report import PoolStats, ShutdownReport
from .state import PoolState

Job = TypeVar("Job")
Value = TypeVar("Value")

# How long a forced shutdown waits for handlers that look at `cancelled`, seconds.
GRACE = 0.5


class Closing(Generic[Job, Value]):
    """The end of one pool. `stats` gives the pool's counts; it is called with the lock held."""

    def __init__(
        self,
        state: PoolState[Job, Value],
        crew: Crew,
        outlet: Outlet[Job, Value],
        stats: Callable[[], PoolStats],
    ) -> None:
        self._state = state
        self._crew = crew
        self._outlet = outlet
        self._stats = stats

    def close(self) -> None:
        """Accept no more jobs. Idle workers that are not needed end; blocked submitters get PoolClosed."""
        self._act(self._close)

    def cancel_queued(self) -> None:
        """Cancel all queued and delayed jobs."""
        self._act(self._cancel)

    def force(self) -> None:
        """Close the pool, cancel all queued and delayed jobs, and tell the running handlers."""
        self._act(self._force)

    def wait(self, until: float | None) -> bool:
        """Wait until every thread of the pool has ended. False if some have not by `until` (None: no deadline)."""
        state, parker = self._state, Parker()
        state.watchers.append(parker)
        try:
            while self._crew.members:
                remaining = SLICE if until is None else until - time.monotonic()
                if remaining <= 0:
                    return False
                parker.park(min(remaining, SLICE))
        finally:
            with suppress(ValueError):
                state.watchers.remove(parker)
        return self._wait_for_threads(until)

    def _wait_for_threads(self, until: float | None) -> bool:
        """Wait for the last steps of threads that have nothing more to do, which takes microseconds."""
        # Not join(): before Python 3.13 an interrupt in it marks a running thread as ended.
        for thread in [*self._crew.threads, *(alarm.thread for alarm in self._state.alarms)]:
            while thread.is_alive():
                if until is not None and time.monotonic() >= until:
                    return False
                time.sleep(0.0001)
        return True

    def report(self, ended: bool) -> ShutdownReport:
        """Report what has become of the jobs. If some threads have not `ended`, the pool stops waiting for them."""
        return uninterrupted(partial(self._report, ended))

    def _act(self, act: Callable[[], None]) -> None:
        release_if_owned(self._state.lock)
        uninterrupted(act)

    def _close(self) -> None:
        state = self._state
        with state.lock:
            state.closed = True
            state.wake_all_idle()
            state.wake_blocked(everybody=True)
            if not self._crew.members:
                state.crew_ended()

    def _cancel(self) -> None:
        now = self._state.clock()
        with self._state.lock:
            self._state.cancel(None, now)
        self._outlet.deliver()

    def _force(self) -> None:
        now = self._state.clock()
        with self._state.lock:
            self._close()
            self._state.cancelled.set()
            self._state.cancel(None, now)
            for alarm in self._state.alarms:
                alarm.stop()
        self._outlet.deliver()

    def _report(self, ended: bool) -> ShutdownReport:
        state = self._state
        with state.lock:
            in_hand = [worker.task for worker in self._crew.members if worker.task is not None]
            if not ended:
                state.abandoned = True
                state.wake_watchers()
            return ShutdownReport(
                finished=tuple(state.finished_late),
                cancelled=tuple(state.cancelled_late),
                still_running=tuple(task[0].job for task in in_hand),
                errors=tuple(state.errors),
                stats=self._stats(),
            )
