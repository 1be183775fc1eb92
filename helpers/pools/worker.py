"""One cook: a number, the job in hand, and a tool of their own that is fetched once and put away once.

A handler gets at it with `current_worker()`:

    def send(mail):
        smtp = current_worker().resource          # this worker's own connection, opened at its first job
        ...

    pool = WorkerPool(send, workers=10, resource=lambda: smtplib.SMTP(host, port))
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any

from .result import Result

if TYPE_CHECKING:
    from .basic import WorkerPool


class Worker:
    """What a handler may know about the worker that runs it. Only that worker's thread uses `resource`.

    Attributes:
        number:     from 1, the `worker` of its results.
        pool:       the pool it works for.
        cancelled:  set once the pool no longer wants what is running: a long handler looks at it and stops early.
        in_hand:    the order being worked on (its result, and where that goes), or None; guarded by the pool's lock.
        thread:     the thread it is.
        bell:       a condition on the pool's lock, by which an idle worker is called.
        idle:       True while it waits and has not been called; guarded by the pool's lock.
        idle_since: when it last had nothing to do, seconds on the pool's clock; only pools that retire workers set it.
    """

    def __init__(
        self,
        number: int,
        pool: "WorkerPool[Any, Any]",
        open_resource: "OpenResource | None",
        bell: threading.Condition,
    ) -> None:
        self.number = number
        self.pool = pool
        self.cancelled = pool.cancelled
        self.in_hand: tuple[Result[Any, Any], Any] | None = None
        self.thread: threading.Thread
        self.bell = bell
        self.idle = False
        self.idle_since = 0.0
        self._open_resource = open_resource
        self._tools = ExitStack()
        self._resource: Any = None
        self._opened = False

    @property
    def resource(self) -> Any:
        """This worker's own resource, opened when first asked for and kept until the worker leaves.

        Raises whatever opening it raises: that is the error of the job that asked. The next job tries again, so
        a server that comes back is found again.
        """
        if not self._opened:
            if self._open_resource is None:
                raise RuntimeError("this pool has no resource: give it one with WorkerPool(..., resource=...)")
            self._resource = self._tools.enter_context(self._open_resource())
            self._opened = True
        return self._resource

    @property
    def attempt(self) -> int:
        """Which try at its job this is, from 1. Raises RuntimeError if this worker has no job in hand."""
        if self.in_hand is None:
            raise RuntimeError(f"worker {self.number} has no job in hand")
        return self.in_hand[0].attempt

    def close(self) -> BaseException | None:
        """Close the resource, if it was opened. Returns what went wrong, if anything did."""
        try:
            self._tools.close()
        except BaseException as error:
            return error
        return None


OpenResource = Callable[[], AbstractContextManager[Any]]

# Which worker a thread is; a thread that is none has no `worker` here.
_here = threading.local()


def current_worker() -> Worker:
    """The worker that runs the calling handler. Raises RuntimeError outside of a handler."""
    worker = worker_or_none()
    if worker is None:
        raise RuntimeError("current_worker() was called from a thread that is no pool's worker")
    return worker


def worker_or_none() -> Worker | None:
    """The worker that the calling thread is, or None."""
    return getattr(_here, "worker", None)


def become(worker: Worker) -> None:
    """The calling thread is this worker from now on."""
    _here.worker = worker
