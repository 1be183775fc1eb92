"""One thread that rings when it is time, however many things there are to be reminded of.

A kitchen timer, not a timer for every pot: a `threading.Timer` a retry would be ten thousand threads for ten thousand
retries. Whoever uses it keeps what is due in order, asks for the earliest with `at`, and asks again when it rings.

What holds: it rings never before, and as soon after as the system wakes a thread; a ring that was asked for is never
lost, also not one that was asked for while it rang. It sleeps without a tick while nothing is asked for.
"""

import math
from collections.abc import Callable
from threading import TIMEOUT_MAX, Condition, RLock, Thread


class Alarm:
    """Calls ring(), with the lock held, once the time that was asked for has come.

    Args:
        lock:   the lock of whoever uses it; `at` and `stop` may be called with and without it.
        ring:   must not raise.
        clock:  seconds; the time for `at`.
        name:   of the thread.

    Raises RuntimeError if the machine cannot start the thread.
    """

    def __init__(self, lock: RLock, ring: Callable[[], None], clock: Callable[[], float], name: str) -> None:
        self._ring = ring
        self._clock = clock
        self._lock = lock
        # The lock guards both: the thread sleeps until _when, or until somebody moves it and says so.
        self._moved = Condition(lock)
        self._when = math.inf
        self._stopped = False
        self.thread = Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def at(self, when: float) -> None:
        """Ring at `when`, or earlier if that has been asked for. A later wish is dropped: ask again at the ring."""
        with self._lock:  # not `with self._moved`: a Stop in Condition.__enter__ would leave the lock taken for ever
            if when < self._when:
                self._moved.notify_all()  # first: were Stop to come in between, nobody would ever be told
                self._when = when

    @property
    def is_set(self) -> bool:
        """True if it is going to ring."""
        return self._when < math.inf

    def stop(self) -> None:
        """Ring no more, and end the thread."""
        with self._lock:
            self._stopped = True
            self._moved.notify_all()

    def _run(self) -> None:
        with self._moved:
            while not self._stopped:
                delay = self._when - self._clock()
                if delay > 0:
                    self._moved.wait(min(delay, TIMEOUT_MAX) if self.is_set else None)
                else:
                    self._when = math.inf  # before it rings: what is asked for from now on is for the next time
                    self._ring()
