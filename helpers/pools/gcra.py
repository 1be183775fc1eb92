"""`Schedule`: when each call may go, and the queue of the callers that wait. The arithmetic and the lock of `rate`.

The algorithm is GCRA, the generic cell rate algorithm, in its form as virtual scheduling (ITU-T Recommendation I.371;
ATM Forum, "Traffic Management Specification 4.0", 1996, section 4.4.1). Its state is one number. Here it is `_next`:
the earliest time at which the next call may go, which is the theoretical arrival time (TAT) minus the tolerance. With
interval = 1 / rate and tolerance = (burst - 1) * interval, a call that goes at a time `at` >= `_next` moves it:

    _next = max(_next, at - tolerance) + interval

Always true, and guarded by `_lock`:
- `_next` never decreases. So no turn is given twice, and no pause is ever shortened.
- The callers in `_queue` go in that order. The caller at position k goes at `_next` + k * interval. A new caller that
  finds somebody in the queue goes to its end.
- A caller leaves the queue when it is given its turn or when it stops waiting. Only a turn that is given moves
  `_next`, so everybody behind a caller that stops waiting moves up.
- The first in the queue sleeps no longer than until `_next`, or a wake-up is on its way to it. The others may sleep
  until the time that was theirs when they looked last.
- Whichever thread looks gives all turns that are due. So a caller whose thread has ended, or sleeps too long, costs
  its own turn, delays the next caller by less than one interval, and stops nobody.

All times are whole numbers of ticks. Sums of floats would drift: at a million calls per second and a clock that shows
a million seconds, every addition of 1e-6 to a float is wrong by up to 6e-11 s, always in the same direction. Integers
add exactly, and every float from 2**-43 s up is a whole number of these ticks.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import RLock
from typing import Any, TypeVar

Value = TypeVar("Value")

SECOND = 2**96  # ticks
NANOSECOND = SECOND // 10**9  # the resolution of most clocks
CATCH_UP = SECOND // 20  # a caller that the operating system wakes up to 0.05 s late keeps its slot


def ticks(seconds: Any) -> int:
    """Return `seconds` (a finite int, float, or Fraction) in ticks, rounded down."""
    numerator, denominator = seconds.as_integer_ratio()
    return int(numerator * SECOND // denominator)


class WaitingCaller:
    """A caller that waits for its turn.

    Attributes:
        wake:     wakes the caller up; any thread may call it, any number of times. It is never called under the lock.
        granted:  True once the turn is the caller's.
        queued:   True once the caller has been put into the queue.
        slot:     when its turn comes as far as it knows, in ticks. The caller sleeps until then.
    """

    __slots__ = ("granted", "queued", "slot", "wake")

    def __init__(self, wake: Callable[[], object]) -> None:
        self.wake = wake
        self.granted = False
        self.queued = False
        self.slot = 0


class Schedule:
    """The slots of a limiter of `rate` calls per second and `burst` at once, full at `now` (ticks). Thread-safe.

    Every method takes microseconds and never waits.
    """

    def __init__(self, rate: float, burst: int, now: int) -> None:
        numerator, denominator = rate.as_integer_ratio()
        self._interval = -(-SECOND * denominator // numerator)  # rounded up, so never faster than `rate`
        self._tolerance = (burst - 1) * self._interval
        self._early = min(self._interval >> 30, NANOSECOND)  # a call that comes this much too early is on time
        self._next = now - self._tolerance
        self._queue: deque[WaitingCaller] = deque()
        self._wake_ups: list[WaitingCaller] = []  # to be woken up as soon as the lock is free
        self._lock = RLock()

    def take(self, now: int) -> bool:
        """Let a caller go at `now` if it need not wait and nobody else waits; return whether it may go."""
        return self._locked(self._take_if_free, now)

    def ask(self, caller: WaitingCaller, now: int, deadline: int | None) -> bool:
        """Return whether `caller` may go now. If not, `caller.slot` says when to ask again.

        The first call puts the caller into the queue, unless its slot lies after `deadline`: see `too_late`.
        """
        self._locked(self._place, caller, now, deadline)
        return caller.granted

    def leave(self, caller: WaitingCaller) -> None:
        """Take `caller` out of the queue, if it is there, because it stops waiting."""
        self._locked(self._remove, caller)

    def pause(self, until: int) -> None:
        """Let nobody go before `until`."""
        self._locked(self._pause, until)

    def _locked(self, change: Callable[..., Value], *arguments: Any) -> Value:
        """Return `change(*arguments)`, called under the lock; then wake up the callers in `_wake_ups`.

        A plain `with self._lock` can leave the lock taken forever: from Python 3.14 on, KeyboardInterrupt may be
        raised in the main thread after it took the lock and before it entered the block. Here the acquisition itself
        is inside `try`. If the interrupt comes before the lock was taken, `release` raises RuntimeError, because an
        RLock knows its owner.
        """
        try:
            self._lock.acquire()
            value = change(*arguments)
            woken, self._wake_ups = self._wake_ups, []
        finally:
            try:  # noqa: SIM105  `suppress` would make calls, and an interrupt can come with each, before the release
                self._lock.release()
            except RuntimeError:
                pass
        for caller in woken:
            with suppress(Exception):  # the caller's event loop may be closed already
                caller.wake()
        return value

    # The methods below run under the lock.

    def _take_if_free(self, now: int) -> bool:
        self._grant_due(now)
        if self._queue or not self._due(now):
            return False
        self._take(now)
        return True

    def _place(self, caller: WaitingCaller, now: int, deadline: int | None) -> None:
        if caller.queued:
            self._grant_due(now)
        else:
            caller.granted = self._take_if_free(now)
        if caller.granted:
            return
        position = self._queue.index(caller) if caller.queued else len(self._queue)
        caller.slot = self._next + position * self._interval
        if not caller.queued and not too_late(caller, deadline):
            caller.queued = True
            self._queue.append(caller)

    def _remove(self, caller: WaitingCaller) -> None:
        with suppress(ValueError):  # it is not in the queue
            self._queue.remove(caller)
        self._wake_first()

    def _pause(self, until: int) -> None:
        if until > self._next:
            self._next = until
            self._wake_ups.extend(self._queue)  # each of them checks whether its turn can still come in time

    def _grant_due(self, now: int) -> None:
        """Give every caller in the queue whose slot has come its turn.

        The order of the three steps matters if KeyboardInterrupt comes between them: then a turn is lost, or the same
        caller is given two. No turn goes to two callers, and no caller drops out of the queue without its turn.
        """
        while self._queue and self._due(now):
            caller = self._queue[0]
            # The call goes in its own slot, `_next`, however late it is noticed, so that lateness does not lower the
            # rate. A slot of more than CATCH_UP ago moves: nobody makes up for the hours of a suspended program.
            self._take(now - CATCH_UP)
            caller.granted = True
            self._wake_ups.append(self._queue.popleft())
        self._wake_first()

    def _wake_first(self) -> None:
        """Wake up the first in the queue if its slot has moved to before the time until which it sleeps."""
        if self._queue and self._queue[0].slot > self._next:
            self._wake_ups.append(self._queue[0])

    def _due(self, now: int) -> bool:
        return self._next <= now + self._early

    def _take(self, at: int) -> None:
        self._next = max(self._next, at - self._tolerance) + self._interval


def too_late(caller: WaitingCaller, deadline: int | None) -> bool:
    """Return whether the slot of `caller` lies after `deadline`."""
    return deadline is not None and caller.slot > deadline
