"""The real, limited things that pools protect, each on loopback, each a context manager that stops for certain.

database    PostgreSQL with a limit on its connections
api         an HTTP API that answers 429, then bans
sandbox     a child process with limits, in which the naive versions may break what they like

A service is imported when it is first asked for: who wants one of them does not pay for the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from helpers.services.api import Api, FetchUser, FetchUserAsync
    from helpers.services.database import Database, ReadUser, ReadUserAsync, ReadUserLazily
    from helpers.services.sandbox import SandboxReport, error_kind, run_in_sandbox

__all__ = [
    "Api",
    "Database",
    "FetchUser",
    "FetchUserAsync",
    "ReadUser",
    "ReadUserAsync",
    "ReadUserLazily",
    "SandboxReport",
    "error_kind",
    "run_in_sandbox",
]

_HOME = {
    "Api": "api",
    "FetchUser": "api",
    "FetchUserAsync": "api",
    "Database": "database",
    "ReadUser": "database",
    "ReadUserAsync": "database",
    "ReadUserLazily": "database",
    "SandboxReport": "sandbox",
    "error_kind": "sandbox",
    "run_in_sandbox": "sandbox",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # the next look-up finds it without us
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
