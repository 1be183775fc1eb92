"""One thread that calls a function when it is time, however many things there are to be reminded of.

A `threading.Timer` per retry would be ten thousand threads for ten thousand retries. A pool that uses an alarm keeps
what is due in order, asks with `at` for the earliest time, and asks again when the alarm rings.

Always true: the alarm never rings early, and rings as soon after the time as the system wakes a thread. A ring that was
asked for is never lost, even if it was asked for while the alarm was ringing. The thread sleeps without a tick while
nothing is asked for.
"""

import math
from collections.abc import Callable
from threading import TIMEOUT_MAX, RLock, Thread

from .parker import Parker

AGAIN = 1.0  # seconds until the alarm rings again after `ring` has raised


class Alarm:
    """Calls ring(), without the lock, once the time that was asked for has come.

    Args:
        lock:   of the pool; `at` and `stop` may be called with and without it.
        ring:   what to call. If it raises, no memory left say, it is called again after a second.
        clock:  in seconds; the clock of the time given to `at`. Must not raise.
        name:   of the thread.
    """

    def __init__(self, lock: RLock, ring: Callable[[], object], clock: Callable[[], float], name: str) -> None:
        self._ring = ring
        self._clock = clock
        self._parker = Parker()
        # The lock guards both: the thread sleeps until _when, or until somebody makes it earlier and wakes it.
        self._lock = lock
        self._when = math.inf
        self._stopped = False
        self.thread = Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread, unless the alarm has been stopped. Raises RuntimeError if there is no thread left."""
        with self._lock:
            if not self._stopped:
                self.thread.start()

    def at(self, when: float) -> None:
        """Ring at `when`, or earlier if that has been asked for. A later wish is dropped: ask again at the ring."""
        with self._lock:
            if when < self._when:
                # Wake the thread first; it looks once the lock is free. If KeyboardInterrupt arrives between the two
                # lines, the thread has woken for nothing. The other way round it would never learn of the time.
                self._parker.unpark()
                self._when = when

    @property
    def is_set(self) -> bool:
        """True if the alarm is going to ring."""
        return self._when < math.inf

    def stop(self) -> None:
        """Do not ring any more, and end the thread."""
        with self._lock:
            self._stopped = True
            self._parker.unpark()

    def _run(self) -> None:
        while True:
            now = self._clock()
            with self._lock:
                if self._stopped:
                    return
                delay = self._when - now
                if delay <= 0:
                    self._when = math.inf  # before the ring: what is asked for from now on is for the next one
            if delay > 0:
                self._parker.park(min(delay, TIMEOUT_MAX) if delay < math.inf else None)
            else:
                self._call_ring()

    def _call_ring(self) -> None:
        try:
            self._ring()
        except Exception:
            self.at(self._clock() + AGAIN)
