"""The clock of a pool: `time.monotonic`, or one that the user gives, which must not be able to stop a worker."""

import time
from collections.abc import Callable
from contextlib import suppress
from types import BuiltinFunctionType

Clock = Callable[[], float]


def guarded(clock: Clock) -> Clock:
    """Return a clock that reads `clock`, in seconds, and never raises: after an error it repeats its last reading.

    Functions of the standard library are returned as they are, since every job reads the clock three times.
    """
    if isinstance(clock, BuiltinFunctionType):
        return clock
    last = time.monotonic()

    def read() -> float:
        nonlocal last
        with suppress(BaseException):  # of the user's function: the time stamps suffer, the jobs do not
            last = clock()
        return last

    return read
