"""The worker pool: a few threads, a bounded queue, and no job ever lost.

    with WorkerPool(handler, workers=5) as pool:
        for result in pool.stream(jobs):            # feeds the jobs and yields their results as they finish
            print(result.job, result.value if result.ok else result.error)

`submit` puts a job into the queue; `workers` threads take jobs from it and call the handler; `results()` yields what
has finished. When `queue_size` jobs wait, the next submitter waits too. That is backpressure, and the reason why a pool
survives a load that breaks a program without one.

Always true:
- submitted = queued + running + delayed + succeeded + failed + unknown + cancelled. Every accepted job gets exactly
  one result.
- Whatever a handler raises is in its result. A bad job never kills a worker.
- At most `queue_size` jobs wait and at most `workers` run. Results that nobody reads are kept and block nobody.
- Once a shutdown has begun no job is accepted, and whoever is blocked in `submit` gets PoolClosed.
- A running thread is never killed. Handlers that may run for long look at `current_worker().cancelled`.

The cost per job is about a tenth of that of `ThreadPoolExecutor.map` (benchmarks/README.md): one lock guards one
deque, and nothing is allocated but the result. What not to do: let a handler `submit` to its own pool (with a full
queue all workers would wait for each other forever; it is refused, `try_submit` works), or never shut a pool down (its
threads stay until the program ends). Use `with`.

This file is the contract and the assembly. The parts, each in a file of its own: `state` (where every job is, and the
lock), `intake` (jobs come in), `crew` (workers work), `reading` (results go out), `closing` (the end).
"""

import time
from _thread import start_new_thread
from collections.abc import Callable, Generator, Iterable
from itertools import count
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

from . import checks
from .clocks import guarded
from .closing import GRACE, Closing
from .crew import Crew
from .errors import PoolClosed
from .intake import Intake
from .interrupts import uninterrupted
from .matching import Errors, classes_or_function
from .outlet import CallbackOutlet, Outlet
from .reading import Reading
from .report import PoolStats, ShutdownReport
from .result import Result
from .state import PoolState
from .worker import OpenResource, worker_or_none

Job = TypeVar("Job")
Value = TypeVar("Value")

_pool_numbers = count(1)


