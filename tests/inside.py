"""The functions through which tests use private parts of a pool. `tests/README.md` lists them too.

Tests that force a race or an exact moment need more than the public names of a pool. They use these functions, so that
a change of the private parts of the pools changes this file and not the tests.
"""

from contextlib import contextmanager

from helpers.pools import closing, intake, interrupts, parker, reading

SLICE = parker.SLICE  # seconds: the longest single wait


def state_of(pool):
    """Return the state that all parts of the pool share."""
    return pool._state


def crew_of(pool):
    return pool._crew


def loop_of(pool):
    """Return the loop that the workers of the pool run."""
    return pool._crew.work.__self__


def workers_of(pool):
    """Return the workers by number."""
    return {worker.number: worker for worker in pool._crew.members}


def set_slice(monkeypatch, seconds):
    """Set the longest single wait of every part of the pools."""
    for module in (closing, interrupts, intake, parker, reading):
        monkeypatch.setattr(module, "SLICE", seconds)


def interrupted_wait(monkeypatch):
    """Make the next wait in a shutdown raise KeyboardInterrupt, as a Stop button does."""

    def wait(closing, until):
        raise KeyboardInterrupt

    monkeypatch.setattr(closing.Closing, "wait", wait)


def outlet_of(pool):
    """Return the outlet, which receives the results of submitted jobs."""
    return pool._outlet


def alarms_of(pool):
    return pool._state.alarms


def letters_of(pool):
    """Return the dead letters by serial number, or an empty dict for a pool without dead letters."""
    retries = getattr(pool, "_retries", None)
    return {} if retries is None else retries.letters


def ring_retries(pool):
    """Do what the alarm for retries does when it fires."""
    pool._retries._bring_back()


def ring_scaling(pool):
    """Do what the alarm of an elastic crew does when it fires."""
    with pool._state.lock:
        pool._crew.alarm._when = float("inf")
    pool._crew.start_needed_workers()


def ring_time_of(alarm):
    """Return the time at which an alarm will fire, in seconds on its clock, or infinity if it is not set."""
    return alarm._when


def threads_ended(pool):
    """Return whether every thread of the pool has ended."""
    threads = [*pool._crew.threads, *(alarm.thread for alarm in alarms_of(pool))]
    return not pool._crew.members and not any(thread.is_alive() for thread in threads)


@contextmanager
def locked(pool):
    with pool._state.lock:
        yield
