"""The anti-pattern: everything at once. Kept here so that it can be seen to fail.

Nothing bounds these two but the machine and the patience of whatever the jobs talk to. Both return a `Result` for
every job, in the order in which they finished, whatever the jobs raise. Both raise TypeError for a handler that is no
function or jobs that are no iterable, and what the iterable raises.
"""

import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from . import checks
from .result import Result
from .tracebacks import clear_locals

Job = TypeVar("Job")
Value = TypeVar("Value")


def run_unbounded(
    handler: Callable[[Job], Value], jobs: Iterable[Job], *, burst: bool = False
) -> list[Result[Job, Value]]:
    """A thread for every job. A thread that cannot be started becomes the error of its job.

    burst=True holds every thread at the door until the last one stands there, then lets them in as fast as they can go.
    Its results have `worker` = the thread's number, from 1.
    """
    checks.function("handler", handler)
    todo = checks.iterable("jobs", jobs)
    finished: list[Result[Job, Value]] = []
    # A turnstile, not an Event: ten thousand threads woken at once would fight for the interpreter for minutes.
    door = threading.Lock()

    def run(number: int, result: Result[Job, Value]) -> None:
        with door:
            pass
        result.run(handler, number, time.monotonic)
        finished.append(result)  # list.append is atomic

    threads = []
    if burst:
        door.acquire()
    try:
        for number, job in enumerate(todo, start=1):
            result: Result[Job, Value] = Result(job, time.monotonic())
            thread = threading.Thread(target=run, args=(number, result), name=f"unbounded-{number}", daemon=True)
            try:
                thread.start()
                threads.append(thread)
            except (RuntimeError, MemoryError) as error:  # "can't start new thread", or not even that
                result.drop(error, time.monotonic())
                finished.append(result)
    finally:
        if burst:
            door.release()  # also when interrupted: nobody may be left standing at it
    for thread in threads:
        thread.join()
    return finished


def run_unbounded_async(handler: Callable[[Job], Awaitable[Value]], jobs: Iterable[Job]) -> list[Result[Job, Value]]:
    """An asyncio task for every job, on an event loop in a thread of its own.

    Of its own, because a notebook's thread has a running loop already, and no loop runs inside another. No task
    runs before the last one is made: with asyncio the crowd always arrives at one moment.
    """
    import asyncio  # costs 38 ms, which only this function should pay

    if not callable(handler):
        raise TypeError(f"handler must be callable, not {handler!r}")
    todo = list(checks.iterable("jobs", jobs))  # here: in the other thread nobody would hear of a source that raises
    finished: list[Result[Job, Value]] = []

    async def run(number: int, result: Result[Job, Value]) -> None:
        result.started = time.monotonic()
        result.worker, result.attempt = number, 1
        try:
            result.value, result.error = await handler(result.job), None
        except BaseException as error:
            result.value, result.error = None, error
            clear_locals(error, sys._getframe())
        result.finished = time.monotonic()
        finished.append(result)

    async def run_all() -> None:
        await asyncio.gather(*(run(n, Result(job, time.monotonic())) for n, job in enumerate(todo, start=1)))

    loop = threading.Thread(target=asyncio.run, args=(run_all(),), name="unbounded-loop", daemon=True)
    loop.start()
    loop.join()
    return finished
