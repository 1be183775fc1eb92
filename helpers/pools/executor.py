"""Any pool of the series as a `concurrent.futures.Executor`, for code that expects one.

    with PoolExecutor(max_workers=5, queue_size=100) as executor:
        future = executor.submit(fetch, url)          # waits while the queue is full: that is backpressure
        for value in executor.map(fetch, urls, buffersize=20):
            ...
    PoolExecutor(10, pool=DynamicPool, min_workers=2)  # other arguments go to the pool
    PoolExecutor(5, pool=RetryingPool, policy=...)     # a future is done when its last attempt is

Always true, in addition to what holds for the pool:
- A future is done exactly once, whatever its function raises; unless it was cancelled, after its job was counted. The
  thread that completes a future does not hold the pool's lock, so a done callback may use the executor and the pool.
- A future that was cancelled before a worker took its job never runs. `shutdown(cancel_futures=True)` cancels the
  queued calls *and notifies the threads that wait for them*. With `ThreadPoolExecutor`, `as_completed` and `wait` hang.
- If the body of `with` raises, or the Stop button is pressed, queued calls are cancelled and the exception goes on
  within a second. (`ThreadPoolExecutor` first runs all queued calls.)
- At the end of the program all submitted calls still run, as with `ThreadPoolExecutor`. An executor to which no
  reference is left finishes its calls and ends its threads.

The cost: one future per job, so about as much as `ThreadPoolExecutor` (benchmarks/README.md). What not to do: a
function must not wait for another future of the same executor. If all workers do so, no worker is left to do the work.
Waiting for room would be the same mistake, so a submit from inside a function is accepted only if there is room at that
moment. In asyncio, `loop.run_in_executor(executor, ...)` blocks the whole loop while the queue is full. So choose a
`queue_size` for all calls that the loop may start at once.
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
from .calls import Call, CallEngine, run
from .closing import GRACE
from .dynamic import DynamicPool
from .errors import JobCancelled, PoolClosed
from .result import Result
from .words import describe
from .worker import is_worker_of

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger("concurrent.futures")
_open: "weakref.WeakSet[WorkerPool[Call, Any]]" = weakref.WeakSet()  # pools to drain when the program ends


def _resolve(result: Result[Call, Any]) -> None:
    """Set the outcome of a future and wake the threads that wait for it. Raises nothing, because workers call this."""
    call, future, error = result.job, result.job.future, result.error
    try:
        if not call.started and type(error) is JobCancelled:  # The pool has cancelled the job in the queue.
            future.cancel()
            future.set_running_or_notify_cancel()  # `cancel` alone wakes no thread in as_completed.
        elif future.done():
            pass  # The future was cancelled, which `run` has reported, or its dead letter was redriven.
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(result.value)
    except BaseException:  # A done callback raised. (Future itself handles an Exception of a callback.)
        _log.exception("exception calling callback for %s", describe(future))


class PoolExecutor(Executor):
    """An executor that runs calls in a pool with `max_workers` threads and a queue of `queue_size`.

    Args:
        max_workers:  the maximum number of calls that run at the same time.
        queue_size:   the maximum number of queued calls. When the queue is full, `submit` waits.
        pool:         `WorkerPool` or a subclass that takes a handler.
        options:      other arguments of the pool: `policy`, `engine`, `min_workers` (default 1), `clock`, ...

    Attributes:
        pool:  the pool behind the executor, for its `stats()`, `resize`, `dead_letters()`, `shutdown(deadline)`, ...

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
        if options.get("engine") is not None:
            options["engine"] = CallEngine(options["engine"])
        self.pool: WorkerPool[Call, Any] = pool(run, queue_size=queue_size, on_result=_resolve, **workers, **options)
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
            if not is_worker_of(self.pool):
                self.pool.submit(call)
            elif not self.pool.try_submit(call):
                raise RuntimeError(f"the queue of {self.pool.queue_size} is full, and {call!r} of a worker cannot wait")
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
        """Yield fn(*args) for the arguments from the iterables, in order, like `Executor.map` of Python 3.14.

        Args:
            timeout:     seconds from now after which the iterator raises TimeoutError.
            chunksize:   has no effect with threads.
            buffersize:  the maximum number of calls in flight or unread, so that an endless iterable needs constant
                         memory. None means that all calls are submitted before this returns.

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
                oldest = [window.popleft()]  # A list, so that `pop` below leaves no reference to the future here.
                window.extend(self.submit(fn, *args) for args in islice(todo, 1))
                yield oldest.pop().result(None if until is None else max(0.0, until - time.monotonic()))
        finally:
            for future in window:
                future.cancel()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls and finish the accepted calls. With wait=False, do not wait until they are finished.

        With cancel_futures=True, cancel the queued calls that no free worker is about to take, and the calls that wait
        for a retry. A call that is running and fails later may still be retried. May be called again.

        Raises RuntimeError if one of its own functions would wait for itself.
        """
        if wait and is_worker_of(self.pool):
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
        """Wait until no notified worker is still about to take a job, because such a job counts as running."""
        until = time.monotonic() + GRACE  # A worker may also be in a callback that never returns.
        while time.monotonic() < until:
            stats = self.pool.stats()
            if not stats.queued or stats.running >= stats.workers:
                return
            time.sleep(0.001)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Drain on a clean exit. If the body raised, or an interrupt arrives while draining, force the shutdown."""
        return self.pool.__exit__(kind, error, trace)


# A child process made by os.fork() has none of the threads, so it must not wait for them when it ends.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open.clear)


@atexit.register
def _drain() -> None:
    """Finish the submitted calls of all executors before the program ends, because that ends all threads."""
    pools = [pool for pool in _open if not pool.cancelled.is_set()]  # Do not wait for a pool that was forced to stop.
    for pool in pools:
        pool.close()
    for pool in pools:
        pool.shutdown()
