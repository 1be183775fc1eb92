"""The worker pool: a fixed number of threads, a bounded queue, and exactly one result per job.

    with WorkerPool(handler, workers=5) as pool:
        for result in pool.stream(jobs):            # submits the jobs and yields their results as they finish
            print(result.job, result.value if result.ok else result.error)

Always true:
- submitted = queued + running + delayed + succeeded + failed + unknown + cancelled. Every accepted job gets exactly one
  result.
- Whatever a handler raises is in its result. A bad job never kills a worker.
- At most `queue_size` jobs are queued and at most `workers` jobs run. When the queue is full, the next submitter waits:
  that is backpressure. Results that no thread reads are kept, and they block no thread.
- Once a shutdown has begun, no job is accepted, and a blocked `submit` raises PoolClosed.
- A running thread is never killed. A handler that may run for a long time checks `current_worker().cancelled`.

The cost per job: benchmarks/README.md compares it with `ThreadPoolExecutor.map`. Always shut a pool down, because
otherwise its threads stay until the program ends. A handler must not `submit` to its own pool, because with a full
queue all workers would wait for each other forever. The pool refuses this; `try_submit` works.
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
from .engines import AnyEngine, Plan, attach
from .errors import PoolClosed
from .intake import Intake
from .interrupts import uninterrupted
from .matching import Errors, classes_or_function
from .outlet import CallbackOutlet, Outlet
from .reading import Reading
from .report import PoolStats, ShutdownReport
from .result import Result
from .state import PoolState
from .worker import OpenResource, is_worker_of, refuse_handler_of
from .worker_loop import WorkerLoop

Job = TypeVar("Job")
Value = TypeVar("Value")

_pool_numbers = count(1)


class WorkerPool(Generic[Job, Value]):
    """`workers` threads that call handler(job) for the jobs of a queue of at most `queue_size` jobs.

    Args:
        handler:    called with a job in a worker's thread. The job's `Result` gets its return value or its error.
        workers:    the maximum number of jobs that run at the same time.
        queue_size: the maximum number of queued jobs.
        resource:   a function that returns a context manager for a worker's own resource: see `worker`.
        broken:     the errors after which a worker's resource is closed, so that its next job opens a new one:
                    exception classes, or a function of an error.
        engine:     what runs the handler: None (the worker's thread), `Processes(...)`, or an Executor: see `engines`.
        clock:      returns the times for results, in seconds. Waiting always uses real time.
        on_result:  called with each result of a submitted job after it is counted, in the thread that finished or
                    cancelled the job. It replaces `results()`. Its errors go into the shutdown report.
        crew, add_parts:  for subclasses only: they make the crew, and add parts before the workers start.

    Attributes:
        name:       for example "WorkerPool-3"; the names of the pool's threads begin with it.
        queue_size: as given.
        cancelled:  an Event that is set when a shutdown asks the running handlers to stop.

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
        engine: AnyEngine = None,
        crew: Callable[[PoolState[Any, Any], int], Crew] = Crew,
        add_parts: Callable[[PoolState[Any, Any], Crew, WorkerLoop], object] = lambda *parts: None,
    ) -> None:
        checks.handler(handler)
        checks.function("clock", clock)
        checks.optional_function("resource", resource)
        checks.optional_function("on_result", on_result)
        self.queue_size = checks.whole_number("queue_size", queue_size)
        broken = classes_or_function("broken", broken)
        self.name = f"{type(self).__name__}-{next(_pool_numbers)}"
        self._state: PoolState[Job, Value] = PoolState(self.name, self.queue_size, guarded(clock))
        self._crew = crew(self._state, checks.whole_number("workers", workers))
        self._assemble(on_result)
        plan = attach(engine, Plan(handler, resource, broken), self._state)
        loop = WorkerLoop(self._state, self._crew, self._outlet, plan.handler, plan.broken)
        self._crew.set_up(self, plan.resource, loop.run_worker)
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
        except BaseException:  # The machine has no thread left, or an interrupt arrived. Leave no thread behind.
            try:  # noqa: SIM105 - one call in C, which a second interrupt cannot divide
                start_new_thread(self._closing.force, ())
            except RuntimeError:
                pass
            self.force_shutdown()
            raise

    def submit(self, job: Job, timeout: float | None = None) -> None:
        """Queue a job. If there is no room, wait for at most `timeout` seconds; None means no limit.

        Raises PoolClosed if the pool shuts down before there is room, TimeoutError if there is no room in time, and
        RuntimeError inside one of the pool's own handlers. In all three cases the job was not accepted.
        """
        deadline = checks.deadline_after("timeout", timeout)
        refuse_handler_of(self, "submit() could wait forever; try_submit() does not wait")
        self._intake.submit(job, self._outlet, deadline, timeout)

    def try_submit(self, job: Job) -> bool:
        """Queue a job if there is room now, and return True. If there is none, return False; the job is not accepted.

        A handler may call this. Raises PoolClosed once a shutdown has begun.
        """
        submitter = None if is_worker_of(self) else self._intake.submitter()
        return self._intake.try_submit(job, self._outlet, submitter)

    def results(self) -> Generator[Result[Job, Value], None, None]:
        """Yield the results of submitted jobs as they finish.

        The generator ends when no more results can come: the pool is shut down and all results are read, or all jobs
        have finished and only the reading thread has ever submitted jobs. A reader in a thread that has submitted no
        jobs waits until the shutdown.

        Raises RuntimeError at once if another `results()` or `stream()` is being read, inside a handler, and if the
        results of the pool go to `on_result`.
        """
        refuse_handler_of(self, "results() would wait for itself")
        return self._reading.results()

    def stream(self, jobs: Iterable[Job]) -> Generator[Result[Job, Value], None, None]:
        """Submit the jobs of any iterable, even an endless one, and yield their results as they finish.

        One loop in the caller's thread submits the jobs and yields the results. So the source can be a database cursor,
        and a slow source delays the results. If the iterable raises, or the pool is shut down, the accepted jobs finish
        first, and then the error is raised. Leaving the loop early cancels the stream's queued jobs. The next stream
        waits until the running jobs of this one have finished.

        Raises TypeError if `jobs` is not iterable, PoolClosed after a shutdown, and RuntimeError as `results` does.
        """
        refuse_handler_of(self, "stream() would wait for itself")
        source = checks.iterable("jobs", jobs)
        if self._state.closed:
            raise PoolClosed(f"{self.name} is shut down and takes no more jobs: the stream was not started")
        return self._reading.stream(source)

    def close(self) -> None:
        """Accept no more jobs and return at once. The workers finish the accepted jobs and end. May be called again."""
        self._closing.close()

    def cancel_queued(self) -> None:
        """Cancel every queued or delayed job. Each gets a `JobCancelled` result. Running jobs continue."""
        self._closing.cancel_queued()

    def shutdown(self, deadline: float | None = None) -> ShutdownReport:
        """Accept no more jobs, finish the accepted jobs, and end the workers. Stop waiting after `deadline` seconds.

        At the deadline (None means no deadline) queued jobs are cancelled, `cancelled` is set for the handlers that
        check it, and the report names the jobs that are still running. No thread needs to read results meanwhile. A
        second call waits for the jobs that are still running.

        Raises TypeError or ValueError for a bad deadline, RuntimeError inside one of the pool's handlers.
        """
        until = checks.deadline_after("deadline", deadline)
        refuse_handler_of(self, "shutdown() would wait for itself")
        self._closing.close()
        ended = self._closing.wait(until)
        if not ended:
            self._closing.force()
        return self._closing.report(ended)

    def force_shutdown(self) -> ShutdownReport:
        """Accept no more jobs, cancel the queued jobs, and wait half a second for handlers that check `cancelled`.

        Each cancelled job gets a `JobCancelled` result, and the report names the jobs that are still running. May be
        called again, and during a shutdown(). Raises RuntimeError inside one of the pool's handlers.
        """
        refuse_handler_of(self, "force_shutdown() would wait for itself")
        self._closing.force()
        ended = False
        try:
            ended = self._closing.wait(time.monotonic() + GRACE)
        finally:  # After an interrupt, no thread waits anymore, not even a reader of results().
            report = self._closing.report(ended)
        return report

    def __enter__(self) -> Self:
        # If an interrupt arrives before this line, `with` has not begun. The idle workers stay until the program ends.
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """Drain on a clean exit. If the body raised, or an interrupt arrives while draining, force the shutdown.

        If an earlier shutdown has stopped waiting for running jobs, this method does not wait for them again. An
        interrupt before the first line of this method leaves the pool open; force_shutdown() still works.
        """
        drained = False
        try:
            if kind is None and not self._state.abandoned:
                self.shutdown()
            drained = kind is None
        finally:
            if not drained and not self._state.abandoned:
                # `start_new_thread` is one call in C, so the pool is forced even if a second interrupt arrives now.
                try:  # noqa: SIM105
                    start_new_thread(self._closing.force, ())
                except RuntimeError:  # The machine has no thread left.
                    pass
                self.force_shutdown()
        return False

    def stats(self) -> PoolStats:
        """Return the number of jobs in each state, all at one instant."""
        with self._state.lock:
            return self._state.count()

    def oldest_wait(self) -> float:
        """Return how long the first queued job has waited, in seconds; 0.0 if none waits. Monitor it: see 07."""
        now = self._state.clock()
        with self._state.lock:
            return self._state.oldest_wait(now)
