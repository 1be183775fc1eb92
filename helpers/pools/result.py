"""What a pool hands back: one `Result` a job, a `PoolStats` at any time, a `ShutdownReport` at the end."""

from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, NamedTuple, TypeVar

Job = TypeVar("Job")
Value = TypeVar("Value")


class PoolClosed(RuntimeError):
    """The pool has begun to shut down and takes no more jobs. The job it refused is untouched."""


class JobCancelled(Exception):
    """The error of a job that was not done because its pool no longer wanted it.

    Most were taken back from the queue before any worker had started them. A handler that has looked at `cancelled`
    may raise it too, if it leaves nothing half done: its job then counts as cancelled and not as failed.
    """


class OutcomeUnknown(Exception):
    """Raised by a handler that cannot know whether the work was done: asked for, and no answer came.

    A mail, a payment, an order over a network: the connection was lost between the asking and the answer. Such a job
    has neither succeeded nor failed, and is counted by itself. Whoever repeats it may do it twice.
    """


class Attempt(NamedTuple):
    """One try at a job: from `due`, when it might be made, to `finished`, seconds; `error` is None if it succeeded.

    `due` is when the job was submitted or, for a retry, when its backoff was over. So started - due is how late it was.
    """

    number: int
    worker: int | None
    due: float
    started: float
    finished: float
    error: BaseException | None


class Result(Generic[Job, Value]):
    """The ticket that comes back from the kitchen: what became of one job, who cooked it, and when.

    Whoever fills it in lets go of it before anybody reads it. It is one mutable object with slots because a pool
    makes one for every job: a frozen job and a frozen result beside it would cost more than all the rest.

    Attributes:
        job:       what was submitted.
        value:     what the handler returned; None if it raised.
        error:     what the handler raised, `BaseException` included; None if it returned. Its traceback keeps
                   every file and line but not the local variables, so that kept errors keep no data alive.
        worker:    the worker's number, from 1; None if no worker ever took the job.
        attempt:   1 for the first try; 0 if there was none.
        submitted, started, finished:  seconds on `time.monotonic()`; `started` is None if it never started. For a job
                   that was tried again they are those of the last attempt: `attempts` has them all.
    """

    __slots__ = (
        *("attempt", "error", "finished", "job", "started", "submitted", "value", "worker"),
        *("_due", "_earlier", "_letter"),  # for jobs that are tried again
    )

    job: Job
    value: Value | None
    error: BaseException | None
    worker: int | None
    attempt: int
    submitted: float
    started: float | None
    finished: float

    _due: float  # these three only for jobs that are tried again
    _earlier: list[Attempt]
    _letter: Any

    # Only three are set here: every job pays for each line, and the others are set when known.
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
        """Seconds in the queue: from submitted to started (to finished, if it never started)."""
        return (self.finished if self.started is None else self.started) - self.submitted

    @property
    def duration(self) -> float:
        """Seconds of service: from started to finished; 0.0 if it never started."""
        return 0.0 if self.started is None else self.finished - self.started

    @property
    def latency(self) -> float:
        """Seconds from submitted to finished: wait + duration."""
        return self.finished - self.submitted

    @property
    def waiting_since(self) -> float:
        """When this job was last ready to run: submitted or, for a retry, at the end of its backoff."""
        return getattr(self, "_due", self.submitted)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every try at this job, the last one included; none if no worker ever took it."""
        earlier = getattr(self, "_earlier", ())
        return (*earlier, self._this_attempt()) if self.attempt > len(earlier) else tuple(earlier)

    @property
    def redriven_from(self) -> Any:
        """The dead letter from which this job was taken up again; None for all others."""
        return getattr(self, "_letter", None)

    def comes_from(self, letter: Any) -> None:
        """This job is a new submission of the one in that dead letter."""
        self._letter = letter

    def again(self, due: float) -> None:
        """Put this attempt on record; the next one may be made at `due`."""
        if not hasattr(self, "_earlier"):
            self._earlier = []
        self._earlier.append(self._this_attempt())
        self._due = due

    def _this_attempt(self) -> Attempt:
        assert self.started is not None
        return Attempt(self.attempt, self.worker, self.waiting_since, self.started, self.finished, self.error)

    def run(self, handler: Callable[[Job], Value], worker: int, clock: Callable[[], float]) -> None:
        """Call the handler and fill in what came of it, whatever that is. Raises nothing that the handler raises."""
        self.worker = worker
        self.attempt += 1  # counted before it runs: an attempt that kills everything was one all the same
        self.started = clock()
        try:
            self.value = handler(self.job)
            self.error = None
        except BaseException as error:
            self.value = None
            self.error = forget_locals(error)
        self.finished = clock()
        # The error's frames lead back to this one by f_back: were `self` still in it, the two would form a cycle.
        del self

    def drop(self, error: BaseException, now: float) -> None:
        """Fill in the result of a job that no worker ran, because of `error`."""
        self.value, self.error, self.worker, self.started, self.finished = None, error, None, None, now

    def __repr__(self) -> str:
        known = ((name, getattr(self, name, None)) for name in ("job", "value", "error", "worker", "attempt"))
        return f"Result({', '.join(f'{name}={value!r}' for name, value in known if value is not None)})"


# Named tuples and not data classes: `dataclasses` imports `inspect`, a third of what importing the pools would cost.
class PoolStats(NamedTuple):
    """One consistent look at a pool: submitted = queued + running + delayed + finished."""

    submitted: int
    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    workers: int
    delayed: int = 0  # waiting for a retry; only pools that retry have any
    unknown: int = 0  # raised OutcomeUnknown; only handlers that can lose an answer have any

    @property
    def finished(self) -> int:
        """Jobs whose result is there: succeeded + failed + cancelled + unknown."""
        return self.succeeded + self.failed + self.cancelled + self.unknown


class ShutdownReport(NamedTuple):
    """What a shutdown did, by name: every job that was in the pool when it began stands in one of the three.

    Attributes:
        finished:       jobs that finished, well or badly, since the shutdown began, in that order.
        cancelled:      jobs not done; each has come out as a result with a `JobCancelled`.
        still_running:  jobs whose handler had not returned when the report was made.
        errors:         what went wrong when workers closed their resources.
        stats:          the pool's counts at that instant.
    """

    finished: tuple[Any, ...]
    cancelled: tuple[Any, ...]
    still_running: tuple[Any, ...]
    errors: tuple[BaseException, ...]
    stats: PoolStats

    @property
    def complete(self) -> bool:
        """True if nothing was cancelled and nothing was left running."""
        return not self.cancelled and not self.still_running


def forget_locals(error: BaseException) -> BaseException:
    """`error` with tracebacks that hold no local variables, neither its own nor those of what caused it.

    The first frame is the one that called the handler, which tells nobody anything: it goes altogether.
    """
    if error.__traceback__ is not None:
        error.__traceback__ = error.__traceback__.tb_next
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo:
        current = todo.pop()
        if current is not None and id(current) not in seen:
            seen.add(id(current))
            _clear_frames(current.__traceback__)
            todo += [current.__cause__, current.__context__]
            if isinstance(current, BaseExceptionGroup):
                todo += current.exceptions
    return error


def _clear_frames(trace: TracebackType | None) -> None:
    while trace is not None:
        with suppress(RuntimeError):  # the frame still runs
            trace.tb_frame.clear()
        trace = trace.tb_next
