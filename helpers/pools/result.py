"""What a pool hands back for each job: a `Result`, and an `Attempt` for each time the job was tried."""

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
    """One try at a job, from `due` to `finished` (seconds on the pool's clock).

    `due` is when the attempt was allowed to start: when the job was submitted or, for a retry, when its backoff was
    over. So started - due is how late the attempt was. `error` is None if the attempt succeeded.
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
    """What became of one job, which worker ran it, and when.

    The pool fills a result in and does not touch it any more once a reader can see it. It is a single mutable object
    with slots because a pool makes one per job: a frozen job and a frozen result would cost more than everything else.

    Attributes:
        job:       what was submitted.
        value:     what the handler returned; None if it raised.
        error:     what the handler raised, `BaseException` included; None if it returned. Its traceback keeps every
                   file and line, but not the local variables of the handler: see `tracebacks`.
        worker:    the worker's number, from 1; None if no worker ever took the job.
        attempt:   1 for the first try; 0 if there was none.
        submitted, started, finished:  seconds on the pool's clock; `started` is None if the job never started. For a
                   retried job the last two are times of the last attempt; `attempts` has all of them.

    Two results are equal if all of this is equal; a pickled or copied result is equal to the original as far as its
    job, value, and error are.
    """

    __slots__ = (
        *("attempt", "error", "finished", "job", "started", "submitted", "value", "worker"),
        *("_broke", "_due", "_earlier", "_letter"),  # only set for jobs that fail, are retried, or are redriven
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

    # Only three attributes are set here: every job pays for each line. The others are set once they are known.
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
        """Seconds in the queue: from submitted to started (to finished, if the job never started)."""
        return (self.finished if self.started is None else self.started) - self.submitted

    @property
    def duration(self) -> float:
        """Service time in seconds: from started to finished; 0.0 if the job never started."""
        return 0.0 if self.started is None else self.finished - self.started

    @property
    def latency(self) -> float:
        """Seconds from submitted to finished: wait + duration."""
        return self.finished - self.submitted

    @property
    def waiting_since(self) -> float:
        """When this job last became ready to run: when it was submitted or, for a retry, when its backoff was over."""
        return getattr(self, "_due", self.submitted)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every try at this job, the last one included; empty if no worker ever took it."""
        earlier = getattr(self, "_earlier", ())
        return (*earlier, self._this_attempt()) if self.attempt > len(earlier) else tuple(earlier)

    @property
    def redriven_from(self) -> Any:
        """The dead letter from which this job was submitted again; None for all other jobs."""
        return getattr(self, "_letter", None)

    @property
    def broke_resource(self) -> bool:
        """True if the last attempt has failed because the resource of its worker was broken."""
        return getattr(self, "_broke", False)

    def mark_resource(self, broke: bool) -> None:
        """Record whether this attempt has failed because the resource of its worker was broken."""
        self._broke = broke

    def mark_redriven(self, letter: Any) -> None:
        """Record that this job is a new submission of the one in that dead letter."""
        self._letter = letter

    def record_attempt(self, due: float) -> None:
        """Add this attempt to the earlier ones; the next attempt may start at `due`."""
        earlier, attempt = getattr(self, "_earlier", None), self._this_attempt()
        self._due = due
        # The last step is one assignment or one call: a worker that dies here has recorded the attempt, or it has not.
        if earlier is None:
            self._earlier = [attempt]
        else:
            earlier.append(attempt)

    def _this_attempt(self) -> Attempt:
        assert self.started is not None
        return Attempt(self.attempt, self.worker, self.waiting_since, self.started, self.finished, self.error)

    def run(self, handler: Callable[[Job], Value], worker: int, clock: Callable[[], float]) -> None:
        """Call the handler and record what it returns or raises. Raises nothing itself."""
        self.worker = worker
        self.started = clock()
        self.attempt += 1  # before the call: an attempt that takes the whole process down was an attempt all the same
        try:
            self.value = handler(self.job)
            kind = type(self.value)
            if kind is CoroutineType or kind is AsyncGeneratorType or kind is GeneratorType:
                _refuse_coroutine(self.value)
            self.error = None
        except BaseException as error:
            self.value, self.error = None, error
            with suppress(BaseException):  # no memory left, say: the result matters more than the memory it holds
                clear_locals(error, sys._getframe())
        self.finished = clock()
        # The frames of the error lead to this frame through `f_back`. With `self` in it the two would form a cycle.
        del self

    def drop(self, error: BaseException, now: float) -> None:
        """Record that no worker ran the job, or will run it again, because of `error`."""
        self.value, self.error, self.worker, self.started, self.finished = None, error, None, None, now

    def fail(self, error: BaseException, worker: int, now: float) -> None:
        """Record that the attempt of this worker ended with `error`, which the handler did not raise."""
        if self.attempt == len(getattr(self, "_earlier", ())):  # the worker died just before the attempt
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
    """Raise TypeError for what a handler has returned, if it only runs when it is awaited."""
    if type(value) is GeneratorType and not value.gi_code.co_flags & checks.ITERABLE_COROUTINE:
        return  # an ordinary generator is a value like any other
    # If it has not begun, it is closed, or Python would warn on stderr that it was never awaited. If it has, it is run
    # somewhere else, and closing it would end what is not the pool's.
    if type(value) is CoroutineType and not (value.cr_running or value.cr_suspended):
        value.close()
    raise TypeError(
        f"handler returned {describe(value)}, of which nothing has run, because no worker awaits it: "
        "use asyncio.run(...) in the handler"
    )
