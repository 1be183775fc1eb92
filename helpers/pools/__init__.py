"""The worker pool pattern, one idea a file. Read them in this order:

result      what comes back: Result, PoolStats, ShutdownReport
channel     a bounded queue that knows its end
unbounded   the anti-pattern: a thread a job, a task a job
worker      what a handler may know of the worker that runs it
basic       WorkerPool, the core
bounded     run_bounded: a pool for a list of jobs, in one call
checks      how bad input is refused

Needs the standard library only.
"""

from helpers.pools.basic import WorkerPool
from helpers.pools.bounded import run_bounded
from helpers.pools.channel import Channel, ChannelClosed
from helpers.pools.result import JobCancelled, PoolClosed, PoolStats, Result, ShutdownReport
from helpers.pools.unbounded import run_unbounded, run_unbounded_async
from helpers.pools.worker import Worker, current_worker

__all__ = [
    "Channel",
    "ChannelClosed",
    "JobCancelled",
    "PoolClosed",
    "PoolStats",
    "Result",
    "ShutdownReport",
    "Worker",
    "WorkerPool",
    "current_worker",
    "run_bounded",
    "run_unbounded",
    "run_unbounded_async",
]
