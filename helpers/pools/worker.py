"""One worker: a number, the job in its hand, and a resource of its own that is opened and closed for it.

A handler asks for it with `current_worker()`:

    def send(mail):
        smtp = current_worker().resource          # this worker's own connection, opened for its first job
        ...

    pool = WorkerPool(send, workers=10, resource=lambda: smtplib.SMTP(host, port))

A resource can break: the server closes the connection. After an error that says so (`broken=`, by default OSError and
EOFError) the pool closes the resource, and the next job gets a new one. If the job is retried, its worker opens a new
resource for it, whichever worker that is: several connections may have broken, and a job should not try them all. A
handler that knows better calls `discard()`.
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
    """What a handler may know about the worker that runs it. Only that worker's thread uses `resource`.

    Attributes:
        number:     from 1, the `worker` of its results.
        pool:       the pool that it works for.
        cancelled:  set once the pool wants running handlers to stop: a long handler looks at it and stops early.
        task:       the job in hand, as its result and its outlet, or None; guarded by the pool's lock.
        thread:     the thread that it is.
        parker:     where it sleeps while it is idle.
        idle:       True while it is in the pool's list of idle workers; guarded by the pool's lock.
        idle_since: when it last finished a job or started, seconds on the pool's clock.
        retired:    True once it has decided to end; guarded by the pool's lock.
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
        """This worker's own resource, opened when a handler first asks for it and kept until the worker ends.

        Raises whatever opening it raises: that is the error of the job that asked. The next job tries again, so the
        pool recovers when the server does. Raises RuntimeError if the pool was made without a resource.
        """
        if not self.has_resource:
            if self._open_resource is None:
                raise RuntimeError("this pool has no resource: give it one with WorkerPool(..., resource=...)")
            self._enter(self._open_resource())
        return self._resource

    def _enter(self, manager: Any) -> None:
        # Not an ExitStack: it follows the contexts of what __exit__ raises, and never ends if they form a circle.
        try:
            enter, leave = type(manager).__enter__, type(manager).__exit__
        except AttributeError:
            raise TypeError(f"resource must return a context manager, not {describe(manager)}") from None
        self._resource = enter(manager)
        self._close, self.has_resource = partial(leave, manager, None, None, None), True

    def discard(self) -> BaseException | None:
        """Close the resource, if it is open: it is broken. The next use of `resource` opens a new one.

        If the handler then raises and its job is retried, the worker that runs the retry opens a new resource too.

        Returns what went wrong while closing it, if anything did; a broken resource often cannot be closed in order.
        """
        if self.task is not None:
            self.task[0].mark_resource(True)
        return self.close_resource()

    def close_resource(self) -> BaseException | None:
        """Close the resource, if it is open, and return what went wrong while closing it."""
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
        """Which try at its job this is, from 1. Raises RuntimeError if this worker has no job in hand."""
        if self.task is None:
            raise RuntimeError(f"worker {self.number} has no job in hand")
        attempt: int = self.task[0].attempt
        return attempt


# Which worker a thread is. A thread that is not a worker has no attribute `worker` here.
_here = threading.local()


def current_worker() -> Worker:
    """Return the worker that runs the calling handler. Raises RuntimeError outside of a handler."""
    worker = worker_or_none()
    if worker is None:
        raise RuntimeError("current_worker() was called in a thread that is not a worker of a pool")
    return worker


def worker_or_none() -> Worker | None:
    """Return the worker that the calling thread is, or None."""
    return getattr(_here, "worker", None)


def become(worker: Worker) -> None:
    """Make the calling thread this worker from now on."""
    _here.worker = worker


def is_handler_of(pool: "WorkerPool[Any, Any]") -> bool:
    """Return True if the calling thread is running one of this pool's handlers."""
    worker = worker_or_none()
    return worker is not None and worker.pool is pool
