"""How a thread waits for a change: it sleeps on a `Parker` of its own and holds no other lock meanwhile.

A parker contains a lock that is held while there is no wake-up. `park` acquires it, which blocks until `unpark` in
another thread releases it. Each is one call in C. So a wake-up is never lost: if `unpark` comes before
`park`, the thread does not sleep at all. And KeyboardInterrupt, which Python raises between two bytecodes, can break
off the wait but cannot damage the parker, as it can damage a `threading.Condition`.

Why a lock and not a `queue.SimpleQueue`: CPython's `SimpleQueue.get(timeout=...)` can sleep forever. It computes the
time that is left after it has taken an inner lock. If the operating system has suspended the thread for longer than
`timeout` at that point, the time left is negative, and the C code takes a negative time for "no limit". A lock that is
acquired with a timeout checks this case. (Seen on CPython 3.11; tests/test_parker.py has the case.) A reader of
results and `uninterrupted` do wait with `SimpleQueue.get`. For them this is harmless: each of these waits ends with a
`put`.

A thread may also wake up without a reason, because of an `unpark` that it no longer waited for. So every caller of
`park` calls it in a loop and checks its condition again.
"""

from _thread import allocate_lock

# The longest single wait in a thread that a user may want to interrupt, seconds. On Windows Ctrl-C cannot end it.
SLICE = 0.5


class Parker:
    """A place where one thread sleeps until another thread wakes it.

    Attributes:
        listed:    True while the parker is in a list of parkers to wake; guarded by the lock that guards the list.
        notified:  True once the parker was taken off that list to be woken; guarded by the same lock.
    """

    __slots__ = ("_no_wake_up", "listed", "notified")

    def __init__(self) -> None:
        self._no_wake_up = allocate_lock()
        self._no_wake_up.acquire()
        self.listed = self.notified = False

    def park(self, timeout: float | None = None) -> bool:
        """Sleep until another thread calls `unpark`, at most `timeout` seconds, 0 or more; None means no limit.

        Returns False if the time is over and nobody has called `unpark`.
        """
        return self._no_wake_up.acquire(True, -1 if timeout is None else timeout)

    def unpark(self) -> None:
        """Wake the thread that sleeps here. If none does, the next call of `park` returns at once."""
        try:  # noqa: SIM105 - `suppress` would be three calls, and an interrupt may come after each
            self._no_wake_up.release()
        except RuntimeError:  # the lock is free: an earlier wake-up has not been used yet, and one is enough
            pass
