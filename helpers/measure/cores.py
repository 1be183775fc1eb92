"""Whether this machine can show that two processes compute faster than one."""

import subprocess
import sys

from helpers.pools.sizing import usable_cores

COUNT = """
import sys, time
end, number = time.perf_counter() + float(sys.argv[1]), 0
while time.perf_counter() < end:
    number += 1
print(number)
"""
ENOUGH = 0.8  # Two processes at once must each count this share of what one process counts alone.


def two_free_cores(seconds: float = 0.4) -> bool:
    """Return whether two processes that compute at the same time are each nearly as fast as one process alone.

    They are not on a computer with one core, if other programs compute, or if the cores of a virtual machine are in
    use elsewhere. An assert about the speed of two processes uses this function: on such a machine, it says nothing.
    Call it while this program computes nothing itself. It takes about three times as many seconds as given.
    """
    if usable_cores() < 2:
        return False
    alone = max(counts(1, seconds) + counts(1, seconds))
    return min(counts(2, seconds)) >= ENOUGH * alone


def counts(processes: int, seconds: float) -> list[int]:
    """Return how far this number of new processes, started together, each count within the seconds."""
    command = [sys.executable, "-I", "-S", "-c", COUNT, str(seconds)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    return [int(process.communicate()[0]) for process in running]
