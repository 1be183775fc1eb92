"""A real PostgreSQL server with a limit on its connections, and handlers that read from it.

    with Database(max_connections=100) as db:
        ReadUser(db.url)(7)             # (7, "…")
        db.connections()                # 0: every job has closed its connection

The server runs in processes of its own, under a guardian process that stops it: see `child`. The module `postgres` has
the code that starts and stops the server.
"""

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from types import TracebackType
from typing import Any, NamedTuple, Self

import psycopg

from helpers.services.child import Child, ServiceError
from helpers.services.environment import put_back, set_aside
from helpers.services.postgres import clean_up
from helpers.services.sandbox import check_number, check_url, check_whole
from helpers.services.words import describe

POSTGRESQL = ("postgresql://", "postgres://")
START_SECONDS = 300.0  # limit of a start: the first one creates a data directory, which is slow on some laptops
TODAY = date(2026, 1, 1)  # the fixed "today" of data/users.csv, so that every run finds the same users
INACTIVE = "SELECT id, email, name, last_login FROM users WHERE last_login < %s ORDER BY id LIMIT %s"
READ = "SELECT id, name FROM users, pg_sleep(%s) WHERE id = %s"  # pg_sleep in FROM runs once, not once per row


class Database:
    """A PostgreSQL server on 127.0.0.1, on a free port, with data/users.csv as the table `users` (10,000 rows).

    It accepts `max_connections` client connections at a time. Another client gets the server's own error:
    psycopg.OperationalError "… FATAL:  sorry, too many clients already".

    The server is stopped and its files are removed at the end of the `with` block, also if the block raises. The same
    happens within seconds of the end of this process, however it ends. Ctrl-C and the Stop button interrupt the `with`
    block, not the server.

    If the environment variable DATABASE_URL is a postgresql:// URI, that server is used instead. The table `users` is
    then in a schema of its own, which is dropped at the end. `max_connections` is then the setting of that server, and
    all connections to the same database count, including those of other programs.

    Raises TypeError or ValueError if `max_connections` is not a whole number of at least 1. The `with` statement raises
    ServiceError, with the end of the server's log, if the server does not start. psycopg's errors are not changed.
    """

    def __init__(self, max_connections: int = 100) -> None:
        check_whole("max_connections", max_connections)
        self._max_connections = max_connections
        self._child: Child | None = None
        self._answer: dict[str, Any] | None = None
        self._restore_environment: Callable[[], object] | None = None
        self._in_use = threading.Lock()  # held from __enter__ to __exit__, so that this object has at most one server

    @property
    def url(self) -> str:
        """The postgresql:// URI of the server. Raises ServiceError outside the `with` block."""
        return str(self._running["url"])

    @property
    def max_connections(self) -> int:
        """The maximum number of client connections at a time."""
        return self._max_connections if self._answer is None else int(self._answer["max_connections"])

    def connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """Return an open connection in autocommit mode. Close it after use. Raises ServiceError outside the `with`."""
        return psycopg.connect(self.url, autocommit=True)

    def connections(self) -> int:
        """Return the number of open client connections, without the one that asks. Also works if the server is full.

        A connection may be counted for some milliseconds after it was closed, until the server notices the end.
        """
        with psycopg.connect(self._running["observer"], autocommit=True) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ).fetchone()
        assert row is not None
        return int(row[0])

    def __enter__(self) -> Self:
        if not self._in_use.acquire(blocking=False):
            raise ServiceError("this Database is running already: make a second one for a second server")
        try:
            address = os.environ.get("DATABASE_URL")
            request = {"url": address} if address else {"max_connections": self._max_connections}
            if not address:
                # The garbage collector also runs this, for a Database whose `with` block never ended.
                self._restore_environment = weakref.finalize(self, put_back, id(self))
                set_aside(id(self))
            self._child = Child("helpers.services.postgres", request)
            self._answer = self._child.receive(START_SECONDS)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._in_use.locked():  # it is not locked if __exit__ is called a second time
            self._stop()

    def _stop(self) -> None:
        child, self._child = self._child, None
        answer, self._answer = self._answer, None
        try:
            if child is not None and child.stop() and answer is not None:
                clean_up(answer)
        finally:
            if self._restore_environment is not None:
                self._restore_environment()
            self._in_use.release()

    @property
    def _running(self) -> dict[str, Any]:
        if self._answer is None:
            raise ServiceError("this Database is not running: use it inside `with Database(…) as db:`")
        return self._answer


