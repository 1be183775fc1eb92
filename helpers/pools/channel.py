"""A bounded first-in, first-out queue between threads that can be closed.

A `queue.Queue` cannot be closed before Python 3.13, so a consumer cannot know whether more items will come. Programs
then send one sentinel per consumer, which fails as soon as the two numbers differ. Closing a `Channel` tells every
producer at once, and every consumer as soon as the last item has been received:

    channel = Channel(capacity=10)
    channel.send(item)          # any number of producers; the last one calls channel.close()
    for item in channel: ...    # any number of consumers; the loop ends when the channel is closed and empty

Guarantees: every item that was sent is received exactly once. Items are received in the order in which they were
sent. A `send` that raises ChannelClosed or TimeoutError has sent nothing. `close` releases every blocked thread.

The pools do not use channels, because a pool must count, list, and cancel its queued jobs under the same lock as the
rest of its state. Channels are for the pipelines that connect pools.
"""

import time
from collections import deque
from collections.abc import Iterator
from threading import Condition, Lock
from typing import Generic, TypeVar

from .checks import deadline_after, whole_number
from .words import describe

Item = TypeVar("Item")

# The longest single wait, in seconds. Windows cannot interrupt a thread that waits for a lock, so a blocked thread
# wakes up this often to let a KeyboardInterrupt through. It then also finds an item or a free place whose notification
# went to a thread that a KeyboardInterrupt ended.
SLICE = 0.5


class ChannelClosed(RuntimeError):
    """Raised by `send` once the channel is closed, and by `receive` once it is closed and empty."""


class Channel(Generic[Item]):
    """A queue of at most `capacity` items between threads; None means no limit.

    Raises TypeError or ValueError if `capacity` is neither None nor a whole number of at least 1.
    """

    def __init__(self, capacity: int | None) -> None:
        self.capacity = None if capacity is None else whole_number("capacity", capacity)
        # The lock guards two rules: there are at most `capacity` items, and none is added to a closed channel.
        self._lock = Lock()
        self._not_full = Condition(self._lock)
        self._not_empty = Condition(self._lock)
        self._items: deque[Item] = deque()
        self._closed = False

    def send(self, item: Item, timeout: float | None = None) -> None:
        """Append `item`. While the channel is full, wait for at most `timeout` seconds; None means no limit.

        Raises ChannelClosed if the channel is closed, also while this call waits, and TimeoutError if there is no
        room in time. In both cases the item has not been sent. Raises TypeError or ValueError if `timeout` is neither
        None nor a number of at least 0.
        """
        deadline = deadline_after("timeout", timeout)
        with self._lock:
            while self._is_full() and not self._closed and _wait(self._not_full, deadline):
                pass
            closed = self._closed
            if not closed and not self._is_full():
                self._items.append(item)
                self._not_empty.notify()
                return
        # The messages call `repr(item)`. That is the user's code, so it must not run under the lock.
        if closed:
            raise ChannelClosed(f"the channel is closed and takes no more items: {describe(item)} was not sent")
        raise TimeoutError(f"no room for {describe(item)} within {describe(timeout)} s")

    def receive(self, timeout: float | None = None) -> Item:
        """Remove and return the oldest item. While there is none, wait for at most `timeout` seconds; None: no limit.

        Raises ChannelClosed if the channel is closed and empty, and TimeoutError if no item comes in time. Raises
        TypeError or ValueError if `timeout` is neither None nor a number of at least 0.
        """
        deadline = deadline_after("timeout", timeout)
        with self._lock:
            while not self._items and not self._closed and _wait(self._not_empty, deadline):
                pass
            closed = self._closed
            if self._items:
                self._not_full.notify()
                return self._items.popleft()
        if closed:
            raise ChannelClosed("the channel is closed and empty: nothing more will come")
        raise TimeoutError(f"nothing came within {describe(timeout)} s")

    def close(self) -> None:
        """Refuse all later items. Items that were already sent can still be received.

        Any thread may close the channel, and closing it again has no effect.
        """
        with self._lock:
            self._closed = True
            # Blocked senders raise ChannelClosed. So do blocked receivers, since they wait only while there is no item.
            self._not_full.notify_all()
            self._not_empty.notify_all()

    @property
    def closed(self) -> bool:
        """Whether `close` has been called. Items may still be waiting to be received."""
        return self._closed

    def __len__(self) -> int:
        """Return the number of items that wait at this instant."""
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        """Yield items as they come, until the channel is closed and empty. Several threads may iterate at once."""
        while True:
            try:
                item = self.receive()
            except ChannelClosed:
                return
            yield item

    def _is_full(self) -> bool:
        return self.capacity is not None and len(self._items) >= self.capacity


def _wait(condition: Condition, deadline: float | None) -> bool:
    """Wait for a notification or for one slice of time. Return False, without waiting, if `deadline` has passed."""
    remaining = SLICE if deadline is None else deadline - time.monotonic()
    if remaining <= 0:
        return False
    condition.wait(min(remaining, SLICE))
    return True
