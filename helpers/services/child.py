"""A child process that dies with us, but not before it has cleaned up.

A server that outlives its notebook keeps a port, a directory and a reader's patience. So it runs under a child
process of ours, a guardian, which ends it

- when we say so: `Child.stop`, at the end of a `with` block, of the last reference, or of the interpreter;
- when we die without a word, by SIGKILL or a crash: the pipe that we hold to the guardian then closes. A forked
  sibling of ours may hold a copy of that pipe, which keeps it open; so on POSIX the guardian also looks, every 0.2 s,
  whether its parent is still the same.

Ctrl-C and the Stop button do not end it. They send SIGINT to our process group, and the guardian has a group of its
own: it ends with the `with` block that they interrupt.

The two speak in pickles: one request down, reports up.
"""

import contextlib
import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable
from typing import IO, Any

from helpers.services.environment import for_python
from helpers.services.words import describe

POLL = 0.2  # seconds between two looks at the parent's id
STOPPING = 30.0  # seconds that a guardian has to clean up before it is killed
CHECK_TEMPORARY = "Set TMPDIR (on Windows: TEMP) to a folder that exists and that you can write to."
CHECK_MACHINE = "Check that there is free memory, disk space and room for another process, then try again."


class ServiceError(RuntimeError):
    """A service could not be started, or is not running."""


class Child:
    """A process that runs `python -m module`, and is sent `request` to begin with."""

    def __init__(self, module: str, request: object) -> None:
        self._command = f"{sys.executable} -P -m {module}"
        try:
            printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _end
        except OSError as error:
            raise ServiceError(f"no temporary file for `{self._command}`: {error}. {CHECK_TEMPORARY}") from error
        self._printed: IO[bytes] = printed
        try:
            self.process = _start(module, printed)
        except (OSError, ValueError) as error:  # ValueError: a NUL in a folder of sys.path
            printed.close()
            raise ServiceError(f"`{self._command}` could not be started: {error}. {CHECK_MACHINE}") from error
        self._owner = os.getpid()
        # `finalize` runs once, whoever is first to call it: `stop`, the garbage collector or the interpreter's end.
        self._end = weakref.finalize(self, _end, self.process, printed)
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # it died at once: `receive` says of what
            self.process.stdin.write(pickle.dumps((self._owner, request)))
            self.process.stdin.flush()

    def receive(self, timeout: float) -> Any:
        """Return the next report, or raise it if it is an exception.

        Raises ServiceError, with the command and the end of its output, if the child ends instead, reports something
        that cannot be read, or reports nothing for `timeout` seconds, which ends it.
        """
        assert self.process.stdout is not None
        too_late = threading.Event()

        def give_up() -> None:
            too_late.set()
            self.process.kill()

        # Not every platform can read a pipe with a time-out. But on each, a killed child's pipe ends.
        alarm = threading.Timer(timeout, give_up)
        alarm.daemon = True
        alarm.start()
        try:
            report = pickle.load(self.process.stdout)
        except Exception as error:  # not only EOFError: a report that cannot be rebuilt raises whatever it likes
            raise self._silence(error, timeout, too_late) from None
        finally:
            alarm.cancel()
            alarm.join()  # the timer's thread must not outlive this call
        if isinstance(report, BaseException):
            raise report
        return report

    def _silence(self, error: Exception, timeout: float, too_late: threading.Event) -> ServiceError:
        """Say why there is no report, given what reading it raised and whether `timeout` seconds were over."""
        unreadable = not isinstance(error, EOFError | pickle.UnpicklingError)
        if unreadable:  # otherwise the child ends by itself, and its exit status says why; or the alarm kills it
            self.process.kill()
        status = self.process.wait()
        self._printed.seek(0)
        last_words = self._printed.read()[-2000:].decode(errors="replace").strip()
        if unreadable:
            what, then = f"sent a report that cannot be read ({describe(error)})", CHECK_MACHINE
        elif too_late.is_set():
            what, then = f"was ended {timeout:g} s after its start, before it answered", "On a slow machine, try again."
        else:
            what, then = f"ended (status {status}) before it answered", CHECK_MACHINE
        return ServiceError(f"the service `{self._command}` {what}. {then} Its output:\n{last_words or '(none)'}")

    def stop(self) -> bool:
        """Have the child clean up and end; return when it has. May be called twice.

        In a fork of the process that started it, it does nothing, and returns False: the child is not the fork's.
        """
        self._end()
        return os.getpid() == self._owner


def _start(module: str, printed: IO[bytes]) -> "subprocess.Popen[bytes]":
    """A process in a group of its own, out of reach of our signals, that can import what we can import."""
    environment = for_python()
    # '' in sys.path stands for the current folder. -P: the child need not put it there a second time, in front.
    environment["PYTHONPATH"] = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    executable, flags = sys.executable, 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        # There the python.exe of a virtual environment only starts another one; as multiprocessing does, start that one
        # directly, so that the process we hold is the one that runs.
        if sys.prefix != sys.base_prefix:
            executable = getattr(sys, "_base_executable", executable)
            environment["__PYVENV_LAUNCHER__"] = sys.executable
    return subprocess.Popen(
        [executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=printed,
        env=environment,
        start_new_session=True,
        creationflags=flags,
    )


def _end(process: "subprocess.Popen[bytes]", printed: IO[bytes]) -> None:
    # Also runs in a fork of us that ends. There Popen finds that the process is not its child, and sends no signal.
    if process.stdin is not None:
        with contextlib.suppress(OSError):  # a request that was not read cannot be flushed
            process.stdin.close()
    if sys.platform != "win32":
        process.terminate()  # as a forked sibling may hold the pipe open
    try:
        # Interrupted here (the Stop button, pressed twice) we leave it to itself: it is on its way out.
        process.wait(STOPPING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        if process.stdout is not None:
            process.stdout.close()
        printed.close()


class Parent:
    """What a child knows of its parent. To be made first of all, in the main thread.

    `when_gone` is called once the parent has died, from a thread of ours, or, from a signal handler in the main
    thread, when the parent wants the child to end. It must only take note of it (`SimpleQueue.put` is safe in both).
    """

    def __init__(self, when_gone: Callable[[], object]) -> None:
        if sys.platform != "win32":
            signal.signal(signal.SIGTERM, lambda number, frame: when_gone())
        self._inbox, self._outbox = sys.stdin.buffer, sys.stdout.buffer
        self._pid, self.request = pickle.load(self._inbox)
        threading.Thread(target=self._watch, args=(when_gone,), name="parent-watch", daemon=True).start()

    def send(self, report: object) -> None:
        """Send a report. It is no error if nobody is there to read it."""
        with contextlib.suppress(OSError):
            self._outbox.write(pickle.dumps(report))
            self._outbox.flush()

    def _watch(self, when_gone: Callable[[], object]) -> None:
        if sys.platform == "win32":
            self._inbox.read(1)  # pipes cannot be polled there, but neither can a fork keep this one open
        else:
            # Nothing more is sent down, so the pipe becomes readable only by its end.
            while os.getppid() == self._pid and not select.select([self._inbox], [], [], POLL)[0]:
                pass
        when_gone()
