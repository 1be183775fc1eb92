"""The worker pool pattern, one idea a file. Read them in this order:

result       what comes back: Result, PoolStats, ShutdownReport
channel      a bounded queue that knows its end
unbounded    the anti-pattern: a thread a job, a task a job
worker       what a handler may know of the worker that runs it
basic        WorkerPool, the core
bounded      run_bounded: a pool for a list of jobs, in one call
alarm        a thread that rings when it is time
stop         the Stop button, put off for a few lines
scaling      how many workers does the backlog need? The decision alone
dynamic      DynamicPool: between a minimum and a maximum of workers
backoff      how long to wait before trying again
policy       RetryPolicy: try again? When? The decision alone
retrying     RetryingPool, dead letters, redrive; DynamicRetryingPool, which is both
image        ImageProcessor: a pool that resizes pictures (needs Pillow)
connections  one connection a worker, or as many as the server allows
email        BatchEmailSender: a pool that sends mails
sizing       how many workers? The narrowest place decides
gcra         when each call may go if there is a limit on calls per second
rate         RateLimiter: at most so many calls per second, for all workers together
executor     PoolExecutor: any of them where a `concurrent.futures.Executor` is wanted
checks       how bad input is refused

Needs the standard library only, `image` apart. What costs time to import (Pillow, smtplib, concurrent.futures) is
imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .basic import WorkerPool
from .bounded import run_bounded
from .channel import Channel, ChannelClosed
from .dynamic import DynamicPool
from .policy import RetryLater, RetryPolicy
from .rate import RateLimiter
from .result import Attempt, JobCancelled, OutcomeUnknown, PoolClosed, PoolStats, Result, ShutdownReport
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
    "RetryLater",
    "RetryPolicy",
    "RetryingPool",
    "ShutdownReport",
    "Sizing",
    "Thumbnail",
    "Worker",
    "WorkerPool",
    "current_worker",
    "measured_needs",
    "recommended_workers",
    "run_bounded",
    "run_unbounded",
    "run_unbounded_async",
    "size_up",
]

_HOME = {
    "BatchEmailSender": "email",
    "Delivery": "email",
    "EmailJob": "email",
    "ImageJob": "image",
    "ImageProcessor": "image",
    "PoolExecutor": "executor",
    "Thumbnail": "image",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # the next look-up finds it without us
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
