"""The last seconds of a run: what the charts of the control room show."""

from collections import deque
from typing import NamedTuple

WINDOW = 30.0  # seconds that the charts show, unless the room says otherwise
EVERY = 0.25  # seconds between two points of a chart
OVER = 1.0  # seconds over which the throughput is averaged


class Sample(NamedTuple):
    """The state of the pool at one moment.

    Attributes:
        time:         seconds since the run began.
        queued:       jobs in the queue.
        oldest_wait:  how long the first of them has waited, in seconds.
        throughput:   jobs that succeeded per second, over the last second.
        limit:        the most jobs per second that the workers can finish; None if that is not known.
        workers:      the number of workers.
    """

    time: float
    queued: int
    oldest_wait: float
    throughput: float
    limit: float | None
    workers: int


class History:
    """The samples of the last `window` seconds, at most one per EVERY seconds."""

    def __init__(self, window: float = WINDOW) -> None:
        self._window = window
        self.samples: deque[Sample] = deque()
        self._counts: deque[tuple[float, int]] = deque([(0.0, 0)])  # times, and the jobs that had succeeded

    def throughput(self, now: float, succeeded: int) -> float:
        """Return the jobs per second that have succeeded over the last second, and remember the count."""
        self._counts.append((now, succeeded))
        while len(self._counts) > 2 and now - self._counts[1][0] >= OVER:
            self._counts.popleft()
        begin, count = self._counts[0]
        return (succeeded - count) / (now - begin) if now > begin else 0.0

    def add(self, sample: Sample) -> None:
        """Keep the sample, unless the one before is too recent, and forget those that the charts no longer show."""
        if self.samples and sample.time - self.samples[-1].time < EVERY * 0.9:
            return
        self.samples.append(sample)
        while sample.time - self.samples[0].time > self._window:
            self.samples.popleft()
