"""How jobs enter a pool. A submitter offers its job under the lock. If there is no room, it waits without the lock.

                      room
    submit ──> offer ──────> queue
               ^   │ no room
               │   v
      notified │  blocked ──────> leave_line: TimeoutError or an interrupt; the next submitter is notified
               └── parks  ──────> offer raises PoolClosed after a shutdown has notified everybody

Always true: a call that raises PoolClosed or TimeoutError has not added its job. (KeyboardInterrupt may arrive just
after the job was added.) A notified submitter that does not use the room, because of a timeout or an interrupt,
notifies the next submitter.

What a mistake would break: if a notification is lost, a submitter waits although there is room. It checks again after
`SLICE` seconds at the latest, so the damage is limited.
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
        state:       the pool's state.
        after:       called without the lock after a job was accepted, or None. An elastic crew checks there whether it
                     must grow.
        submitters:  the first threads, or some of them, that called `submit` or `try_submit`; guarded by the lock.
                     If the reader of `results()` is the only one, it need not wait for jobs of other threads.
    """

    def __init__(self, state: PoolState[Job, Value], after: Callable[[], None] | None) -> None:
        self.state = state
        self.after = after
        self.submitters: set[Thread] = set()

    def submit(self, job: Job, outlet: Outlet[Job, Value], deadline: float | None, timeout: float | None) -> None:
        """Queue a job, and wait for room until `deadline` (`timeout` seconds from now). Raises what `offer` raises."""
        result: Result[Job, Value] = Result(job, self.state.clock())  # Result[Job, Value](...) would cost 1 us more.
        task = (result, outlet)
        submitter = self.submitter()
        if not self.offer(task, submitter):
            self.wait_for_room(partial(self.offer, task, submitter), result, deadline, timeout)
        self.accepted()

    def try_submit(self, job: Job, outlet: Outlet[Job, Value], submitter: Thread | None) -> bool:
        """Queue a job if there is room now, and return whether it was queued. Raises what `offer` raises."""
        result: Result[Job, Value] = Result(job, self.state.clock())
        if not self.offer((result, outlet), submitter):
            return False
        self.accepted()
        return True

    def submitter(self) -> Thread | None:
        """Return the calling thread if it may have to be added to `submitters`, or None."""
        return current_thread() if len(self.submitters) < 2 else None

    def offer(self, task: Task[Job, Value], submitter: Thread | None = None, parker: Parker | None = None) -> bool:
        """Queue a job if there is room, and return True. If there is none, add `parker` to the blocked submitters.

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
                    # Several submitters may have room after delayed jobs have returned: notify the next one.
                    if len(state.queue) + 1 < state.queue_size:
                        state.wake_blocked()
                if submitter is not None:
                    # Add the thread before its job: if an interrupt arrives in between, it can still read results.
                    self.submitters.add(submitter)
                state.enqueue(task)
                return True
        raise self.refusal(task[0].job)

    def admit(self, job: Job, outlet: Outlet[Job, Value], parker: Parker | None = None) -> bool:
        """Queue a job of a stream if there is room, both in the queue and in the stream's window.

        Like `offer`, but it returns False after a shutdown has begun. It has as few steps as possible, because each job
        of a stream passes here.
        """
        state, clock = self.state, self.state.clock
        result: Result[Job, Value] = Result(job, clock())
        with state.lock:
            if len(state.queue) < state.queue_size and len(state.delayed) < state.max_delayed and not state.closed:  # noqa: SIM102
                if outlet.unread - outlet.delayed < state.queue_size + state.present:
                    outlet.unread += 1
                    if parker is not None:
                        self._unlist(parker)
                    if state.idle:
                        state.wake_idle_worker()
                    state.queue.append((result, outlet))
                    return True
            self._join_line(parker)
            return False

    def refusal(self, job: Job) -> PoolClosed:
        """Return the error for a job that came too late. It calls the job's repr, so do not hold the lock."""
        return PoolClosed(f"{self.state.name} is shut down and takes no more jobs: {describe(job)} was not taken")

    def accepted(self) -> None:
        """Call `after`, if there is one, because a job was accepted. Call this without the lock."""
        if self.after is not None:
            self.after()

    def wait_for_room(
        self,
        attempt: Callable[..., bool],
        result: Result[Job, Value],
        deadline: float | None,
        timeout: float | None,
    ) -> None:
        """Call attempt(parker=...) when there may be room, until it returns True. Raises TimeoutError at `deadline`."""
        parker = Parker()
        try:
            while not attempt(parker=parker):
                remaining = SLICE if deadline is None else deadline - time.monotonic()
                if remaining <= 0:
                    raise TimeoutError(f"{self._no_room()} within {describe(timeout)} s for {describe(result.job)}")
                parker.park(min(remaining, SLICE))
                result.submitted = self.state.clock()
            if parker.listed:  # `redrive_one` found that another thread had redriven or discarded the dead letter.
                self.leave_line(parker)
        except BaseException:
            uninterrupted(partial(self.leave_line, parker))
            raise

    def _no_room(self) -> str:
        if len(self.state.delayed) >= self.state.max_delayed:
            return f"no room (max_delayed={self.state.max_delayed} jobs were waiting for a retry)"
        return f"no room in the queue of {self.state.queue_size}"

    def leave_line(self, parker: Parker) -> None:
        """Stop waiting for room. If this submitter was notified, notify the next one. Repeated calls do no harm."""
        with self.state.lock:
            if not self._unlist(parker) and self.state.has_room():
                self.state.wake_blocked()

    def _join_line(self, parker: Parker | None) -> None:
        if parker is None or parker.listed:
            return
        parker.listed = True
        if parker.notified:  # Another submitter was faster. This one keeps its turn.
            self.state.blocked.appendleft(parker)
        else:
            self.state.blocked.append(parker)

    def _unlist(self, parker: Parker) -> bool:
        """Remove the parker from the blocked submitters. Return True if it was still there."""
        if not parker.listed:
            return False
        parker.listed = False
        with suppress(ValueError):
            self.state.blocked.remove(parker)
        return True
