"""Functions that run in a process of their own. The process ends with ours, however ours ends.

with ChildProcess(work, url) as child:    # runs work(url) in another process
    child.kill()                          # no `except` and no `finally` of the child runs

supervise(work, url, workers=2)           # two processes; one that is killed is replaced
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from helpers.services.child import Child

MAIN = "helpers.durable.child_main"
POLL = 0.01  # seconds between two looks at the processes
PATIENCE = 60.0  # seconds that a process has to end by itself
MANY = 100  # deaths after which a supervisor gives up: the jobs themselves seem to kill the workers
ENDED, RAISED = 0, 1  # the exit status of a child that was not killed


class ChildProcess:
    """A process that calls `function(*args, **options)` and ends. All of these must be picklable.

    Leaving the `with` block ends the process if it is still running. What it writes to stderr is dropped.
    Raises TypeError for a function of a notebook cell or of the script itself, which another process cannot import.
    """

    def __init__(self, function: Callable[..., object], *args: Any, **options: Any) -> None:
        if function.__module__ == "__main__":
            raise TypeError(f"move {function.__qualname__} into a .py file and import it: it is for another process")
        self._work = (function, args, options)
        self._child: Child | None = None

    def __enter__(self) -> Self:
        self._child = Child(MAIN, self._work)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.stop()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._running.process.pid

    @property
    def status(self) -> int | None:
        """The exit status: None while it runs, 0 after a normal end, 1 if the function raised, else it was killed."""
        return self._running.process.poll()

    def kill(self) -> None:
        """End the process at once (SIGKILL; on Windows, TerminateProcess), and return when it has ended."""
        self._running.process.kill()
        self._running.process.wait(PATIENCE)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait until the process has ended, and return its exit status. Raises subprocess.TimeoutExpired."""
        return self._running.process.wait(timeout)

    def value(self, timeout: float = PATIENCE) -> Any:
        """Wait until the function has ended; return what it returned, or raise what it raised. Call it once.

        Raises ServiceError if the process was killed, or after `timeout` seconds, which ends it.
        """
        try:
            return self._running.receive(timeout)
        finally:
            self.wait()  # it has nothing left to do, and its exit status is that of a normal end

    @property
    def _running(self) -> Child:
        if self._child is None:
            raise RuntimeError("this process has not been started: use `with ChildProcess(...) as child:`")
        return self._child


def supervise(function: Callable[..., object], *args: Any, workers: int = 2, timeout: float = PATIENCE) -> int:
    """Run `function(*args)` in `workers` processes, and replace each that is killed, until all have ended normally.

    A service manager such as systemd or Kubernetes does this for a real worker. Returns how many processes were killed.
    Raises what a function raised, RuntimeError after 100 deaths, and TimeoutError after `timeout` seconds.
    """
    deaths = 0
    deadline = time.monotonic() + timeout
    with ExitStack() as stack:
        running = [stack.enter_context(ChildProcess(function, *args)) for _ in range(workers)]
        while running:
            for child in [child for child in running if child.status is not None]:
                running.remove(child)
                if child.status in (ENDED, RAISED):
                    child.value()  # raises what the function raised
                    continue
                deaths += 1
                if deaths >= MANY:
                    raise RuntimeError(f"{deaths} workers were killed; the last with the status {child.status}")
                running.append(stack.enter_context(ChildProcess(function, *args)))
            if time.monotonic() > deadline:
                raise TimeoutError(f"the workers were still running after {timeout:g} s")
            time.sleep(POLL)
    return deaths