class WorkerPool(Generic[Job, Value]):
    """`workers` threads that call handler(job) for the jobs of a queue of at most `queue_size`.

    Args:
        handler:    called with a job in a worker's thread; what it returns or raises goes into the job's `Result`.
        workers:    how many jobs run at the same time.
        queue_size: how many jobs may wait.
        resource:   makes the context manager of what each worker keeps for itself, such as a connection: opened when
                    a handler first asks for `current_worker().resource`, closed when the worker ends.
        broken:     the errors after which a worker's resource is closed, so that its next job gets a new one:
                    exception classes, or a function of an error.
        clock:      gives the time stamps of the results, seconds. Waiting is always done in real time.
        on_result:  called with each result once it is counted, in the thread that finished or cancelled the job;
                    `results()` and `stream()` then have nothing to read. What it raises goes into the report's errors.
        crew, add_parts:  for pools made from this one: makes the workers; adds what else there is before they start.

    Attributes:
        name:       such as "WorkerPool-3"; the names of its threads begin so.
        queue_size: as given.
        cancelled:  an Event that is set when a shutdown no longer wants what is running.

    Raises TypeError or ValueError for an argument that breaks its rule, RuntimeError if the machine cannot start
    that many threads (those that did start are stopped again).
    """

    def __init__(
        self,
        handler: Callable[[Job], Value],
        *,
        workers: int = 5,
        queue_size: int = 100,
        resource: OpenResource | None = None,
        broken: Errors = (OSError, EOFError),
        clock: Callable[[], float] = time.monotonic,
        on_result: Callable[[Result[Job, Value]], object] | None = None,
        crew: Callable[[PoolState[Any, Any], int], Crew] = Crew,
        add_parts: Callable[[PoolState[Any, Any], Crew], object] | None = None,
    ) -> None:
        checks.handler(handler)
        checks.function("clock", clock)
        for name, function in (("resource", resource), ("on_result", on_result)):
            if function is not None:
                checks.function(name, function)
        workers = checks.whole_number("workers", workers)
        self.queue_size = checks.whole_number("queue_size", queue_size)
        self.name = f"{type(self).__name__}-{next(_pool_numbers)}"
        self._state: PoolState[Job, Value] = PoolState(self.name, self.queue_size, guarded(clock))
        self.cancelled = self._state.cancelled
        self._crew = crew(self._state, workers)
        self._crew.employ(self, handler, resource, classes_or_function("broken", broken))
        self._assemble(on_result)
        if add_parts is not None:
            add_parts(self._state, self._crew)
        try:
            uninterrupted(self._crew.open)
        except BaseException:  # the machine has no more threads, or Stop was pressed: leave none behind
            self.force_shutdown()
            raise

    def _assemble(self, on_result: Callable[[Result[Job, Value]], object] | None) -> None:
        state, crew = self._state, self._crew
        self._outlet: Outlet[Job, Value] = Outlet()
        if on_result is not None:
            self._outlet = CallbackOutlet(on_result, crew.note_error)
        crew.deliver = self._outlet.deliver
        self._intake = Intake(state, crew.after_submit)
        self._reading = Reading(state, crew, self._intake, self._outlet)
        self._closing = Closing(state, crew, self._outlet, self.stats)

    # -- jobs come in ---------------------------------------------------------------------------------------------

    def submit(self, job: Job, timeout: float | None = None) -> None:
        """Queue a job; while there is no room, wait, at most `timeout` seconds (None: as long as it takes).

        Raises PoolClosed if the pool shuts down before there is room, TimeoutError if there is none in time,
        RuntimeError from inside one of this pool's own handlers. In all three cases the job was not accepted.
        """
        deadline = checks.deadline_after("timeout", timeout)
        self._refuse_own_handler("submit() could wait forever; try_submit() does not wait")
        self._intake.submit(job, self._outlet, deadline, timeout)

    def try_submit(self, job: Job) -> bool:
        """Queue a job if there is room at this instant; False, and the job not accepted, if there is none.

        May be called from inside a handler. Raises PoolClosed once a shutdown has begun.
        """
        feeder = None if self.is_own_handler() else self._intake.feeder()
        return self._intake.try_submit(job, self._outlet, feeder)

    # -- results go out -------------------------------------------------------------------------------------------

    def results(self) -> Generator[Result[Job, Value], None, None]:
        """Yield the results of submitted jobs as they finish.

        Ends when no more can come: the pool is shut down and everything has been read (apart from what a shutdown
        left running), or nothing is left in the pool and only the reading thread has ever submitted. So a script that
        submits everything and then reads everything comes to its end, and a reader in a thread of its own waits for
        jobs until the shutdown.

        Raises RuntimeError, at once, while another `results()` or `stream()` of this pool is being read, and from
        inside one of its own handlers.
        """
        self._refuse_own_handler("results() would wait for itself")
        return self._reading.results()

    def stream(self, jobs: Iterable[Job]) -> Generator[Result[Job, Value], None, None]:
        """Feed the jobs of any iterable, an endless one included, and yield their results as they finish.

        The loop that reads is the loop that feeds: it takes the next jobs between two results, in the caller's own
        thread. So a database cursor can be the source, and a source that takes long holds up the results behind it.
        If the iterable raises, or the pool is shut down, the accepted jobs finish, and then the error comes out.
        Leaving the loop early cancels what it still has queued. The next stream waits for what is still running, and
        so starts clean.

        Raises TypeError if `jobs` is not iterable, PoolClosed after a shutdown, RuntimeError while another `results()`
        or `stream()` of this pool is being read, and from inside one of its own handlers.
        """
        self._refuse_own_handler("stream() would wait for itself")
        source = checks.iterable("jobs", jobs)
        if self._state.closed:
            raise PoolClosed(f"{self.name} is shut down and accepts no more jobs: the stream was not started")
        return self._reading.stream(source)

    # -- the end --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Accept no more jobs, and do not wait: the workers finish what is in the pool and end. May be called again."""
        self._closing.close()

    def cancel_queued(self) -> None:
        """Cancel every job that is queued or delayed; what is running goes on. Each gets a `JobCancelled` result."""
        self._closing.cancel_queued()

    def shutdown(self, deadline: float | None = None) -> ShutdownReport:
        """Accept no more jobs, finish those in the pool, end the workers; after `deadline` seconds stop waiting.

        At the deadline (None: there is none) what is still queued is cancelled, `cancelled` is set for the handlers
        that look at it, and what is running is named in the report; its results can still be read if they come later.
        Nobody needs to read results meanwhile. May be called again, from any thread but the pool's own: it then
        waits for what is still there.

        Raises TypeError or ValueError for a bad deadline, RuntimeError from inside one of this pool's handlers.
        """
        until = checks.deadline_after("deadline", deadline)
        self._refuse_own_handler("shutdown() would wait for itself")
        self._closing.close()
        ended = self._closing.wait(until)
        if not ended:
            self._closing.force()
        return self._closing.report(ended)

    def force_shutdown(self) -> ShutdownReport:
        """Accept no more jobs, cancel what is queued, and wait half a second for handlers that look at `cancelled`.

        Each cancelled job gets a result with a `JobCancelled`; what did not stop in time is named in the report as
        still running. May be called again, and after or during a shutdown(), from any thread but the pool's own:
        RuntimeError there.
        """
        self._refuse_own_handler("force_shutdown() would wait for itself")
        self._closing.force()
        ended = False
        try:
            ended = self._closing.wait(time.monotonic() + GRACE)
        finally:  # after an interrupt nobody waits for anything any more, a reader of results() neither
            report = self._closing.report(ended)
        return report

    def __enter__(self) -> Self:
        # An interrupt between the end of the constructor and this line finds no `with` yet, and nothing can be done
        # about that: the workers stay, asleep and without a job, until the program ends. They are daemons.
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Drain on a clean exit. If the body raised, or an interrupt comes while draining, force.

        What an earlier shutdown has stopped waiting for is not waited for again.
        """
        # An interrupt at the very entry of this method, before the `try`, leaves the pool open: there is no line that
        # could catch it. Then its daemon threads do what is queued, and force_shutdown() still works.
        drained = False
        try:
            if kind is None and not self._state.abandoned:
                self.shutdown()
            drained = kind is None
        finally:
            if not drained and not self._state.abandoned:
                # The first call here is one call in C: a second interrupt comes after it, and the pool is forced.
                start_new_thread(self._closing.force, ())
                self.force_shutdown()
        return False

    # -- questions ------------------------------------------------------------------------------------------------

    def stats(self) -> PoolStats:
        """How many jobs are in which state, all at one instant."""
        with self._state.lock:
            return self._state.count(self._crew.present)

    def oldest_wait(self) -> float:
        """Seconds that the first job in the queue has waited; 0.0 if none waits. The one figure to watch: see 07."""
        now = self._state.clock()
        with self._state.lock:
            return max(0.0, now - self._state.queue[0][0].waiting_since) if self._state.queue else 0.0

    def is_own_handler(self) -> bool:
        """True if the calling thread is running one of this pool's handlers."""
        worker = worker_or_none()
        return worker is not None and worker.pool is self

    def _refuse_own_handler(self, why: str) -> None:
        if self.is_own_handler():
            raise RuntimeError(f"called by a handler of {self.name} itself: {why}")
