"""A channel: a bounded first-in, first-out queue that can be closed.

`queue.Queue` has no end: its consumer cannot know that nothing more will come, so programs send a sentinel for
every consumer and get the count wrong. A channel knows its end. Closing it tells every producer at once, and
every consumer as soon as the last item is out:

    channel = Channel(capacity=10)
    ...                                  # producers: channel.send(item); the last one calls channel.close()
    for item in channel: ...             # consumers, as many as you like: the loop ends by itself

Guarantees: every item sent is received exactly once, in the order it was sent; a `send` that raised has sent
nothing; close() releases whoever is blocked. The pools do not stand on it: they need to count, name and take back what
waits, under one lock with everything else they know. Pipelines do.
"""

import time
from collections import deque
from collections.abc import Iterator
from threading import Condition, Lock
from typing import Generic, TypeVar

from .checks import deadline_after, whole_number

Item = TypeVar("Item")

# The longest single wait, seconds. Windows cannot interrupt a lock: so the Stop button works there as well.
SLICE = 0.5


class ChannelClosed(RuntimeError):
    """Raised by a send after close(), and by a receive once the channel is closed and empty."""


class Channel(Generic[Item]):
    """A queue of at most `capacity` items between threads (None: as many as memory holds).

    Raises TypeError or ValueError if `capacity` is neither None nor a whole number of at least 1.
    """

    def __init__(self, capacity: int | None) -> None:
        self.capacity = None if capacity is None else whole_number("capacity", capacity)
        # The lock guards: at most `capacity` items, and none is added once closed.
        self._lock = Lock()
        self._not_full = Condition(self._lock)
        self._not_empty = Condition(self._lock)
        self._items: deque[Item] = deque()
        self._closed = False

    def send(self, item: Item, timeout: float | None = None) -> None:
        """Append `item`; while the channel is full, wait, at most `timeout` seconds (None: as long as it takes).

        Raises ChannelClosed if the channel is closed before there is room, TimeoutError if there is none in
        time. In both cases the item has not been sent.
        """
        deadline = deadline_after("timeout", timeout)
        with self._lock:
            while not self._closed and self.capacity is not None and len(self._items) >= self.capacity:
                _wait(self._not_full, deadline, f"no room for {item!r} within {timeout} s")
            if self._closed:
                raise ChannelClosed(f"the channel is closed and takes no more items: {item!r} was not sent")
            self._items.append(item)
            self._not_empty.notify()

    def receive(self, timeout: float | None = None) -> Item:
        """The oldest item; while there is none, wait, at most `timeout` seconds (None: as long as it takes).

        Raises ChannelClosed if the channel is closed and empty, TimeoutError if nothing came in time.
        """
        deadline = deadline_after("timeout", timeout)
        with self._lock:
            while not self._items:
                if self._closed:
                    raise ChannelClosed("the channel is closed and empty: nothing more will come")
                _wait(self._not_empty, deadline, f"nothing came within {timeout} s")
            item = self._items.popleft()
            self._not_full.notify()
            return item

    def close(self) -> None:
        """Take no more items; what is in the channel can still be received. May be called twice, by anyone."""
        with self._lock:
            self._closed = True
            self._not_full.notify_all()  # blocked senders get ChannelClosed now,
            self._not_empty.notify_all()  # blocked receivers too: there is nothing for them, or they would not wait

    @property
    def closed(self) -> bool:
        return self._closed

    def __len__(self) -> int:
        """How many items wait at this instant."""
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        """Items as they come, until the channel is closed and empty. Several threads may iterate at once."""
        while True:
            try:
                item = self.receive()
            except ChannelClosed:
                return
            yield item


def _wait(condition: Condition, deadline: float | None, complaint: str) -> None:
    """Wait for a notify or a slice of time, whichever comes first. Raises TimeoutError once `deadline` is past."""
    remaining = SLICE if deadline is None else deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError(complaint)
    condition.wait(min(remaining, SLICE))
