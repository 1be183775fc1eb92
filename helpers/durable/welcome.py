"""The job of notebook 13: welcome a user, which means to write a row and to send a mail. And some ways to die.

The kills are chosen beforehand: each row of the table `doomed` kills the next worker that has a job for this user.
"""

import os
import signal
import smtplib
import time
from collections.abc import Iterable
from email.message import EmailMessage
from typing import Any

import psycopg

from helpers.durable import queue_table
from helpers.pools import WorkerPool

Connection = psycopg.Connection[tuple[Any, ...]]
DELETE_ONE = "DELETE FROM doomed WHERE ctid = (SELECT ctid FROM doomed WHERE user_id = %s LIMIT 1)"
SIGKILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # on Windows, os.kill ends the process at once for either


def prepare(connection: Connection, doomed: Iterable[int] = ()) -> None:
    """Drop and create the tables `welcomed` and `doomed`. The table `welcomed` allows two rows for one user."""
    for table in ("welcomed", "doomed"):
        connection.execute(f"DROP TABLE IF EXISTS {table}")
        connection.execute(f"CREATE TABLE {table} (user_id int NOT NULL)")
    connection.cursor().executemany("INSERT INTO doomed VALUES (%s)", [[user] for user in doomed])


def send_mail(key: str, user: int, port: int) -> None:
    """Send a welcome mail to a user, with the key in its Message-ID. Raises what smtplib raises."""
    mail = EmailMessage()
    mail["From"], mail["To"] = "shop@example.com", f"user-{user}@example.com"
    mail["Subject"], mail["Message-ID"] = "Welcome!", f"<{key}@example.com>"
    mail.set_content("It is good to have you here.")
    with smtplib.SMTP("127.0.0.1", port, local_hostname="localhost") as smtp:
        smtp.send_message(mail)


def die_if_doomed(url: str, user: int) -> None:
    """Kill this process if the table `doomed` has a row for the user. That row is deleted first, for good."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(DELETE_ONE, [user]).rowcount
    if found:
        os.kill(os.getpid(), SIGKILL)


def welcome(url: str, port: int, connection: Connection, job: int, user: int) -> None:
    """Write a row inside the transaction of the job, and send a mail, which no transaction can undo."""
    connection.execute("INSERT INTO welcomed VALUES (%s)", [user])
    send_mail(f"job-{job}", user, port)
    die_if_doomed(url, user)


def welcome_in_pool(url: str, port: int, users: Iterable[int], workers: int = 1) -> None:
    """Welcome all users with a pool in the memory of this process."""

    def handler(job: tuple[int, int]) -> None:
        number, user = job
        with psycopg.connect(url) as connection:
            welcome(url, port, connection, number, user)

    with WorkerPool(handler, workers=workers) as pool:
        for result in pool.stream(enumerate(users, start=1)):
            if result.error is not None:
                raise result.error


def submit_and_die(url: str, users: Iterable[int]) -> None:
    """Fill the table `jobs` with a job per user, in one transaction, and kill this process."""
    with psycopg.connect(url, autocommit=True) as connection:
        queue_table.fill(connection, users)
    os.kill(os.getpid(), SIGKILL)


def hold(connection: Connection, job: int, user: int) -> None:
    """A handler that takes a minute: to be killed in the middle."""
    time.sleep(60)


def hold_in_sql(check: str, connection: Connection, job: int, user: int, seconds: float = 2.0) -> None:
    """A handler with one long SQL statement. The server looks for the client every `check` while it runs."""
    connection.execute("SELECT set_config('client_connection_check_interval', %s, true)", [check])
    connection.execute("SELECT pg_sleep(%s)", [seconds])
