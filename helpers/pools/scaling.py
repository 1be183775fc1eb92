"""How many cooks does the kitchen need now? The decision alone: numbers in, a number and its reason out.

No threads, no clock, no lock: so every case can be tried in a microsecond, and a busy day in a second. `DynamicPool`
asks and does as it is told.

Two things say that the crew is too small. The queue is long: more than `backlog` jobs for each worker. Or somebody has
waited long: more than `max_wait` seconds, however short the queue. The first notices a burst at once, the second a few
jobs that take very long. What is hired is what the backlog needs, all at once: one worker a tick would let the burst
wait for its tenth cook until it is over.

One thing says that it is too large: a worker that has had nothing to do for `idle_timeout` seconds. That is long
compared with a job, so that a worker that is needed now and again is not sent away each time.
"""

from math import ceil
from typing import NamedTuple


class Limits(NamedTuple):
    """The rules for a crew.

    Attributes:
        min_workers, max_workers:  how many there are at least and at most.
        idle_timeout:  seconds without a job after which a worker goes, if there are more than the minimum.
        backlog:       how many waiting jobs one worker is trusted with.
        max_wait:      seconds that the job at the head of the queue may wait.
    """

    min_workers: int
    max_workers: int
    idle_timeout: float
    backlog: int
    max_wait: float


class Load(NamedTuple):
    """What there is to do and who is there: `idle` of the `workers`, `queued` jobs, the first for `oldest_wait` s."""

    workers: int
    idle: int
    queued: int
    oldest_wait: float


class Decision(NamedTuple):
    """One change of the crew, from `before` to `after` workers at `time` (the pool's clock, seconds), and why."""

    time: float
    before: int
    after: int
    reason: str
    queued: int
    oldest_wait: float


START, DEPTH, WAIT, IDLE = "start", "queue depth", "oldest wait", "idle"
BELOW, RESIZED, NO_THREAD = "below the minimum", "resized", "no thread to be had"


def wanted(load: Load, limits: Limits) -> tuple[int, str]:
    """How many workers there should be, at least, and the reason if that is more than there are."""
    if load.workers < limits.min_workers:
        return limits.min_workers, BELOW
    by_depth = ceil(load.queued / limits.backlog)
    by_wait = load.workers - load.idle + load.queued if load.queued and load.oldest_wait >= limits.max_wait else 0
    crew = min(max(by_depth, by_wait), limits.max_workers)
    if crew <= load.workers:
        return load.workers, ""
    return crew, DEPTH if by_depth >= by_wait else WAIT


def may_retire(workers: int, idle_for: float, limits: Limits) -> str:
    """Why one of `workers`, without a job for `idle_for` seconds (0: it has just finished one), may go; "" if not."""
    if workers > limits.max_workers:
        return RESIZED
    if workers > limits.min_workers and idle_for >= limits.idle_timeout:
        return IDLE
    return ""
