"""The reports of a pool: `PoolStats` at any time, and a `ShutdownReport` after a shutdown.

Always true: the counts of one `PoolStats` belong to the same instant, so they add up. If they were read one after the
other, a job that moves meanwhile would be counted twice or not at all.
"""

from typing import Any, NamedTuple

from .words import describe_fields


# These are named tuples and not data classes, because `dataclasses` imports `inspect`. That import would take a third
# of the time that it takes to import the pools.
class PoolStats(NamedTuple):
    """The number of jobs in each state at one instant: submitted = queued + running + delayed + finished.

    `workers` is the number of workers that have not retired.
    """

    submitted: int
    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    workers: int
    delayed: int = 0  # jobs that wait for a retry; always 0 in a pool that does not retry
    unknown: int = 0  # jobs whose handler raised OutcomeUnknown

    @property
    def finished(self) -> int:
        """The number of jobs that have a result: succeeded + failed + cancelled + unknown."""
        return self.succeeded + self.failed + self.cancelled + self.unknown


class ShutdownReport(NamedTuple):
    """The outcome of a shutdown.

    Each job that was in the pool when the shutdown began is in one of the first three attributes.

    Attributes:
        finished:       the jobs that have finished since the shutdown began (succeeded, failed, or unknown), in the
                        order in which they finished.
        cancelled:      the jobs that were cancelled; the error of each result is a `JobCancelled`.
        still_running:  the jobs whose handlers had not returned when the report was made.
        errors:         the exceptions that were raised when workers closed their resources, and by callbacks.
        stats:          the counts of the pool when the report was made.
    """

    finished: tuple[Any, ...]
    cancelled: tuple[Any, ...]
    still_running: tuple[Any, ...]
    errors: tuple[BaseException, ...]
    stats: PoolStats

    @property
    def complete(self) -> bool:
        """True if no job was cancelled and no job was left running."""
        return not self.cancelled and not self.still_running

    def __repr__(self) -> str:
        return describe_fields(self)
