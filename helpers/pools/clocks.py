"""The clock of a pool: `time.monotonic`, or a function that the user passes, guarded against its errors.

Always true: a guarded clock returns a finite number of seconds and never raises, apart from the KeyboardInterrupt of a
Stop button that is pressed while the main thread reads the clock. Workers read the clock outside of the
`try` that protects them from handlers, so a clock that raises would end the worker.
"""

import math
import time
from collections.abc import Callable

from .interrupts import is_stop_button

Clock = Callable[[], float]
TRUSTED = (time.monotonic, time.perf_counter, time.time)  # these never raise


def guarded(clock: Clock) -> Clock:
    """Return a function that reads `clock`, in seconds, and never raises in a worker.

    If `clock` raises or does not return a finite number, the function returns the last good reading plus the real time
    that has passed since then. The clocks of the standard library are returned unchanged, because a guard would cost
    time in every job, and each job reads the clock three times.
    """
    if id(clock) in map(id, TRUSTED):  # not `in TRUSTED`, which might call the `__eq__` of the user's object
        return clock
    last = read_at = time.monotonic()

    def read() -> float:
        nonlocal last, read_at
        reading = _reading_or_none(clock)
        if reading is None:
            return last + time.monotonic() - read_at  # if the time stood still, no retry would ever be due
        last, read_at = reading, time.monotonic()
        return reading

    return read


def _reading_or_none(clock: Clock) -> float | None:
    """Return what `clock` returns, or None if it raises or returns no finite number."""
    try:
        reading = float(clock())
    except BaseException as problem:  # An error of the user's function makes time stamps wrong, but it fails no job.
        if is_stop_button(problem):
            raise
        return None
    return reading if math.isfinite(reading) else None
