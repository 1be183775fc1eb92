"""`Result`, which a pool returns for each job, and `Attempt`, which describes one attempt at a job.

Always true: `Result.run` records everything that a handler returns or raises, and raises nothing because of the
handler. The error of a result keeps no local variables of the handler alive. If `run` raised, the handler's error would
end the worker.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Generic, NamedTuple, TypeVar

from . import checks
from .errors import JobCancelled, OutcomeUnknown, PoolClosed, WorkerDied
from .report import PoolStats, ShutdownReport
from .tracebacks import clear_locals
from .words import describe, describe_fields

__all__ = [
    "Attempt",
    "JobCancelled",
    "OutcomeUnknown",
    "PoolClosed",
    "PoolStats",
    "Result",
    "ShutdownReport",
    "WorkerDied",
]

Job = TypeVar("Job")
Value = TypeVar("Value")


class Attempt(NamedTuple):
    """One attempt at a job.

    Attributes:
        number:   the number of the attempt, from 1.
        worker:   the number of the worker that ran it.
        due:      when the attempt was allowed to start: when the job was submitted or, for a retry, when its backoff
                  was over. So started - due is the delay of the attempt.
        started, finished:  when the handler was called and when it returned or raised.
        error:    the exception that the attempt ended with; None if it succeeded.

    All times are in seconds on the pool's clock.
    """

    number: int
    worker: int | None
    due: float
    started: float
    finished: float
    error: BaseException | None

    def __repr__(self) -> str:
        return describe_fields(self)


class Result(Generic[Job, Value]):
    """The outcome of one job: the value or the error, the worker that ran the job, and the times.

    The pool fills in a result while the job runs, and does not change it after a reader can see it. A result is one
    mutable object with slots, because a pool creates one per job: creating a frozen object for the job and another
    one for the result would take more time than everything else that the pool does.

    Attributes:
        job:       the job that was submitted.
        value:     the value that the handler returned; None if it raised.
        error:     None if the handler returned. Otherwise the exception that it raised, `BaseException` included, or
                   the reason why it could not finish, such as JobCancelled or WorkerDied. The traceback shows every
                   file and line, but keeps no local variables of the handler: see `tracebacks`.
        worker:    the number of the worker, from 1; None if the job was cancelled in the queue or while it was delayed.
        attempt:   the number of the last attempt, from 1; 0 if the job never started.
        submitted, started, finished:  in seconds on the pool's clock; `started` is None if `worker` is None. For a
                   retried job, `started` and `finished` are times of the last attempt; `attempts` has the others.

    Two results are equal if all these attributes and all attempts are equal. A copied or unpickled result is equal to
    the original if the copies of its job, value, and error are equal to the originals.
    """

    __slots__ = (
        *("attempt", "error", "finished", "job", "started", "submitted", "value", "worker"),
        *("_broke", "_due", "_earlier", "_letter"),  # set only for jobs that fail, are retried, or are redriven
    )

    job: Job
    value: Value | None
    error: BaseException | None
    worker: int | None
    attempt: int
    submitted: float
    started: float | None
    finished: float

    _broke: bool
    _due: float
    _earlier: list[Attempt]
    _letter: Any

    # `__init__` sets only three attributes, because each line takes time in every job. The others are set later.
    def __init__(self, job: Job, submitted: float) -> None:
        self.job = job
        self.submitted = submitted
        self.attempt = 0

    @property
    def ok(self) -> bool:
        """True if the handler returned."""
        return self.error is None

    @property
    def wait(self) -> float:
        """The wait time in seconds, from submitted to started, or to finished if `started` is None."""
        return (self.finished if self.started is None else self.started) - self.submitted

    @property
    def duration(self) -> float:
        """The service time in seconds, from started to finished; 0.0 if `started` is None."""
        return 0.0 if self.started is None else self.finished - self.started

    @property
    def latency(self) -> float:
        """The seconds from submitted to finished: wait + duration."""
        return self.finished - self.submitted

    @property
    def waiting_since(self) -> float:
        """The time at which this job became ready to run: its submission or, for a retry, the end of its backoff."""
        return getattr(self, "_due", self.submitted)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All attempts at this job, including the last one; empty if the job never started."""
        earlier = getattr(self, "_earlier", ())
        return (*earlier, self._this_attempt()) if self.attempt > len(earlier) else tuple(earlier)

    @property
    def redriven_from(self) -> Any:
        """The dead letter from which this job was redriven; None for a job that was not redriven."""
        return getattr(self, "_letter", None)

    @property
    def broke_resource(self) -> bool:
        """True if the resource of its worker broke in the last attempt, or the handler discarded it."""
        return getattr(self, "_broke", False)

    def mark_resource(self, broke: bool) -> None:
        """Record whether the resource of its worker broke in this attempt."""
        self._broke = broke

    def mark_redriven(self, letter: Any) -> None:
        """Record that this job was redriven from the dead letter `letter`."""
        self._letter = letter

    def record_attempt(self, due: float) -> None:
        """Add this attempt to the earlier attempts. The next one may start at `due` (seconds on the pool's clock)."""
        earlier, attempt = getattr(self, "_earlier", None), self._this_attempt()
        self._due = due
        # The last step is one assignment or one call in C. If an exception that is injected into the worker's thread
        # ends the worker here, the attempt is recorded or not recorded, but never half recorded.
        if earlier is None:
            self._earlier = [attempt]
        else:
            earlier.append(attempt)

    def _this_attempt(self) -> Attempt:
        assert self.started is not None
        return Attempt(self.attempt, self.worker, self.waiting_since, self.started, self.finished, self.error)

    def run(self, handler: Callable[[Job], Value], worker: int, clock: Callable[[], float]) -> None:
        """Call the handler, and record the value that it returns or the exception that it raises.

        `worker` is the number of the worker, and `clock` returns seconds and must not raise. Raises no exception of
        the handler.
        """
        self.worker = worker
        self.started = clock()
        self.attempt += 1  # count the attempt before the call, so that an attempt that never returns is counted too
        try:
            self.value = handler(self.job)
            kind = type(self.value)
            if kind is CoroutineType or kind is AsyncGeneratorType or kind is GeneratorType:
                _refuse_coroutine(self.value)
            self.error = None
        except BaseException as error:
            self.value, self.error = None, error
            # Clearing may fail, for instance for lack of memory. The result must be recorded anyway.
            with suppress(BaseException):
                clear_locals(error, sys._getframe())
        self.finished = clock()
        # The frames of the error lead to this frame through `f_back`. If this frame still referred to `self`, the
        # frame, the result, and its error would form a reference cycle, which only the garbage collector could free.
        del self

    def drop(self, error: BaseException, now: float) -> None:
        """Record that the job ends with `error` without another attempt, at the time `now`."""
        self.value, self.error, self.worker, self.started, self.finished = None, error, None, None, now

    def fail(self, error: BaseException, worker: int, now: float) -> None:
        """Record that the attempt of worker number `worker` ended with `error`, which the handler did not raise."""
        if self.attempt == len(getattr(self, "_earlier", ())):  # the worker died before `run` counted the attempt
            self.attempt += 1
            self.worker, self.started = worker, now
        self.value, self.error, self.finished = None, error, now

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Result):
            return NotImplemented
        names = [name for name in Result.__slots__ if not name.startswith("_")]
        mine, theirs = ([getattr(result, name, None) for name in names] for result in (self, other))
        return mine == theirs and getattr(self, "_earlier", []) == getattr(other, "_earlier", [])

    def __hash__(self) -> int:
        return hash((self.submitted, self.attempt))

    def __repr__(self) -> str:
        known = ((name, getattr(self, name, None)) for name in ("job", "value", "error", "worker", "attempt"))
        return f"Result({', '.join(f'{name}={describe(value)}' for name, value in known if value is not None)})"


def _refuse_coroutine(value: Any) -> None:
    """Raise TypeError if `value`, which a handler has returned, runs only when it is awaited."""
    if type(value) is GeneratorType and not value.gi_code.co_flags & checks.ITERABLE_COROUTINE:
        return  # an ordinary generator is a valid value
    # Close a coroutine that has not started, because Python would otherwise warn on stderr that it was never awaited. A
    # coroutine that has started belongs to other code, and closing it would end that code's work.
    if type(value) is CoroutineType and not (value.cr_running or value.cr_suspended):
        value.close()
    raise TypeError(
        f"handler returned {describe(value)}, of which nothing has run, because no worker awaits it: "
        "use asyncio.run(...) in the handler"
    )
