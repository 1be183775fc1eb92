"""The welcome mail as a task of procrastinate, a package whose queue is a table of PostgreSQL.

procrastinate calls a handler a *task*, and to submit a job is to *defer* it. Its workers need asyncio's selector event
loop, because psycopg cannot use the default loop of Windows. `run_worker` asks for that loop on every system.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import psycopg
from procrastinate import App, JobContext, PsycopgConnector, RetryStrategy, SyncPsycopgConnector

from helpers.durable.welcome import die_if_doomed, send_mail

HEARTBEAT = 0.5  # seconds between two heartbeats of a worker; the default of 10 would be long for a notebook
SILENCE = 2.0  # seconds without a heartbeat after which the jobs of a worker are stalled
RETRIES = 2  # so a job that fails is run three times

COUNT = "SELECT status::text, count(*) FROM procrastinate_jobs WHERE task_name = %s GROUP BY status ORDER BY 1"
FAILED = "SELECT id, args FROM procrastinate_jobs WHERE status = 'failed' ORDER BY id"

app = App(connector=PsycopgConnector())  # `connected` and `run_worker` say to which database


@app.task(name="send_welcome", pass_context=True, retry=RetryStrategy(max_attempts=RETRIES))
def send_welcome(context: JobContext, user: int, url: str, port: int) -> None:
    """Send the mail; then die, if that is the plan."""
    send_mail(f"job-{context.job.id}", user, port)
    die_if_doomed(url, user)


@app.task(name="do_nothing")
def do_nothing(job: int) -> None:
    """The cheapest task: to measure what a job costs."""


@contextmanager
def connected(url: str) -> Iterator[App]:
    """Connect the app to a database for the time of the block, in which an ordinary program can defer tasks."""
    with app.replace_connector(SyncPsycopgConnector(conninfo=url)), app.open():
        yield app


def run_worker(url: str, wait: bool = False, rescues: bool = False) -> None:
    """Do the jobs of the database. Return when no job is left; with `wait`, wait for more jobs forever.

    `rescues` adds the task `rescue` of `stalled.py`, which runs every second. To be called in a process of its own.
    """
    logging.disable()
    if rescues:
        import_module("helpers.durable.stalled")
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(_work(url, wait))


async def _work(url: str, wait: bool) -> None:
    with app.replace_connector(PsycopgConnector(conninfo=url)):
        async with app.open_async():
            await app.run_worker_async(
                wait=wait,
                install_signal_handlers=False,
                fetch_job_polling_interval=HEARTBEAT,
                update_heartbeat_interval=HEARTBEAT,
                stalled_worker_timeout=SILENCE,
            )


def states(connection: psycopg.Connection[Any], task: str = "send_welcome") -> dict[str, int]:
    """Return how many jobs of a task are in each state."""
    return dict(connection.execute(COUNT, [task]).fetchall())


def dead_letters(connection: psycopg.Connection[Any]) -> list[tuple[int, dict[str, Any]]]:
    """Return the id and the arguments of each job that has failed in all its attempts."""
    return connection.execute(FAILED).fetchall()
