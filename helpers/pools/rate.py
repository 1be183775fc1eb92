"""`RateLimiter`: at most so many calls per second, for all workers of one or several pools together.

A pool limits how many calls run at the same time. A server usually limits how many calls arrive per second, which is
another quantity: 10 workers with calls of 50 ms make 200 calls per second. A handler that calls `limiter.acquire()`
first keeps to the server's limit, whatever the number of workers:

    limiter = RateLimiter(95, burst=5)          # the server allows 100 calls per second

    def fetch(user_id):
        limiter.acquire()                       # waits until this call may go
        return httpx.get(f"{url}/users/{user_id}")

Which call may go when is decided in `gcra`. This file has what concerns the caller: arguments, clock, and waiting.
"""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any

from . import checks
from .errors import JobCancelled
from .gcra import SECOND, Schedule, WaitingCaller, ticks, too_late
from .retry_after import object_in_seconds
from .words import describe
from .worker import worker_or_none

LOOK = SECOND // 20  # a waiting thread looks at `cancelled` and at the clock every 0.05 s
DAY = 86_400 * SECOND  # no timer is set for longer, because floats and timers have limits


class RateLimiter:
    """Let at most `rate` calls per second through on average, and at most `burst` at once. Thread-safe.

    One limiter can be shared by the workers of several pools, by other threads, and by asyncio tasks. Callers go in
    the order in which they came. The limiter has no thread of its own, and a caller that waits holds no lock.

    Args:
        rate:   calls per second, a finite number of more than 0.
        burst:  calls that may go at once after a quiet time, a whole number of at least 1. A burst uses up the
                allowance, which grows again by `rate` per second.
        clock:  returns seconds (int, float, or Fraction) and never goes back.

    The guarantee is about slots. Every call is given a slot, which is a point in time, and any half-open interval of
    T seconds has at most burst + rate * T + 1e-9 slots. (The last term is there because a clock's readings are rounded:
    a call that comes early by 1e-9 of 1 / rate, at most 1 ns, is on time. That does not add up from call to call.)

    A call that does not have to wait goes in its slot. A call that waits goes in its slot or shortly after it, because
    the operating system wakes threads late, usually by 0.1 ms. Slots do not depend on when a thread really wakes up,
    so that lateness does not lower the rate. A slot of more than 0.05 s ago is moved to 0.05 s ago. So a program that
    was suspended does not make up for the lost time, and T seconds on `clock` never see more than
    burst + rate * (T + 0.05) turns.

    A server counts with its own clock, at the moment when a call arrives. If the slowest call takes J seconds longer
    to arrive than the fastest, the server may see burst + rate * (T + 0.05 + J) calls in T seconds. So choose `burst`
    smaller than the server's own burst, by one for each worker if you can: then calls that pile up on their way still
    fit. Choose `rate` a little below the server's limit, 95% for instance: then the server recovers from such a pile,
    and a clock that runs fast does no harm. If the server allows no burst at all, only a much lower rate is safe.

    Raises TypeError or ValueError for an argument that breaks its rule.
    """

    def __init__(self, rate: float, burst: int = 1, *, clock: Callable[[], float] = time.monotonic) -> None:
        rule = "rate must be a finite number of calls per second, more than 0"
        self.rate = checks.number(rule, _plain(rate), above=0.0)
        self.burst = checks.whole_number("burst", burst)
        checks.function("clock", clock)
        self._clock = clock
        self._schedule = Schedule(self.rate, self.burst, self._now())

    def acquire(self, cancelled: Event | None = None, timeout: float | None = None) -> None:
        """Wait until the caller may go.

        Args:
            cancelled:  ends the wait when it is set. None: if a handler calls, the `cancelled` of its worker, so that
                        a forced shutdown of the pool ends the wait; in any other thread nothing ends it.
            timeout:    seconds, 0 or more; None and infinity mean forever.

        Raises JobCancelled within 0.1 s after `cancelled` was set. Raises TimeoutError as soon as it is known that
        the turn does not come within `timeout`, usually at once. Neither of them uses up a turn: the callers behind
        this one move up. Raises TypeError or ValueError for bad arguments.
        """
        event = _cancelled_event(cancelled)
        deadline = self._deadline(timeout)
        _raise_if_set(event)
        if self.try_acquire():
            return
        wake_ups: SimpleQueue[None] = SimpleQueue()
        caller = WaitingCaller(lambda: wake_ups.put(None))
        try:
            while not self._may_go(caller, deadline):
                self._sleep(caller, wake_ups, event)
        except BaseException:
            self._schedule.leave(caller)
            raise

    def try_acquire(self) -> bool:
        """Return True if the caller may go now, and False, without waiting, if it may not. False uses up no turn.

        While others wait it returns False, because nobody overtakes them.
        """
        return self._schedule.take(self._now())

    async def acquire_async(self, timeout: float | None = None) -> None:
        """Wait in an asyncio task until it may go, without blocking the event loop.

        Tasks and threads wait in one queue. Raises TimeoutError as `acquire` does. A task that is cancelled leaves the
        queue, and the callers behind it move up. If its turn had just come, that turn is lost.
        """
        import asyncio  # costs 35 ms, and a caller of this method has imported it already

        loop, turn = asyncio.get_running_loop(), asyncio.Event()
        caller = WaitingCaller(lambda: loop.call_soon_threadsafe(turn.set))
        deadline = self._deadline(timeout)
        try:
            while not self._may_go(caller, deadline):
                turn.clear()
                timer = loop.call_later(self._left(caller, DAY), turn.set)
                try:
                    await turn.wait()
                finally:
                    timer.cancel()
        except BaseException:
            self._schedule.leave(caller)
            raise

    def penalize(self, seconds: float) -> None:
        """Let nobody go before `seconds` from now (a number or a timedelta), callers that already wait included.

        Call it with a server's `Retry-After`: a refusal that one worker got then pauses all of them. A pause is never
        shortened, so a smaller value changes nothing. After the pause callers go one by one, without a burst.

        Raises TypeError or ValueError unless `seconds` is a finite number, 0 or more.
        """
        pause = checks.number("seconds must be a finite number, 0 or more", _plain(seconds))
        self._schedule.pause(self._now() + ticks(pause))

    def __repr__(self) -> str:
        return f"RateLimiter(rate={self.rate:g}, burst={self.burst})"

    def _may_go(self, caller: WaitingCaller, deadline: int | None) -> bool:
        """Return whether it is the caller's turn. Raises TimeoutError if that is only after the deadline."""
        may_go = self._schedule.ask(caller, self._now(), deadline)
        if not may_go and too_late(caller, deadline):
            wait = self._left(caller, 1000 * DAY)
            raise TimeoutError(f"the turn at this RateLimiter comes in {wait:.3g} s, which is after the timeout")
        return may_go

    def _sleep(self, caller: WaitingCaller, wake_ups: SimpleQueue[None], cancelled: Event | None) -> None:
        """Sleep until the caller's slot or until it is woken. Raises JobCancelled when `cancelled` is set."""
        while (left := self._left(caller, LOOK)) > 0:
            try:
                return wake_ups.get(timeout=left)
            except Empty:
                _raise_if_set(cancelled)

    def _left(self, caller: WaitingCaller, most: int) -> float:
        """Return the seconds until the caller's slot, but not more than `most` ticks."""
        return max(0, min(caller.slot - self._now(), most)) / SECOND

    def _now(self) -> int:
        """Read the clock. Never under the lock of the schedule, because the clock may be the user's code."""
        reading: Any = self._clock()
        try:
            return ticks(reading)
        except (AttributeError, TypeError, ValueError, OverflowError):
            raise TypeError(f"clock must return a finite number of seconds, not {describe(reading)}") from None

    def _deadline(self, timeout: Any) -> int | None:
        """Return the last tick at which the turn may come, or None if there is none."""
        if timeout is None:
            return None
        seconds = _plain(timeout)
        if type(seconds) is float and seconds == math.inf:
            return None
        rule = "timeout must be None or a number of seconds, 0 or more"
        return self._now() + ticks(checks.number(rule, seconds))


def _plain(value: Any) -> Any:
    """Return a float for a real number of any type and for a timedelta; return any other value as it is.

    Real numbers are int, float, Fraction, Decimal, and those of numpy. A check then refuses what is left.
    """
    if isinstance(value, bool | int | float):
        return value
    with suppress(Exception):  # a signalling NaN, a number too large, or a type whose methods raise
        seconds = object_in_seconds(value, type(value))
        return value if seconds is None else seconds
    return value


def _cancelled_event(cancelled: Any) -> Event | None:
    """Return the event that ends the wait: `cancelled`, or that of the current worker, or None."""
    if cancelled is None:
        worker = worker_or_none()
        return None if worker is None else worker.cancelled
    if not callable(getattr(cancelled, "is_set", None)):
        raise TypeError(f"cancelled must be a threading.Event or None, not {describe(cancelled)}")
    event: Event = cancelled
    return event


def _raise_if_set(cancelled: Event | None) -> None:
    if cancelled is not None and cancelled.is_set():
        raise JobCancelled("cancelled while waiting for a turn at a RateLimiter")
