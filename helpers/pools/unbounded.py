"""The anti-pattern: start all jobs at once. This module exists so that a notebook can show how that fails.

`run_unbounded` starts one thread per job and `run_unbounded_async` one asyncio task per job. Nothing limits them but
the machine and the server that the jobs talk to. Both return one `Result` per job, in the order in which the jobs
finished, whatever the jobs raise. Both raise TypeError if the handler cannot be called or the jobs cannot be iterated
over, and both let through what the iterable raises.
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
    """Run every job in a thread of its own. If a thread cannot be started, the error becomes the error of its job.

    burst=True makes all threads wait until the last one has started, and then lets them run as fast as they can. In
    the results, `worker` is the number of the thread, from 1.

    Raises TypeError for a handler that is known to be a coroutine function or a generator function: a call of it
    would run none of its code.
    """
    checks.handler(handler)
    todo = checks.iterable("jobs", jobs)
    finished: list[Result[Job, Value]] = []
    # The threads pass this lock one after the other. An Event would wake ten thousand threads at the same moment, and
    # they would compete for the interpreter for minutes.
    gate = threading.Lock()
    with gate if burst else nullcontext():  # `with` also opens the gate if `jobs` raises or Stop is pressed
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
    finished.append(result)  # list.append is atomic


def _start_all(
    todo: Iterable[Job], run: Callable[[int, Result[Job, Any]], None], finished: list[Result[Job, Any]]
) -> list[threading.Thread]:
    """Start a thread per job that calls run(number, result), and return the threads that could be started."""
    threads = []
    for number, job in enumerate(todo, start=1):
        result: Result[Job, Any] = Result(job, time.monotonic())
        thread = threading.Thread(target=run, args=(number, result), name=f"unbounded-{number}", daemon=True)
        try:
            thread.start()
            threads.append(thread)
        except (RuntimeError, MemoryError) as error:  # "can't start new thread", or no memory for a thread
            result.drop(error, time.monotonic())
            finished.append(result)
    return threads


def run_unbounded_async(handler: Callable[[Job], Awaitable[Value]], jobs: Iterable[Job]) -> list[Result[Job, Value]]:
    """Run every job in an asyncio task of its own, on an event loop in a thread of its own.

    The loop needs its own thread because a notebook's thread already has a running loop, and no loop runs inside
    another. No task runs before the last one is made, so all tasks start in one burst. In the results, `worker` is
    the number of the task, from 1.

    A handler that returns something that cannot be awaited, such as a plain function or an async generator, gives
    each job a TypeError that says so.
    """
    import asyncio  # costs 38 ms, which only this function should pay

    if not callable(handler):
        raise TypeError(f"handler must be callable, not {describe(handler)}")
    todo = list(checks.iterable("jobs", jobs))  # in this thread, so that the caller gets what `jobs` raises
    finished: list[Result[Job, Value]] = []

    def work() -> None:  # makes the coroutine in the thread: if the thread cannot start, none is left unawaited
        asyncio.run(_run_tasks(handler, todo, finished))

    loop = threading.Thread(target=work, name="unbounded-loop", daemon=True)
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
        with suppress(BaseException):  # no memory left, say
            clear_locals(error, sys._getframe())
    result.finished = time.monotonic()
    finished.append(result)


def _awaitable(returned: Any) -> Any:
    """Return `returned`, the value of a handler. Raises TypeError if it cannot be awaited."""
    import inspect  # asyncio has imported it

    if not inspect.isawaitable(returned):
        raise TypeError(
            f"handler must return an awaitable, as an `async def` without `yield` does, not {describe(returned)}: "
            "run_unbounded takes plain functions"
        )
    return returned
