"""The clock of a pool: `time.monotonic`, or one that the user gives, which must not be able to stop a worker."""

import math
import time
from collections.abc import Callable

from .interrupts import is_stop_button

Clock = Callable[[], float]
TRUSTED = (time.monotonic, time.perf_counter, time.time)


def guarded(clock: Clock) -> Clock:
    """Return a clock that reads `clock`, in seconds, and never raises.

    After an error of `clock`, real time passes from its last reading. A reading that is not a finite number counts as
    an error. The clocks of the standard library are returned as they are, since every job reads the clock three times.
    """
    if any(clock is known for known in TRUSTED):
        return clock
    last = read_at = time.monotonic()

    def read() -> float:
        nonlocal last, read_at
        try:
            reading = float(clock())
            if math.isfinite(reading):
                last, read_at = reading, time.monotonic()
                return reading
        except BaseException as problem:  # an error of the user's function spoils time stamps, but no job
            if is_stop_button(problem):
                raise
        return last + time.monotonic() - read_at  # or no retry would ever be due

    return read
