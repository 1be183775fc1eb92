"""How jobs come into a pool: offered under the lock; if there is no room, the submitter waits without the lock.

Always true: a call that raises PoolClosed or TimeoutError has not added its job. (An interrupt may come just after a
job was added.) A submitter that was notified and does not use the room, because it timed out or was interrupted, passes
the notification on to the next one.

What a mistake would break: a notification that is swallowed lets another submitter wait although there is room; its
longest single wait of `SLICE` seconds bounds the damage.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread, current_thread
from typing import Generic, TypeVar

from .errors import PoolClosed
from .interrupts import uninterrupted
from .outlet import Outlet
from .parker import SLICE, Parker
from .result import Result
from .state import PoolState, Task
from .words import describe

Job = TypeVar("Job")
Value = TypeVar("Value")


class Intake(Generic[Job, Value]):
    """The way into a pool.

    Attributes:
        state:    of the pool.
        feeders:  the first two threads that have submitted, workers apart; guarded by the pool's lock. See
                `Reading.results`: a reader that is the only one of them need not wait for more.
        after:    called without the lock after a job was accepted: an elastic crew looks whether it must grow. Or None.
    """

    def __init__(self, state: PoolState[Job, Value], after: Callable[[], None] | None) -> None:
        self.state = state
        self.after = after
        self.feeders: set[Thread] = set()

    def submit(self, job: Job, outlet: Outlet[Job, Value], deadline: float | None, timeout: float | None) -> None:
        """Queue a job, waiting for room until `deadline`, which is in `timeout` seconds. Raises what `offer` raises."""
        result: Result[Job, Value] = Result(job, self.state.clock())  # annotated: Result[Job, Value](...) costs 1 us
        task = (result, outlet)
        feeder = self.feeder()
        if not self.offer(task, feeder):
            self.wait_for_room(partial(self.offer, task, feeder), result, deadline, timeout)
        self.accepted()

    def try_submit(self, job: Job, outlet: Outlet[Job, Value], feeder: Thread | None) -> bool:
        """Queue a job if there is room at this instant. Raises what `offer` raises."""
        result: Result[Job, Value] = Result(job, self.state.clock())
        if not self.offer((result, outlet), feeder):
            return False
        self.accepted()
        return True

    def feeder(self) -> Thread | None:
        """The calling thread, if it must be noted as one that submits: see `Reading.results`."""
        return current_thread() if len(self.feeders) < 2 else None

    def offer(self, task: Task[Job, Value], feeder: Thread | None = None, parker: Parker | None = None) -> bool:
        """Queue a job if there is room. If there is none, put `parker` into the line of waiting submitters.

        Raises PoolClosed once a shutdown has begun.
        """
        state = self.state
        with state.lock:
            if not state.closed:
                if not state.has_room():
                    self._join_line(parker)
                    return False
                if parker is not None:
                    self._unlist(parker)
                    if len(state.queue) + 1 < state.queue_size:  # one delayed job that comes back makes room for many
                        state.wake_blocked()
                if feeder is not None:
                    self.feeders.add(feeder)  # before its job is in: an interrupted thread can still read the result
                state.enqueue(task)
                return True
        raise self.refusal(task[0].job)

    def admit(self, job: Job, outlet: Outlet[Job, Value], parker: Parker | None = None) -> bool:
        """Queue a job of a stream if there is room, both in the queue and in the stream's window.

        As `offer`, but False after a shutdown has begun, and in the fewest steps: a stream of a million jobs comes here
        a million times.
        """
        state, clock = self.state, self.state.clock
        result: Result[Job, Value] = Result(job, clock())
        with state.lock:
            if len(state.queue) < state.queue_size and len(state.delayed) < state.max_delayed and not state.closed:  # noqa: SIM102
                if outlet.owed - outlet.delayed < state.queue_size + state.present:
                    outlet.owed += 1
                    if parker is not None:
                        self._unlist(parker)
                    if state.idle:
                        state.wake_idle_worker()
                    state.queue.append((result, outlet))
                    return True
            self._join_line(parker)
            return False

    def refusal(self, job: Job) -> PoolClosed:
        """The error for a job that comes too late. Calls the job's repr, so not under the lock."""
        return PoolClosed(f"{self.state.name} is shut down and takes no more jobs: {describe(job)} was not taken")

    def accepted(self) -> None:
        """Called after a job was accepted, without the lock."""
        if self.after is not None:
            self.after()

    def wait_for_room(
        self,
        attempt: Callable[..., bool],
        result: Result[Job, Value],
        deadline: float | None,
        timeout: float | None,
    ) -> None:
        """Repeat attempt(parker=...) when there may be room, until it is true. Raises TimeoutError at `deadline`."""
        parker = Parker()
        try:
            while not attempt(parker=parker):
                remaining = SLICE if deadline is None else deadline - time.monotonic()
                if remaining <= 0:
                    raise TimeoutError(f"{self._no_room()} within {describe(timeout)} s for {describe(result.job)}")
                parker.park(min(remaining, SLICE))
                result.submitted = self.state.clock()
            if parker.listed:  # its job was taken care of in another way: see `Retries.move`
                self.leave_line(parker)
        except BaseException:
            uninterrupted(partial(self.leave_line, parker))
            raise

    def _no_room(self) -> str:
        if len(self.state.delayed) >= self.state.max_delayed:
            return f"no room, because max_delayed={self.state.max_delayed} jobs were waiting for a retry,"
        return f"no room in the queue of {self.state.queue_size}"

    def leave_line(self, parker: Parker) -> None:
        """Leave the line without a job. A submitter that was notified passes the notification on. May be repeated."""
        with self.state.lock:
            if not self._unlist(parker) and self.state.has_room():
                self.state.wake_blocked()

    def _join_line(self, parker: Parker | None) -> None:
        if parker is None or parker.listed:
            return
        parker.listed = True
        if parker.notified:  # a newcomer has taken the room that this submitter was notified of: it keeps its turn
            self.state.blocked.appendleft(parker)
        else:
            self.state.blocked.append(parker)

    def _unlist(self, parker: Parker) -> bool:
        """True if the parker was still in the line."""
        if not parker.listed:
            return False
        parker.listed = False
        with suppress(ValueError):
            self.state.blocked.remove(parker)
        return True
