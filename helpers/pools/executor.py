"""Any pool of the series as a `concurrent.futures.Executor`: what knows `ThreadPoolExecutor` can use it as it is.

    with PoolExecutor(max_workers=5, queue_size=100) as executor:
        future = executor.submit(fetch, url)          # waits while the queue is full: that is backpressure
        for value in executor.map(fetch, urls, buffersize=20):
            ...
    PoolExecutor(10, pool=DynamicPool, min_workers=2)  # all else goes to the pool
    PoolExecutor(5, pool=RetryingPool, policy=...)     # a future is done when its last attempt is

Always true, beside what holds for the pool behind it:
- A future is done exactly once, after its job has been counted, no matter what its function raises. No thread holds
  the pool's lock meanwhile, so a done callback may use the executor and the pool.
- A future that was cancelled before a worker took its job is never run. `shutdown(cancel_futures=True)` cancels the
  queued calls *and notifies the threads that wait for them*. With `ThreadPoolExecutor`, `as_completed` and `wait` hang.
- An exception in the `with` block, or the Stop button, forces: queued calls are cancelled, and the exception goes on
  within a second. (`ThreadPoolExecutor` first runs all queued calls.)
- At the end of the program all submitted calls are still run, as with `ThreadPoolExecutor`. An executor without any
  reference to it finishes its calls and ends its threads.

The cost: one future per job, so about as much as `ThreadPoolExecutor` (benchmarks/README.md). What not to do: let one
of its functions wait for another of its futures. If all workers do so, no worker is left to do the work. Waiting for
room would be the same trap, so a submit from inside is accepted if there is room at that instant, and refused if not.
In asyncio `loop.run_in_executor(executor, ...)` blocks the whole loop while the queue is full: choose a `queue_size`
for all calls that the loop may start at once.
"""

import atexit
import logging
import os
import time
import weakref
from _thread import start_new_thread
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from . import checks
from .basic import WorkerPool
from .closing import GRACE
from .dynamic import DynamicPool
from .errors import JobCancelled, PoolClosed
from .result import Result
from .words import LIMIT, describe
from .worker import is_handler_of

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger("concurrent.futures")
_open: "weakref.WeakSet[WorkerPool[Call, Any]]" = weakref.WeakSet()  # pools to be drained when the program ends


class Call:
    """One job of an executor: a function with its arguments, and the future of what it returns."""

    __slots__ = ("args", "function", "future", "kwargs", "started")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        self.future: Future[Any] = Future()
        self.started = False  # True once a worker has had it in hand

    def __repr__(self) -> str:
        try:
            name = getattr(self.function, "__qualname__", None)
        except BaseException:  # a property of the user's
            name = None
        return f"{describe(self.function) if type(name) is not str else name[:LIMIT]}(...)"


def _run(call: Call) -> Any:
    """The handler of an executor's pool. Raises what the function raises, JobCancelled if its future was cancelled."""
    if not call.started:
        call.started = True
        if not call.future.set_running_or_notify_cancel():  # from here on nobody can cancel it
            raise JobCancelled("its future was cancelled")
    return call.function(*call.args, **call.kwargs)


def _resolve(result: Result[Call, Any]) -> None:
    """Set the outcome of a future and wake the threads that wait for it. Raises nothing: its thread has more to do."""
    call, future, error = result.job, result.job.future, result.error
    try:
        if not call.started and type(error) is JobCancelled:  # cancelled in the queue
            future.cancel()
            future.set_running_or_notify_cancel()  # cancelling alone does not wake a thread that waits in as_completed
        elif future.done():
            pass  # cancelled while it was queued, which _run has reported; or redriven after it had failed
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(result.value)
    except BaseException:  # of a done callback (Future itself handles those that are an Exception)
        _log.exception("exception calling callback for %s", describe(future))


