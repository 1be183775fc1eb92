"""`RateLimiter`: limits the number of calls per second of all workers together, in one or several pools.

A pool limits the number of calls that run at the same time. A server usually limits the number of calls that arrive per
second. The two limits are different: 10 workers with calls of 50 ms make 200 calls per second. A handler that begins
with `limiter.acquire()` respects the limit of the server with any number of workers:

    limiter = RateLimiter(95, burst=5)          # the server allows 100 calls per second

    def fetch(user_id):
        limiter.acquire()                       # waits until this call may go
        return httpx.get(f"{url}/users/{user_id}")

The module `gcra` decides when each call may go. This module checks the arguments, reads the clock, and waits.

Always true: a caller that waits holds no lock, and a caller that stops waiting, for whatever reason, leaves the queue.
If it stayed in the queue, it would use up a turn that nobody takes.
"""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event
from typing import Any

from . import checks
from .errors import JobCancelled
from .gcra import SECOND, Schedule, WaitingCaller, ticks, too_late
from .parker import Parker
from .retry_after import object_in_seconds
from .words import describe
from .worker import worker_or_none

POLL_INTERVAL = SECOND // 20  # in ticks; a waiting thread checks `cancelled` and the clock every 0.05 s
DAY = 86_400 * SECOND  # in ticks; no timer is set for longer, because floats and timers have limits


