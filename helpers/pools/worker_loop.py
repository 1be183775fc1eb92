"""What a worker does: take a job, run it, settle it, and again; wait if there is none; end if it is not needed.

Always true: anything that a handler raises is in the job's result, and the worker goes on. If a worker ends all the
same, for a reason outside of the handler (an exception injected into its thread, no memory left), its job fails with
`WorkerDied`, and a new worker takes its place, in the same thread. So neither a job nor a worker is ever lost.

What a mistake would break: a job in no place is lost; a worker that sleeps while a job is queued sleeps forever.

Worker threads are never interrupted: Python raises KeyboardInterrupt in the main thread only.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .crew import Crew
from .errors import WorkerDied
from .matching import matches
from .outlet import Outlet
from .result import Result
from .state import PoolState, Task
from .tracebacks import clear_locals
from .words import describe_error
from .worker import Worker, become

Settle = Callable[[Worker, Task[Any, Any]], None]


class WorkerLoop:
    """The work of all workers of one pool; it has no state of its own.

    Attributes:
        settle:  called with a job that has run: `PoolState.finish`, or what a retrying pool does instead.
    """

    def __init__(
        self,
        state: PoolState[Any, Any],
        crew: Crew,
        outlet: Outlet[Any, Any],
        handler: Callable[[Any], Any],
        broken: Any,
    ) -> None:
        self.settle: Settle = state.finish
        self._state = state
        self._crew = crew
        self._outlet = outlet
        self._handler = handler
        self._broken = broken

    def live(self, worker: Worker) -> None:
        """The life of a thread: one worker, and those that replace it should it die."""
        death: BaseException | None = None
        while True:
            try:
                if death is not None:
                    worker, death = self._replace(worker, death), None
                if not worker.retired:  # else it has died on its way out
                    become(worker)
                    self._work(worker)
                self._end(worker)
                return
            except BaseException as error:  # not the handler's: that is in the job's result
                death = error
                with suppress(BaseException):
                    clear_locals(error, sys._getframe())

    def _work(self, worker: Worker) -> None:
        while True:  # and not `while condition`: CPython 3.11 never optimizes a function that loops only in that way
            task = self.take(worker)
            if task is not None:
                self._do(worker, task)
                del task  # an idle worker keeps nothing of its last job alive
            elif self._retires(worker):
                return

    def _do(self, worker: Worker, task: Task[Any, Any]) -> None:
        """Run one job, and settle it."""
        result, outlet = task
        if result.attempt and result.broke_resource:  # a retry: see `worker`
            self._state.note_error(worker.close_resource())
            result.mark_resource(False)
        result.run(self._handler, worker.number, self._state.clock)
        worker.idle_since = result.finished
        if worker.has_resource and result.error is not None:
            self._check_resource(worker, result)
        settle = self.settle  # looked up before it is called, which is faster in CPython 3.11
        settle(worker, task)
        if outlet.eager:
            outlet.deliver()
        # The frames of an error lead to this frame through `f_back`. With the result in it the two would form a cycle.
        del task, result, outlet

    def take(self, worker: Worker) -> Task[Any, Any] | None:
        """Move the first job of the queue to this worker's hand. None: there is none, or the worker is one too many."""
        state = self._state
        with state.lock:
            if not state.queue or (state.present > state.most and not state.closed):
                return None
            # Between these lines Python injects no exception into the thread, so the job is in exactly one of the two
            # places: Python does so after a call, and `popleft` is the first call.
            task: Task[Any, Any] = state.queue[0]
            worker.task = task
            state.running += 1
            state.queue.popleft()
            if state.blocked:
                state.wake_blocked()
            return task

    def _retires(self, worker: Worker) -> bool:
        """Wait until there may be a job for this worker. True if it has retired instead."""
        state, now = self._state, self._state.clock()
        idle_for = now - worker.idle_since
        with state.lock:
            surplus = state.present > state.most and not state.closed
            if surplus or (not state.queue and self._crew.may_retire(idle_for)):
                self._crew.retire(worker, now)
                return True
            if state.queue:
                return False
            worker.idle = True
            state.idle.append(worker)
            limit = self._crew.idle_limit(idle_for)
        worker.parker.park(limit)
        self._unlist(worker)
        return False

    def _unlist(self, worker: Worker) -> None:
        """Take a worker that has woken up off the idle list, if it is still there."""
        # The thread that wakes a worker takes it off the list, in one locked block. So a worker whose time is up in the
        # moment in which it is woken finds itself off the list and a job in the queue, and does not retire.
        with self._state.lock:
            if worker.idle:
                worker.idle = False
                with suppress(ValueError):  # it may be off the list: see `PoolState.wake_idle_worker`
                    self._state.idle.remove(worker)

    def _check_resource(self, worker: Worker, result: Result[Any, Any]) -> None:
        """Close the worker's resource if the error of its job says that the resource is broken."""
        try:
            broke = result.error is not None and matches(result.error, self._broken)
        except BaseException:  # of the user's function: a new resource is the safe answer
            broke = True
        if broke:
            result.mark_resource(True)
            self._state.note_error(worker.close_resource())

    def _end(self, worker: Worker) -> None:
        """The last thing that a retired worker does."""
        self._state.note_error(worker.close_resource())
        with self._state.lock:
            self._crew.leave(worker)
        self._crew.left()

    def _replace(self, worker: Worker, death: BaseException) -> Worker:
        """Settle the job of a worker that has died, and return the worker that takes its place in this thread."""
        if worker.task is not None:
            self._fail_job(worker, worker.task, death)
        self._outlet.deliver()  # it may have died just before it would have done so,
        self._state.note_error(worker.close_resource())
        with self._state.lock:
            self._unlist(worker)
            self._state.wake_all_idle()  # or just before it would have notified another thread
            self._state.wake_blocked(everybody=True)
            # A worker that died on its way out goes on with that.
            return worker if worker.retired else self._crew.replace(worker)

    def _fail_job(self, worker: Worker, task: Task[Any, Any], death: BaseException) -> None:
        result = task[0]
        error = WorkerDied(f"worker {worker.number} died: {describe_error(death)}")
        error.__cause__ = death
        result.fail(error, worker.number, self._state.clock())
        try:
            self.settle(worker, task)
        except BaseException:  # perhaps it was settling that has killed the worker: then without asking for a retry
            if worker.task is not None:
                self._state.finish(worker, task)
