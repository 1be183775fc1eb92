"""`Counter`: how many calls of a handler ran at the same time."""

import threading

MOST_WAIT = 1.0  # seconds that the first calls wait for `limit` calls at the same time
ONE_MORE = 0.3  # seconds in which a wrong answer starts one call more than it should


class Counter:
    """Counts the `with counter:` blocks that run now. A handler of a check contains one such block.

    The first `limit` blocks begin when `limit` of them are there, and one more has come or `ONE_MORE` seconds have
    passed. So even if the machine is slow to start threads, the maximum does not depend on luck.

    Attributes:
        most:  the maximum number of blocks at the same time.
    """

    def __init__(self, limit: int) -> None:
        # The lock guards the rule that `most` is the maximum of `_inside` so far.
        self._lock = threading.Lock()
        self._limit, self._full, self._one_more = limit, threading.Event(), threading.Event()
        self._inside = self._entered = self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self._entered += 1
            self._inside += 1
            self.most = max(self.most, self._inside)
            first = self._entered <= self._limit
            if self._inside >= self._limit:
                self._full.set()
            if self._inside > self._limit:
                self._one_more.set()
        if first:
            self._full.wait(MOST_WAIT)
            self._full.set()  # A wrong answer with fewer workers waits only once.
            self._one_more.wait(ONE_MORE)

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
