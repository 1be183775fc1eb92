"""`run_bounded`: the counterpart of `run_unbounded` that runs a list of jobs in a pool, in one call."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from .basic import WorkerPool
from .result import Result

Job = TypeVar("Job")
Value = TypeVar("Value")


def run_bounded(
    handler: Callable[[Job], Value], jobs: Iterable[Job], *, workers: int = 5, queue_size: int = 100
) -> list[Result[Job, Value]]:
    """Run every job in one of `workers` threads and return one `Result` per job, in the order in which they finished.

    At most `queue_size` jobs wait in the queue; `jobs` is read no faster than there is room. Raises what `WorkerPool`
    raises for bad arguments, and what `jobs` raises. To read results while the jobs run, use `WorkerPool.stream`.
    """
    with WorkerPool(handler, workers=workers, queue_size=queue_size) as pool:
        return list(pool.stream(jobs))
