"""The queue of `queue_table` with another order: the job is deleted before its handler is called. For an exercise."""

import time

import psycopg

from helpers.durable.queue_table import TAKE, Connection, Handler


def do_one(connection: Connection, handler: Handler) -> bool:
    """Take and delete a job in one transaction, and call the handler in another. Return False if no job is free."""
    with connection.transaction():
        job = connection.execute(TAKE).fetchone()
        if job is None:
            return False
        number, user = job
        connection.execute("DELETE FROM jobs WHERE id = %s", [number])
    with connection.transaction():
        handler(connection, number, user)
        return True


def work(url: str, handler: Handler) -> None:
    """Do jobs until the table is empty, as `queue_table.work` does."""
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute("SELECT 1 FROM jobs LIMIT 1").fetchone():
            if not do_one(connection, handler):
                time.sleep(0.01)
