"""A durable queue in a table of PostgreSQL: a row per job, and one transaction around the work of each job.

While a worker is busy with a job, the row of the job is locked. If the worker dies, the server ends its transaction: it
undoes all that the transaction has written, and releases the lock. Then another worker can take the job.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import psycopg

CREATE = "CREATE TABLE jobs (id bigserial PRIMARY KEY, user_id int NOT NULL)"
TAKE = "SELECT id, user_id FROM jobs ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"

Connection = psycopg.Connection[tuple[Any, ...]]
Handler = Callable[[Connection, int, int], object]  # called with the connection, the id of the job, and the user


def fill(connection: Connection, users: Iterable[int]) -> None:
    """Drop and create the table `jobs`, with one job per user, in one transaction."""
    with connection.transaction():
        connection.execute("DROP TABLE IF EXISTS jobs")
        connection.execute(CREATE)
        connection.cursor().executemany("INSERT INTO jobs (user_id) VALUES (%s)", [[user] for user in users])


def do_one(connection: Connection, handler: Handler) -> bool:
    """Take a job, call the handler, and delete the job, all in one transaction. Return False if no job is free."""
    with connection.transaction():
        job = connection.execute(TAKE).fetchone()
        if job is None:
            return False
        number, user = job
        handler(connection, number, user)
        connection.execute("DELETE FROM jobs WHERE id = %s", [number])
        return True


def work(url: str, handler: Handler) -> None:
    """Do jobs until the table is empty. Wait while other workers hold all jobs that are left."""
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute("SELECT 1 FROM jobs LIMIT 1").fetchone():
            if not do_one(connection, handler):
                time.sleep(0.01)
