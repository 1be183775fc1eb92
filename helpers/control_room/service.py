"""The service that the jobs of the control room call: simulated, or a real handler, and slow or broken on demand.

A job is a `Call`, which refers to the one `Service` of the room. So a change of the service applies to every job that
starts afterwards, also to jobs that are already queued. With the process engine, a job is pickled when it starts, and
its child process gets a copy of the service as it is at that moment.
"""

import os
import signal
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from helpers.pools import JobCancelled, checks, current_worker
from helpers.pools.words import describe

MODES = ("normal", "slow", "failing", "refusing")
SLOWER = 4  # how many times as long a call takes while the service is slow


class ServiceFailed(RuntimeError):
    """Raised by a call of the failing service, after the usual service time."""


class Service:
    """A service that answers each call after `seconds`, and in its handler.

    Args:
        seconds:  the service time of the simulated service. A real handler takes its own time, and `seconds` is what
                  the mode "slow" is based on.
        handler:  the real handler, which is called with the number of the job; None: the service is simulated.

    Attributes:
        mode:     one of MODES. "slow": a call takes SLOWER times as long. "failing": a call takes its time and then
                  raises ServiceFailed. "refusing": a call raises ConnectionRefusedError at once.

    Raises TypeError or ValueError for an argument that breaks its rule.
    """

    def __init__(self, seconds: float = 0.1, handler: Callable[[int], object] | None = None) -> None:
        checks.optional_function("handler", handler)
        self.seconds = checks.seconds("seconds", seconds)
        self.handler = handler
        self.mode = "normal"
        self._kills: deque[None] = deque()
        self._dies = False  # True only in the copy that a child process gets

    def set_mode(self, mode: str) -> None:
        """Change how the service answers from now on. Raises ValueError for a mode that is not one of MODES."""
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, not {describe(mode)}")
        self.mode = mode

    def kill_next(self) -> None:
        """Kill the child process of the next job that starts, in the middle of the job."""
        self._kills.append(None)

    def forget_kills(self) -> None:
        """Forget the kills that no job has carried out."""
        self._kills.clear()

    @property
    def delay(self) -> float:
        """The seconds that a call waits before it is answered: the service time, if the service is simulated."""
        simulated = 0.0 if self.handler else self.seconds
        return simulated + (SLOWER - 1) * self.seconds if self.mode == "slow" else simulated

    def limit(self, workers: int) -> float | None:
        """Return the most calls per second that this many workers can make; None if only measuring can tell."""
        return None if self.handler else workers / self.delay

    def answer(self, number: int) -> object:
        """Answer one call. Raises what the mode says, the error of the handler, or JobCancelled if the pool stops."""
        mode = self.mode
        if mode == "refusing":
            raise ConnectionRefusedError("the service refuses calls")
        seconds = self.delay
        if self._dies:
            current_worker().cancelled.wait(self.seconds / 2)
            kill_this_process()
        if current_worker().cancelled.wait(seconds):
            raise JobCancelled("the pool was stopped during the call")
        if mode == "failing":
            raise ServiceFailed("the service failed")
        return self.handler(number) if self.handler else number

    def __getstate__(self) -> dict[str, Any]:
        """Return what a child process gets. If a kill was requested, the copy of exactly one job carries it."""
        try:
            self._kills.pop()
        except IndexError:
            return vars(self) | {"_kills": deque()}
        return vars(self) | {"_kills": deque(), "_dies": True}


class Call(NamedTuple):
    """A job of the control room: call `service` for the job with this number, from 1."""

    number: int
    service: Service


def serve(call: Call) -> object:
    """Run one job. This is the handler of the control room's pool."""
    return call.service.answer(call.number)


def kill_this_process() -> None:
    """End this process at once, as the operating system does to a process that it kills."""
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows has no SIGKILL; there, both do the same
