"""`Child`: the child process of one worker, as its worker sees it. It sends a job and waits for the reply.

    the worker's thread ─── setup, then job after job ───> the child: `child_main`
                        <── value or error ───────────────
    the watch's thread ──── cancel, or kill ─────────────> the child

A child is a context manager, and its worker keeps it as its resource. So the child starts when the worker takes its
first job, and ends with the worker. After the death of a child, the worker's next job starts another one.

Always true: a child that dies fails at most one job, the one that it was running. A child is killed only while its
worker waits for a reply, so a kill never hits a later job. What a mistake would break: a worker whose child neither
replies nor ends waits forever.
"""

import json
import pickle
import signal
import subprocess
import sys
import time
from contextlib import suppress
from io import RawIOBase
from math import inf
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from .child_main import CANCEL, ERROR, JOB, SETUP, Failure, Setup
from .errors import HandlerFailed, JobTimedOut, WorkerDied
from .wire import Frame, Pipe, pack
from .words import describe, describe_error

if TYPE_CHECKING:
    from .processes import Watch

# The child imports what the parent can import. The path is an argument and not an environment variable, because the
# processes that a handler starts would inherit a variable.
BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from importlib import import_module; import_module(sys.argv[2]).main()"
)
END_WAIT = 1.0  # seconds that an idle child has to close its resource and end
CANCEL_RETRY = 0.05  # seconds until the watch tries again to send a cancel frame


class Child:
    """A child process that runs the handler of a pool.

    Args:
        setup:  what the child must know.
        watch:  tells a running handler that the pool stops, and kills a child whose time is up.
    """

    def __init__(self, setup: Setup, watch: "Watch") -> None:
        self._setup = setup
        self._watch = watch
        self._sending = Lock()  # held while a frame is written, so that the frames of two threads never mix
        # The lock guards the next three attributes. A thread that kills the child checks `_deadline` and sets `_death`
        # in the same locked block. `_deadline` is None unless the worker waits for a reply.
        self._lock = Lock()
        self._deadline: float | None = None
        self._limit: float | None = None  # the seconds before the deadline
        self._death: BaseException | None = None
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> "Child":
        """Start the process and wait until it has imported the handler. Raises the error of the import."""
        # A group of its own, so that Ctrl-C in a terminal does not reach the child.
        group: dict[str, Any] = {"process_group": 0}
        if sys.platform == "win32":
            group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        command = [sys.executable, "-c", BOOT, json.dumps(sys.path), f"{__package__}.child_main"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, bufsize=0, **group)
        self._to_child = Pipe(cast("RawIOBase", self._process.stdin))
        self._from_child = Pipe(cast("RawIOBase", self._process.stdout))
        self._watch.add(self)
        try:
            self._reply_to(pack(SETUP, self._setup), self._watch.start_timeout)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """Let an idle child close its resource and end. Kill a child that does not end within a second."""
        self._watch.remove(self)
        self._to_child.close()
        self._wait_or_kill()
        self._from_child.close()

    def call(self, job: Any, attempt: int) -> Any:
        """Run a job in the child and return its value. Raises the handler's error, JobTimedOut, or WorkerDied."""
        try:
            frame = pack(JOB, (job, attempt))
        except BaseException as problem:
            why = describe_error(problem)
            raise TypeError(f"the job cannot be pickled and sent to a process ({why}): {describe(job)}") from None
        return self._reply_to(frame, self._watch.timeout)

    @property
    def has_ended(self) -> bool:
        """True if the process has ended, or will end soon, so that it takes no more jobs."""
        return self._death is not None or self._process.poll() is not None

    def _reply_to(self, frame: Frame, limit: float | None) -> Any:
        """Send a frame and return the value of the reply. Raises the error of the reply, or the reason of the death."""
        deadline = inf if limit is None else time.monotonic() + limit
        with self._lock:
            self._deadline, self._limit = deadline, limit
        self._watch.expect(deadline)
        try:
            reply = self._exchange(frame)
        finally:
            with self._lock:
                self._deadline = None
        if reply.kind == ERROR:
            raise _error_of(reply.load())
        return reply.load()

    def _exchange(self, frame: Frame) -> Frame:
        try:
            with self._sending:
                self._to_child.send(frame)
            return self._from_child.receive()
        except (OSError, EOFError):
            raise self._reason() from None

    def _reason(self) -> BaseException:
        """Return the error for the job of a child that has closed its pipe."""
        code = self._wait_or_kill()  # The handler may have closed the pipe, and the process runs on.
        with self._lock:
            if self._death is None:
                self._death = WorkerDied(f"the process of worker {self._setup.number} {_ending(code)}")
                self._death.exit_code = code
            return self._death

    def _wait_or_kill(self) -> int:
        """Wait a second for the end of the process, or kill it. Return its exit code."""
        try:
            return self._process.wait(END_WAIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    # -- called by the watch --------------------------------------------------------------------------------------

    def check(self, now: float, stop_at: float | None) -> float:
        """Kill the child if its time is up. Return when to check again.

        `stop_at` is None unless the pool stops: then it is the end of the handler's grace, and the handler is told. If
        the job has also exceeded its time limit, the error names the time limit.
        """
        grace_ends = inf if stop_at is None else stop_at
        with self._lock:
            if self._deadline is None:
                return inf
            if now >= self._deadline:
                self._kill(JobTimedOut, f"it took longer than {self._limit:g} s")
                return inf
            if now >= grace_ends:
                self._kill(WorkerDied, f"its handler did not stop {self._watch.grace:g} s after it was told to")
                return inf
            check_again = min(self._deadline, grace_ends)
        return check_again if stop_at is None or self._send_cancel() else now + CANCEL_RETRY

    def _kill(self, kind: type[WorkerDied] | type[JobTimedOut], why: str) -> None:
        """Kill the child, so that its job fails with an error of this kind. The caller holds the lock."""
        self._death = kind(f"the process of worker {self._setup.number} was killed: {why}")
        self._process.kill()

    def _send_cancel(self) -> bool:
        """Tell the running handler that the pool stops. Return False if the worker is still sending the job."""
        if not self._sending.acquire(blocking=False):
            return False
        try:
            with suppress(OSError, ValueError):  # the child has just ended
                self._to_child.send(pack(CANCEL, None))
        finally:
            self._sending.release()
        return True


def _ending(code: int) -> str:
    """Return in words how a process with this exit code ended."""
    if code >= 0:
        return f"ended with exit code {code} in the middle of its job"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _error_of(failure: Failure) -> BaseException:
    """Return the handler's error, or HandlerFailed if it cannot be unpickled, with the child's traceback as a note."""
    error: Any = None
    if failure.pickled is not None:
        with suppress(BaseException):  # `__init__` of the error's class is user code
            error = pickle.loads(failure.pickled)
    if not issubclass(type(error), BaseException):
        kind = HandlerFailed if failure.counts_as is Exception else failure.counts_as
        error = kind(f"{failure.text} (this error could not be pickled and sent back as it was)")
    with suppress(BaseException):
        error.add_note(f"in the child process:\n{failure.traceback}")
    return cast("BaseException", error)
