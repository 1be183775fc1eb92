"""Handlers for the benchmark of engines. Child processes import them from here."""

import os
import signal
import time

SPIN = 300_000  # additions: about 18 ms of pure Python on a machine with 2 cores


def echo(job):
    return job


def size_of(job):
    return len(job)


def spin(job):
    """Compute in pure Python, and return a number that depends on the job."""
    total = job
    for number in range(SPIN):
        total += number
    return total


def die_on_three(job):
    """Kill the process of the handler for job 3. The other jobs take 20 ms."""
    if job == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return job


def hang_on_three(job):
    """Hang for job 3. The other jobs take 20 ms."""
    time.sleep(60 if job == 3 else 0.02)
    return job
