"""`Processes`: the engine that runs a pool's handler in child processes, one per worker.

    with WorkerPool(count_primes, workers=2, engine=Processes(timeout=10)) as pool:
        for result in pool.stream(numbers):
            ...

In CPython, one lock (the GIL) lets only one thread at a time run Python code. So threads do not make a computation in
pure Python faster, and processes do. They also survive what threads do not: a crash of C code fails one job, and a
handler that never returns can be killed.

The worker is still a thread. It sends its job to its child over a pipe and waits for the reply, so the queue, the
results, the retries, and the accounts of the pool are the same on both engines.

Always true:
- A child that dies fails exactly the job that it was running, with WorkerDied. Another child replaces it.
- A job that runs longer than `timeout` fails with JobTimedOut, and its child is killed and replaced.
- A forced shutdown tells the running handlers (`current_worker().cancelled`), and after `grace` seconds it kills their
  children. So a pool with this engine always ends.
- No child outlives this program, however it ends. See `child_main` for the one exception outside of Linux.

The cost: 30 ms to start a child, 7 to 14 MB of memory per child, and the trip of each job (benchmarks/README.md). What
not to do: do not send large values that the child could read from a file itself. The handler, its jobs, and its values
must be picklable, and a new process must be able to import the handler. So a function of a notebook cell is refused.
"""

import pickle
import pickletools
import time
from functools import partial
from importlib.util import find_spec
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from . import checks
from .alarm import Alarm
from .child import Child
from .child_main import Setup
from .errors import JobTimedOut, WorkerDied
from .words import describe, describe_error
from .worker import current_worker

if TYPE_CHECKING:
    from .engines import Plan
    from .state import PoolState


class Processes(NamedTuple):
    """How the children of a pool run. One object can serve any number of pools.

    Args:
        timeout:        seconds that a job may run; None means no limit.
        memory:         bytes of address space that a child may use (RLIMIT_AS); None means no limit. A handler that
                        needs more gets MemoryError. Windows has no such limit, and macOS does not enforce it.
        grace:          seconds that a running handler has after a forced shutdown before its child is killed.
        start_timeout:  seconds that a child has to start and to import the handler.
    """

    timeout: float | None = None
    memory: int | None = None
    grace: float = 0.4
    start_timeout: float = 30.0

    def attach(self, plan: "Plan", state: "PoolState[Any, Any]") -> "Plan":
        """Return the plan for a pool whose handler runs in children, and add the watch to the pool.

        Raises TypeError if `handler`, `resource`, or `broken` cannot be sent to a process, and TypeError or ValueError
        for an argument of this engine that breaks its rule.
        """
        self._check()
        setup = Setup(0, self.memory, *(pickled(name, value) for name, value in plan._asdict().items()))
        watch = Watch(self, state)
        state.alarms.append(watch)
        return plan._replace(handler=run_in_child, resource=partial(_child, setup, watch), broken=())

    def _check(self) -> None:
        if self.timeout is not None:
            checks.seconds("timeout", self.timeout)
        checks.seconds("grace", self.grace)
        checks.seconds("start_timeout", self.start_timeout)
        if self.memory is not None:
            checks.whole_number("memory", self.memory)
            if find_spec("resource") is None:
                raise ValueError("memory must be None, because this operating system cannot limit it")


def _child(setup: Setup, watch: "Watch") -> Child:
    return Child(setup._replace(number=current_worker().number), watch)


def run_in_child(job: Any) -> Any:
    """Run one job in the child of the current worker. This is the handler that the threads of the pool call."""
    worker = current_worker()
    if worker.has_resource and worker.resource.has_ended:  # It was killed while it had no job.
        worker.close_resource()
    child = worker.resource
    try:
        return child.call(job, worker.attempt)
    except (WorkerDied, JobTimedOut):
        worker.close_resource()  # The handler may have raised such an error itself. Then a new child does no harm.
        raise


def pickled(name: str, value: Any) -> bytes:
    """Return the pickle of something that a new process must be able to import. Raises TypeError if it cannot."""
    rule = f"{name} must be importable in a new process, such as a function of a module (def), not {describe(value)}"
    try:
        data = pickle.dumps(value, protocol=5)
    except BaseException as problem:
        raise TypeError(f"{rule} ({describe_error(problem)})") from None
    if "__main__" in [argument for _, argument, _ in pickletools.genops(data)]:
        raise TypeError(f"{rule}: move what is defined in this script or notebook into a .py file, and import it")
    return data


class Watch(Alarm):
    """The thread that looks after the children of one pool: it tells handlers to stop, and kills a late child.

    It fires at the earliest deadline of a child that has a job. `_children` is changed and copied in one step each.
    """

    def __init__(self, engine: Processes, state: "PoolState[Any, Any]") -> None:
        super().__init__(state.lock, self.look, time.monotonic, f"{state.name}-watch")
        self.timeout, self.grace, self.start_timeout = engine.timeout, engine.grace, engine.start_timeout
        self._cancelled = state.cancelled
        self._stop_at: float | None = None  # when the grace after a forced shutdown ends
        self._children: set[Child] = set()

    def add(self, child: Child) -> None:
        """Look after a child from now on."""
        self._children.add(child)

    def remove(self, child: Child) -> None:
        """Look after a child no longer."""
        self._children.discard(child)

    def expect(self, deadline: float) -> None:
        """Fire at `deadline` at the latest. The child has set its deadline before."""
        # Reading `_when` without the lock is enough. If the alarm fires just now, it has reset `_when` before it looks
        # at the deadlines of the children. So either this thread sees the reset time, or the alarm sees this deadline.
        if deadline < self._when or self._cancelled.is_set():
            self.at(-inf if self._cancelled.is_set() else deadline)

    def pool_forced(self) -> None:
        """Tell the running handlers to stop. The alarm goes on until the last worker has ended."""
        self.at(-inf)

    def look(self) -> None:
        """Check every child, and set the alarm to the next deadline."""
        now = time.monotonic()
        if self._cancelled.is_set() and self._stop_at is None:
            self._stop_at = now + self.grace
        self.at(min((child.check(now, self._stop_at) for child in list(self._children)), default=inf))