class PoolExecutor(Executor):
    """`max_workers` threads of a pool of the series that run what is submitted, behind a queue of `queue_size`.

    Args:
        max_workers:  how many calls run at the same time.
        queue_size:   how many may wait; a submit then waits too.
        pool:         the kind: `WorkerPool` or one made from it that takes a handler.
        options:      what that kind takes besides: `policy`, `min_workers` (1 unless given), `idle_timeout`, `clock` …

    Attributes:
        pool:  the pool at work, for its `stats()`, `resize`, `dead_letters()`, `shutdown(deadline)` and so on.

    Raises TypeError or ValueError for an argument that breaks its rule, and what the pool raises.
    """

    def __init__(
        self,
        max_workers: int = 5,
        *,
        queue_size: int = 100,
        pool: type[WorkerPool[Any, Any]] = WorkerPool,
        **options: Any,
    ) -> None:
        if not isinstance(pool, type) or not issubclass(pool, WorkerPool):
            raise TypeError(f"pool must be WorkerPool or a class made from it, not {describe(pool)}")
        if isinstance(max_workers, int) and max_workers <= 0:
            raise ValueError(f"max_workers must be greater than 0, not {describe(max_workers)}")
        self._max_workers = checks.whole_number("max_workers", max_workers)  # Dask asks for it by this name
        workers: dict[str, Any] = {"workers": max_workers}
        if issubclass(pool, DynamicPool):
            workers = {"min_workers": options.pop("min_workers", 1), "max_workers": max_workers}
        self.pool: WorkerPool[Call, Any] = pool(_run, queue_size=queue_size, on_result=_resolve, **workers, **options)
        _open.add(self.pool)
        # The workers know the pool, and the pool does not know the executor: so the executor can be collected while
        # they work. The pool is closed in a thread of its own, because the garbage collector may run anywhere.
        weakref.finalize(self, start_new_thread, self.pool.close, ()).atexit = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have fn(*args, **kwargs) called by a worker; while the queue is full, wait.

        Raises TypeError if `fn` cannot be called, RuntimeError after a shutdown, and if the queue is full and it is a
        function of this same executor that asks. In all cases nothing has been taken.
        """
        checks.function("fn", fn)
        call = Call(fn, args, kwargs)
        try:
            if not is_handler_of(self.pool):
                self.pool.submit(call)
            elif not self.pool.try_submit(call):
                raise RuntimeError(f"the queue of {self.pool.queue_size} is full: {call!r}, from inside, cannot wait")
        except PoolClosed as closed:
            raise RuntimeError("cannot schedule new futures after shutdown") from closed
        return call.future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """fn(*args) for the arguments that the iterables give, in their order, as `Executor.map` of Python 3.14.

        Args:
            timeout:     seconds from now in which all results must be there, else TimeoutError.
            chunksize:   of no effect with threads.
            buffersize:  how many calls may be under way or unread, so that an endless iterable is served in constant
                         memory; None: all are submitted before this returns.

        Raises TypeError or ValueError for a bad `buffersize` or `timeout`; the iterator raises what fn raises.
        """
        if buffersize is None:
            return super().map(fn, *iterables, timeout=timeout, chunksize=chunksize)
        if not isinstance(buffersize, int):
            raise TypeError(f"buffersize must be an integer or None, not {describe(buffersize)}")
        if buffersize < 1:
            raise ValueError(f"buffersize must be None or > 0, not {describe(buffersize)}")
        until = checks.deadline_after("timeout", timeout)
        todo = zip(*iterables, strict=False)
        window = deque(self.submit(fn, *args) for args in islice(todo, buffersize))
        return self._through(window, fn, todo, until)

    def _through(
        self, window: deque[Future[T]], fn: Callable[..., T], todo: Iterator[Any], until: float | None
    ) -> Iterator[T]:
        try:
            while window:
                oldest = [window.popleft()]  # popped again below: a future that was handed out is not kept alive here
                window.extend(self.submit(fn, *args) for args in islice(todo, 1))
                yield oldest.pop().result(None if until is None else max(0.0, until - time.monotonic()))
        finally:
            for future in window:
                future.cancel()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls and finish those that were accepted; wait=False: do not wait for that.

        cancel_futures=True: the futures of all calls that no worker is free for are cancelled, and those of calls that
        wait for a retry. A call that is running and fails later may still be retried. May be called again.

        Raises RuntimeError if one of its own functions would wait for itself.
        """
        if wait and is_handler_of(self.pool):
            raise RuntimeError(
                f"called by a handler of {self.pool.name} itself: shutdown(wait=True) would wait for itself"
            )
        self.pool.close()
        if cancel_futures:
            self._let_free_workers_take()
            self.pool.cancel_queued()
        if wait:
            self.pool.shutdown()

    def _let_free_workers_take(self) -> None:
        """Wait until no worker is waking up for a job: a job that a worker was notified for is not one that waits."""
        until = time.monotonic() + GRACE  # a worker may also be in a callback, which may take forever
        while time.monotonic() < until:
            stats = self.pool.stats()
            if not stats.queued or stats.running >= stats.workers:
                return
            time.sleep(0.001)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Drain on a clean exit; if the body raised, or an interrupt comes while draining, force."""
        return self.pool.__exit__(kind, error, trace)


# A child made by os.fork() has none of the threads: it must not wait for them when it ends.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open.clear)


@atexit.register
def _drain() -> None:
    """When the program ends, and every thread of a pool with it: first finish what was submitted."""
    pools = [pool for pool in _open if not pool.cancelled.is_set()]  # a pool that was forced is not waited for
    for pool in pools:
        pool.close()
    for pool in pools:
        pool.shutdown()
