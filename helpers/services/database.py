"""A real PostgreSQL that takes so many connections and no more, and jobs that read from it.

    with Database(max_connections=100) as db:
        ReadUser(db.url)(7)             # (7, "…")
        db.connections()                # 0: every job has closed its own

It runs beside us, under a guardian process (see `child`) that stops it for certain. How: see `postgres`.
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
START_SECONDS = 300.0  # until a start is given up: the first one ever makes a data directory, on any laptop
TODAY = date(2026, 1, 1)  # the day on which data/users.csv is read, in every notebook and for ever
INACTIVE = "SELECT id, email, name, last_login FROM users WHERE last_login < %s ORDER BY id LIMIT %s"
READ = "SELECT id, name FROM users, pg_sleep(%s) WHERE id = %s"  # pg_sleep in FROM: once, however many rows


class Database:
    """A PostgreSQL server on 127.0.0.1, on a free port, with data/users.csv as the table `users` (10,000 rows).

    It takes `max_connections` client connections at a time. Who comes when it is full gets the server's own error:
    psycopg.OperationalError "… FATAL:  sorry, too many clients already".

    The server and its files are gone at the end of the `with`, also when the body raises, and within seconds of the
    end of this process, however it ends. Ctrl-C and the Stop button reach the `with` block, not the server.

    DATABASE_URL, set in the environment to a postgresql:// URI, names a server to use instead. On it `users` lies in a
    schema of our own, which is dropped at the end; `max_connections` is then what that server says, and the
    connections of other people to the same database count as well.

    Raises TypeError or ValueError if `max_connections` is no whole number of at least 1. Entering raises ServiceError,
    with the end of the server's log, if the server does not start. psycopg's errors come out as they are.
    """

    def __init__(self, max_connections: int = 100) -> None:
        check_whole("max_connections", max_connections)
        self._max_connections = max_connections
        self._child: Child | None = None
        self._answer: dict[str, Any] | None = None
        self._restore_environment: Callable[[], object] | None = None
        self._in_use = threading.Lock()  # held from __enter__ to __exit__: at most one server belongs to this object

    @property
    def url(self) -> str:
        """Its postgresql:// URI. Raises ServiceError outside of the `with`."""
        return str(self._running["url"])

    @property
    def max_connections(self) -> int:
        """How many client connections it takes at a time."""
        return self._max_connections if self._answer is None else int(self._answer["max_connections"])

    def connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """An open connection, in autocommit mode; the caller closes it. Raises ServiceError outside of the `with`."""
        return psycopg.connect(self.url, autocommit=True)

    def connections(self) -> int:
        """How many client connections are open now, not counting the one that asks. Also answers when it is full.

        A connection that was just closed may be counted for some milliseconds more: the server learns of it later.
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
                # Also run by the garbage collector, for a Database whose `with` is never left.
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
        if self._in_use.locked():  # else there is nothing to leave: it may be called twice
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
    """A handler: the (id, name) of a user, over a connection of its own for every job, the naive way.

    The query takes `seconds` longer than it would, as a busy server's does. Raises TypeError or ValueError for
    what is no URL or time, at once; psycopg's errors as they are, and LookupError if there is no such user.
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
    """`ReadUser` for asyncio: a handler that is awaited. Same answers, same errors.

    On Windows psycopg needs a loop of asyncio.WindowsSelectorEventLoopPolicy.
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
    """`ReadUser` as it is often written: it hands out the open cursor, for the row to be read later.

    A cursor keeps its connection. So whoever keeps the results, as everybody does, keeps a connection for each.
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
    """Users without a login for more than `days` days before `today`, by id, at most `limit` (None: all of them).

    They come through a server-side cursor, `batch` rows a round trip, so that no more are ever in memory. It has a
    connection of its own, opened with the first row and closed after the last, or when the generator is closed.
    Raises TypeError or ValueError for arguments that break their rule, and psycopg's errors as they are.
    """
    check_url(url, *POSTGRESQL)
    if not issubclass(type(today), date):
        raise TypeError(f"today must be a date, not {describe(today)}")
    check_whole("days", days, most=(today - date.min).days)  # there is no day before the first
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
