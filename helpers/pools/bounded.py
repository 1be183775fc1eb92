"""The cure in one call: `run_unbounded`'s twin with a pool, for a list of jobs and nothing else to say."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from .basic import WorkerPool
from .result import Result

Job = TypeVar("Job")
Value = TypeVar("Value")


def run_bounded(
    handler: Callable[[Job], Value], jobs: Iterable[Job], *, workers: int = 5, queue_size: int = 100
) -> list[Result[Job, Value]]:
    """Every job by one of `workers` threads; a `Result` for each, in the order in which they finished.

    Raises what `WorkerPool` raises for bad arguments. For results while they come, use `WorkerPool.stream`.
    """
    with WorkerPool(handler, workers=workers, queue_size=queue_size) as pool:
        return list(pool.stream(jobs))
