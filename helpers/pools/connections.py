"""One connection a worker, or as many as the server allows: then the workers take turns.

A kitchen may have more cooks than stoves. Whoever needs a stove gets a free one, or a new one is lit. If the gas
company says no, nobody asks again for a while, and the cooks wait in line for the stoves there are. Nobody's dish is
thrown away because of it.

    connections = Connections(connect)
    pool = WorkerPool(handler, workers=10, resource=connections.member)
    # in the handler:
    connection = connections.take(current_worker().cancelled)
    ...                                # then give_back(connection), or discard(connection, error) if it is broken

What holds:
- There are never more connections than workers that have asked for one.
- The line is fair: who has waited longest is served first, also before a worker that has just given one back. (If
  not, those that have one would take it again and again, and the others would starve.) Who is busy asking the server
  for one is out of line that long, and then first.
- After a refusal one worker at a time asks for a connection, at times that full jitter chooses.
- Only if there has been no working connection for `patience` seconds does `take` give up; from then on, until one
  works again, at once, so that a hundred thousand jobs do not each wait for a server that is not there.
- Each worker that leaves closes one connection that is free: the last one leaves none.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from random import random as real_random
from threading import Condition, Event, Lock
from typing import Generic, TypeVar

from .backoff import full_jitter
from .result import JobCancelled

Connection = TypeVar("Connection")

BASE, CAP = 0.05, 2.0  # seconds: the ceiling after the first refusal, and the highest
SLICE = 0.1  # the longest single wait, seconds: then a look at `cancelled`


class NoConnection(ConnectionError):
    """The server could not be reached, or let nobody in, for longer than patience allows."""


class Connections(Generic[Connection]):
    """Connections that the workers of one pool share.

    Args:
        connect:   opens one; raises an OSError (as smtplib and sockets do) if the server is not there or says no.
        close:     closes one in good order, or what is left of it.
        patience:  seconds without any working connection until `take` gives up.
        random:    numbers from 0 to 1 for the jitter.
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
        # The lock guards all below: every connection is either in _free or with the one worker that took it, and
        # whoever waits stands in _line, with a bell of their own (one bell for all would wake all).
        self._lock = Lock()
        self._free: list[Connection] = []
        self._line: deque[Condition] = deque()
        self._proven: set[int] = set()  # ids of the open connections that have been given back in working order
        self._opening = 0  # workers that are connecting at this moment
        self._careful = False  # there has been a refusal: one at a time from now on
        self._refusals = 0  # in a row
        self._not_before = 0.0  # when the next connection may be asked for
        self._outage: float | None = None  # since when nothing works
        self._problem: BaseException | None = None  # the last refusal

    def take(self, cancelled: Event) -> Connection:
        """A connection for the caller alone, once it is their turn. They give it back or discard it.

        Raises NoConnection if none has worked for `patience` seconds, JobCancelled once `cancelled` is set.
        """
        bell, tried = Condition(self._lock), False
        while True:
            connection = self._turn(bell, cancelled, tried)
            if connection is not None:
                return connection
            with suppress(OSError):
                return self._open()
            tried = True  # and refused: back to the front of the line

    def give_back(self, connection: Connection) -> None:
        """The connection has done its work and is free for the next in line."""
        with self._lock:
            self._proven.add(id(connection))
            self._refusals, self._outage = 0, None
            self._free.append(connection)
            self._ring()

    def discard(self, connection: Connection, error: BaseException) -> bool:
        """The connection is broken, by `error`. True if it was new, and never worked: that counts as a refusal."""
        with self._lock:
            new = id(connection) not in self._proven
            self._proven.discard(id(connection))
            if new:
                self._refused(error)
            self._ring()
        self._close(connection)
        return new

    @contextmanager
    def member(self) -> Iterator["Connections[Connection]"]:
        """A worker's share, from its first job until it leaves: the `resource` of a pool."""
        try:
            yield self
        finally:
            with self._lock:
                spare = [self._free.pop()] if self._free else []
                self._proven -= set(map(id, spare))
            for connection in spare:
                self._close(connection)

    def working(self) -> int:
        """How many open connections have done some work already."""
        with self._lock:
            return len(self._proven)

    def _turn(self, bell: Condition, cancelled: Event, tried: bool) -> Connection | None:
        """Wait in line; then a free connection, or None: the caller may open one."""
        with self._lock:
            (self._line.appendleft if tried else self._line.append)(bell)
            try:
                while not self._has_turn(bell, cancelled, tried):
                    bell.wait(self._pause(bell))
                if self._free:
                    return self._free.pop()
                self._opening += 1
                return None
            finally:
                self._line.remove(bell)
                self._ring()

    def _has_turn(self, bell: Condition, cancelled: Event, tried: bool) -> bool:
        """True if the caller is next and may have a free connection or ask for one; raises if it need not wait."""
        if cancelled.is_set():
            raise JobCancelled("the pool was stopped while this job waited for a connection")
        may_open = time.monotonic() >= self._not_before and not (self._careful and self._opening)
        turn = self._line[0] is bell and (bool(self._free) or may_open)
        if tried or not turn:  # who comes new and may ask is the one that finds out whether the server is back
            self._give_up_if_hopeless()
        return turn

    def _pause(self, bell: Condition) -> float:
        """Seconds to the next look, if no bell rings before. Only the first in line waits for the end of a backoff."""
        backoff = self._not_before - time.monotonic()
        return min(SLICE, backoff) if backoff > 0 and self._line[0] is bell else SLICE

    def _give_up_if_hopeless(self) -> None:
        if self._outage is not None and time.monotonic() - self._outage >= self._patience:
            why = f"no connection has worked for {self._patience:g} s; the last attempt: {self._problem}"
            raise NoConnection(why) from self._problem

    def _open(self) -> Connection:
        try:
            return self._connect()
        except OSError as error:
            with self._lock:
                self._refused(error)
            raise
        finally:
            with self._lock:
                self._opening -= 1
                self._ring()

    def _refused(self, error: BaseException) -> None:
        now = time.monotonic()
        self._careful, self._problem = True, error
        if self._outage is None and not self._proven:
            self._outage = now
        if now >= self._not_before:  # else it was asked for before the refusal that has set the backoff
            self._refusals += 1
            self._not_before = now + full_jitter(self._refusals, base=BASE, cap=CAP, random=self._random)

    def _ring(self) -> None:
        """Wake who is first in line; they look for themselves whether it is their turn."""
        if self._line:
            self._line[0].notify()
