"""`Connections`: the connections that the workers of one pool share, one per worker or as many as the server allows.

A server may allow fewer connections than there are workers. Then the workers take turns: a worker takes a connection
for one job and returns it afterwards. Once the server has refused a connection, only one worker at a time tries to open
another one, with a backoff. A job does not fail merely because the server allows fewer connections than workers.

    connections = Connections(connect, close)
    pool = WorkerPool(handler, workers=10, resource=connections.member)
    # in the handler:
    connection = connections.take(current_worker().cancelled)
    ...                        # then give_back(connection), or discard(connection, error) if it is broken

Always true:
- There are never more open connections than workers that have asked for one.
- The wait is fair: the worker that has waited longest is served first, even before a worker that has just returned a
  connection. Otherwise the workers with connections could take them again and again, and the others would starve. A
  worker leaves the line while it opens a connection. If the server refuses, the worker returns to the front of the
  line.
- After a refusal, one worker at a time tries to open a connection, after a backoff that doubles with each refusal. The
  backoff starts again when the server has room: when a new connection works, or when a working connection has ended.
- `take` raises NoConnection only if no connection has worked for `patience` seconds. From then on it raises at once,
  until a connection works again, so that 100,000 jobs do not each wait for a server that is down.
- Each worker that exits closes one free connection, so the last worker leaves no connection open.

What a mistake would break: a worker that is not notified waits although a connection is free, a connection that is in
no list is never closed, and workers that all reconnect at once would overload a server that has just recovered.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import random as real_random
from threading import Condition, Event, Lock
from typing import Generic, TypeVar

from .backoff import full_jitter
from .result import JobCancelled
from .words import describe_error

Connection = TypeVar("Connection")

BASE, CAP = 0.05, 2.0  # seconds: the upper bound of the first backoff, and of every backoff
SLICE = 0.1  # seconds: the longest single wait before a worker checks `cancelled` again


class NoConnection(ConnectionError):
    """No connection to the server has worked for as long as `patience` allows."""


class Connections(Generic[Connection]):
    """Connections that the workers of one pool share.

    Args:
        connect:   a function that opens a connection. It raises an OSError (as smtplib and sockets do) if the server is
                   down or refuses.
        close:     a function that closes a connection, working or broken. It should not raise.
        patience:  the seconds without any working connection after which `take` raises NoConnection.
        random:    a function that returns numbers from 0 to 1, for the jitter.

    The arguments are not checked.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        close: Callable[[Connection], object],
        *,
        patience: float = 10.0,
        random: Callable[[], float] = real_random,
    ) -> None:
        self._connect, self._close = connect, close
        self._patience, self._random = patience, random
        # The lock guards everything below. Every open connection is either in _free or held by the one worker that
        # took it. Every waiting worker is in _line with its own condition, so that one worker can be notified.
        self._lock = Lock()
        self._free: list[Connection] = []
        self._line: deque[Condition] = deque()
        self._proven: set[int] = set()  # ids of open connections that have been returned in working order
        self._opening = 0  # the number of workers that are connecting now
        self._careful = False  # True after the first refusal: from then on, one worker connects at a time
        self._refusals = 0  # the number of refusals since the server had room for a connection
        self._not_before = 0.0  # the reading of time.monotonic() from which a connection may be requested again
        self._outage: float | None = None  # the reading of time.monotonic() since which no connection has worked
        self._last_refusal: BaseException | None = None

    def take(self, cancelled: Event) -> Connection:
        """Wait for a connection and return it. Only the caller uses it, until it calls `give_back` or `discard`.

        Raises NoConnection if no connection has worked for `patience` seconds, and JobCancelled once `cancelled` is
        set. If `connect` raises an error that is not an OSError, that error is raised here.
        """
        wakeup, refused = Condition(self._lock), False
        while True:
            try:
                connection = self._wait_for_turn(wakeup, cancelled, refused)
            except _OutOfPatience as outage:
                raise self._no_connection(outage.last_refusal) from outage.last_refusal
            if connection is None:
                connection = self._open()
            if connection is not None:
                return connection
            refused = True

    def give_back(self, connection: Connection) -> None:
        """Return a working connection, which then goes to the worker that has waited longest."""
        with self._lock:
            # Only a new connection shows that the server has room. If an old one ended the backoff too, the workers
            # would ask a server at its limit again after every job.
            if id(connection) not in self._proven:
                self._refusals = 0
            self._proven.add(id(connection))
            self._outage = None
            self._free.append(connection)
            self._wake_first()

    def discard(self, connection: Connection, error: BaseException) -> bool:
        """Close a connection that `error` has broken.

        Return True if the connection has never been given back, which counts as a refusal by the server.
        """
        try:
            jitter = float(self._random())  # `random` is the caller's function, so it must not run under the lock
            with self._lock:
                new = id(connection) not in self._proven
                self._proven.discard(id(connection))
                if new:
                    self._refused(error, jitter)
                else:  # a working connection has ended, so the server may have room for another one
                    self._refusals = 0
                    self._not_before = min(self._not_before, time.monotonic() + BASE * jitter)
                self._wake_first()
        finally:
            self._close(connection)
        return new

    @contextmanager
    def member(self) -> Iterator["Connections[Connection]"]:
        """Return a context manager for one worker, to be used as the `resource` of a pool.

        The worker enters it with its first job that asks for the resource. When the worker exits, one free connection
        is closed.
        """
        try:
            yield self
        finally:
            with self._lock:
                spare = [self._free.pop()] if self._free else []
                self._proven -= set(map(id, spare))
            for connection in spare:
                self._close(connection)

    def working(self) -> int:
        """Return the number of open connections that have worked at least once."""
        with self._lock:
            return len(self._proven)

    def _wait_for_turn(self, wakeup: Condition, cancelled: Event, refused: bool) -> Connection | None:
        """Wait in line. Return a free connection, or None if the caller may open a new one.

        `refused` is True if the server has just refused the caller. Raises JobCancelled and _OutOfPatience.
        """
        with self._lock:
            # A worker that the server has just refused returns to the front of the line.
            (self._line.appendleft if refused else self._line.append)(wakeup)
            try:
                while not self._has_turn(wakeup, cancelled, refused):
                    wakeup.wait(self._longest_wait(wakeup))
                if self._free:
                    return self._free.pop()
                self._opening += 1
                return None
            finally:
                self._line.remove(wakeup)
                self._wake_first()

    def _has_turn(self, wakeup: Condition, cancelled: Event, refused: bool) -> bool:
        """Return True if the caller, which holds the lock, is first in line and may take or open a connection.

        Raises JobCancelled and _OutOfPatience.
        """
        if cancelled.is_set():
            raise JobCancelled("the pool was stopped while this job waited for a connection")
        may_open = time.monotonic() >= self._not_before and not (self._careful and self._opening)
        turn = self._line[0] is wakeup and (bool(self._free) or may_open)
        # During an outage, a worker that has its turn and has not been refused yet connects even after `patience`
        # seconds. Without this attempt, the pool would not notice that the server is up again.
        if refused or not turn:
            self._raise_if_out_of_patience()
        return turn

    def _longest_wait(self, wakeup: Condition) -> float:
        """Return the seconds until the caller checks again. Only the first worker in line waits for the backoff."""
        backoff = self._not_before - time.monotonic()
        return min(SLICE, backoff) if backoff > 0 and self._line[0] is wakeup else SLICE

    def _raise_if_out_of_patience(self) -> None:
        if self._outage is not None and time.monotonic() - self._outage >= self._patience:
            raise _OutOfPatience(self._last_refusal)

    def _no_connection(self, last_refusal: BaseException | None) -> NoConnection:
        """Return the error for `take`. Called without the lock, because `describe_error` may run user code."""
        last = "none" if last_refusal is None else describe_error(last_refusal)
        return NoConnection(f"no connection has worked for {self._patience:g} s; the last attempt: {last}")

    def _open(self) -> Connection | None:
        """Open a connection and return it, or return None if the server refuses it."""
        try:
            return self._connect()
        except OSError as error:
            # Remove the traceback: this object keeps the error, and the frames of the traceback would keep the job
            # alive.
            refusal, jitter = BaseException.with_traceback(error, None), float(self._random())
            with self._lock:
                self._refused(refusal, jitter)
            return None
        finally:
            with self._lock:
                self._opening -= 1
                self._wake_first()

    def _refused(self, error: BaseException, jitter: float = 1.0) -> None:
        """Record a refusal and start a backoff. The caller holds the lock.

        `jitter` is the random number, from 0 to 1, that the backoff uses.
        """
        now = time.monotonic()
        self._careful, self._last_refusal = True, error
        if self._outage is None and not self._proven:
            self._outage = now
        # Several workers may be connecting when the server refuses the first of them. Only that refusal starts a
        # backoff. The other requests began before it, so their refusals must not lengthen the backoff.
        if now >= self._not_before:
            self._refusals += 1
            self._not_before = now + full_jitter(self._refusals, base=BASE, cap=CAP, random=lambda: jitter)

    def _wake_first(self) -> None:
        """Notify the first worker in line, which then checks whether it has its turn. The caller holds the lock."""
        if self._line:
            self._line[0].notify()


class _OutOfPatience(Exception):
    """No connection has worked for `patience` seconds. The exception carries the last refusal out of the lock."""

    @property
    def last_refusal(self) -> BaseException | None:
        """The error of the last attempt to connect."""
        refusal: BaseException | None = self.args[0]
        return refusal
