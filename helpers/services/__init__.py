"""The real services with limits that the pools protect.

database    PostgreSQL with a limit on its connections
api         an HTTP API that answers 429 to too many calls, and then bans the client
smtp        a mail server with a limit on its connections, seeded faults, and a mailbox that can be counted
photos      photo-like JPEGs of any number and size
sandbox     a child process with limits, for code that exhausts its resources
prometheus  a Prometheus that scrapes one address and fires alerts, where the program is installed

Each server is a context manager, listens on loopback only, and is stopped at the end of its `with` block, whatever
happens in the block. A service is imported at its first use, so a program does not pay for services that it does not
use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from helpers.services.api import Api, FetchUser, FetchUserAsync
    from helpers.services.database import (
        Database,
        InactiveUser,
        ReadUser,
        ReadUserAsync,
        ReadUserLazily,
        inactive_users,
    )
    from helpers.services.photos import PHOTOS, load_all, make_photo, make_photos, truncate, write_bomb, write_photo
    from helpers.services.prometheus import Prometheus, find_prometheus
    from helpers.services.sandbox import SandboxReport, error_kind, run_in_sandbox
    from helpers.services.smtp import MailServer, fate_of, latency_of

__all__ = [
    "PHOTOS",
    "Api",
    "Database",
    "FetchUser",
    "FetchUserAsync",
    "InactiveUser",
    "MailServer",
    "Prometheus",
    "ReadUser",
    "ReadUserAsync",
    "ReadUserLazily",
    "SandboxReport",
    "error_kind",
    "fate_of",
    "find_prometheus",
    "inactive_users",
    "latency_of",
    "load_all",
    "make_photo",
    "make_photos",
    "run_in_sandbox",
    "truncate",
    "write_bomb",
    "write_photo",
]

_HOME = {
    "Api": "api",
    "FetchUser": "api",
    "FetchUserAsync": "api",
    "Database": "database",
    "InactiveUser": "database",
    "ReadUser": "database",
    "ReadUserAsync": "database",
    "ReadUserLazily": "database",
    "inactive_users": "database",
    "PHOTOS": "photos",
    "load_all": "photos",
    "make_photo": "photos",
    "make_photos": "photos",
    "truncate": "photos",
    "write_bomb": "photos",
    "write_photo": "photos",
    "Prometheus": "prometheus",
    "find_prometheus": "prometheus",
    "SandboxReport": "sandbox",
    "error_kind": "sandbox",
    "run_in_sandbox": "sandbox",
    "MailServer": "smtp",
    "fate_of": "smtp",
    "latency_of": "smtp",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # the next look-up finds it without us
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
