"""Check whether this machine is ready for the series. Notebook 00 shows the result as a table."""

import importlib
import os
import platform
import smtplib
import sys
from collections.abc import Callable

import pandas as pd

from helpers.pools import WorkerPool, run_unbounded
from helpers.pools.words import describe_error
from helpers.services import Api, Database, FetchUser, MailServer, run_in_sandbox

# All packages that a chapter imports, and those that the helpers need.
PACKAGES = (
    *("jupyterlab", "ipywidgets", "anywidget", "pandas", "matplotlib", "numpy", "scipy", "PIL", "tqdm"),
    *("psycopg", "psycopg_pool", "procrastinate", "tornado", "httpx", "aiosmtpd", "psutil"),
    *("prometheus_client", "distributed"),
)


def _python() -> str:
    if sys.version_info < (3, 11):
        raise RuntimeError(f"Python 3.11 or newer is needed, this is {platform.python_version()}")
    return f"Python {platform.python_version()}"


def _cores() -> str:
    cores = os.cpu_count() or 1
    if cores < 2:
        raise RuntimeError("with one core the charts about CPU work will be flat")
    return f"{cores} cores"


def _packages() -> str:
    for name in PACKAGES:
        importlib.import_module(name)
    return f"{len(PACKAGES)} packages"


def _pool() -> str:
    with WorkerPool(str.upper, workers=2) as pool:
        values = sorted(str(result.value) for result in pool.stream("abc"))
    if values != ["A", "B", "C"]:
        raise RuntimeError(f"three jobs gave {values}")
    return "three jobs, two workers"


def _database() -> str:
    with Database(max_connections=10) as database, database.connect() as connection:
        row = connection.execute("select count(*) from users").fetchone()
    if row is None or row[0] != 10_000:
        raise RuntimeError(f"10,000 users expected, found {row}")
    return "PostgreSQL with a table of 10,000 users"


def _api() -> str:
    with Api(rate=100, latency=0) as api:
        FetchUser(api.url)(7)
    return "the HTTP API answers"


def _mail_server() -> str:
    with (
        MailServer() as server,
        smtplib.SMTP(server.host, server.port, local_hostname="localhost", timeout=30) as client,
    ):
        code, words = client.noop()
    if code != 250:
        raise RuntimeError(f"the answer 250 is expected, not {code} {words!r}")
    return "the SMTP server answers"


def _sandbox() -> str:
    report = run_in_sandbox(run_unbounded, len, ["abc"], timeout=30)
    if report.succeeded != 1:
        raise RuntimeError(f"one job expected to succeed: {report}")
    return "a child process ran a job"


CHECKS: dict[str, Callable[[], str]] = {
    "Python is 3.11 or newer": _python,
    "two cores or more": _cores,
    "the packages are installed": _packages,
    "a pool runs jobs": _pool,
    "the database starts": _database,
    "the API starts": _api,
    "the mail server starts": _mail_server,
    "the sandbox starts": _sandbox,
}


def self_check() -> pd.DataFrame:
    """Return a table with one row per check: check, ready ("yes" or "no"), and found (the finding, or the error)."""
    rows = []
    for name, check in CHECKS.items():
        try:
            rows.append({"check": name, "ready": "yes", "found": check()})
        except Exception as error:
            rows.append({"check": name, "ready": "no", "found": describe_error(error, 3000)})
    return pd.DataFrame(rows).set_index("check")
