"""All that the tests know of the inside of a pool. `tests/README.md` lists it too.

A test that must see more than the contract, because it forces a race or a moment, reaches in through these functions
only. So a change of the pools' parts changes this file, and not the tests.
"""

from contextlib import contextmanager

from helpers.pools import closing, intake, interrupts, parker, reading

SLICE = parker.SLICE  # the longest single wait, seconds


def state_of(pool):
    """The one state that all parts of the pool share."""
    return pool._state


def crew_of(pool):
    return pool._crew


def loop_of(pool):
    """What the workers of the pool do."""
    return pool._crew.work.__self__


def workers_of(pool):
    """The workers by their number."""
    return {worker.number: worker for worker in pool._crew.members}


def set_slice(monkeypatch, seconds):
    """Make the longest single wait of every part that long."""
    for module in (closing, interrupts, intake, parker, reading):
        monkeypatch.setattr(module, "SLICE", seconds)


def interrupted_wait(monkeypatch):
    """The next wait in a shutdown ends with the KeyboardInterrupt of a Stop button."""

    def wait(closing, until):
        raise KeyboardInterrupt

    monkeypatch.setattr(closing.Closing, "wait", wait)


def outlet_of(pool):
    """Where the results of submitted jobs go."""
    return pool._outlet


def alarms_of(pool):
    return pool._state.alarms


def letters_of(pool):
    """The dead letters by their serial number; empty for a pool that keeps none."""
    retries = getattr(pool, "_retries", None)
    return {} if retries is None else retries.letters


def ring_retries(pool):
    """Do what the alarm for retries does when it rings."""
    pool._retries._bring_back()


def ring_scaling(pool):
    """Do what the alarm of an elastic crew does when it rings."""
    with pool._state.lock:
        pool._crew.alarm._when = float("inf")
    pool._crew.start_needed_workers()


def ring_time_of(alarm):
    """When an alarm is going to ring, in seconds on its clock; infinity if it is not set."""
    return alarm._when


def threads_ended(pool):
    """True if every thread of the pool has ended."""
    threads = [*pool._crew.threads, *(alarm.thread for alarm in alarms_of(pool))]
    return not pool._crew.members and not any(thread.is_alive() for thread in threads)


@contextmanager
def locked(pool):
    with pool._state.lock:
        yield
