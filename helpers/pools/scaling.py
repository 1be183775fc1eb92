"""Decide how many workers a dynamic pool needs now. Two pure functions return the decision and its reason.

The functions use no threads, no clock, and no lock, so a test can check each case in a microsecond. `DynamicPool` calls
them, and starts or retires workers as they say.

Either of two signs says that there are too few workers:

- The queue is long: more than `backlog` jobs wait for each worker. This sign shows a burst at once.
- The job at the head of the queue has waited for `max_wait` seconds, however short the queue is. This sign shows a few
  jobs that take very long.

The pool then starts all workers that the backlog needs at once. If it started only one worker each time it checked the
queue, the last worker would start when the burst is nearly over.

One sign says that there are too many workers: a worker has had no job for `idle_timeout` seconds. That time is long
compared with one job, so a worker that gets a job from time to time is not stopped and started again and again.

Always true: `wanted` never starts more than `max_workers`, and `may_retire` never leaves fewer than `min_workers`. A
mistake in the first rule would overload the server that the jobs use.
"""

from math import ceil
from typing import NamedTuple


class Limits(NamedTuple):
    """The limits that a dynamic pool respects.

    Attributes:
        min_workers:   the minimum number of workers.
        max_workers:   the maximum number of workers.
        idle_timeout:  the seconds without a job after which a worker retires, if there are more than the minimum.
        backlog:       the number of queued jobs per worker above which more workers start.
        max_wait:      the seconds that the job at the head of the queue may wait before more workers start.
    """

    min_workers: int
    max_workers: int
    idle_timeout: float
    backlog: int
    max_wait: float


class Load(NamedTuple):
    """The jobs and the workers of a dynamic pool at one instant.

    Attributes:
        workers:      the number of workers, idle ones included.
        idle:         the number of these workers that have no job.
        queued:       the number of jobs in the queue.
        oldest_wait:  the seconds that the job at the head of the queue has waited; 0.0 if the queue is empty.
    """

    workers: int
    idle: int
    queued: int
    oldest_wait: float


class Decision(NamedTuple):
    """One change of the number of workers, and the load that was the reason for it.

    Attributes:
        time:         when the number changed, in seconds on the pool's clock.
        before:       the number of workers before the change.
        after:        the number of workers after the change.
        reason:       one of the texts in this module, such as "queue depth" or "idle".
        queued:       the number of jobs in the queue at the time of the change.
        oldest_wait:  the seconds that the job at the head of the queue had waited at that time.
    """

    time: float
    before: int
    after: int
    reason: str
    queued: int
    oldest_wait: float


START, DEPTH, WAIT, IDLE = "start", "queue depth", "oldest wait", "idle"
BELOW, RESIZED, NO_THREAD = "below the minimum", "resized", "no thread available"


def wanted(load: Load, limits: Limits) -> tuple[int, str]:
    """Return the number of workers that the pool should have, and the reason if it is larger than `load.workers`.

    The number is never smaller than `load.workers`, because workers end only after `may_retire`. The reason is "" if no
    worker has to start.
    """
    by_depth = ceil(load.queued / limits.backlog)
    # If the oldest job has waited too long, each queued job needs a worker that is not busy.
    by_wait = load.workers - load.idle + load.queued if load.queued and load.oldest_wait >= limits.max_wait else 0
    needed = max(min(max(by_depth, by_wait), limits.max_workers), limits.min_workers)
    if needed <= load.workers:
        return load.workers, ""
    if load.workers < limits.min_workers:
        return needed, BELOW
    return needed, DEPTH if by_depth >= by_wait else WAIT


def may_retire(workers: int, idle_for: float, limits: Limits) -> str:
    """Return the reason why a worker may retire, or "" if it must stay.

    Args:
        workers:   the number of workers in the pool.
        idle_for:  the seconds that the worker has had no job; 0 if it has just finished one.
        limits:    the limits of the pool.
    """
    if workers > limits.max_workers:
        return RESIZED
    if workers > limits.min_workers and idle_for >= limits.idle_timeout:
        return IDLE
    return ""
