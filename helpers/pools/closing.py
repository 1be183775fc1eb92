"""How a pool ends: it closes, cancels jobs, stops waiting, and reports.

This module owns no state. Each change is an act (see `interrupts`), so an interrupt ends the wait of a shutdown but
never its work. Each step can be repeated, from any thread.

Always true: the pool accepts no job after `close`. When a shutdown stops waiting, one locked step cancels the queued
jobs and tells the running handlers to stop, so no job starts in between. A shutdown never waits for a reader.

What a mistake would break: a shutdown that never returns, or a job that starts after the pool has reported its end.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread
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
    """The end of one pool. `stats` returns the pool's counts; it is called with the lock held."""

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
        """Accept no more jobs. Idle workers that are not needed end, and blocked submitters get PoolClosed."""
        release_if_owned(self._state.lock)
        with self._state.lock:
            self._state.closed = True  # If an interrupt arrives before the act starts, this stays true.
        uninterrupted(self._close)

    def cancel_queued(self) -> None:
        """Cancel all queued and delayed jobs."""
        self._act(self._cancel)

    def force(self) -> None:
        """Close the pool, cancel all queued and delayed jobs, and tell the running handlers."""
        self._act(self._force)

    def wait(self, until: float | None) -> bool:
        """Wait until every thread of the pool has ended, and return True. Return False if some run at `until`.

        `until` is a time on `time.monotonic()`; None means no deadline.
        """
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
        """Wait for threads that have left the pool to end, which takes microseconds."""
        # Not join(): before Python 3.13, an interrupt in join() marks a running thread as ended.
        for thread in [*self._crew.threads, *(alarm.thread for alarm in self._state.alarms)]:
            while thread.is_alive():
                if until is not None and time.monotonic() >= until:
                    return False
                time.sleep(0.0001)
        return True

    def report(self, ended: bool) -> ShutdownReport:
        """Report what happened to the jobs. If not all threads have `ended`, the pool stops waiting for them."""
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
                self._crew.ended()

    def _cancel(self) -> None:
        now = self._state.clock()
        with self._state.lock:
            self._state.cancel(None, now)
        self._deliver()

    def _force(self) -> None:
        now = self._state.clock()
        with self._state.lock:
            self._close()
            self._state.cancelled.set()
            self._state.cancel(None, now)
            for alarm in self._state.alarms:
                alarm.pool_forced()
        self._deliver()

    def _deliver(self) -> None:
        """Call the callback with the results of the cancelled jobs, in a thread that the user's code may ask about.

        An act in the main thread runs in a thread that `threading` does not know: see `interrupts`.
        """
        if not self._outlet.has_callback:
            return
        done = Parker()
        thread = Thread(target=self._deliver_and_wake, args=(done,), name=f"{self._state.name}-callbacks", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # The machine has no thread left.
            self._outlet.deliver()
        else:
            done.park()

    def _deliver_and_wake(self, done: Parker) -> None:
        try:
            self._outlet.deliver()
        finally:
            done.unpark()

    def _report(self, ended: bool) -> ShutdownReport:
        state = self._state
        with state.lock:
            in_hand = [worker.task for worker in self._crew.members if worker.task is not None]
            if not ended:
                state.abandoned = True
                state.wake_watchers()
            return ShutdownReport(
                finished=tuple(state.finished_after_close),
                cancelled=tuple(state.cancelled_after_close),
                still_running=tuple(task[0].job for task in in_hand),
                errors=tuple(state.errors),
                stats=self._stats(),
            )
