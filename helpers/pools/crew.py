"""The worker threads of a pool: they start, take jobs, run them, settle them, and retire.

Owns who is present. Always true, whenever nobody holds the pool's lock:

- `members` are the workers from the moment in which they are counted, before their thread starts, until they have
  closed their resource. `present` is the number of those that have not retired.
- A worker decides to retire and is counted off in one step under the lock, so two cannot both be the last one that
  was not needed.
- Whatever a handler raises is in its result, and the worker goes on. If a worker ends all the same, for a reason
  outside of the handler (an exception injected into its thread, no memory left), its job fails with `WorkerDied`, and
  a new worker takes its place, in the same thread.

What a mistake would break: a worker that is counted and not there makes a shutdown wait forever; one that is there
and not counted is left behind.

Worker threads are never interrupted: Python raises KeyboardInterrupt in the main thread only. Workers are started
by acts: see `interrupts`.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from threading import Thread
from typing import TYPE_CHECKING, Any

from .errors import WorkerDied
from .matching import matches
from .state import Order, PoolState
from .tracebacks import clear_locals
from .words import describe_error
from .worker import OpenResource, Worker, become

if TYPE_CHECKING:
    from .basic import WorkerPool

Settle = Callable[[Worker, Order[Any, Any]], None]


class Crew:
    """A fixed number of workers. `ElasticCrew` grows and shrinks.

    Attributes:
        pool:      whose workers they are.
        handler, resource, broken:  as for `WorkerPool`.
        settle:    what is done with a job that has run: `PoolState.finish`, or what a retrying pool does.
        most:      workers above this number retire before they take another job.
        deliver:   hands the results of submitted jobs to a callback, if the pool has one.
        after_submit:  called without the lock after a job was accepted, or None.
    """

    after_submit: Callable[[], None] | None = None
    deliver: Callable[[], None]

    def __init__(self, state: PoolState[Any, Any], workers: int) -> None:
        self.state = state
        self.clock = state.clock
        self.size = workers
        self.most: float = workers
        self.members: list[Worker] = []  # guarded by the pool's lock, as all below
        self.present = 0
        self.threads: list[Thread] = []  # of the members, and of those that have just ended
        self.settle: Settle = state.finish
        self._numbers = count(1)

    def employ(
        self,
        pool: "WorkerPool[Any, Any]",
        handler: Callable[[Any], Any],
        resource: OpenResource | None,
        broken: Any,
    ) -> None:
        """Say for which pool the workers work, and with what."""
        self.pool, self.handler, self.resource, self.broken = pool, handler, resource, broken

    # -- workers start --------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Start the first workers. An act. Raises RuntimeError if the machine cannot start that many threads."""
        for alarm in self.state.alarms:
            alarm.start()
        for _ in range(self.size):
            with self.state.lock:
                if self.state.closed:  # an interrupt has ended the constructor, and the pool is shut down already
                    return
                worker = self.reserve()
            self.start(worker)

    def reserve(self) -> Worker:
        """Count a worker that is about to start; the caller holds the lock."""
        worker = Worker(next(self._numbers), self.pool, self.resource)
        worker.thread = Thread(target=self._live, args=(worker,), name=self._thread_name(worker), daemon=True)
        self.threads = [thread for thread in self.threads if thread.is_alive() or thread.ident is None]
        self.threads.append(worker.thread)
        self.members.append(worker)
        self.present += 1
        return worker

    def start(self, worker: Worker) -> None:
        """Start the thread of a reserved worker, without the lock. If that is impossible, give its place back."""
        worker.idle_since = self.clock()
        try:
            worker.thread.start()
        except BaseException:  # there is no thread
            with self.state.lock:
                self.give_back(worker)
            raise

    def give_back(self, worker: Worker) -> None:
        """Count off a reserved worker whose thread was not started; the caller holds the lock."""
        self.threads.remove(worker.thread)
        worker.retired = True
        self.present -= 1
        self._leave(worker)

    def _thread_name(self, worker: Worker) -> str:
        return f"{self.state.name}-worker-{worker.number}"

    # -- workers work ---------------------------------------------------------------------------------------------

    def _live(self, worker: Worker) -> None:
        """The life of a thread: one worker, and those that replace it should it die."""
        death: BaseException | None = None
        while True:
            try:
                if death is not None:
                    clear_locals(death, sys._getframe())
                    worker = self._replace(worker, death)
                    death = None
                if not worker.retired:
                    self._work(worker)
                self._end(worker)
                return
            except BaseException as error:  # not the handler's: that is in the job's result
                death = error

    def _work(self, worker: Worker) -> None:
        become(worker)
        handler, number, clock, take = self.handler, worker.number, self.clock, self.take
        while True:
            order = take(worker)
            if order is None:
                if self._retires(worker):
                    break
                continue
            result, outlet = order
            result.run(handler, number, clock)
            worker.idle_since = result.finished
            if result.error is not None and worker.has_resource:
                self._check_resource(worker, result.error)
            self.settle(worker, order)
            if outlet.eager:
                outlet.deliver()
            del order, result, outlet  # an idle worker keeps nothing of its last job alive

    def take(self, worker: Worker) -> Order[Any, Any] | None:
        """Move the first job of the queue to this worker's hand. None: there is none, or the worker is one too many."""
        state = self.state
        with state.lock:
            if not state.queue or (self.present > self.most and not state.closed):
                return None
            # Between these lines Python injects no exception into the thread, so the job is in exactly one of the two
            # places: Python does so after a call, and the only call is the last line.
            order: Order[Any, Any] = state.queue[0]
            worker.order = order
            state.running += 1
            state.queue.popleft()
            if state.blocked:
                state.wake_blocked()
            return order

    def _retires(self, worker: Worker) -> bool:
        """Wait until there may be a job for this worker. True if it has retired instead."""
        state, now = self.state, self.clock()
        idle_for = now - worker.idle_since
        with state.lock:
            surplus = self.present > self.most and not state.closed
            if surplus or (not state.queue and self.may_retire(idle_for)):
                self.retire(worker, now)
                return True
            if state.queue:
                return False
            worker.idle = True
            state.idle.append(worker)
            limit = self.idle_limit(idle_for)
        worker.parker.park(limit)
        self._unlist(worker)
        return False

    def _unlist(self, worker: Worker) -> None:
        """Take a worker that has woken up off the idle list, if it is still there."""
        # Whoever notifies a worker takes it off the list, in one locked block. So a worker whose time is up in the
        # moment in which it is notified finds itself off the list and a job in the queue, and does not retire.
        with self.state.lock:
            if worker.idle:
                worker.idle = False
                with suppress(ValueError):  # it may be off the list: see `PoolState.wake_idle_worker`
                    self.state.idle.remove(worker)

    def _check_resource(self, worker: Worker, error: BaseException) -> None:
        """Close the worker's resource if the error of its job says that the resource is broken."""
        try:
            broken = matches(error, self.broken)
        except BaseException:  # of the user's function: a new resource is the safe answer
            broken = True
        if broken:
            self.note_error(worker.discard())

    def note_error(self, error: BaseException | None) -> None:
        """Keep what went wrong outside of any job, for the report of the shutdown."""
        if error is not None:
            with self.state.lock:
                self.state.errors.append(error)

    # -- workers end ----------------------------------------------------------------------------------------------

    def may_retire(self, idle_for: float) -> bool:
        """True if a worker without a job for `idle_for` seconds is not needed any more; the caller holds the lock."""
        return self.state.needs_nobody()

    def idle_limit(self, idle_for: float) -> float | None:
        """Seconds until such a worker looks again if nobody notifies it (None: it does not)."""
        return None

    def retire(self, worker: Worker, now: float) -> None:
        """Count off a worker, in the same step in which it was found not to be needed; the caller holds the lock."""
        worker.retired = True
        self.present -= 1
        if not self.present:
            self.state.wake_watchers()

    def _end(self, worker: Worker) -> None:
        """The last thing that a retired worker does."""
        self.note_error(worker.discard())
        with self.state.lock:
            self._leave(worker)
        self.left()

    def _leave(self, worker: Worker) -> None:
        if worker in self.members:
            self.members.remove(worker)
        if not self.members:
            self.state.crew_ended()

    def left(self) -> None:
        """Called, without the lock, when a worker has ended and closed its resource."""

    def _replace(self, worker: Worker, death: BaseException) -> Worker:
        """Settle the job of a worker that has died, and return the worker that takes its place in this thread."""
        if worker.order is not None:
            self._fail_job(worker, worker.order, death)
        self.deliver()  # what it had settled and not delivered
        self.note_error(worker.discard())
        with self.state.lock:
            self._unlist(worker)
            if worker.retired:  # it died on its way out
                return worker
            if worker not in self.members:  # the thread died a second time, after this worker had been replaced
                return next(member for member in self.members if member.thread is worker.thread)
            new = Worker(next(self._numbers), self.pool, self.resource)
            new.thread, new.idle_since = worker.thread, worker.idle_since
            self.members[self.members.index(worker)] = new
        new.thread.name = self._thread_name(new)
        return new

    def _fail_job(self, worker: Worker, order: Order[Any, Any], death: BaseException) -> None:
        error = WorkerDied(f"worker {worker.number} died: {describe_error(death)}")
        error.__cause__ = death
        order[0].worker = worker.number
        order[0].fail(error, self.clock())
        try:
            self.settle(worker, order)
        except BaseException:  # perhaps it was settling that has killed it: then without asking for a retry
            if worker.order is not None:
                self.state.finish(worker, order)
