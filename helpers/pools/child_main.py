"""What a child process does: it receives jobs over a pipe, calls the handler, and sends the results back.

The main thread runs the handler, because some libraries insist on it. While a handler runs for long, a second thread
reads the pipe, so that the message that the pool is stopping arrives, and also the end of the parent.

Always true:
- The child ends when its parent ends, for whatever reason. An idle child reads the end of its pipe. In a busy child the
  listener reads it, and ends the process at once. On Linux, the kernel kills a child whose parent has died, even if
  its handler hangs in C code and holds the interpreter lock. On other systems such a child lives until that code ends.
- Whatever the handler raises is sent back, and the child continues. `sys.exit()` in a handler is an error of its job.
- What a handler prints goes to the stderr of the program. The pipe to the parent has a file descriptor of its own, so a
  `print` never gets into the middle of a frame.
- Ctrl-C ends no child, although a terminal sends it to every process. The pool decides what happens.
"""

import os
import pickle
import signal
import sys
import time
import traceback
from contextlib import suppress
from itertools import count
from threading import Event, Lock, Thread
from types import SimpleNamespace
from typing import Any, NamedTuple

from .errors import counts_as
from .matching import matches
from .parker import Parker
from .result import Result
from .wire import Frame, Pipe, pack
from .words import describe, describe_error
from .worker import Worker, set_current_worker

# The kinds of frames. The first three go to the child, the others come from it.
SETUP, JOB, CANCEL, READY, VALUE, ERROR = range(6)
TICK = 0.05  # seconds after which a running job counts as long
MAX_TRACEBACK = 10_000  # characters
PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>


class Setup(NamedTuple):
    """What a child must know. `handler`, `resource`, and `broken` are those of the pool, pickled."""

    number: int
    memory: int | None
    handler: bytes
    resource: bytes
    broken: bytes


class Failure(NamedTuple):
    """An error on its way to the parent: the pickled exception, or None, and what can be said without it."""

    pickled: bytes | None
    text: str
    counts_as: type[BaseException]
    traceback: str


