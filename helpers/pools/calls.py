"""`Call`: a job of an executor, and how a worker runs it on any engine.

Always true: a call whose future was cancelled before a worker took it never runs. The future never leaves this process:
an engine gets only the function and its arguments.
"""

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

from .engines import AnyEngine, Plan, attach
from .errors import JobCancelled
from .state import PoolState
from .words import LIMIT, describe


class Call:
    """One job of an executor: a function, its arguments, and the future for its return value."""

    __slots__ = ("args", "function", "future", "kwargs", "started")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        self.future: Future[Any] = Future()
        self.started = False  # True once a worker has taken the job

    def __repr__(self) -> str:
        try:
            name = getattr(self.function, "__qualname__", None)
        except BaseException:  # `__qualname__` may be a property with user code.
            name = None
        return f"{describe(self.function) if type(name) is not str else name[:LIMIT]}(...)"


def run(call: Call, invoke: Callable[[Any], Any] | None = None) -> Any:
    """Run one call. Raises what the function raises, and JobCancelled if the future was cancelled."""
    if not call.started:
        call.started = True
        if not call.future.set_running_or_notify_cancel():  # After this the future cannot be cancelled.
            raise JobCancelled("its future was cancelled")
    if invoke is not None:
        return invoke((call.function, call.args, call.kwargs))
    return call.function(*call.args, **call.kwargs)


def _invoke(parts: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]) -> Any:
    function, args, kwargs = parts
    return function(*args, **kwargs)


class CallEngine(NamedTuple):
    """An engine for calls: the future stays in this process, and `engine` gets the function and its arguments."""

    engine: AnyEngine

    def attach(self, plan: Plan, state: PoolState[Any, Any]) -> Plan:
        """Return a plan whose handler starts the future here and runs the function on the engine."""
        inner = attach(self.engine, plan._replace(handler=_invoke), state)
        return inner._replace(handler=partial(run, invoke=inner.handler))
