"""How results leave a pool: `results()` and `stream()`, for one reader at a time.

This module decides which thread is the reader. Always true: each result is yielded to at most one reader. If a caller
leaves a stream early, the queued jobs of the stream are cancelled. Their results are counted, and no other reader gets
them.

A stream submits its jobs and yields its results in one loop, in the caller's thread. It has a *window*: at most
queue_size + workers of its jobs are in the pool or unread when it submits one. Jobs that wait for a retry do not count,
because otherwise a few of them would hold up all the others.

What a mistake would break: with two readers at a time, each would get some of the results and believe that it has all.
A stream that does not notice that its window has room again waits for a result that may come much later.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from functools import partial
from queue import Empty
from threading import current_thread
from typing import Any, Generic, TypeVar

from .crew import Crew
from .errors import PoolClosed
from .intake import Intake
from .interrupts import in_own_thread, uninterrupted
from .outlet import Outlet
from .parker import SLICE, Parker
from .result import Result
from .state import PoolState

Job = TypeVar("Job")
Value = TypeVar("Value")
Results = Generator[Result[Job, Value], None, None]


class _NoMore(Exception):
    """No more results will come."""


class Reading(Generic[Job, Value]):
    """The way out of a pool.

    Attributes:
        outlet:  the outlet for the results of submitted jobs.
    """

    def __init__(
        self, state: PoolState[Job, Value], crew: Crew, intake: Intake[Job, Value], outlet: Outlet[Job, Value]
    ) -> None:
        self._state = state
        self._crew = crew
        self._intake = intake
        self.outlet = outlet

    def results(self) -> Results[Job, Value]:
        """Return a generator of the results of submitted jobs, in the order in which they finish."""
        if self.outlet.has_callback:
            raise RuntimeError(f"{self._state.name} gives its results to on_result: there is nothing to read")
        return _started(self._read())

    def stream(self, source: Iterator[Job]) -> Results[Job, Value]:
        """Return a generator that submits the jobs of `source` and yields their results as they finish."""
        return _started(self._feed(source))

    # -- results() --------------------------------------------------------------------------------------------------

    def _read(self) -> Results[Job, Value]:
        reading = [self.outlet]
        try:
            yield self._begin(reading)
            while True:
                if (result := self._next(self.outlet, self._no_more_results)) is not None:
                    yield result
        except _NoMore:
            return
        finally:
            # This is one line without a call, so even a second interrupt cannot leave a reader that has ended.
            self._state.reader = None if self._state.reader is reading else self._state.reader

    def _no_more_results(self) -> bool:
        """Return True if no job will finish anymore, or if all have finished and no other thread has submitted any."""
        state = self._state
        with state.lock:
            return self._over() or (not state.unfinished() and self._intake.submitters == {current_thread()})

    def _over(self) -> bool:
        """Return True if no job will finish anymore, or if a shutdown has stopped waiting for the running jobs."""
        return self._state.abandoned or (self._state.closed and not self._state.present)

    # -- stream() ---------------------------------------------------------------------------------------------------

    def _feed(self, source: Iterator[Job]) -> Results[Job, Value]:
        outlet: Outlet[Job, Value] = Outlet()
        failure: list[Exception] = []  # A variable would form a reference cycle with the traceback.
        reading = [outlet]
        try:
            yield self._begin(reading, waits=True)
            try:
                yield from self._exchange(_guarded(source, failure), outlet)
            except PoolClosed as error:  # As after an error of the source, the accepted jobs finish first.
                failure.append(error)
            yield from self._drain(outlet, failure)
        except BaseException:
            # The caller's loop has ended with `break`, an exception, or an interrupt. Do not wait for the running jobs:
            # Python closes this generator before the exception goes on, and a Stop must be quick.
            self._leave(outlet)
            raise
        finally:
            # This is one line without a call, so even a second interrupt cannot leave a reader that has ended.
            self._state.reader = None if self._state.reader is reading else self._state.reader

    def _exchange(self, source: Iterator[Job], outlet: Outlet[Job, Value]) -> Results[Job, Value]:
        """Submit a job, yield the results that are ready, and repeat until the source ends. Raises PoolClosed."""
        admit, after, empty = self._intake.admit, self._intake.after, outlet.empty
        for job in source:
            while not admit(job, outlet) and not self._wait_to_admit(job, outlet):
                if (result := self._next_unread(outlet)) is not None:
                    yield result
            if after is not None:
                after()
            while not empty():
                if (result := outlet.get()) is not None:
                    outlet.unread -= 1
                    yield result

    def _drain(self, outlet: Outlet[Job, Value], failure: list[Exception]) -> Results[Job, Value]:
        """Yield the remaining results, and then raise the error of the source or of the pool, if there was one."""
        while outlet.unread:
            if (result := self._next_unread(outlet)) is not None:
                yield result
        if failure:
            raise failure.pop()

    def _wait_to_admit(self, job: Job, outlet: Outlet[Job, Value]) -> bool:
        """Wait for room and submit the job. Return False if the stream should first read a result."""
        intake, parker = self._intake, Parker()
        try:
            while self._state.closed or not self._should_read_first(outlet):
                if intake.admit(job, outlet, parker):
                    return True
                if self._state.closed:
                    raise intake.refusal(job)
                parker.park(SLICE)
            intake.leave_line(parker)
            return False
        except BaseException:
            uninterrupted(partial(intake.leave_line, parker))
            raise

    def _should_read_first(self, outlet: Outlet[Job, Value]) -> bool:
        """Return True if the stream should read a result before it submits the next job.

        1. The window is full: read.
        2. The stream has no unread job, so the jobs of other submitters fill the queue: wait for room.
        3. More jobs are queued than workers are free, or `max_delayed` jobs are delayed: read.
        4. Otherwise free workers are about to take all queued jobs: wait for room, so that no worker becomes idle.
        """
        state = self._state
        with state.lock:
            if outlet.unread - outlet.delayed >= state.queue_size + state.present:
                return True
            free = state.present - state.running
            return outlet.unread > 0 and (len(state.queue) > free or len(state.delayed) >= state.max_delayed)

    def _next_unread(self, outlet: Outlet[Job, Value]) -> Result[Job, Value] | None:
        """Return the stream's next result, or None: then check the window and call this again."""
        try:
            result = self._next(outlet, self._over)
        except _NoMore:
            why = f"{self._state.name} was shut down while jobs of this stream were still running"
            raise PoolClosed(why) from None
        if result is not None:
            outlet.unread -= 1
        return result

    def _leave(self, outlet: Outlet[Job, Value]) -> None:
        """Cancel the queued and delayed jobs of a stream that its reader has left."""
        if self._state.lock._is_owned():  # type: ignore[attr-defined]
            # The garbage collector may close a forgotten stream in the middle of a locked block of this thread.
            in_own_thread(partial(self._cancel, outlet))
        else:
            uninterrupted(partial(self._cancel, outlet))

    def _cancel(self, outlet: Outlet[Job, Value]) -> None:
        now = self._state.clock()
        with self._state.lock:
            outlet.is_open = False
            self._state.cancel(outlet, now)

    def _outlet_with_running_job(self) -> Outlet[Any, Any] | None:
        """Return the outlet of a stream that was left and still has a running job, or None."""
        with self._state.lock:
            in_hand = [worker.task for worker in self._crew.members]
        left = [task[1] for task in in_hand if task is not None and not task[1].is_open]
        return left[0] if left else None

    # -- one reader -------------------------------------------------------------------------------------------------

    def _begin(self, reading: list[Outlet[Job, Value]], waits: bool = False) -> Any:
        """Make the caller the reader of the outlet in `reading`, a new list, which tells this reader from a later one.

        If `waits` is true, then wait until no job of a stream that was left early is running. Raises RuntimeError if
        the pool has a reader already.
        """
        with self._state.lock:
            if self._state.reader is not None:
                name = self._state.name
                raise RuntimeError(f"{name} has a reader: finish or close() its results() or stream() first")
            self._state.reader = reading
        while waits and not self._state.closed and (left := self._outlet_with_running_job()) is not None:
            with suppress(Empty):
                left.get(timeout=SLICE)

    @staticmethod
    def _next(outlet: Outlet[Job, Value], ended: Callable[[], bool]) -> Result[Job, Value] | None:
        """Return the next result, or None if the caller should check again. Raises _NoMore if none will come."""
        # Call `ended` before `get`, so that `get` finds every result that was put into the outlet before the end.
        end = outlet.empty() and ended()
        try:
            return outlet.get(True, 0 if end else SLICE)
        except Empty:
            if end:
                raise _NoMore from None
            return None


def _guarded(source: Iterator[Job], failure: list[Exception]) -> Iterator[Job]:
    """Yield the jobs of the source. If the source raises, put the error into `failure` and end.

    An exception of a signal handler must not be treated as an error of the source. It may have arrived in the middle of
    a step. Then the number of unread results is wrong, and waiting for them would never end.
    """
    try:
        for job in source:  # noqa: UP028 - `yield from` would close the source if the stream is left early
            yield job
    except Exception as error:
        failure.append(error)


def _started(generator: Results[Job, Value]) -> Results[Job, Value]:
    """Run the generator up to its first yield, and return it. So a second reader is refused at the call."""
    try:
        next(generator)
        return generator
    except BaseException:  # After an interrupt no other code has the generator and could close it.
        generator.close()
        raise