class RateLimiter:
    """A limit of `rate` calls per second on average, with bursts of at most `burst` calls. Thread-safe.

    The workers of several pools, other threads, and asyncio tasks can share one limiter. Callers get their turns in the
    order in which they called. The limiter has no thread of its own.

    Args:
        rate:   calls per second, a finite number of more than 0.
        burst:  the number of calls that may go at once after a quiet time, a whole number of at least 1. A burst uses
                up the allowance, which grows again by `rate` per second.
        clock:  a function that returns seconds (int, float, or Fraction) and never goes backward.

    The guarantee is about slots. Every call gets a slot, which is a point in time. Any half-open interval of T seconds
    has at most burst + rate * T + 1e-9 slots. The term 1e-9 allows for clock readings that are rounded: a call that is
    early by 1e-9 of 1 / rate, but at most by 1 ns, counts as on time. These errors do not add up from call to call.

    A call that does not have to wait goes in its slot. A call that waits goes in its slot or shortly after it, because
    the operating system wakes threads late, usually by 0.1 ms. A slot does not depend on when the thread really wakes
    up, so lateness does not lower the rate. A slot that is more than 0.05 s in the past is moved to 0.05 s in the past,
    so a program that was suspended does not make up for the lost time. In T seconds on `clock`, callers therefore get
    at most burst + rate * (T + 0.05) turns.

    A server counts calls on its own clock, when they arrive. If the slowest call takes J seconds longer to arrive than
    the fastest, the server may see burst + rate * (T + 0.05 + J) calls in T seconds. Therefore choose `burst` smaller
    than the burst that the server allows, by one for each worker if you can. Then calls that arrive together still fit
    into the server's burst. Choose `rate` a little below the limit of the server, for instance 95% of it. Then the
    server recovers after such calls, and a clock that runs fast does no harm. If the server allows no burst at all,
    only a much lower rate is safe.

    Raises TypeError or ValueError for an argument that breaks its rule.
    """

    def __init__(self, rate: float, burst: int = 1, *, clock: Callable[[], float] = time.monotonic) -> None:
        rule = "rate must be a finite number of calls per second, more than 0"
        self.rate = checks.number(rule, _as_float(rate), above=0.0)
        self.burst = checks.whole_number("burst", burst)
        checks.function("clock", clock)
        self._clock = clock
        self._schedule = Schedule(self.rate, self.burst, self._now())

    def acquire(self, cancelled: Event | None = None, timeout: float | None = None) -> None:
        """Wait until the caller may go.

        Args:
            cancelled:  an event that ends the wait when it is set. None: in a handler, the `cancelled` event of its
                        worker, so that a forced shutdown of the pool ends the wait; in any other thread, no event.
            timeout:    the longest wait in seconds, 0 or more; None and infinity mean no limit.

        Raises JobCancelled within 0.1 s after `cancelled` is set. Raises TimeoutError as soon as it is certain that the
        turn comes after `timeout`, which is usually at once. A call that raises uses up no turn, and the callers behind
        it get their turns earlier. (If the turn comes at the very moment at which the wait ends, it may be lost.)
        Raises TypeError or ValueError for bad arguments.
        """
        event = _cancelled_event(cancelled)
        deadline = self._deadline(timeout)
        _raise_if_set(event)
        if self.try_acquire():
            return
        parker = Parker()
        caller = WaitingCaller(parker.unpark)
        try:
            while not self._may_go(caller, deadline):
                self._sleep(caller, parker, event)
        except BaseException:
            self._schedule.leave(caller)
            raise

    def try_acquire(self) -> bool:
        """Return True if the caller may go now. Otherwise return False, without waiting and without using up a turn.

        While other callers wait, the answer is False, because no caller overtakes them.
        """
        return self._schedule.take(self._now())

    async def acquire_async(self, timeout: float | None = None) -> None:
        """Wait in an asyncio task until the task may go, without blocking the event loop.

        Tasks and threads wait in one queue. Raises TimeoutError as `acquire` does, and TypeError or ValueError for a
        bad `timeout`. A task that is cancelled leaves the queue, and the callers behind it get their turns earlier. If
        it had just got its turn, that turn is lost.
        """
        import asyncio  # the import takes 35 ms, and a caller of this method has already imported the module

        loop, turn = asyncio.get_running_loop(), asyncio.Event()
        caller = WaitingCaller(lambda: loop.call_soon_threadsafe(turn.set))
        deadline = self._deadline(timeout)
        try:
            while not self._may_go(caller, deadline):
                turn.clear()
                timer = loop.call_later(self._seconds_until_slot(caller, DAY), turn.set)
                try:
                    await turn.wait()
                finally:
                    timer.cancel()
        except BaseException:
            self._schedule.leave(caller)
            raise

    def penalize(self, seconds: float) -> None:
        """Let no call go for `seconds` from now (a number or a timedelta). Callers that already wait are paused too.

        Call this with a server's `Retry-After`, so that a refusal that one worker gets pauses all workers. A pause is
        never shortened, so a call that would end the pause earlier has no effect. After the pause, calls go at the
        rate, without a burst.

        Raises TypeError or ValueError if `seconds` is not a finite number of at least 0.
        """
        pause = checks.number("seconds must be a finite number, 0 or more", _as_float(seconds))
        self._schedule.pause(self._now() + ticks(pause))

    def __repr__(self) -> str:
        return f"RateLimiter(rate={self.rate:g}, burst={self.burst})"

    def _may_go(self, caller: WaitingCaller, deadline: int | None) -> bool:
        """Return True if the caller has its turn. Raises TimeoutError if the turn comes after the deadline."""
        may_go = self._schedule.ask(caller, self._now(), deadline)
        if not may_go and too_late(caller, deadline):
            wait = self._seconds_until_slot(caller, 1000 * DAY)
            raise TimeoutError(f"the turn at this RateLimiter comes in {wait:.3g} s, which is after the timeout")
        return may_go

    def _sleep(self, caller: WaitingCaller, parker: Parker, cancelled: Event | None) -> None:
        """Sleep until the caller's slot or until the caller is woken. Raises JobCancelled when `cancelled` is set."""
        while (left := self._seconds_until_slot(caller, POLL_INTERVAL)) > 0:
            if parker.park(left):
                return
            _raise_if_set(cancelled)

    def _seconds_until_slot(self, caller: WaitingCaller, most: int) -> float:
        """Return the time until the caller's slot, or `most` (in ticks) if that is shorter, in seconds."""
        return max(0, min(caller.slot - self._now(), most)) / SECOND

    def _now(self) -> int:
        """Return the reading of the clock in ticks. Never called under the lock, because the clock may be user code."""
        reading: Any = self._clock()
        try:
            return ticks(reading)
        except (AttributeError, TypeError, ValueError, OverflowError):
            raise TypeError(f"clock must return a finite number of seconds, not {describe(reading)}") from None

    def _deadline(self, timeout: Any) -> int | None:
        """Return the last tick at which the turn may come, or None if there is no deadline."""
        if timeout is None:
            return None
        seconds = _as_float(timeout)
        if type(seconds) is float and seconds == math.inf:
            return None
        rule = "timeout must be None or a number of seconds, 0 or more"
        return self._now() + ticks(checks.number(rule, seconds))


def _as_float(value: Any) -> Any:
    """Return a real number of any type, or a timedelta in seconds, as a float. Return any other value unchanged.

    Real numbers are bool, int, and float, which are returned unchanged, and Fraction, Decimal, and numpy numbers. The
    caller passes the result to a check, which refuses every other value.
    """
    if isinstance(value, bool | int | float):
        return value
    with suppress(Exception):  # a signaling NaN, a number that is too large, or a type whose methods raise
        seconds = object_in_seconds(value, type(value))
        return value if seconds is None else seconds
    return value


def _cancelled_event(cancelled: Any) -> Event | None:
    """Return the event that ends the wait: `cancelled`, or the event of the current worker, or None."""
    if cancelled is None:
        worker = worker_or_none()
        return None if worker is None else worker.cancelled
    if not callable(getattr(cancelled, "is_set", None)):
        raise TypeError(f"cancelled must be a threading.Event or None, not {describe(cancelled)}")
    event: Event = cancelled
    return event


def _raise_if_set(cancelled: Event | None) -> None:
    if cancelled is not None and cancelled.is_set():
        raise JobCancelled("the job was cancelled while it waited for its turn at a RateLimiter")