def main() -> None:
    """Run until the parent closes the pipe. The parent starts the process with this function: see `child`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_parent()
    ChildMain(*_take_over_pipes()).serve()


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends. Only Linux can do that."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    with suppress(Exception):  # Without ctypes or prctl, the listener alone watches the parent.
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # The parent has died in between.
        os._exit(1)


def _take_over_pipes() -> tuple[Pipe, Pipe]:
    """Return the pipes from and to the parent, and connect stdin and stdout of the handler to other files."""
    inbox = Pipe(os.fdopen(os.dup(0), "rb", buffering=0))
    outbox = Pipe(os.fdopen(os.dup(1), "wb", buffering=0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    if hasattr(os, "register_at_fork"):
        # A process that the handler forks must not keep the pipes open: the parent would not notice that this one died.
        os.register_at_fork(after_in_child=inbox.close)
        os.register_at_fork(after_in_child=outbox.close)
    return inbox, outbox


class ChildMain:
    """The loop of one child process.

    The main thread reads a job, runs it, and replies, again and again: with one thread, a tiny job costs least. But
    while a handler runs, somebody must read the pipe too. So the *listener* thread looks every `TICK` seconds whether
    the same job is still running, and if so, it reads in place of the main thread.

    `_reading` is held by the thread that reads the pipe. It also guards `_frame`: a job that the listener has read,
    because the handler had just returned. The main thread takes it from there before it reads the pipe again.
    `_job` is the number of the running job, or 0. Only the main thread changes it.
    """

    def __init__(self, inbox: Pipe, outbox: Pipe) -> None:
        self._inbox, self._outbox = inbox, outbox
        self._reading = Lock()
        self._frame: Frame | None = None
        self._job = 0
        self._listener = Parker()
        self._listener_sleeps = False
        self._cancelled = Event()
        self._handler: Any = None
        self._broken: Any = ()
        self._worker: Worker

    def serve(self) -> None:
        """Answer every job of the parent with one frame, until the parent closes the pipe or ends."""
        with suppress(EOFError, OSError):
            self._set_up(self._next_frame())  # If the pool is stopped just now, a CANCEL can come before the setup.
            Thread(target=self._listen, name="listener", daemon=True).start()
            try:
                self._answer_jobs()
            finally:
                self._worker.close_resource()

    def _answer_jobs(self) -> None:
        for number in count(1):
            frame = self._next_frame()
            self._job = number
            if self._listener_sleeps:
                self._listener.unpark()
            reply = self._run(frame)
            # Before the reply: the parent may close the pipe as soon as it has it. If the listener then found a job
            # that still runs, it would end the process, and the resource would not be closed.
            self._job = 0
            self._reply(reply)
            del frame, reply  # An idle child must not keep its last job in memory.

    def _next_frame(self) -> Frame:
        """Return the setup or the next job. Raises EOFError if the parent has closed the pipe."""
        while True:
            with self._reading:
                frame, self._frame = self._frame or self._inbox.receive(), None
            if frame.kind != CANCEL:
                return frame
            self._cancelled.set()

    def _listen(self) -> None:
        """Look again and again whether a job runs for long. Sleep while there is none."""
        last = 0
        while True:
            job = self._job
            if job and job == last:
                self._read_during(job)
            elif not job and not last:
                # The main thread sets `_job` and then reads `_listener_sleeps`. This thread does both the other way,
                # so one of the two sees what the other has set, and no long job is left without a listener.
                self._listener_sleeps = True
                self._listener.park(None if not self._job else 0)
                self._listener_sleeps = False
            last = job
            time.sleep(TICK)

    def _read_during(self, job: int) -> None:
        """Read the pipe as long as this job runs: set `cancelled`, or end the process if the parent has ended."""
        with self._reading:
            while self._job == job:
                try:
                    frame = self._inbox.receive()
                except (EOFError, OSError):
                    if self._job == job:  # The handler still runs, and nobody waits for its result.
                        os._exit(1)
                    return  # The main thread reads the end of the pipe too.
                if frame.kind != CANCEL:
                    self._frame = frame
                    return
                self._cancelled.set()

    def _reply(self, frame: Frame) -> None:
        with suppress(Exception):  # The handler may have closed sys.stdout.
            sys.stdout.flush()
        self._outbox.send(frame)

    def _set_up(self, frame: Frame) -> None:
        setup: Setup = frame.load()
        try:
            if setup.memory is not None:
                import resource

                resource.setrlimit(resource.RLIMIT_AS, (setup.memory, setup.memory))
            self._handler, open_resource, self._broken = map(pickle.loads, setup[2:])
        except BaseException as error:  # The handler's module cannot be imported here.
            self._reply(failure(error))
            sys.exit(1)
        pool: Any = SimpleNamespace(cancelled=self._cancelled)
        self._worker = Worker(setup.number, pool, open_resource)
        set_current_worker(self._worker)
        self._reply(pack(READY, None))

    def _run(self, frame: Frame) -> Frame:
        """Run one job and return the frame with its value or its error."""
        try:
            result = self._result_of(*frame.load())
            if result.error is None:
                return _packed(result.value)
            if self._worker.has_resource and matches(result.error, self._broken):
                self._worker.close_resource()
            return failure(result.error)
        except BaseException as problem:  # The job cannot be unpickled, the value not pickled, or `broken` raised.
            return failure(problem)
        finally:
            self._worker.task = None

    def _result_of(self, job: Any, attempt: int) -> "Result[Any, Any]":
        """Call the handler, as a worker of the pool does, so that `current_worker()` works in the handler too."""
        result: Result[Any, Any] = Result(job, 0.0)
        result.attempt = attempt - 1  # `run` counts this attempt
        self._worker.task = (result, None)
        result.run(self._handler, self._worker.number, time.monotonic)
        return result


def _packed(value: Any) -> Frame:
    try:
        return pack(VALUE, value)
    except BaseException as problem:
        why = describe_error(problem)
        raise TypeError(f"the handler's value cannot be pickled and sent back ({why}): {describe(value)}") from None


def failure(error: BaseException) -> Frame:
    """Return the frame of an error. Raises nothing, however odd the exception object is."""
    try:
        trace = "".join(traceback.format_exception(error))[-MAX_TRACEBACK:]
    except BaseException as problem:
        trace = f"(no traceback: {describe_error(problem)})"
    pickled = None
    with suppress(BaseException):
        pickled = pickle.dumps(error, protocol=5)
    return pack(ERROR, Failure(pickled, describe_error(error), counts_as(error), trace))
