"""The worker pool pattern, one idea per file.

A job's way through a pool, and the file that has each step:

    submit, stream ──> intake ──> state: the queue ──> worker_loop: the handler runs ──> outlet ──> reading ──> you
                                    ^                                     │
                                    └── state: delayed <── retries <──────┘ it failed, and the policy allows a retry

Read the files in this order:

    result        what comes back for a job: Result, Attempt        (errors, report, and tracebacks belong to it)
    channel       a bounded queue that can be closed
    unbounded     the anti-pattern: a thread per job, a task per job
    worker        the worker that runs a handler: its number, its resource, and whether it should stop
    parker        how a thread waits, and how it is woken
    interrupts    KeyboardInterrupt: the one mechanism
    outlet        where finished results go
    state         where every job is, the one lock, and the invariant that it guards
    crew          who is present: workers start and end
    worker_loop   what a worker does: take a job, run it, settle it, wait
    intake        jobs come in, or wait for room
    reading       results go out
    closing       a pool ends
    basic         WorkerPool: the contract, and the assembly of the parts
    bounded       run_bounded: a pool for a list of jobs, in one call
    scaling       how many workers does the backlog need? The decision alone
    alarm         one thread that acts at a certain time
    elastic       a crew that grows and shrinks
    dynamic       DynamicPool, which has such a crew
    backoff       how long to wait before the next attempt
    retry_after   Retry-After in seconds, whatever its form; RetryLater
    budget        RetryBudget: a limit to retries during an outage
    policy        RetryPolicy: retry? When? The decision alone
    retries       a failed job is delayed, or becomes a dead letter
    retrying      RetryingPool, dead letters, redrive; DynamicRetryingPool, which is both
    gcra          when each call may go if a server limits the calls per second
    rate          RateLimiter: at most so many calls per second, for all workers together
    image         ImageProcessor: a pool that resizes pictures (needs Pillow); with image_file, image_metadata,
                  image_containers, and image_pixels
    connections   one connection per worker, or as many as the server allows
    email         BatchEmailSender: a pool that sends mails; with mail_fields, mail_message, mail_readback,
                  smtp_delivery, and smtp_replies
    sizing        how many workers? The narrowest place decides
    executor      PoolExecutor: any pool where a `concurrent.futures.Executor` is wanted
    checks, clocks, matching, words   bad input, the user's clock, which errors are meant, and objects put into words

Imports go one way: parker, outlet <- state <- crew, intake <- worker_loop, reading, closing <- basic <- all others.
They are relative, so the folder can be copied into another package.

It needs the standard library only, apart from `image`. Modules that take time to import (Pillow, smtplib,
concurrent.futures) are imported when they are first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .basic import WorkerPool
from .bounded import run_bounded
from .budget import RetryBudget
from .channel import Channel, ChannelClosed
from .dynamic import DynamicPool
from .errors import JobCancelled, OutcomeUnknown, PoolClosed, WorkerDied
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
    "ImageJob",
    "ImageProcessor",
    "JobCancelled",
    "OutcomeUnknown",
    "PoolClosed",
    "PoolExecutor",
    "PoolStats",
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
