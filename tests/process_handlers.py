"""Handlers for the tests of engines. A child process imports them from here."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

from helpers.pools import JobCancelled, OutcomeUnknown, RetryLater, current_worker
from helpers.pools.child_main import TICK


class Odd(Exception):
    """An error that can be pickled but not unpickled, because its `__init__` takes two arguments."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


class Evil(Exception):
    """An error that can neither be pickled nor converted to text."""

    def __reduce__(self):
        raise RuntimeError("no")

    def __str__(self):
        raise RuntimeError("no words")


class OddUnknown(OutcomeUnknown):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


class BreaksWhenLoaded:
    """A value that can be pickled but not unpickled."""

    def __reduce__(self):
        return (int, ("not a number",))


class AnyJob:
    """A job that a weak reference can refer to."""


class Gate:
    """Jobs wait at it until the test opens it, also jobs in child processes: it is open once its file exists."""

    def __init__(self, path):
        self.path = path

    def set(self):
        self.path.touch()

    def is_set(self):
        return self.path.exists()

    def wait(self, seconds=60.0):
        deadline = time.monotonic() + seconds
        while not self.is_set() and time.monotonic() < deadline:
            time.sleep(0.001)
        return self.is_set()

    def hold(self, job):
        """A handler: every job waits, but for those that are called "first" or "quick"."""
        return job in ("first", "quick") or self.wait()


def double(job):
    return 2 * job


def echo(job):
    return job


def square(job):
    return job * job


def nap(job):
    time.sleep(0.001)


def fail(job):
    raise ValueError("no")


def fail_for_thirds(job):
    if job % 3 == 0:
        raise ValueError(job)


def raise_for_one(error, job):
    if job == 1:
        raise error
    return job


def end_in_three_ways(job):
    if job % 3 == 0:
        raise OutcomeUnknown("no answer came")
    if job % 3 == 1:
        raise ValueError("refused")


def return_coroutine(job):
    async def coroutine():
        return job

    return coroutine()


def return_async_generator(job):
    async def generator():
        yield job

    return generator()


def pid_of(job):
    return os.getpid()


def attempt_of(job):
    if current_worker().attempt <= job:
        raise RetryLater("not yet", 0.001)
    return current_worker().attempt


def number_of(job):
    return current_worker().number


ERRORS = {
    "plain": lambda: ValueError("bad"),
    "exit": lambda: SystemExit(3),
    "interrupt": KeyboardInterrupt,
    "odd": lambda: Odd(1, 2),
    "evil": Evil,
    "unknown": lambda: OutcomeUnknown("no reply"),
    "odd unknown": lambda: OddUnknown(1, 2),
    "cancelled": lambda: JobCancelled("stopped in time"),
    "group": lambda: ExceptionGroup("two", [ValueError(1), OSError(2)]),
}


def raise_named(name):
    raise ERRORS[name]()


def unpicklable_value(job):
    return lambda: job


def value_that_breaks(job):
    return BreaksWhenLoaded()


def die(job):
    """End the process in the way that the job names, or return the job."""
    if job == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if job == "exit":
        os._exit(3)
    if job == "segfault":
        ctypes.string_at(0)
    return job


def fork_and_die(job):
    """Fork a process that writes its id into a file and sleeps, and then kill this process."""
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    with open(job, "w") as file:
        file.write(str(pid))
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(seconds):
    time.sleep(seconds)
    return seconds


def hold_the_lock(seconds):
    """Sleep in C code that holds the interpreter lock, so that no other thread of the process runs."""
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    return seconds


def wait_for_cancelled(job):
    if not current_worker().cancelled.wait(30):
        raise TimeoutError("was never told to stop")
    return "stopped"


def stop_half_way(job):
    current_worker().cancelled.wait(20)
    raise JobCancelled("stopped half-way, nothing was done")


def print_all(job):
    print("to stdout", job)
    print("to stderr", job, file=sys.stderr)
    os.write(1, b"to descriptor 1\n")
    subprocess.run([sys.executable, "-c", "print('from a grandchild')"], check=True)
    return sys.stdin.read()


def need_memory(size):
    return len(bytearray(size))


@contextmanager
def notebook_of(path):
    """Return a resource that writes into a file when it is opened and closed."""
    with open(path, "a") as log:
        log.write(f"open {os.getpid()}\n")
    yield os.getpid()
    with open(path, "a") as log:
        log.write(f"close {os.getpid()}\n")


def use_resource(job):
    pid = current_worker().resource
    if job == "break":
        raise ConnectionError("gone")
    return pid


def use_resource_for_long(job):
    """Use the resource, and take so long that the listener of the child reads the pipe in the meantime."""
    time.sleep(4 * TICK)
    return current_worker().resource


def explode_on_import(job):
    import module_that_does_not_exist  # noqa: F401
