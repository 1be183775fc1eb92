"""`Schedule`: decides when each call of a `RateLimiter` may go, and keeps the queue of the callers that wait.

This module has the arithmetic and the lock. The arguments, the clock, and the waiting are in `rate`.

The algorithm is GCRA, the generic cell rate algorithm, in its form as virtual scheduling (ITU-T Recommendation I.371;
ATM Forum, "Traffic Management Specification 4.0", 1996, section 4.4.1). Its whole state is one number. Here this number
is `_next`, the earliest time at which the next call may go. In terms of the standard, `_next` is the theoretical
arrival time (TAT) minus the tolerance. With interval = 1 / rate and tolerance = (burst - 1) * interval, a call that
goes at the time `at`, which is not before `_next`, moves it:

    _next = max(_next, at - tolerance) + interval

Always true, and guarded by `_lock`:
- `_next` never decreases. Therefore no turn is given twice, and no pause is ever shortened.
- The callers in `_queue` get their turns in that order. The caller at position k gets its turn at
  `_next` + k * interval. A new caller goes to the end of the queue, unless the queue is empty and its turn has come.
- A caller leaves the queue when it gets its turn or when it stops waiting. Only a turn that is given moves `_next`, so
  the callers behind a caller that stops waiting get their turns earlier.
- The first caller in the queue sleeps no longer than until `_next`, or a wake-up is on its way to it. Every other
  caller sleeps at most until the slot that it had when it last called `ask`.
- Every thread that calls `take` or `ask` gives all turns that are due, those of other callers included. So a caller
  whose thread has ended, or sleeps too long, uses up its own turn, delays the next caller by less than one interval,
  and does not block the callers behind it.

What a mistake would break: if `_next` decreased, the server would get more calls than the rate allows; if the first
caller slept past `_next` without a wake-up, all callers would come late.

All times are whole numbers of ticks, because sums of floats drift: at a million calls per second and a clock that shows
a million seconds, every addition of 1e-6 to a float is wrong by up to 6e-11 s, always in the same direction. Integers
add exactly, and every float of at least 2**-43 s is a whole number of ticks.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import RLock
from typing import Any, TypeVar

Value = TypeVar("Value")

SECOND = 2**96  # in ticks
NANOSECOND = SECOND // 10**9  # in ticks; the resolution of most clocks
MAX_LATENESS = SECOND // 20  # in ticks; a caller that the operating system wakes up to 0.05 s late keeps its slot


def ticks(seconds: Any) -> int:
    """Return `seconds` (a finite int, float, or Fraction) in ticks, rounded down."""
    numerator, denominator = seconds.as_integer_ratio()
    return int(numerator * SECOND // denominator)


class WaitingCaller:
    """A caller that waits for its turn.

    Attributes:
        wake:     a function that wakes the caller up. Any thread that does not hold the lock may call it, any number of
                  times.
        granted:  True once the caller has its turn.
        queued:   True once the caller has been put into the queue.
        slot:     the time of its turn, in ticks, as the last `ask` found it. The caller sleeps until then.
    """

    __slots__ = ("granted", "queued", "slot", "wake")

    def __init__(self, wake: Callable[[], object]) -> None:
        self.wake = wake
        self.granted = False
        self.queued = False
        self.slot = 0


class Schedule:
    """The slots of a limiter that allows `rate` calls per second and `burst` calls at once. Thread-safe.

    Args:
        rate:   calls per second, a finite float of more than 0.
        burst:  the number of calls that may go at once, from 1.
        now:    the present time, in ticks. At this time the whole burst is available.

    A method takes microseconds and never waits for a turn.
    """

    def __init__(self, rate: float, burst: int, now: int) -> None:
        numerator, denominator = rate.as_integer_ratio()
        self._interval = -(-SECOND * denominator // numerator)  # rounded up, so that the rate is never more than `rate`
        self._tolerance = (burst - 1) * self._interval
        self._rounding = min(self._interval >> 30, NANOSECOND)  # a call that is this many ticks early counts as on time
        self._next = now - self._tolerance
        self._queue: deque[WaitingCaller] = deque()
        self._to_wake: list[WaitingCaller] = []  # the callers to wake as soon as the lock is released
        self._lock = RLock()

    def take(self, now: int) -> bool:
        """Use up a slot and return True if no other caller waits and a call may go at `now`; otherwise return False."""
        return self._under_lock(self._take_if_free, now)

    def ask(self, caller: WaitingCaller, now: int, deadline: int | None) -> bool:
        """Return True if `caller` may go now. If it may not, `caller.slot` is the time at which to ask again.

        The first call puts the caller into the queue, unless its slot is after `deadline`. In that case `too_late` is
        true, and the caller must stop waiting.
        """
        self._under_lock(self._grant_or_queue, caller, now, deadline)
        return caller.granted

    def leave(self, caller: WaitingCaller) -> None:
        """Remove `caller`, which has stopped waiting, from the queue. Does nothing if it is not in the queue."""
        self._under_lock(self._remove, caller)

    def pause(self, until: int) -> None:
        """Give no turn before the time `until`, in ticks."""
        self._under_lock(self._pause, until)

    def _under_lock(self, change: Callable[..., Value], *arguments: Any) -> Value:
        """Call change(*arguments) under the lock, wake the callers in `_to_wake`, and return what `change` returned.

        A plain `with self._lock` could leave the lock taken forever: from Python 3.14 on, KeyboardInterrupt may be
        raised in the main thread after it has taken the lock and before it enters the block. Here the acquisition
        itself is inside the `try` block. If the interrupt comes before the lock was taken, `release` raises
        RuntimeError, because an RLock knows its owner.
        """
        try:
            self._lock.acquire()
            value = change(*arguments)
            woken, self._to_wake = self._to_wake, []
        finally:
            try:  # noqa: SIM105 - `suppress` would make calls before the release, and an interrupt can come in each
                self._lock.release()
            except RuntimeError:
                pass
        for caller in woken:
            with suppress(Exception):  # the event loop of an asyncio caller may be closed already
                caller.wake()
        return value

    # The methods below run under the lock.

    def _take_if_free(self, now: int) -> bool:
        self._grant_due(now)
        if self._queue or not self._slot_is_due(now):
            return False
        self._use_slot(now)
        return True

    def _grant_or_queue(self, caller: WaitingCaller, now: int, deadline: int | None) -> None:
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
        with suppress(ValueError):  # the caller is not in the queue
            self._queue.remove(caller)
        self._wake_first()

    def _pause(self, until: int) -> None:
        if until > self._next:
            self._next = until
            self._to_wake.extend(self._queue)  # each caller checks whether its turn can still come before its deadline

    def _grant_due(self, now: int) -> None:
        """Give a turn to every caller in the queue whose slot is due.

        The loop first uses up the slot, then sets `granted`, and then removes the caller from the queue. If
        KeyboardInterrupt comes after the first step, one slot is lost. If it comes after the second step, the caller
        uses up two slots. With any other sequence of steps, the interrupt could give one slot to two callers, or remove
        a caller from the queue that has no turn.
        """
        while self._queue and self._slot_is_due(now):
            caller = self._queue[0]
            # The call uses its own slot, `_next`, even if this thread looks late, so that lateness does not lower the
            # rate. A slot that is more than MAX_LATENESS ago is moved forward: if the program was suspended for an
            # hour, the callers must not make up for the calls of that hour.
            self._use_slot(now - MAX_LATENESS)
            caller.granted = True
            self._to_wake.append(self._queue.popleft())
        self._wake_first()

    def _wake_first(self) -> None:
        """Wake the first caller in the queue if its slot is now earlier than the time until which it sleeps."""
        if self._queue and self._queue[0].slot > self._next:
            self._to_wake.append(self._queue[0])

    def _slot_is_due(self, now: int) -> bool:
        return self._next <= now + self._rounding

    def _use_slot(self, at: int) -> None:
        self._next = max(self._next, at - self._tolerance) + self._interval


def too_late(caller: WaitingCaller, deadline: int | None) -> bool:
    """Return True if the slot of `caller` is after `deadline`."""
    return deadline is not None and caller.slot > deadline
