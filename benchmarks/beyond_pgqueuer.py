"""pgqueuer beside the queues of `beyond_durable`, where it is installed. The notebooks do not need it.

`benchmarks.one_way` prints what a job costs. A worker takes jobs in batches of ten, as is its default; the heartbeat
time-out is 2 s, as for procrastinate.
"""

import asyncio
import json
from datetime import timedelta
from typing import Any

import psycopg
from pgqueuer import PgQueuer
from pgqueuer.db import SyncPsycopgDriver
from pgqueuer.queries import Queries, SyncQueries

from benchmarks import beyond_durable
from benchmarks.beyond_tasks import note
from helpers.durable.children import ChildProcess
from helpers.services import Database

SILENCE = timedelta(seconds=2)


def worker(url: str) -> None:
    """Do jobs forever."""
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(work(url))


async def work(url: str) -> None:
    """Run the tasks of the benchmark on a connection of their own."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        queue = PgQueuer.from_psycopg_connection(connection)

        @queue.entrypoint("do_nothing")
        async def do_nothing(job: Any) -> None:
            pass

        @queue.entrypoint("note")
        async def take_note(job: Any) -> None:
            note(**json.loads(job.payload))

        await queue.run(heartbeat_timeout=SILENCE)


async def install(url: str) -> None:
    """Make the tables."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await Queries.from_psycopg_connection(connection).install()


class Queue:
    """The queue of pgqueuer, as `beyond_durable` measures it."""

    def __init__(self, url: str, connection: psycopg.Connection[Any]) -> None:
        self._url, self._connection = url, connection
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(install(url))
        self._queries = SyncQueries(SyncPsycopgDriver(connection))

    def worker(self, file: str | None) -> ChildProcess:
        return ChildProcess(worker, self._url)

    def put(self, task: str, jobs: range, file: str | None) -> None:
        payloads = [json.dumps({"job": job, "file": file}).encode() for job in jobs]
        self._queries.enqueue([task] * len(jobs), payloads, [0] * len(jobs))

    def left(self) -> int:
        return beyond_durable.one(self._connection, "SELECT count(*) FROM pgqueuer")


def measure(way: str, what: str, jobs: int) -> dict[str, float]:
    """Return the measurement `speed`. Raises ValueError for another one."""
    if what != "speed":
        raise ValueError(f"pgqueuer is measured for its speed only, not for {what}")
    with Database() as db, db.connect() as connection:
        return beyond_durable.speed(Queue(db.url, connection), jobs)
