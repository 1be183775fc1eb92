"""The workers of a pool: which ones there are, how they start, and when they may end.

    reserve ───> start ───> (worker_loop runs jobs) ───> retire ───> (closes its resource) ───> leave
       │           │                   │                                                         ^
       │           └── no thread ──────┼─────────────> cancel_reservation ───────────────────────┘
       │                               └── dies ─────> replace: a new worker in the same thread and place
       └──────── a member from here on, until `leave` ─────────────────────────────────────────────

Owns `members`. A worker becomes a member in `reserve`, before its thread starts. It ends in two steps: in `retire` it
decides to take no more jobs, and in `leave` it stops being a member, after it has closed its resource. Always true,
whenever no thread holds the pool's lock: `state.present` is the number of members that have not retired. The check that
a worker is not needed and its retirement are one locked step, so two workers cannot both retire when only one is too
many.

What a mistake would break: if a worker is counted but has no thread, a shutdown waits forever. If a worker has a
thread but is not counted, the thread is left behind after the shutdown.

Workers are started in acts (see `interrupts`). The module `worker_loop` has the code that a worker runs.
"""

from collections.abc import Callable
from itertools import count
from threading import Thread
from typing import TYPE_CHECKING, Any

from .state import PoolState
from .worker import OpenResource, Worker

if TYPE_CHECKING:
    from .basic import WorkerPool


class Crew:
    """A fixed number of workers. `ElasticCrew` grows and shrinks.

    Attributes:
        state:         of the pool.
        members:       see above; guarded by the pool's lock.
        threads:       the threads of the members and of workers that have just ended; guarded by the pool's lock.
        after_submit:  called without the lock after a job was accepted, or None.
    """

    after_submit: Callable[[], None] | None = None

    def __init__(self, state: PoolState[Any, Any], workers: int) -> None:
        self.state = state
        self.size = workers
        self.members: list[Worker] = []
        self.threads: list[Thread] = []
        self._numbers = count(1)

    def set_up(
        self, pool: "WorkerPool[Any, Any]", resource: OpenResource | None, work: Callable[[Worker], None]
    ) -> None:
        """Set the pool of the workers, the function that opens a resource, and the function that their threads run."""
        self.pool, self.resource, self.work = pool, resource, work

    # -- workers start --------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Start the first workers. An act. Raises RuntimeError if the machine cannot start that many threads."""
        for alarm in self.state.alarms:
            alarm.start()
        for _ in range(self.size):
            with self.state.lock:
                if self.state.closed:  # An interrupt has ended the constructor, and the pool is already shut down.
                    return
                worker = self.reserve()
            self.start(worker)

    def new_worker(self) -> Worker:
        """Make a worker with the next number."""
        return Worker(next(self._numbers), self.pool, self.resource)

    def thread_name(self, worker: Worker) -> str:
        """Return the name for the thread of this worker."""
        return f"{self.state.name}-worker-{worker.number}"

    def reserve(self) -> Worker:
        """Make and count a worker whose thread the caller will start; the caller holds the lock."""
        worker = self.new_worker()
        worker.thread = Thread(target=self.work, args=(worker,), name=self.thread_name(worker), daemon=True)
        self.threads = [thread for thread in self.threads if thread.is_alive() or thread.ident is None]
        self.threads.append(worker.thread)
        self.members.append(worker)
        self.state.present += 1
        return worker

    def start(self, worker: Worker) -> None:
        """Start the thread of a reserved worker, without the lock. If that fails, cancel the reservation and raise."""
        worker.idle_since = self.state.clock()
        try:
            worker.thread.start()
        except BaseException:
            with self.state.lock:
                self.cancel_reservation(worker)
            raise

    def cancel_reservation(self, worker: Worker) -> None:
        """Remove a reserved worker whose thread was not started; the caller holds the lock."""
        self.threads.remove(worker.thread)
        worker.retired = True
        self.state.present -= 1
        self.leave(worker)

    # -- workers end ----------------------------------------------------------------------------------------------

    def may_retire(self, idle_for: float) -> bool:
        """Return True if a worker that has had no job for `idle_for` seconds may end; the caller holds the lock.

        A worker of a fixed crew may end if it will never get a job again: the pool is closed, and no job comes back.
        """
        state = self.state
        return state.closed and (state.cancelled.is_set() or not (state.waits_for_running and state.unfinished()))

    def idle_limit(self, idle_for: float) -> float | None:
        """Return the seconds after which an idle worker checks again if no thread wakes it; None means never."""
        return None

    def retire(self, worker: Worker, now: float) -> None:
        """Count a worker as retired. The caller has checked in the same locked block that the worker may end."""
        worker.retired = True
        self.state.present -= 1
        if not self.state.present:
            self.state.wake_watchers()

    def leave(self, worker: Worker) -> None:
        """Remove a retired worker that has closed its resource; the caller holds the lock."""
        if worker in self.members:
            self.members.remove(worker)
        if not self.members:
            self.ended()

    def ended(self) -> None:
        """Wake the threads that wait for the last worker to end, and end the alarms of a closed pool."""
        if self.state.closed:
            for alarm in self.state.alarms:
                alarm.stop()
        self.state.wake_watchers()

    def after_end(self) -> None:
        """Called, without the lock, after a worker has ended."""

    def replace(self, dead: Worker) -> Worker:
        """Return a new worker that replaces a dead one in the same thread; the caller holds the lock."""
        if dead not in self.members:  # A second exception came after the worker was replaced.
            [its_replacement] = [member for member in self.members if member.thread is dead.thread]
            return its_replacement
        new = self.new_worker()
        new.thread, new.idle_since = dead.thread, dead.idle_since
        new.thread.name = self.thread_name(new)
        self.members[self.members.index(dead)] = new
        return new
