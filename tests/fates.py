"""What the jobs of the chaos tests do: each has a fate, a number. Child processes import this module too."""

import os
import signal
import time

from helpers.pools import JobTimedOut, OutcomeUnknown, WorkerDied, current_worker

GOOD, LONG, FLAKY = 0, 1, 2  # a job that succeeds, one that takes a while, one that fails at its first attempt
DIE, HANG, STOP = 9, 10, 11  # in a child process: it kills itself, it hangs, or it ends when the pool stops
# The error that a job with this fate ends with.
ERRORS = (
    *(None, None, ValueError, ValueError, SystemExit, KeyboardInterrupt, MemoryError, GeneratorExit, OutcomeUnknown),
    *(WorkerDied, JobTimedOut, None),
)
TRIED_AGAIN = (ValueError, MemoryError, WorkerDied, JobTimedOut)  # the others are no `Exception`, or have no known end


def meet(fate, job, attempt):
    """Do what a job with this fate does at this attempt, from 1."""
    if fate == LONG:
        time.sleep(0.001)
    elif fate == DIE:
        os.kill(os.getpid(), signal.SIGKILL)
    elif fate == HANG:
        time.sleep(60)
    elif fate == STOP:
        current_worker().cancelled.wait(0.15)
    elif ERRORS[fate] is not None and not (fate == FLAKY and attempt == 2):
        raise ERRORS[fate](job)


class CountedFates:
    """A handler for child processes. It counts the attempts at each job in a file: one byte per job."""

    def __init__(self, path, fates):
        self.path, self.fates = path, fates

    def __call__(self, job):
        with open(self.path, "r+b", buffering=0) as file:
            file.seek(job)
            [count] = file.read(1)
            file.seek(job)
            file.write(bytes([count + 1]))
        meet(self.fates[job], job, current_worker().attempt)
