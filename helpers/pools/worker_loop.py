"""What a worker does: it takes a job, runs it, and settles it, again and again. It waits if there is no job.

To *settle* a job is to decide what happens after it has run: in a plain pool the job is finished, and in a retrying
pool it may be delayed for a retry.

Always true: whatever a handler raises is in the job's result, and the worker continues. If a worker ends anyway, for a
reason outside of the handler (another thread injected an exception, or there is no memory left), this attempt fails
with `WorkerDied`, and a new worker replaces it in the same thread. So neither a job nor a worker is ever lost.

What a mistake would break: a job that is in no place is lost, and a worker that sleeps while a job is queued may sleep
forever.

KeyboardInterrupt never arrives in a worker's thread, because Python raises it in the main thread only.
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
from .worker import Worker, set_current_worker

Settle = Callable[[Worker, Task[Any, Any]], None]


class WorkerLoop:
    """The loop that all workers of one pool run. It has no changing state of its own.

    Attributes:
        settle:  called with each job that has run: `PoolState.finish`, or the function of a retrying pool.
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

    def run_worker(self, worker: Worker) -> None:
        """Run a worker until it ends. If it dies, run its replacement. Each worker thread calls this once."""
        death: BaseException | None = None
        while True:
            try:
                if death is not None:
                    worker, death = self._replace(worker, death), None
                if not worker.retired:  # If it has retired, it died in `_end`.
                    set_current_worker(worker)
                    self._work(worker)
                self._end(worker)
                return
            except BaseException as error:  # Not an error of the handler: those are in the results.
                death = error
                with suppress(BaseException):
                    clear_locals(error, sys._getframe())

    def _work(self, worker: Worker) -> None:
        while True:  # Not `while condition`: CPython 3.11 does not optimize a function whose only loop has that form.
            task = self.take(worker)
            if task is not None:
                self._do(worker, task)
                del task  # An idle worker must not keep its last job in memory.
            elif self._retire_or_wait(worker):
                return

    def _do(self, worker: Worker, task: Task[Any, Any]) -> None:
        """Run one job and settle it."""
        result, outlet = task
        if result.attempt and result.broke_resource:  # a retry after a broken resource: open a new one
            self._state.note_error(worker.close_resource())
            result.mark_resource(False)
        result.run(self._handler, worker.number, self._state.clock)
        worker.idle_since = result.finished
        if worker.has_resource and result.error is not None:
            self._check_resource(worker, result)
        settle = self.settle  # In CPython 3.11 a lookup before the call is faster than both in one expression.
        settle(worker, task)
        if outlet.has_callback:
            outlet.deliver()
        # The frames of an error refer to this frame through `f_back`. If this frame kept the result, which refers to
        # the error, they would form a reference cycle.
        del task, result, outlet

    def take(self, worker: Worker) -> Task[Any, Any] | None:
        """Move the first queued job to `worker.task` and return it. Return None if there is no job for this worker."""
        state = self._state
        with state.lock:
            if not state.queue or (state.present > state.max_workers and not state.closed):
                return None
            # Python raises an injected exception only after a call, and `popleft` is the first call here. So the
            # exception finds the job in exactly one of the two places.
            task: Task[Any, Any] = state.queue[0]
            worker.task = task
            state.running += 1
            state.queue.popleft()
            if state.blocked:
                state.wake_blocked()
            return task

    def _retire_or_wait(self, worker: Worker) -> bool:
        """Wait until there may be a job for this worker. Return True if the worker has retired instead."""
        state, now = self._state, self._state.clock()
        idle_for = now - worker.idle_since
        with state.lock:
            surplus = state.present > state.max_workers and not state.closed
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
        """Remove a worker that has woken up from the idle list, if it is still there."""
        # The thread that wakes a worker removes it from the list and queues a job, in one locked block. If the worker's
        # timeout ends at that moment, the worker looks at the queue before it may retire, and finds the job.
        with self._state.lock:
            if worker.idle:
                worker.idle = False
                with suppress(ValueError):  # An interrupt in `PoolState.wake_idle_worker` may have removed it already.
                    self._state.idle.remove(worker)

    def _check_resource(self, worker: Worker, result: Result[Any, Any]) -> None:
        """Close the worker's resource if the error of its job means that the resource is broken."""
        try:
            broke = result.error is not None and matches(result.error, self._broken)
        except BaseException:  # The user's function `broken` failed. A new resource is the safe choice.
            broke = True
        if broke:
            result.mark_resource(True)
            self._state.note_error(worker.close_resource())

    def _end(self, worker: Worker) -> None:
        """Close the resource of a retired worker and remove the worker from the crew."""
        self._state.note_error(worker.close_resource())
        with self._state.lock:
            self._crew.leave(worker)
        self._crew.after_end()

    def _replace(self, worker: Worker, death: BaseException) -> Worker:
        """Fail the job of a worker that has died, and return the worker that continues in this thread."""
        if worker.task is not None:
            self._fail_job(worker, worker.task, death)
        # The worker may have died just before it delivered a result or notified another thread. Do both again.
        self._outlet.deliver()
        self._state.note_error(worker.close_resource())
        with self._state.lock:
            self._unlist(worker)
            self._state.wake_all_idle()
            self._state.wake_blocked(everybody=True)
            # A worker that died in `_end` continues with `_end`.
            return worker if worker.retired else self._crew.replace(worker)

    def _fail_job(self, worker: Worker, task: Task[Any, Any], death: BaseException) -> None:
        result = task[0]
        error = WorkerDied(f"worker {worker.number} died: {describe_error(death)}")
        error.__cause__ = death
        result.fail(error, worker.number, self._state.clock())
        try:
            self.settle(worker, task)
        except BaseException:  # Settling may be what killed the worker. Then finish the job without a retry.
            if worker.task is not None:
                self._state.finish(worker, task)
