"""The worker pool: a few threads, a bounded queue, and no job ever lost.

    with WorkerPool(handler, workers=5) as pool:
        for result in pool.stream(jobs):            # feeds the jobs and yields their results as they finish
            print(result.job, result.value if result.ok else result.error)

Always true:
- submitted = queued + running + delayed + succeeded + failed + unknown + cancelled. Every accepted job gets exactly
  one result.
- Whatever a handler raises is in its result. A bad job never kills a worker.
- At most `queue_size` jobs wait and at most `workers` run. When `queue_size` jobs wait, the next submitter waits too:
  that is backpressure. Results that nobody reads are kept and block nobody.
- Once a shutdown has begun no job is accepted, and a blocked `submit` raises PoolClosed.
- A running thread is never killed. Handlers that may run for long look at `current_worker().cancelled`.

The cost per job is about a tenth of that of `ThreadPoolExecutor.map` (benchmarks/README.md). What not to do: never shut
a pool down (its threads stay until the program ends), or let a handler `submit` to its own pool (with a full queue all
workers would wait for each other forever; it is refused, `try_submit` works).
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
from .worker import OpenResource, is_handler_of
from .worker_loop import WorkerLoop

Job = TypeVar("Job")
Value = TypeVar("Value")

_pool_numbers = count(1)


class WorkerPool(Generic[Job, Value]):
    """`workers` threads that call handler(job) for the jobs of a queue of at most `queue_size`.

    Args:
        handler:    called with a job in a worker's thread; what it returns or raises goes into the job's `Result`.
        workers:    how many jobs run at the same time.
        queue_size: how many jobs may wait.
        resource:   makes the context manager of what each worker keeps for itself, such as a connection: see `worker`.
        broken:     the errors after which a worker's resource is closed, so that its next job gets a new one:
                    exception classes, or a function of an error.
        clock:      gives the time stamps of the results, seconds. Waiting is always done in real time.
        on_result:  called with each result of a submitted job once it is counted, in the thread that finished or
                    cancelled the job, in place of `results()`. What it raises goes into the report's errors.
        crew, add_parts:  for pools made from this one: makes the workers; adds other parts before they start.

    Attributes:
        name:       such as "WorkerPool-3"; the names of its threads begin so.
        queue_size: as given.
        cancelled:  an Event that is set when a shutdown wants the running handlers to stop.

    Raises TypeError or ValueError for a bad argument, RuntimeError if the machine cannot start that many threads.
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
        add_parts: Callable[[PoolState[Any, Any], Crew, WorkerLoop], object] = lambda *parts: None,
    ) -> None:
        checks.handler(handler)
        checks.function("clock", clock)
        checks.optional_function("resource", resource)
        checks.optional_function("on_result", on_result)
        workers = checks.whole_number("workers", workers)
        self.queue_size = checks.whole_number("queue_size", queue_size)
        broken = classes_or_function("broken", broken)
        self.name = f"{type(self).__name__}-{next(_pool_numbers)}"
        self._state: PoolState[Job, Value] = PoolState(self.name, self.queue_size, guarded(clock))
        self._crew = crew(self._state, workers)
        self._assemble(on_result)
        loop = WorkerLoop(self._state, self._crew, self._outlet, handler, broken)
        self._crew.employ(self, resource, loop.live)
        add_parts(self._state, self._crew, loop)
        self._open()

    def _assemble(self, on_result: Callable[[Result[Job, Value]], object] | None) -> None:
        state, crew = self._state, self._crew
        self.cancelled = state.cancelled
        self._outlet: Outlet[Job, Value] = Outlet()
        if on_result is not None:
            self._outlet = CallbackOutlet(on_result, state.note_error)
        self._intake = Intake(state, crew.after_submit)
        self._reading = Reading(state, crew, self._intake, self._outlet)
        self._closing = Closing(state, crew, self._outlet, self.stats)

    def _open(self) -> None:
        try:
            uninterrupted(self._crew.open)
        except BaseException:  # the machine has no more threads, or an interrupt came: leave none behind
            try:  # noqa: SIM105 - as in __exit__
                start_new_thread(self._closing.force, ())
            except RuntimeError:
                pass
            self.force_shutdown()
            raise

    def submit(self, job: Job, timeout: float | None = None) -> None:
        """Queue a job; while there is no room, wait, at most `timeout` seconds (None: as long as it takes).

        Raises PoolClosed if the pool shuts down before there is room, TimeoutError if there is none in time,
        RuntimeError inside one of the pool's own handlers. In all three cases the job was not accepted.
        """
        deadline = checks.deadline_after("timeout", timeout)
        self._refuse_own_handler("submit() could wait forever; try_submit() does not wait")
        self._intake.submit(job, self._outlet, deadline, timeout)

    def try_submit(self, job: Job) -> bool:
        """Queue a job if there is room at this instant; False, and the job not accepted, if there is none.

        May be called from inside a handler. Raises PoolClosed once a shutdown has begun.
        """
        feeder = None if is_handler_of(self) else self._intake.feeder()
        return self._intake.try_submit(job, self._outlet, feeder)

    def results(self) -> Generator[Result[Job, Value], None, None]:
        """Yield the results of submitted jobs as they finish.

        Ends when no more can come: the pool is shut down and everything has been read, or nothing is left in the pool
        and only the reading thread has ever submitted. A reader in a thread of its own waits until the shutdown.

        Raises RuntimeError at once while another `results()` or `stream()` is being read, inside a handler, and for a
        pool whose results go to `on_result`.
        """
        self._refuse_own_handler("results() would wait for itself")
        return self._reading.results()

    def stream(self, jobs: Iterable[Job]) -> Generator[Result[Job, Value], None, None]:
        """Feed the jobs of any iterable, an endless one included, and yield their results as they finish.

        The loop that reads also feeds, in the caller's own thread. So a database cursor can be the source, and a source
        that takes long holds up the results behind it. If the iterable raises, or the pool is shut down, the accepted
        jobs finish, and then the error comes out. Leaving the loop early cancels its queued jobs; the next stream waits
        for its running jobs, and so starts clean.

        Raises TypeError if `jobs` is not iterable, PoolClosed after a shutdown, RuntimeError as `results` does.
        """
        self._refuse_own_handler("stream() would wait for itself")
        source = checks.iterable("jobs", jobs)
        if self._state.closed:
            raise PoolClosed(f"{self.name} is shut down and takes no more jobs: the stream was not started")
        return self._reading.stream(source)

    def close(self) -> None:
        """Accept no more jobs, and do not wait: the workers finish the accepted jobs and end. May be called again."""
        self._closing.close()

    def cancel_queued(self) -> None:
        """Cancel every queued or delayed job, with a `JobCancelled` result each. Running jobs go on."""
        self._closing.cancel_queued()

    def shutdown(self, deadline: float | None = None) -> ShutdownReport:
        """Accept no more jobs, finish those in the pool, end the workers; after `deadline` seconds stop waiting.

        At the deadline (None: there is none) queued jobs are cancelled, `cancelled` is set for the handlers that look
        at it, and the report names the running jobs. Nobody needs to read results meanwhile. May be called
        again: it then waits for the rest.

        Raises TypeError or ValueError for a bad deadline, RuntimeError inside one of the pool's handlers.
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

        Each cancelled job gets a `JobCancelled` result; the report names what did not stop in time as still running.
        May be called again, also during a shutdown(). Raises RuntimeError inside one of the pool's handlers.
        """
        self._refuse_own_handler("force_shutdown() would wait for itself")
        self._closing.force()
        ended = False
        try:
            ended = self._closing.wait(time.monotonic() + GRACE)
        finally:  # after an interrupt nothing is waited for any more, not even by a reader of results()
            report = self._closing.report(ended)
        return report

    def __enter__(self) -> Self:
        # An interrupt before this line finds no `with` yet: the workers stay, idle, until the program ends.
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Drain on a clean exit. If the body raised, or an interrupt comes while draining, force.

        What an earlier shutdown has stopped waiting for is not waited for again. An interrupt at the very entry of this
        method leaves the pool open; force_shutdown() still works.
        """
        drained = False
        try:
            if kind is None and not self._state.abandoned:
                self.shutdown()
            drained = kind is None
        finally:
            if not drained and not self._state.abandoned:
                # The first call here is a single call in C, and `suppress` is none: so the pool is forced even if a
                # second interrupt arrives now.
                try:  # noqa: SIM105
                    start_new_thread(self._closing.force, ())
                except RuntimeError:  # the machine has no thread left
                    pass
                self.force_shutdown()
        return False

    def stats(self) -> PoolStats:
        """How many jobs are in which state, all at one instant."""
        with self._state.lock:
            return self._state.count()

    def oldest_wait(self) -> float:
        """Seconds that the first job in the queue has waited; 0.0 if none waits. The one figure to watch: see 07."""
        now = self._state.clock()
        with self._state.lock:
            return self._state.oldest_wait(now)

    def _refuse_own_handler(self, why: str) -> None:
        if is_handler_of(self):
            raise RuntimeError(f"called by a handler of {self.name} itself: {why}")
