"""When jobs arrive: at random moments with a given mean rate, or in bursts. It only computes; it uses no clock."""

import random
from threading import Lock

from helpers.pools import checks

LATE = 1.0  # seconds of arrivals that are made up for, after the machine was suspended


class Arrivals:
    """The arrivals of jobs. Any thread may call its methods.

    Args:
        rate:   the mean number of jobs per second; 0 means none.
        burst:  how many jobs arrive together. With 1, the gaps between jobs are random (a Poisson process). With more,
                the bursts come at regular intervals of burst / rate seconds.
        seed:   makes the random gaps the same in each run; None means different ones.

    Raises TypeError or ValueError for an argument that breaks its rule.
    """

    def __init__(self, rate: float, burst: int = 1, seed: int | None = None) -> None:
        self.burst = checks.whole_number("burst", burst)
        self._random = random.Random(seed)
        self._lock = Lock()
        self._next: float | None = None  # when the next jobs arrive; None: to be determined by the next call of `due`
        self.set_rate(rate)

    def set_rate(self, rate: float) -> None:
        """Change the rate. The next gap begins at the next call of `due`."""
        rate = checks.number("rate must be a number of jobs per second, 0 or more", rate)
        with self._lock:
            self.rate, self._next = rate, None

    def restart(self) -> None:
        """Forget when the next jobs arrive. The next gap begins at the next call of `due`."""
        with self._lock:
            self._next = None

    def due(self, now: float) -> int:
        """Return how many jobs have arrived since the last call. `now` is in seconds on any clock."""
        with self._lock:
            if self.rate == 0:
                return 0
            if self._next is None:
                self._next = now if self.burst > 1 else now + self._gap()
            self._next = max(self._next, now - LATE)
            count = 0
            while self._next <= now:
                count += self.burst
                self._next += self._gap()
            return count

    def wait(self, now: float, most: float) -> float:
        """Return the seconds until the next jobs arrive, but at most `most`."""
        with self._lock:
            if self.rate == 0 or self._next is None:
                return most
            return min(max(0.0, self._next - now), most)

    def _gap(self) -> float:
        if self.burst > 1:
            return self.burst / self.rate
        return self._random.expovariate(self.rate)
