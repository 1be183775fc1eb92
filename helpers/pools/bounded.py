"""`run_bounded`: run a list of jobs in a pool, in one call. It is the counterpart of `run_unbounded`.

The function keeps nothing after it returns: it creates a pool, collects the results, and shuts the pool down.
"""

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

    At most `queue_size` jobs wait in the queue. The next job is read from `jobs` only when there is room for it. To
    read results while the jobs run, use `WorkerPool.stream`.

    Raises what `WorkerPool` raises for bad arguments, and what iterating over `jobs` raises.
    """
    with WorkerPool(handler, workers=workers, queue_size=queue_size) as pool:
        return list(pool.stream(jobs))
