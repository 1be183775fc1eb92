"""The engines that `benchmarks.engines` compares. Each creates a pool for one handler and starts its workers.

An entry of ENGINES takes (handler, workers, limit) and returns a context manager. Its value is a function that runs a
list of jobs and returns one outcome per job: the value or the exception. `limit` is the maximum number of seconds per
job, or None. An engine without such a limit ignores it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from helpers.pools import Processes, WorkerPool

QUEUE_SIZE = 1000
RunJobs = Callable[[list[Any]], list[Any]]


def outcome(call: Callable[[], Any]) -> Any:
    """Return what the call returns, or the exception that it raises."""
    try:
        return call()
    except BaseException as error:
        return error


@contextmanager
def threads(handler: Any, workers: int, limit: float | None) -> Iterator[RunJobs]:
    with WorkerPool(handler, workers=workers, queue_size=QUEUE_SIZE) as pool:
        yield lambda jobs: [result.error or result.value for result in pool.stream(jobs)]


@contextmanager
def processes(handler: Any, workers: int, limit: float | None) -> Iterator[RunJobs]:
    with WorkerPool(handler, workers=workers, queue_size=QUEUE_SIZE, engine=Processes(timeout=limit)) as pool:
        yield lambda jobs: [result.error or result.value for result in pool.stream(jobs)]


@contextmanager
def standard_library(handler: Any, workers: int, limit: float | None) -> Iterator[RunJobs]:
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
        yield lambda jobs: through_futures(executor.submit, handler, jobs)


@contextmanager
def loky(handler: Any, workers: int, limit: float | None) -> Iterator[RunJobs]:
    from loky import ProcessPoolExecutor

    with ProcessPoolExecutor(workers) as executor:
        yield lambda jobs: through_futures(executor.submit, handler, jobs)


@contextmanager
def pebble(handler: Any, workers: int, limit: float | None) -> Iterator[RunJobs]:
    from pebble import ProcessPool

    with ProcessPool(workers, context=get_context("spawn")) as pool:
        yield lambda jobs: through_futures(lambda task, job: pool.schedule(task, [job], timeout=limit), handler, jobs)


@contextmanager
def mpire(handler: Any, workers: int, limit: float | None) -> Iterator[RunJobs]:
    from mpire import WorkerPool as MpirePool

    def run(jobs: list[Any]) -> list[Any]:
        futures = [pool.apply_async(handler, (job,), task_timeout=limit) for job in jobs]
        return [outcome(future.get) for future in futures]

    with MpirePool(workers, start_method="spawn") as pool:
        yield run


@contextmanager
def joblib(handler: Any, workers: int, limit: float | None) -> Iterator[RunJobs]:
    from joblib import Parallel, delayed

    def run(jobs: list[Any]) -> list[Any]:
        found = outcome(lambda: parallel(delayed(handler)(job) for job in jobs))
        # An error of one job ends the whole call, and the values of the other jobs are lost.
        return [found] * len(jobs) if isinstance(found, BaseException) else found

    with Parallel(workers, timeout=limit) as parallel:
        yield run


@contextmanager
def interpreters(handler: Any, workers: int, limit: float | None) -> Iterator[RunJobs]:
    from concurrent.futures import InterpreterPoolExecutor

    with InterpreterPoolExecutor(workers) as executor:
        yield lambda jobs: through_futures(executor.submit, handler, jobs)


def through_futures(submit: Callable[..., Any], handler: Any, jobs: list[Any]) -> list[Any]:
    """Submit all jobs, and return their outcomes. A submit also raises if the executor is broken."""
    futures = [outcome(lambda job=job: submit(handler, job)) for job in jobs]
    return [future if isinstance(future, BaseException) else outcome(future.result) for future in futures]


ENGINES = {
    "threads": threads,
    "Processes": processes,
    "ProcessPoolExecutor": standard_library,
    "loky": loky,
    "pebble": pebble,
    "mpire": mpire,
    "joblib": joblib,
}
NEED_3_14 = {"InterpreterPoolExecutor": interpreters}