@dataclass(frozen=True, slots=True)
class ReadUser:
    """A handler that returns the (id, name) of a user. It opens a connection per job, which is the naive way.

    `seconds` are added to the duration of the query, as on a busy server. Creating the handler raises TypeError or
    ValueError for a bad URL or time. A call raises psycopg's errors, and LookupError if there is no user with this id.
    """

    url: str
    seconds: float = 0.0

    def __post_init__(self) -> None:
        _check_reader(self.url, self.seconds)

    def __call__(self, user_id: int) -> tuple[int, str]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(READ, (self.seconds, user_id)).fetchone()
        return _user(row, user_id)


@dataclass(frozen=True, slots=True)
class ReadUserAsync:
    """`ReadUser` for asyncio: the call is awaited. The results and errors are the same.

    On Windows psycopg needs an event loop of asyncio.WindowsSelectorEventLoopPolicy.
    """

    url: str
    seconds: float = 0.0

    def __post_init__(self) -> None:
        _check_reader(self.url, self.seconds)

    async def __call__(self, user_id: int) -> tuple[int, str]:
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            cursor = await connection.execute(READ, (self.seconds, user_id))
            row = await cursor.fetchone()
        return _user(row, user_id)


@dataclass(frozen=True, slots=True)
class ReadUserLazily:
    """A common mistake: it returns the open cursor, so that the caller can read the row later.

    A cursor keeps its connection open. So a program that keeps the results keeps one open connection per result.
    """

    url: str

    def __post_init__(self) -> None:
        _check_reader(self.url, 0.0)

    def __call__(self, user_id: int) -> "psycopg.Cursor[tuple[Any, ...]]":
        return psycopg.connect(self.url, autocommit=True).execute(READ, (0.0, user_id))


class InactiveUser(NamedTuple):
    """A row of `inactive_users`."""

    id: int
    email: str
    name: str
    last_login: date


def inactive_users(
    url: str, *, days: int = 30, today: date = TODAY, limit: int | None = None, batch: int = 500
) -> Iterator[InactiveUser]:
    """Yield the users without a login in the `days` days before `today`, by id, at most `limit` (None: all of them).

    The rows come through a server-side cursor, `batch` rows per round trip, so at most `batch` rows are in memory. The
    cursor has a connection of its own. The connection is opened with the first row, and closed after the last row or
    when the generator is closed.

    Raises TypeError or ValueError for bad arguments, and psycopg's errors.
    """
    check_url(url, *POSTGRESQL)
    if not issubclass(type(today), date):
        raise TypeError(f"today must be a date, not {describe(today)}")
    check_whole("days", days, most=(today - date.min).days)  # a larger number would lead before date.min
    check_whole("batch", batch)
    if limit is not None:
        check_whole("limit", limit)
    return _inactive_users(url, today - timedelta(days), limit, batch)


def _inactive_users(url: str, before: date, limit: int | None, batch: int) -> Iterator[InactiveUser]:
    with psycopg.connect(url) as connection, connection.cursor("inactive_users") as cursor:
        cursor.itersize = batch
        cursor.execute(INACTIVE, (before, limit))
        for row in cursor:
            yield InactiveUser(*row)


def _check_reader(url: str, seconds: float) -> None:
    check_url(url, *POSTGRESQL)
    check_number("seconds", seconds, least=0)


def _user(row: tuple[Any, ...] | None, user_id: int) -> tuple[int, str]:
    if row is None:
        raise LookupError(f"no user has the id {user_id}")
    number, name = row
    return number, name
