"""`Channel`: a bounded first-in, first-out queue between threads that can be closed.

Before Python 3.13, a `queue.Queue` cannot be closed, so a consumer cannot know whether more items will come. Programs
then send one sentinel per consumer, which fails as soon as the two numbers differ. A `Channel` can be closed. Producers
then get an error from their next `send`, and consumers stop after they have received the last item:

    channel = Channel(capacity=10)
    channel.send(item)          # any number of producers; after the last item, one of them calls channel.close()
    for item in channel: ...    # any number of consumers; the loop ends when the channel is closed and empty

Always true: there are at most `capacity` items in the channel. No item is received twice, and no item that was sent is
dropped, unless KeyboardInterrupt ends a `receive` that has just taken it. Items are received in the order in which they
were sent. A `send` that raises ChannelClosed or TimeoutError has sent nothing. `close` wakes every blocked thread. A
mistake in these rules would lose items or leave a thread blocked forever.

The pools do not use channels, because a pool counts, lists, and cancels its queued jobs under the same lock that guards
the rest of its state. Use channels to connect several pools into a pipeline.
"""

import time
from collections import deque
from collections.abc import Iterator
from threading import Condition, Lock
from typing import Generic, TypeVar

from .checks import deadline_after, whole_number
from .words import describe

Item = TypeVar("Item")

# The longest single wait, in seconds. On Windows, KeyboardInterrupt cannot interrupt a wait for a lock, so a blocked
# thread wakes up this often to let the exception through. Waking up also repairs a lost notification: if the main
# thread is notified of an item and KeyboardInterrupt ends its `receive` before it takes the item, another blocked
# receiver finds the item after at most this time. The same holds for senders and free places.
SLICE = 0.5


class ChannelClosed(RuntimeError):
    """Raised by `send` once the channel is closed, and by `receive` once it is closed and empty."""


class Channel(Generic[Item]):
    """A queue between threads that holds at most `capacity` items; None means no limit.

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

        Raises ChannelClosed if the channel is closed or is closed while this call waits. Raises TimeoutError if the
        channel is still full after `timeout` seconds. In both cases the item has not been sent. Raises TypeError or
        ValueError if `timeout` is neither None nor a number of at least 0.
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
        # The messages call `repr(item)`, which is user code and therefore must not run under the lock.
        if closed:
            raise ChannelClosed(f"the channel is closed and takes no more items: {describe(item)} was not sent")
        raise TimeoutError(f"no room for {describe(item)} within {describe(timeout)} s")

    def receive(self, timeout: float | None = None) -> Item:
        """Remove and return the oldest item. While the channel is empty, wait for at most `timeout` seconds.

        A `timeout` of None means no limit. Raises ChannelClosed if the channel is closed and empty, and TimeoutError if
        no item arrives within `timeout` seconds. Raises TypeError or ValueError if `timeout` is neither None nor a
        number of at least 0.
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
            raise ChannelClosed("the channel is closed and empty: no more items will arrive")
        raise TimeoutError(f"no item arrived within {describe(timeout)} s")

    def close(self) -> None:
        """Refuse all later items. Items that were already sent can still be received.

        Any thread may close the channel. Closing it a second time has no effect.
        """
        with self._lock:
            self._closed = True
            # Every blocked sender now raises ChannelClosed. So does every blocked receiver, because a receiver waits
            # only while the channel is empty.
            self._not_full.notify_all()
            self._not_empty.notify_all()

    @property
    def closed(self) -> bool:
        """True once `close` has been called. The channel may still contain items."""
        return self._closed

    def __len__(self) -> int:
        """Return the number of items that are in the channel at this instant."""
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        """Yield items as they arrive, until the channel is closed and empty. Several threads may iterate at once."""
        while True:
            try:
                item = self.receive()
            except ChannelClosed:
                return
            yield item

    def _is_full(self) -> bool:
        return self.capacity is not None and len(self._items) >= self.capacity


def _wait(condition: Condition, deadline: float | None) -> bool:
    """Wait for a notification, at most SLICE seconds. Return False, without waiting, if `deadline` has passed."""
    remaining = SLICE if deadline is None else deadline - time.monotonic()
    if remaining <= 0:
        return False
    condition.wait(min(remaining, SLICE))
    return True
