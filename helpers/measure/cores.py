"""Whether this machine can show that two processes compute faster than one."""

import psutil

from helpers.pools.sizing import usable_cores

BUSY = 25.0  # percent of all cores: above it, other programs spoil a comparison of times


def two_free_cores(seconds: float = 2.0) -> bool:
    """Return whether this program may use two cores, and other programs leave them mostly idle for some seconds.

    Call it while this program computes nothing itself. An assert about the speed of two processes uses it: on a busy
    machine, such an assert says nothing.
    """
    return usable_cores() > 1 and psutil.cpu_percent(interval=seconds) <= BUSY
