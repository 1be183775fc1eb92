"""How every thread of a pool waits: it sleeps on a `Parker` of its own and holds no lock meanwhile.

`park` and `unpark` are one call each of a `SimpleQueue`, which is written in C. So a wake-up is never lost: if
`unpark` comes before `park`, the thread does not sleep at all. And KeyboardInterrupt, which Python raises between two
bytecodes, can break off the wait but cannot damage the parker, as it can damage a `threading.Condition`.

A thread may also wake up without a reason, because of an `unpark` that it no longer waited for. So every caller of
`park` calls it in a loop and checks its condition again.
"""

from contextlib import suppress
from queue import Empty, SimpleQueue

# The longest single wait in a thread that a user may want to interrupt, seconds. Windows cannot interrupt a lock.
SLICE = 0.5


class Parker:
    """A place where one thread sleeps until another thread wakes it.

    Attributes:
        listed:  True while the parker is in a list of parkers to wake; guarded by the lock that guards the list.
    """

    __slots__ = ("_tokens", "listed")

    def __init__(self) -> None:
        self._tokens: SimpleQueue[None] = SimpleQueue()
        self.listed = False

    def park(self, timeout: float | None = None) -> None:
        """Sleep until another thread calls `unpark`, at most `timeout` seconds; None means no limit."""
        with suppress(Empty):
            self._tokens.get(True, timeout)

    def unpark(self) -> None:
        """Wake the thread that sleeps here. If none does, the next call of `park` returns at once."""
        self._tokens.put(None)
