"""Any pool of the series as a `concurrent.futures.Executor`: what knows `ThreadPoolExecutor` can use it as it is.

    with PoolExecutor(max_workers=5, queue_size=100) as executor:
        future = executor.submit(fetch, url)          # waits while the queue is full: that is backpressure
        for value in executor.map(fetch, urls, buffersize=20):
            ...
    PoolExecutor(10, pool=DynamicPool, min_workers=2)  # all else goes to the pool
    PoolExecutor(5, pool=RetryingPool, policy=...)     # a future is done when its last attempt is

What holds, beside all that holds for the pool behind it:
- A future is done exactly once, after its job has been counted, whatever its function raises; nothing holds the pool's
  lock meanwhile, so a done callback may use the executor and the pool.
- A future that was cancelled before a worker took its job is never run. `shutdown(cancel_futures=True)` cancels what
  waits *and tells who waits for it*: no `as_completed` or `wait` hangs, as those of `ThreadPoolExecutor` do.
- An exception in the `with` block, or the Stop button, forces: what is queued is cancelled, and the exception goes on
  within a second. (`ThreadPoolExecutor` first runs all that is queued.)
- At the end of the program what was submitted is still done, as with `ThreadPoolExecutor`; an executor that is no
  longer referred to finishes its jobs and lets its threads go.

What it costs: a future a job, so about as much as `ThreadPoolExecutor` (benchmarks/README.md). What not to do: wait in
one of its own functions for another of its futures. With all workers doing so nobody is left to do the work; since a
wait for room would be the same trap, a submit from inside is taken if there is room at that instant, and else refused.
In asyncio `loop.run_in_executor(executor, ...)` holds up the whole loop while the queue is full: choose a `queue_size`
for all that the loop may start at once.
"""

import atexit
import logging
import time
import weakref
from _thread import start_new_thread
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from queue import Empty
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from . import checks
from .basic import GRACE, Pass, WorkerPool
from .dynamic import DynamicPool
from .result import JobCancelled, PoolClosed, Result

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger("concurrent.futures")
_at_work: "weakref.WeakSet[WorkerPool[Call, Any]]" = weakref.WeakSet()  # the pools to be drained when the program ends


class Call:
    """One job of an executor: a function with its arguments, and the future of what it returns."""

    __slots__ = ("args", "begun", "function", "future", "kwargs")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        self.future: Future[Any] = Future()
        self.begun = False  # True once a worker has had it in hand

    def __repr__(self) -> str:
        return f"{getattr(self.function, '__qualname__', self.function)}(...)"


def _run(call: Call) -> Any:
    """The handler of an executor's pool. Raises what the function raises, JobCancelled if its future was cancelled."""
    if not call.begun:
        call.begun = True
        if not call.future.set_running_or_notify_cancel():  # from here on nobody can cancel it
            raise JobCancelled("its future was cancelled")
    return call.function(*call.args, **call.kwargs)


class _Futures(Pass[Call, Any]):
    """The pass of an executor: it keeps no results, each is handed on to its future."""

    def hand_on(self) -> None:
        while True:
            try:
                result = self.get_nowait()
            except Empty:
                return
            if result is not None:
                _resolve(result)
            del result


def _resolve(result: Result[Call, Any]) -> None:
    """Make the future done, and whoever waits for it go on. Raises nothing: this thread has more to do."""
    call, future, error = result.job, result.job.future, result.error
    try:
        if not call.begun:  # taken back from the queue
            future.cancel()
            future.set_running_or_notify_cancel()  # cancelling alone wakes nobody who waits in as_completed
        elif future.done():
            pass  # cancelled while it was queued, and _run has told whoever waits; or redriven after it had failed
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(result.value)
    except BaseException:  # of a done callback (Future itself sees to all that are an Exception)
        _log.exception("exception calling callback for %r", future)


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
            raise TypeError(f"pool must be WorkerPool or a class made from it, not {pool!r}")
        if isinstance(max_workers, int) and max_workers <= 0:
            raise ValueError(f"max_workers must be greater than 0, not {max_workers}")
        self._max_workers = checks.whole_number("max_workers", max_workers)  # Dask asks for it by this name
        crew: dict[str, Any] = {"workers": max_workers}
        if issubclass(pool, DynamicPool):
            crew = {"min_workers": options.pop("min_workers", 1), "max_workers": max_workers}
        self.pool: WorkerPool[Call, Any] = pool(_run, queue_size=queue_size, **crew, **options)
        self.pool._pass = self._futures = _Futures()
        self.pool._reader = [self._futures]  # nobody else can read its results
        _at_work.add(self.pool)
        # The workers know the pool, and the pool does not know us: so we can go while they work. In a thread of its
        # own, because the garbage collector may let us go in whoever is about to wait for what _close says.
        weakref.finalize(self, start_new_thread, self.pool._close, ()).atexit = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have fn(*args, **kwargs) called by a worker; while the queue is full, wait.

        Raises TypeError if `fn` cannot be called, RuntimeError after a shutdown, and if the queue is full and it is a
        function of this same executor that asks. In all cases nothing has been taken.
        """
        checks.function("fn", fn)
        call = Call(fn, args, kwargs)
        try:
            if not self.pool._is_own_handler():
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
            raise TypeError(f"buffersize must be an integer or None, not {buffersize!r}")
        if buffersize < 1:
            raise ValueError(f"buffersize must be None or > 0, not {buffersize}")
        until = checks.deadline_after("timeout", timeout)
        todo = zip(*iterables, strict=False)
        window = deque(self.submit(fn, *args) for args in islice(todo, buffersize))
        return self._through(window, fn, todo, until)

    def _through(
        self, window: deque[Future[T]], fn: Callable[..., T], todo: Iterator[Any], until: float | None
    ) -> Iterator[T]:
        try:
            while window:
                oldest = [window.popleft()]  # and popped again: what has been handed out is not kept alive here
                window.extend(self.submit(fn, *args) for args in islice(todo, 1))
                yield oldest.pop().result(None if until is None else max(0.0, until - time.monotonic()))
        finally:
            for future in window:
                future.cancel()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, finish those that were taken; wait=False: do not wait for that.

        cancel_futures=True: the futures of all that no worker is free for are cancelled, and what has failed is not
        tried again. May be called again. Raises RuntimeError if one of its own functions would wait for itself.
        """
        if wait:
            self.pool._refuse_own_handler("shutdown(wait=True) would wait for itself")
        self.pool._close()
        if cancel_futures:
            self._let_free_workers_take()
            self.pool._take_back(self._futures)
            self._futures.hand_on()
        if wait:
            self.pool.shutdown()

    def _let_free_workers_take(self) -> None:
        """A worker that was called for a job, and is still waking up, has it: the job is not one that waits."""
        pool, until = self.pool, time.monotonic() + GRACE
        with pool._lock:
            # Who neither runs a job nor is idle is on its way to one; or in a callback, which may take for ever.
            while pool._queue and pool._running + len(pool._idle) < pool._present and time.monotonic() < until:
                pool._await_room(until)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Drain on a clean exit; when the body raised, or Stop is pressed while draining, force."""
        return self.pool.__exit__(kind, error, trace)


@atexit.register
def _drain() -> None:
    """The program ends, and with it every thread of a pool: what was submitted is done first."""
    pools = [pool for pool in _at_work if not pool.cancelled.is_set()]  # what was given up is not waited for
    for pool in pools:
        pool._close()
    for pool in pools:
        pool.shutdown()
