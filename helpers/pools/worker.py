"""One worker: its number, its current job, and a resource of its own, such as a connection.

A handler gets its worker from `current_worker()`:

    def send(mail):
        smtp = current_worker().resource          # this worker's own connection, opened when it is first used
        ...

    pool = WorkerPool(send, workers=10, resource=lambda: smtplib.SMTP(host, port))

A resource can break, for instance because the server closes the connection. After an error in `broken=` (by
default OSError and EOFError) the pool closes the resource, and the next job opens a new one. The worker that runs the
retry first closes its own resource, whichever worker it is: if several connections have broken together, the retry must
not meet another broken one. A handler that finds out by itself that its resource is broken calls `discard()`.

Always true: only the worker's own thread uses its resource, and at most one resource per worker is open.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

from .parker import Parker
from .words import describe

if TYPE_CHECKING:
    from .basic import WorkerPool

OpenResource = Callable[[], AbstractContextManager[Any]]


class Worker:
    """The worker that runs a handler.

    Attributes:
        number:     from 1; it is the `worker` of the results.
        pool:       the pool that the worker belongs to.
        cancelled:  an Event that is set when the pool asks running handlers to stop. A long handler checks it.
        task:       the current job, as its result and its outlet, or None; guarded by the pool's lock.
        thread:     the worker's thread.
        parker:     where the worker sleeps while it is idle.
        idle:       True while the worker is in the pool's list of idle workers; guarded by the pool's lock.
        idle_since: when the worker last finished a job or started, in seconds on the pool's clock.
        retired:    True once the worker has decided to end; guarded by the pool's lock.
    """

    def __init__(self, number: int, pool: "WorkerPool[Any, Any]", open_resource: OpenResource | None) -> None:
        self.number = number
        self.pool = pool
        self.cancelled = pool.cancelled
        self.task: Any = None
        self.thread: threading.Thread
        self.parker = Parker()
        self.idle = False
        self.idle_since = 0.0
        self.retired = False
        self._open_resource = open_resource
        self._close: Callable[[], object] | None = None
        self._resource: Any = None
        self.has_resource = False

    @property
    def resource(self) -> Any:
        """This worker's own resource. It is opened when a handler first uses it, and kept until the worker ends.

        Raises whatever opening the resource raises. That becomes the error of the current job, and the next job tries
        to open the resource again. Raises RuntimeError if the pool was made without `resource=`.
        """
        if not self.has_resource:
            if self._open_resource is None:
                raise RuntimeError("this pool has no resource: give it one with WorkerPool(..., resource=...)")
            self._enter(self._open_resource())
        return self._resource

    def _enter(self, manager: Any) -> None:
        # Not an ExitStack: it follows the `__context__` of errors from `__exit__`, and never ends if they form a cycle.
        try:
            enter, leave = type(manager).__enter__, type(manager).__exit__
        except AttributeError:
            raise TypeError(f"resource must return a context manager, not {describe(manager)}") from None
        self._resource = enter(manager)
        self._close, self.has_resource = partial(leave, manager, None, None, None), True

    def discard(self) -> BaseException | None:
        """Close the resource, if it is open, because it is broken. The next use of `resource` opens a new one.

        If the handler then raises and its job is retried, the worker that runs the retry opens a new resource too.

        Returns the error of closing the resource, or None. Closing a broken resource often fails.
        """
        if self.task is not None:
            self.task[0].mark_resource(True)
        return self.close_resource()

    def close_resource(self) -> BaseException | None:
        """Close the resource, if it is open, and return the error of closing it, or None."""
        close, self._close = self._close, None
        self.has_resource, self._resource = False, None
        try:
            if close is not None:
                close()
        except BaseException as error:
            return error
        return None

    @property
    def attempt(self) -> int:
        """The number of this attempt at the current job, from 1. Raises RuntimeError if the worker has no job."""
        if self.task is None:
            raise RuntimeError(f"worker {self.number} has no job in hand")
        attempt: int = self.task[0].attempt
        return attempt


# The worker of each thread. In a thread that is not a worker's, this has no attribute `worker`.
_here = threading.local()


def current_worker() -> Worker:
    """Return the worker of the calling thread. Raises RuntimeError in a thread that is not a worker's."""
    worker = worker_or_none()
    if worker is None:
        raise RuntimeError("current_worker() was called in a thread that is not a worker of a pool")
    return worker


def worker_or_none() -> Worker | None:
    """Return the worker of the calling thread, or None."""
    return getattr(_here, "worker", None)


def set_current_worker(worker: Worker) -> None:
    """Make `worker` the current worker of the calling thread."""
    _here.worker = worker


def is_worker_of(pool: "WorkerPool[Any, Any]") -> bool:
    """Return True if the calling thread is a worker of this pool."""
    worker = worker_or_none()
    return worker is not None and worker.pool is pool


def refuse_handler_of(pool: "WorkerPool[Any, Any]", why: str) -> None:
    """Raise RuntimeError if the calling thread is a worker of this pool. `why` says what would go wrong."""
    if is_worker_of(pool):
        raise RuntimeError(f"called by a handler of {pool.name} itself: {why}")
