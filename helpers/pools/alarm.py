"""One thread that calls a function at a certain time, whatever the number of events it is needed for.

With a `threading.Timer` per retry, ten thousand retries would need ten thousand threads. Instead, a pool keeps its
future events in order, asks its alarm with `at` for the earliest time, and asks again whenever the alarm fires.

Always true: the alarm never fires early. It fires as soon as the system wakes its thread after the time. A time that
was asked for while the alarm was firing is not lost. While no time is set, the thread sleeps and does not poll.
"""

import math
from collections.abc import Callable
from threading import TIMEOUT_MAX, RLock, Thread

from .parker import Parker

AGAIN = 1.0  # seconds until the alarm fires again after `action` has raised


class Alarm:
    """Calls action(), without the lock, when the time that was asked for has come.

    Args:
        lock:    the lock of the pool; `at` and `stop` may be called with it and without it.
        action:  the function to call. If it raises, for instance MemoryError, it is called again after a second.
        clock:   returns the time for `at`, in seconds. It must not raise.
        name:    the name of the thread.
    """

    def __init__(self, lock: RLock, action: Callable[[], object], clock: Callable[[], float], name: str) -> None:
        self._action = action
        self._clock = clock
        self._parker = Parker()
        # The lock guards both attributes. The thread sleeps until `_when`, or until another thread makes it earlier and
        # wakes it.
        self._lock = lock
        self._when = math.inf
        self._stopped = False
        self.thread = Thread(target=self._live, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread, unless the alarm has been stopped. Raises RuntimeError if no thread is left."""
        with self._lock:
            if not self._stopped:
                self.thread.start()

    def at(self, when: float) -> None:
        """Fire at `when`. Has no effect if the alarm fires earlier anyway: ask again when it has fired."""
        with self._lock:
            if when < self._when:
                # Wake the thread first; it looks once the lock is free. If KeyboardInterrupt arrives between the two
                # lines, the thread has woken for nothing. The other way round it would never learn of the time.
                self._parker.unpark()
                self._when = when

    @property
    def is_set(self) -> bool:
        """True if a time is set."""
        return self._when < math.inf

    def stop(self) -> None:
        """Do not fire any more, and end the thread."""
        with self._lock:
            self._stopped = True
            self._parker.unpark()

    def _live(self) -> None:
        """Run until the alarm is stopped, also after an exception that another thread injected into this one."""
        while True:
            try:
                self._run()
                return
            except BaseException:
                self._parker.unpark()  # the exception may have come just before the action: look again

    def _run(self) -> None:
        while True:
            now = self._clock()
            with self._lock:
                if self._stopped:
                    return
                delay = self._when - now
                if delay <= 0:
                    # Before the call: a time that is set from now on, also by the action itself, is for the next call.
                    self._when = math.inf
            if delay > 0:
                self._parker.park(min(delay, TIMEOUT_MAX) if delay < math.inf else None)
            else:
                self._call_action()

    def _call_action(self) -> None:
        try:
            self._action()
        except Exception:
            self.at(self._clock() + AGAIN)
