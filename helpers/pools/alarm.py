"""`Alarm`: one thread that calls a function at a certain time, for any number of future events.

With one `threading.Timer` per retry, ten thousand retries would need ten thousand threads. Instead, a pool keeps its
future events sorted by time. It sets its alarm to the time of the first event, and sets it again whenever it fires.

Always true: the alarm never fires early. It fires as soon as the system wakes its thread after the set time. A time
that is set while the alarm fires is not lost. While no time is set, the thread sleeps and does not poll.

What a mistake would break: if a time were lost, the delayed jobs would never be retried, and a shutdown would wait for
them forever.
"""

import math
from collections.abc import Callable
from threading import TIMEOUT_MAX, RLock, Thread

from .parker import Parker

RETRY_WAIT = 1.0  # seconds until an alarm fires again after its action has raised, or a crew asks for threads again


class Alarm:
    """A thread that calls action(), without holding the lock, when the time that was set with `at` has come.

    Args:
        lock:    the lock of the pool. A caller of `at` or `stop` may hold it or not.
        action:  the function to call. If it raises, for instance MemoryError, it is called again after a second.
        clock:   a function that returns the time in seconds, on the same clock as the times for `at`. It must not
                 raise.
        name:    the name of the thread.
    """

    def __init__(self, lock: RLock, action: Callable[[], object], clock: Callable[[], float], name: str) -> None:
        self._action = action
        self._clock = clock
        self._parker = Parker()
        # The lock guards `_when` and `_stopped`. The thread sleeps until `_when`, or until another thread sets an
        # earlier time and wakes it.
        self._lock = lock
        self._when = math.inf
        self._stopped = False
        self.thread = Thread(target=self._live, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread, unless the alarm has been stopped. Raises RuntimeError if the system has no thread left."""
        with self._lock:
            if not self._stopped:
                self.thread.start()

    def at(self, when: float) -> None:
        """Fire at the time `when`, in seconds on the alarm's clock.

        The call has no effect if the alarm is already set to an earlier time: set it again after it has fired.
        """
        with self._lock:
            if when < self._when:
                # Wake the thread before setting the time: the thread reads the time only after the lock is released. If
                # KeyboardInterrupt arrives in the main thread between the two lines, the alarm's thread wakes up for
                # nothing, which is harmless. The other way round, the thread would sleep on and miss the new time.
                self._parker.unpark()
                self._when = when

    @property
    def is_set(self) -> bool:
        """True if a time is set and the alarm has not fired yet."""
        return self._when < math.inf

    def stop(self) -> None:
        """Make the alarm never fire again, and end its thread. A running call of `action` still finishes."""
        with self._lock:
            self._stopped = True
            self._parker.unpark()

    def pool_forced(self) -> None:
        """Called once a forced shutdown has cancelled the pool's jobs. Nothing is left that this alarm could act on."""
        self.stop()

    def _live(self) -> None:
        """Run until the alarm is stopped. After an exception, fire again in a second.

        The action may have raised it, or another thread has injected it into this one, perhaps after `_run` had reset
        the time and before the action began. So the time must be set again.
        """
        while True:
            try:
                self._run()
                return
            except BaseException:
                self.at(self._clock() + RETRY_WAIT)

    def _run(self) -> None:
        while True:
            now = self._clock()
            with self._lock:
                if self._stopped:
                    return
                delay = self._when - now
                if delay <= 0:
                    # Reset the time before calling the action. A time that is set from now on, by another thread or by
                    # the action itself, is for the next call and must not be overwritten.
                    self._when = math.inf
            if delay > 0:
                self._parker.park(min(delay, TIMEOUT_MAX) if delay < math.inf else None)
            else:
                self._action()
