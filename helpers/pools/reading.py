"""How results come out of a pool: `results()` and `stream()`, one reader at a time.

Owns the choice of the reader. Always true: a result is yielded to at most one reader. A stream that is left early
cancels its queued jobs; their results are counted, and no other reader gets them.

A stream is read and fed by one loop in the caller's thread. It never has more than queue_size + workers jobs in the
pool, unread results included; jobs that wait for a retry do not count, or a few of them would hold up all the others.

What a mistake would break: two readers would each see a part of the results and take it for everything; a stream that
does not look again when its window opens waits for a result that may come much later.
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
    """No result will come any more."""


class Reading(Generic[Job, Value]):
    """The way out of a pool.

    Attributes:
        outlet:  where the results of submitted jobs go.
    """

    def __init__(
        self, state: PoolState[Job, Value], crew: Crew, intake: Intake[Job, Value], outlet: Outlet[Job, Value]
    ) -> None:
        self._state = state
        self._crew = crew
        self._intake = intake
        self.outlet = outlet

    def results(self) -> Results[Job, Value]:
        """The results of submitted jobs as they finish, up to the end."""
        if self.outlet.eager:
            raise RuntimeError(f"{self._state.name} gives its results to on_result: there is nothing to read")
        return _started(self._read())

    def stream(self, source: Iterator[Job]) -> Results[Job, Value]:
        """Feed the jobs of `source` and yield their results as they finish."""
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
            # One line without a call: not even a second interrupt can leave the pool with a reader that has gone.
            self._state.reader = None if self._state.reader is reading else self._state.reader

    def _no_more_results(self) -> bool:
        """True if no job will finish any more, or if only the reading thread itself has ever submitted any."""
        state = self._state
        with state.lock:
            return self._over() or (not state.unfinished() and self._intake.feeders == {current_thread()})

    def _over(self) -> bool:
        """True if no job will finish any more, as far as anybody waits for it."""
        return self._state.abandoned or (self._state.closed and not self._state.present)

    # -- stream() ---------------------------------------------------------------------------------------------------

    def _feed(self, source: Iterator[Job]) -> Results[Job, Value]:
        outlet: Outlet[Job, Value] = Outlet()
        failure: list[Exception] = []  # a list, because a traceback and a variable that refers to it form a cycle
        reading = [outlet]
        try:
            yield self._begin(reading, waits=True)
            try:
                yield from self._exchange(_guarded(source, failure), outlet)
            except PoolClosed as error:  # as after an error of the source, the accepted jobs finish first
                failure.append(error)
            yield from self._drain(outlet, failure)
        except BaseException:
            # `break`, an exception in the loop, or an interrupt. Running jobs are not waited for: Python closes the
            # generator while that exception is on its way, and a Stop must be quick.
            self._leave(outlet)
            raise
        finally:
            # One line without a call: not even a second interrupt can leave the pool with a reader that has gone.
            self._state.reader = None if self._state.reader is reading else self._state.reader

    def _exchange(self, source: Iterator[Job], outlet: Outlet[Job, Value]) -> Results[Job, Value]:
        """Submit a job, yield the ready results, and so on, until the source ends. Raises PoolClosed."""
        admit, after, empty = self._intake.admit, self._intake.after, outlet.empty
        for job in source:
            while not admit(job, outlet) and not self._wait_to_admit(job, outlet):
                if (result := self._next_owed(outlet)) is not None:
                    yield result
            if after is not None:
                after()
            while not empty():
                if (result := outlet.get()) is not None:
                    outlet.owed -= 1
                    yield result

    def _drain(self, outlet: Outlet[Job, Value], failure: list[Exception]) -> Results[Job, Value]:
        """Yield the remaining results, and then raise the failure of the exchange, if there was one."""
        while outlet.owed:
            if (result := self._next_owed(outlet)) is not None:
                yield result
        if failure:
            raise failure.pop()

    def _wait_to_admit(self, job: Job, outlet: Outlet[Job, Value]) -> bool:
        """Wait for room. False if a result of this stream should be read first."""
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
        """True if the stream's window is full, or if a result of this stream will make room, or come before room does.

        Not if none of its own results is due (jobs of others fill the queue), nor if free workers are about to take all
        queued jobs: a short queue must not let them stand idle while the stream waits for a result.
        """
        state = self._state
        with state.lock:
            if outlet.owed - outlet.delayed >= state.queue_size + state.present:
                return True
            free = state.present - state.running
            return outlet.owed > 0 and (len(state.queue) > free or len(state.delayed) >= state.max_delayed)

    def _next_owed(self, outlet: Outlet[Job, Value]) -> Result[Job, Value] | None:
        """The next result of a stream. None: look at the window again, and ask again."""
        try:
            result = self._next(outlet, self._over)
        except _NoMore:
            why = f"{self._state.name} was shut down while jobs of this stream were still running"
            raise PoolClosed(why) from None
        if result is not None:
            outlet.owed -= 1
        return result

    def _leave(self, outlet: Outlet[Job, Value]) -> None:
        """Cancel what this stream still has queued or delayed."""
        if self._state.lock._is_owned():  # type: ignore[attr-defined]
            # The garbage collector closes a forgotten stream in the middle of a locked block, in this very thread.
            in_own_thread(partial(self._cancel, outlet))
        else:
            uninterrupted(partial(self._cancel, outlet))

    def _cancel(self, outlet: Outlet[Job, Value]) -> None:
        now = self._state.clock()
        with self._state.lock:
            outlet.wanted = False
            self._state.cancel(outlet, now)

    def _still_running(self) -> Outlet[Any, Any] | None:
        """The outlet of a stream that was left while one of its jobs ran, which is still running."""
        with self._state.lock:
            in_hand = [worker.task for worker in self._crew.members]
        return next((task[1] for task in in_hand if task is not None and not task[1].wanted), None)

    # -- one reader -------------------------------------------------------------------------------------------------

    def _begin(self, reading: list[Outlet[Job, Value]], waits: bool = False) -> Any:
        """Become the reader of the outlet in `reading`. Each reader has a list of its own, and ends only itself.

        `waits`: then wait until no job of a stream that was left early is running any more.
        """
        with self._state.lock:
            if self._state.reader is not None:
                name = self._state.name
                raise RuntimeError(f"{name} has a reader: finish or close() its results() or stream() first")
            self._state.reader = reading
        while waits and not self._state.closed and (left := self._still_running()) is not None:
            with suppress(Empty):
                left.get(timeout=SLICE)

    @staticmethod
    def _next(outlet: Outlet[Job, Value], ended: Callable[[], bool]) -> Result[Job, Value] | None:
        """The next result, once it is there. None: look again at what you wait for. Raises _NoMore at the end."""
        # `ended` is asked before the look into the outlet, so that the look finds all results from before the end.
        end = outlet.empty() and ended()
        try:
            return outlet.get(True, 0 if end else SLICE)
        except Empty:
            if end:
                raise _NoMore from None
            return None


def _guarded(source: Iterator[Job], failure: list[Exception]) -> Iterator[Job]:
    """The jobs of the source. An error of the source ends them, and goes to `failure`.

    An exception out of a signal handler must not be taken for one of the source: it may have come in the middle of a
    step, and then the number of owed results is not exact, and waiting for them would never end.
    """
    try:
        for job in source:  # noqa: UP028 - `yield from` would close the source if the stream is left early
            yield job
    except Exception as error:
        failure.append(error)


def _started(generator: Results[Job, Value]) -> Results[Job, Value]:
    """The generator, run up to its first yield: a second reader is refused at the call, and close() cleans up."""
    try:
        next(generator)
        return generator
    except BaseException:  # its own, or an interrupt just after it has started: no other code has it and could close it
        generator.close()
        raise
