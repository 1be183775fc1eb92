"""The worker pool pattern, one idea per file.

A job's way through a pool, and the file that contains each step:

    submit, stream ──> intake ──> state: the queue ──> worker_loop: the handler runs ──> outlet ──> reading ──> you
                                    ^                                     │
                                    └── state: delayed <── retries <──────┘ it failed and may be retried

Words used in the parts: a *task* is a job on its way, as its result and its outlet. An *outlet* takes finished results
to their reader. A *parker* is where one thread sleeps. An *act* is a step that no interrupt can divide. The *crew* is
the set of workers. To *settle* a job is to decide what happens after it has run.

Read the files in this order:

    result        what a pool returns for a job: Result, Attempt    (with errors and report)
    basic         WorkerPool: the contract, and the assembly of the parts
    channel       a bounded queue that can be closed
    unbounded     the anti-pattern: a thread per job, a task per job
    state         where every job is, the one lock, and the invariant that it guards
    worker        a worker: its number, its current job, and its resource
    parker        how a thread waits, and how another thread wakes it
    outlet        where finished results go
    crew          which workers there are: how they start and end
    worker_loop   what a worker does: it takes a job, runs it, settles it, and waits
    intake        how jobs enter a pool, or wait for room
    reading       how results leave a pool
    closing       how a pool ends
    interrupts    KeyboardInterrupt: the one mechanism
    bounded       run_bounded: a pool for a list of jobs, in one call
    scaling       how many workers does the backlog need? Only the decision
    alarm         one thread that acts at a certain time
    elastic       a crew that grows and shrinks
    dynamic       DynamicPool, a pool with such a crew
    backoff       how long to wait before the next attempt
    retry_after   Retry-After in seconds, in all its forms; RetryLater
    budget        RetryBudget: a limit for retries during an outage
    policy        RetryPolicy: retry? When? Only the decision
    retries       a failed job is delayed, or becomes a dead letter
    retrying      RetryingPool, dead letters, and redrive; DynamicRetryingPool, which is both
    gcra          when each call may go if a server limits the calls per second
    rate          RateLimiter: a maximum number of calls per second, for all workers together
    image         ImageProcessor: a pool that resizes pictures (needs Pillow); with image_file, image_metadata,
                  image_containers, and image_pixels
    connections   one connection per worker, or as many as the server allows
    email         BatchEmailSender: a pool that sends mails; with mail_fields, mail_message, mail_readback,
                  smtp_delivery, and smtp_replies
    sizing        how many workers? The tightest limit decides
    engines       what runs the handler: threads, processes, or any executor
    processes     Processes: one child process per worker; with child and child_main (its two sides) and wire (frames)
    executor      PoolExecutor: any pool as a `concurrent.futures.Executor`; with calls, its jobs
    checks, clocks, matching, words, tracebacks   bad input, the user's clock, which errors a rule means, how to put the
                  user's objects into words, and errors without the data of their handler

Imports go one way: parker, outlet <- state <- crew, intake <- worker_loop, reading, closing <- basic <- all others.
They are relative, so you can copy the folder into another package.

The package needs the standard library only, except for `image`. Modules that take long to import (Pillow, smtplib,
concurrent.futures) are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .basic import WorkerPool
from .bounded import run_bounded
from .budget import RetryBudget
from .channel import Channel, ChannelClosed
from .dynamic import DynamicPool
from .errors import HandlerFailed, JobCancelled, JobTimedOut, OutcomeUnknown, PoolClosed, WorkerDied
from .policy import RetryDecision, RetryLater, RetryPolicy
from .rate import RateLimiter
from .report import PoolStats, ShutdownReport
from .result import Attempt, Result
from .retry_after import retry_after_seconds
from .retrying import DeadLetter, DynamicRetryingPool, RetryingPool
from .scaling import Decision
from .sizing import Sizing, measured_needs, recommended_workers, size_up
from .unbounded import run_unbounded, run_unbounded_async
from .worker import Worker, current_worker

if TYPE_CHECKING:
    from .email import BatchEmailSender, Delivery, EmailJob
    from .executor import PoolExecutor
    from .image import ImageJob, ImageProcessor, Thumbnail
    from .processes import Processes

__all__ = [
    "Attempt",
    "BatchEmailSender",
    "Channel",
    "ChannelClosed",
    "DeadLetter",
    "Decision",
    "Delivery",
    "DynamicPool",
    "DynamicRetryingPool",
    "EmailJob",
    "HandlerFailed",
    "ImageJob",
    "ImageProcessor",
    "JobCancelled",
    "JobTimedOut",
    "OutcomeUnknown",
    "PoolClosed",
    "PoolExecutor",
    "PoolStats",
    "Processes",
    "RateLimiter",
    "Result",
    "RetryBudget",
    "RetryDecision",
    "RetryLater",
    "RetryPolicy",
    "RetryingPool",
    "ShutdownReport",
    "Sizing",
    "Thumbnail",
    "Worker",
    "WorkerDied",
    "WorkerPool",
    "current_worker",
    "measured_needs",
    "recommended_workers",
    "retry_after_seconds",
    "run_bounded",
    "run_unbounded",
    "run_unbounded_async",
    "size_up",
]

_MODULE_OF = {
    "BatchEmailSender": "email",
    "Delivery": "email",
    "EmailJob": "email",
    "ImageJob": "image",
    "ImageProcessor": "image",
    "PoolExecutor": "executor",
    "Processes": "processes",
    "Thumbnail": "image",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value  # the next look-up finds it without us
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
