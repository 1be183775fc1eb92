"""How many workers does a dynamic pool need now? Two pure functions that return a number and its reason.

The functions use no threads, clock, or lock, so a test can check every case in a microsecond. `DynamicPool` calls
them and carries out what they return.

Either of two signs says that there are too few workers:

- The queue is long: more than `backlog` jobs wait for each worker. This sign shows a burst at once.
- The job at the head of the queue has waited for `max_wait` seconds, however short the queue is. This sign shows a few
  jobs that take very long.

The pool then starts all the workers that the backlog needs at once. If it started one worker per look at the queue,
the last one would start when the burst is nearly over.

One sign says that there are too many workers: a worker has had no job for `idle_timeout` seconds. That time is long
compared with one job, so a worker that gets a job from time to time is not stopped and started again and again.
"""

from math import ceil
from typing import NamedTuple


class Limits(NamedTuple):
    """The rules that a dynamic pool keeps.

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
        idle:         how many of them have no job.
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
        after:        the number of workers after it.
        reason:       one of the texts in this module, such as "queue depth" or "idle".
        queued:       the number of jobs in the queue at that instant.
        oldest_wait:  the seconds that the job at the head of the queue had waited.
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
    """Return the number of workers that there should be, and the reason if that is more than there are now.

    The number is never below `load.workers`: only `may_retire` makes the number smaller. The reason is "" if no worker
    has to start.
    """
    if load.workers < limits.min_workers:
        return limits.min_workers, BELOW
    by_depth = ceil(load.queued / limits.backlog)
    # Each queued job that has waited too long needs a worker that is not busy.
    by_wait = load.workers - load.idle + load.queued if load.queued and load.oldest_wait >= limits.max_wait else 0
    needed = min(max(by_depth, by_wait), limits.max_workers)
    if needed <= load.workers:
        return load.workers, ""
    return needed, DEPTH if by_depth >= by_wait else WAIT


def may_retire(workers: int, idle_for: float, limits: Limits) -> str:
    """Return the reason why one of `workers` workers may retire, or "" if it has to stay.

    `idle_for` is the number of seconds that the worker has had no job; 0 means that it has just finished one.
    """
    if workers > limits.max_workers:
        return RESIZED
    if workers > limits.min_workers and idle_for >= limits.idle_timeout:
        return IDLE
    return ""
