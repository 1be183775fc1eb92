"""A child process that ends with its parent, and cleans up before it ends.

A server that outlives its notebook would keep a port and a directory. So each server runs in, or under, a child process
(the guardian), which stops the server

- when the parent calls `Child.stop`. That happens at the end of a `with` block, when the last reference to the `Child`
  is gone, and when the interpreter ends;
- when the parent dies without calling it, because of SIGKILL or a crash. Then the pipe from the parent to the guardian
  closes. If the parent had forked another process, that process can hold a copy of the pipe and keep it open. So on
  POSIX the guardian also checks every 0.2 s that its parent is still the same process.

Ctrl-C and the Stop button do not end the guardian. They send SIGINT to the parent's process group, and the guardian has
a process group of its own. They interrupt the `with` block, whose end stops the guardian.

Parent and child exchange pickles: the parent sends one request, and the child sends reports.
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

POLL = 0.2  # seconds between two checks of the parent's id
STOPPING = 30.0  # seconds that a guardian gets to clean up before it is killed
CHECK_TEMPORARY = "Set TMPDIR (on Windows: TEMP) to a folder that exists and that you can write to."
CHECK_MACHINE = "Check that there is free memory, disk space and room for another process, then try again."


class ServiceError(RuntimeError):
    """A service could not be started, or is not running."""


class Child:
    """A process that runs `python -m module`. `request` is sent to it at its start."""

    def __init__(self, module: str, request: object) -> None:
        self._command = f"{sys.executable} -P -m {module}"
        try:
            printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _end
        except OSError as error:
            raise ServiceError(
                f"there is no temporary file for `{self._command}`: {error}. {CHECK_TEMPORARY}"
            ) from error
        self._printed: IO[bytes] = printed
        try:
            self.process = _start(module, printed)
        except (OSError, ValueError) as error:  # ValueError: a NUL in a folder of sys.path
            printed.close()
            raise ServiceError(f"`{self._command}` could not be started: {error}. {CHECK_MACHINE}") from error
        self._owner = os.getpid()
        # `finalize` calls `_end` once: from `stop`, from the garbage collector, or at the end of the interpreter.
        self._end = weakref.finalize(self, _end, self.process, printed)
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # the child has died already; `receive` will report the reason
            self.process.stdin.write(pickle.dumps((self._owner, request)))
            self.process.stdin.flush()

    def receive(self, timeout: float) -> Any:
        """Return the next report, or raise it if it is an exception.

        Raises ServiceError if the child ends without a report, if its report cannot be read, or if it reports nothing
        for `timeout` seconds. In the last two cases the child is killed. The error has the command and the end of the
        child's output.
        """
        assert self.process.stdout is not None
        too_late = threading.Event()

        def give_up() -> None:
            too_late.set()
            self.process.kill()

        # Not every platform can read from a pipe with a timeout. But on every platform a pipe ends when the child that
        # writes to it is killed.
        alarm = threading.Timer(timeout, give_up)
        alarm.daemon = True
        alarm.start()
        try:
            report = pickle.load(self.process.stdout)
        except Exception as error:  # not only EOFError: unpickling a report can raise anything
            raise self._silence(error, timeout, too_late) from None
        finally:
            alarm.cancel()
            alarm.join()  # so that the timer's thread does not outlive this call
        if isinstance(report, BaseException):
            raise report
        return report

    def _silence(self, error: Exception, timeout: float, too_late: threading.Event) -> ServiceError:
        """Return the error for a missing report. `error` is what reading raised; `too_late` is set after `timeout`."""
        unreadable = not isinstance(error, EOFError | pickle.UnpicklingError)
        if unreadable:  # in the other cases the child has ended by itself or was killed by the alarm
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
        """Tell the child to clean up and to end, and wait until it has ended. May be called twice.

        Returns True. In a fork of the process that started the child, it does nothing and returns False, because the
        child does not belong to the fork.
        """
        self._end()
        return os.getpid() == self._owner


def _start(module: str, printed: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start a process that can import the same modules. It has its own process group, so SIGINT does not reach it."""
    environment = for_python()
    # '' in sys.path stands for the current folder. With -P the child does not add this folder a second time, in front.
    environment["PYTHONPATH"] = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    executable, flags = sys.executable, 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        # On Windows, the python.exe of a virtual environment only starts another python.exe. Start that one directly,
        # as multiprocessing does, so that `process` is the one that runs the module.
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
    # This also runs at the end of a fork of this process. There Popen finds that the process is not its child, and it
    # sends no signal.
    if process.stdin is not None:
        with contextlib.suppress(OSError):  # flushing fails if the child has not read the request
            process.stdin.close()
    if sys.platform != "win32":
        process.terminate()  # because another fork of this process can hold the pipe open
    try:
        # If a second press of the Stop button interrupts this wait, the child is left alone: it is already ending.
        process.wait(STOPPING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        if process.stdout is not None:
            process.stdout.close()
        printed.close()


class Parent:
    """The parent, as the child sees it. Create it at the start of the child, in the main thread.

    `when_gone` is called when the parent has died, from a thread of this object, and when the parent tells the child to
    end, from a signal handler in the main thread. It must do no more than record the fact; `SimpleQueue.put` is safe in
    both cases.
    """

    def __init__(self, when_gone: Callable[[], object]) -> None:
        if sys.platform != "win32":
            signal.signal(signal.SIGTERM, lambda number, frame: when_gone())
        self._inbox, self._outbox = sys.stdin.buffer, sys.stdout.buffer
        self._pid, self.request = pickle.load(self._inbox)
        threading.Thread(target=self._watch, args=(when_gone,), name="parent-watch", daemon=True).start()

    def send(self, report: object) -> None:
        """Send a report. If the parent is gone, nothing happens."""
        with contextlib.suppress(OSError):
            self._outbox.write(pickle.dumps(report))
            self._outbox.flush()

    def _watch(self, when_gone: Callable[[], object]) -> None:
        if sys.platform == "win32":
            self._inbox.read(1)  # Windows cannot poll a pipe, but it has no forks that could keep the pipe open
        else:
            # The parent sends nothing more, so the pipe becomes readable only when it is closed.
            while os.getppid() == self._pid and not select.select([self._inbox], [], [], POLL)[0]:
                pass
        when_gone()
