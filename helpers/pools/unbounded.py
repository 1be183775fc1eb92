"""The anti-pattern: start all jobs at once. This module exists so that a notebook can show how that fails.

`run_unbounded` starts one thread per job, and `run_unbounded_async` starts one asyncio task per job. Only the machine
and the server that the jobs use limit how many of them run at the same time.

Always true: both functions return one `Result` per job, in the order in which the jobs finished, whatever the jobs
raise. If a result were missing, the notebook would count too few failures.
"""

import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any, TypeVar

from . import checks
from .result import Result
from .tracebacks import clear_locals
from .words import describe

Job = TypeVar("Job")
Value = TypeVar("Value")


def run_unbounded(
    handler: Callable[[Job], Value], jobs: Iterable[Job], *, burst: bool = False
) -> list[Result[Job, Value]]:
    """Run every job in its own thread, and return the results.

    In a result, `worker` is the number of the thread, from 1.

    If a thread cannot be started, the error becomes the error of its job. If `burst` is true, all threads wait until
    the last one has started, and then run as fast as they can.

    Raises TypeError if the handler cannot be called, if it is a coroutine function or a generator function (a call
    would run none of its code), or if `jobs` is not iterable. Raises what iterating over `jobs` raises.
    """
    checks.handler(handler)
    todo = checks.iterable("jobs", jobs)
    finished: list[Result[Job, Value]] = []
    # The threads take this lock one after the other. An Event would wake ten thousand threads at the same moment, and
    # they would compete for the interpreter for minutes. The `with` statement releases the lock even if `jobs` raises
    # or KeyboardInterrupt arrives, so that the threads that have started can end.
    gate = threading.Lock()
    with gate if burst else nullcontext():
        threads = _start_all(todo, partial(_run, handler, gate, finished), finished)
    for thread in threads:
        thread.join()
    return finished


def _run(
    handler: Callable[[Job], Value],
    gate: threading.Lock,
    finished: list[Result[Job, Value]],
    number: int,
    result: Result[Job, Value],
) -> None:
    with gate:
        pass
    result.run(handler, number, time.monotonic)
    finished.append(result)  # without a lock, because list.append is atomic


def _start_all(
    todo: Iterable[Job], run: Callable[[int, Result[Job, Any]], None], finished: list[Result[Job, Any]]
) -> list[threading.Thread]:
    """Start one thread per job that calls run(number, result), and return the threads that have started.

    The result of a job whose thread could not be started is added to `finished`.
    """
    threads = []
    for number, job in enumerate(todo, start=1):
        result: Result[Job, Any] = Result(job, time.monotonic())
        thread = threading.Thread(target=run, args=(number, result), name=f"unbounded-{number}", daemon=True)
        try:
            thread.start()
            threads.append(thread)
        except (RuntimeError, MemoryError) as error:  # the system has no more threads, or no memory for another one
            result.drop(error, time.monotonic())
            finished.append(result)
    return threads


def run_unbounded_async(handler: Callable[[Job], Awaitable[Value]], jobs: Iterable[Job]) -> list[Result[Job, Value]]:
    """Run every job in its own asyncio task, and return the results.

    In a result, `worker` is the number of the task, from 1.

    The event loop runs in its own thread, because the main thread of a notebook already runs an event loop, and no loop
    can run inside another one. No task runs before the last one is created, so all tasks start in one burst.

    If the handler returns a value that cannot be awaited, as a plain function or an async generator function does, each
    job fails with a TypeError that says so. Raises TypeError if the handler cannot be called or `jobs` is not iterable.
    Raises what iterating over `jobs` raises.
    """
    import asyncio  # the import takes 38 ms, so it is not at the top of the module

    if not callable(handler):
        raise TypeError(f"handler must be callable, not {describe(handler)}")
    todo = list(checks.iterable("jobs", jobs))  # iterate in this thread, so that the caller gets what `jobs` raises
    finished: list[Result[Job, Value]] = []

    # The thread creates the coroutine, so that no coroutine is left unawaited if the thread cannot start.
    def run_loop() -> None:
        asyncio.run(_run_tasks(handler, todo, finished))

    loop = threading.Thread(target=run_loop, name="unbounded-loop", daemon=True)
    loop.start()
    loop.join()
    return finished


async def _run_tasks(
    handler: Callable[[Job], Awaitable[Value]], todo: Iterable[Job], finished: list[Result[Job, Value]]
) -> None:
    import asyncio

    results = (Result[Job, Value](job, time.monotonic()) for job in todo)
    await asyncio.gather(*(_run_task(handler, finished, n, result) for n, result in enumerate(results, start=1)))


async def _run_task(
    handler: Callable[[Job], Awaitable[Value]],
    finished: list[Result[Job, Value]],
    number: int,
    result: Result[Job, Value],
) -> None:
    result.started = time.monotonic()
    result.worker, result.attempt = number, 1
    try:
        result.value, result.error = await _awaitable(handler(result.job)), None
    except BaseException as error:
        result.value, result.error = None, error
        with suppress(BaseException):  # clearing may fail, for instance for lack of memory, and the result must be kept
            clear_locals(error, sys._getframe())
    result.finished = time.monotonic()
    finished.append(result)


def _awaitable(returned: Any) -> Any:
    """Return `returned`, which a handler has returned. Raises TypeError if it cannot be awaited."""
    import inspect  # takes no time here, because asyncio has already imported it

    if not inspect.isawaitable(returned):
        raise TypeError(
            f"handler must return an awaitable, as an `async def` without `yield` does, not {describe(returned)}: "
            "run_unbounded takes plain functions"
        )
    return returned
