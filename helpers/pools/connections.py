"""Connections that the workers of one pool share: one per worker, or as many as the server allows.

A server may allow fewer connections than there are workers. Then the workers take turns: a worker takes a connection
for one job and returns it afterwards. After the server has refused a connection, one worker at a time asks for another
connection, with a backoff. No job fails because the server allows few connections.

    connections = Connections(connect, close)
    pool = WorkerPool(handler, workers=10, resource=connections.member)
    # in the handler:
    connection = connections.take(current_worker().cancelled)
    ...                        # then give_back(connection), or discard(connection, error) if it is broken

Always true:
- There are never more connections than workers that have asked for one.
- The wait is fair: the worker that has waited longest is served first, also before a worker that has just returned a
  connection. (Otherwise the workers with connections could take them again and again, and the others would starve.) A
  worker that asks the server for a connection leaves the line meanwhile and, if refused, returns to its front.
- After a refusal one worker at a time asks for a connection, at times that full jitter chooses.
- `take` raises NoConnection only if no connection has worked for `patience` seconds. From then on it raises at once,
  until a connection works again, so that 100,000 jobs do not each wait for a server that is down.
- Each worker that exits closes one free connection, so the last worker leaves none open.
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
SLICE = 0.1  # seconds: the longest single wait before a worker looks at `cancelled` again


class NoConnection(ConnectionError):
    """No connection to the server has worked for as long as `patience` allows."""


class Connections(Generic[Connection]):
    """Connections that the workers of one pool share.

    Args:
        connect:   opens a connection; raises an OSError (as smtplib and sockets do) if the server is down or refuses.
        close:     closes a connection, working or broken. It should not raise.
        patience:  seconds without any working connection until `take` raises NoConnection.
        random:    returns numbers from 0 to 1 for the jitter.
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
        # took it. Every waiting worker is in _line with a condition of its own, so that one worker can be woken.
        self._lock = Lock()
        self._free: list[Connection] = []
        self._line: deque[Condition] = deque()
        self._proven: set[int] = set()  # ids of open connections that have been returned in working order
        self._opening = 0  # workers that are connecting now
        self._careful = False  # the server has refused a connection: from now on one worker asks at a time
        self._refusals = 0  # refusals in a row
        self._not_before = 0.0  # when the next connection may be requested, on time.monotonic()
        self._outage: float | None = None  # since when no connection works, on time.monotonic()
        self._problem: BaseException | None = None  # the last refusal

    def take(self, cancelled: Event) -> Connection:
        """Wait for a connection and return it; the caller alone uses it, and then returns or discards it.

        Raises NoConnection if no connection has worked for `patience` seconds, JobCancelled once `cancelled` is set.
        Anything but an OSError that `connect` raises is raised here.
        """
        wakeup, refused = Condition(self._lock), False
        while True:
            try:
                connection = self._wait_for_turn(wakeup, cancelled, refused)
            except _Hopeless as hopeless:
                raise self._no_connection(hopeless.problem) from hopeless.problem
            if connection is None:
                connection = self._open()
            if connection is not None:
                return connection
            refused = True

    def give_back(self, connection: Connection) -> None:
        """Return a connection that works; it goes to the worker that has waited longest."""
        with self._lock:
            self._proven.add(id(connection))
            self._refusals, self._outage = 0, None
            self._free.append(connection)
            self._wake_first()

    def discard(self, connection: Connection, error: BaseException) -> bool:
        """Close a connection that `error` has broken.

        Returns True if the connection had never worked; that counts as a refusal by the server.
        """
        try:
            chance = float(self._random())  # the caller's function, so not under the lock
            with self._lock:
                new = id(connection) not in self._proven
                self._proven.discard(id(connection))
                if new:
                    self._refused(error, chance)
                self._wake_first()
        finally:
            self._close(connection)
        return new

    @contextmanager
    def member(self) -> Iterator["Connections[Connection]"]:
        """A worker's share, from its first job until the worker exits. Use it as the `resource` of a pool."""
        try:
            yield self
        finally:
            with self._lock:
                spare = [self._free.pop()] if self._free else []
                self._proven -= set(map(id, spare))
            for connection in spare:
                self._close(connection)

    def working(self) -> int:
        """Return how many open connections have worked at least once."""
        with self._lock:
            return len(self._proven)

    def _wait_for_turn(self, wakeup: Condition, cancelled: Event, refused: bool) -> Connection | None:
        """Wait in line; return a free connection, or None: the caller may open one. Raises JobCancelled, _Hopeless."""
        with self._lock:
            # A worker that the server has just refused returns to the front of the line.
            (self._line.appendleft if refused else self._line.append)(wakeup)
            try:
                while not self._has_turn(wakeup, cancelled, refused):
                    wakeup.wait(self._pause(wakeup))
                if self._free:
                    return self._free.pop()
                self._opening += 1
                return None
            finally:
                self._line.remove(wakeup)
                self._wake_first()

    def _has_turn(self, wakeup: Condition, cancelled: Event, refused: bool) -> bool:
        """Return True if the caller is first in line and may have a free connection or open one; hold the lock."""
        if cancelled.is_set():
            raise JobCancelled("the pool was stopped while this job waited for a connection")
        may_open = time.monotonic() >= self._not_before and not (self._careful and self._opening)
        turn = self._line[0] is wakeup and (bool(self._free) or may_open)
        # A new worker whose turn it is asks the server even after `patience` seconds: that is how a server that is
        # up again is noticed.
        if refused or not turn:
            self._raise_if_hopeless()
        return turn

    def _pause(self, wakeup: Condition) -> float:
        """Return the seconds until the next look. Only the first worker in line waits for the end of a backoff."""
        backoff = self._not_before - time.monotonic()
        return min(SLICE, backoff) if backoff > 0 and self._line[0] is wakeup else SLICE

    def _raise_if_hopeless(self) -> None:
        if self._outage is not None and time.monotonic() - self._outage >= self._patience:
            raise _Hopeless(self._problem)

    def _no_connection(self, problem: BaseException | None) -> NoConnection:
        """Build the error. Without the lock, because `problem` may be of a class of the caller, and is converted."""
        last = "none" if problem is None else describe_error(problem)
        return NoConnection(f"no connection has worked for {self._patience:g} s; the last attempt: {last}")

    def _open(self) -> Connection | None:
        """Ask the server for a connection; None if it refuses."""
        try:
            return self._connect()
        except OSError as error:
            # Without its traceback: the error is kept, and must not keep the jobs of the frames alive.
            refusal, chance = BaseException.with_traceback(error, None), float(self._random())
            with self._lock:
                self._refused(refusal, chance)
            return None
        finally:
            with self._lock:
                self._opening -= 1
                self._wake_first()

    def _refused(self, error: BaseException, chance: float = 1.0) -> None:
        """Note a refusal. `chance`, from 0 to 1, sets when the next connection may be requested. Hold the lock."""
        now = time.monotonic()
        self._careful, self._problem = True, error
        if self._outage is None and not self._proven:
            self._outage = now
        if now >= self._not_before:  # otherwise the request began before the refusal that set the present backoff
            self._refusals += 1
            self._not_before = now + full_jitter(self._refusals, base=BASE, cap=CAP, random=lambda: chance)

    def _wake_first(self) -> None:
        """Wake the first worker in line, which then checks whether it is its turn; hold the lock."""
        if self._line:
            self._line[0].notify()


class _Hopeless(Exception):
    """No connection has worked for `patience` seconds. Carries the last refusal out of the lock."""

    @property
    def problem(self) -> BaseException | None:
        """The last refusal."""
        refusal: BaseException | None = self.args[0]
        return refusal
