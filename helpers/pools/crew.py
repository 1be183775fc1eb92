"""The workers of a pool: which ones are present, how they start, and which ones may end.

Owns `members`: the workers from the moment in which they are counted, before their thread starts, until they have
closed their resource. Always true, whenever nobody holds the pool's lock: `state.present` is the number of members
that have not retired. A worker retires in the same locked step in which it is found not to be needed, so two workers
cannot both be the one that was too many.

What a mistake would break: a worker that is counted and does not exist makes a shutdown wait forever; a worker that
exists and is not counted is left behind.

Workers are started by acts (see `interrupts`). What a worker does once it runs is in `worker_loop`.
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
        threads:       of the members, and of workers that have just ended; guarded by the pool's lock.
        after_submit:  called without the lock after a job was accepted, or None.
    """

    after_submit: Callable[[], None] | None = None

    def __init__(self, state: PoolState[Any, Any], workers: int) -> None:
        self.state = state
        self.size = workers
        self.members: list[Worker] = []
        self.threads: list[Thread] = []
        self._numbers = count(1)

    def employ(
        self, pool: "WorkerPool[Any, Any]", resource: OpenResource | None, live: Callable[[Worker], None]
    ) -> None:
        """Say for which pool the workers work, what opens their resources, and what their threads do."""
        self.pool, self.resource, self.live = pool, resource, live

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

    def new_worker(self) -> Worker:
        """A worker with the next number."""
        return Worker(next(self._numbers), self.pool, self.resource)

    def thread_name(self, worker: Worker) -> str:
        """What the thread of this worker is called."""
        return f"{self.state.name}-worker-{worker.number}"

    def reserve(self) -> Worker:
        """Count a worker that is about to start; the caller holds the lock."""
        worker = self.new_worker()
        worker.thread = Thread(target=self.live, args=(worker,), name=self.thread_name(worker), daemon=True)
        self.threads = [thread for thread in self.threads if thread.is_alive() or thread.ident is None]
        self.threads.append(worker.thread)
        self.members.append(worker)
        self.state.present += 1
        return worker

    def start(self, worker: Worker) -> None:
        """Start the thread of a reserved worker, without the lock. If that is impossible, give its place back."""
        worker.idle_since = self.state.clock()
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
        self.state.present -= 1
        self.leave(worker)

    # -- workers end ----------------------------------------------------------------------------------------------

    def may_retire(self, idle_for: float) -> bool:
        """True if a worker without a job for `idle_for` seconds is not needed any more; the caller holds the lock."""
        return self.state.needs_nobody()

    def idle_limit(self, idle_for: float) -> float | None:
        """Seconds after which such a worker looks again even if nobody wakes it (None: it does not)."""
        return None

    def retire(self, worker: Worker, now: float) -> None:
        """Count off a worker, in the same step in which it was found not to be needed; the caller holds the lock."""
        worker.retired = True
        self.state.present -= 1
        if not self.state.present:
            self.state.wake_watchers()

    def leave(self, worker: Worker) -> None:
        """Remove a retired worker that has closed its resource; the caller holds the lock."""
        if worker in self.members:
            self.members.remove(worker)
        if not self.members:
            self.state.crew_ended()

    def left(self) -> None:
        """Called, without the lock, after a worker has ended."""

    def replace(self, dead: Worker) -> Worker:
        """Return the worker that takes the place of a dead one, in the same thread; the caller holds the lock."""
        if dead not in self.members:  # the thread has died a second time, after this worker had been replaced
            return next(member for member in self.members if member.thread is dead.thread)
        new = self.new_worker()
        new.thread, new.idle_since = dead.thread, dead.idle_since
        new.thread.name = self.thread_name(new)
        self.members[self.members.index(dead)] = new
        return new
