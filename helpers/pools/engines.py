"""What runs the handler of a pool: the worker's own thread, a child process, or any `concurrent.futures.Executor`.

    WorkerPool(handler)                                     # threads
    WorkerPool(handler, engine=Processes(timeout=10))       # one child process per worker
    WorkerPool(handler, engine=InterpreterPoolExecutor())   # any executor: of the standard library, loky, Dask, ...

An engine replaces the handler that the workers call. Everything else in the pool stays as it is, so the contract of the
pool holds on every engine.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, cast

from .errors import JobCancelled
from .parker import SLICE
from .words import describe
from .worker import OpenResource, current_worker

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from .state import PoolState


class Plan(NamedTuple):
    """What the workers of a pool use: see the arguments of `WorkerPool` with the same names."""

    handler: Callable[[Any], Any]
    resource: OpenResource | None
    broken: Any


class Engine(Protocol):
    """Something that runs handlers. `processes.Processes` is one."""

    def attach(self, plan: Plan, state: "PoolState[Any, Any]") -> Plan:
        """Return the plan that runs the handler of `plan` on this engine."""


AnyEngine: TypeAlias = "Engine | Executor | None"


def attach(engine: AnyEngine, plan: Plan, state: "PoolState[Any, Any]") -> Plan:
    """Return the plan for a pool on this engine. Raises TypeError if `engine` is none of the three kinds."""
    if engine is None:
        return plan
    if callable(getattr(type(engine), "attach", None)):
        return engine.attach(plan, state)  # type: ignore[union-attr]
    if not callable(getattr(type(engine), "submit", None)):
        raise TypeError(f"engine must be None, Processes(...), or an Executor, not {describe(engine)}")
    if plan.resource is not None:
        raise TypeError("resource needs an engine of this package: an executor does not know the workers of the pool")
    return plan._replace(handler=partial(run_in_executor, cast("Executor", engine), plan.handler))


def run_in_executor(executor: "Executor", handler: Callable[[Any], Any], job: Any) -> Any:
    """Run one job in an executor, and wait for its value. The workers call this.

    Raises what the executor raises: the handler's error, or for example BrokenProcessPool. If the pool stops and the
    executor cancels the job, raises JobCancelled. The executors of the standard library cancel only jobs that they have
    not started, but others, such as that of Dask, also cancel running ones. The caller shuts the executor down.
    """
    future = executor.submit(handler, job)
    cancelled = current_worker().cancelled
    while True:
        try:
            return future.result(SLICE)
        except TimeoutError:
            if future.done():
                return future.result()  # The handler itself may have raised this error.
            if cancelled.is_set() and future.cancel():
                raise JobCancelled("the pool was stopped, and the executor has cancelled this job") from None
