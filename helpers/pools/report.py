"""The reports of a pool: `PoolStats` at any time, and a `ShutdownReport` at the end."""

from typing import Any, NamedTuple

from .words import describe_fields


# Named tuples and not data classes: `dataclasses` imports `inspect`, which would make up a third of the import time.
class PoolStats(NamedTuple):
    """How many jobs were in which state at one instant: submitted = queued + running + delayed + finished."""

    submitted: int
    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    workers: int
    delayed: int = 0  # waiting for a retry; always 0 for pools that do not retry
    unknown: int = 0  # the handler raised OutcomeUnknown

    @property
    def finished(self) -> int:
        """Jobs that have a result: succeeded + failed + cancelled + unknown."""
        return self.succeeded + self.failed + self.cancelled + self.unknown


class ShutdownReport(NamedTuple):
    """The outcome of a shutdown. Every job that was in the pool when it began is in one of the first three attributes.

    Attributes:
        finished:       jobs that succeeded or failed after the shutdown began, in that order.
        cancelled:      jobs that did not run to their end; each has a result with a `JobCancelled`.
        still_running:  jobs whose handler had not returned when the report was made.
        errors:         the exceptions raised when workers closed their resources, and those of callbacks.
        stats:          the pool's counts at that instant.
    """

    finished: tuple[Any, ...]
    cancelled: tuple[Any, ...]
    still_running: tuple[Any, ...]
    errors: tuple[BaseException, ...]
    stats: PoolStats

    @property
    def complete(self) -> bool:
        """True if nothing was cancelled and nothing was left running."""
        return not self.cancelled and not self.still_running

    def __repr__(self) -> str:
        return describe_fields(self)
