"""Compute the wait before a retry: exponential backoff with full jitter, up to a cap.

Jobs that fail at the same moment would also be retried at the same moment, and would overload the server again.
Full jitter spreads the retries out: each job waits a random time between 0 and a ceiling, and the ceiling doubles with
every failed attempt until it reaches the cap.

Always true: a wait is never negative and never longer than the cap. If this were wrong, a retry could come early and
hit a server that is still down, or so late that the job seems lost.

Sources: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015, for full jitter; R. M. Metcalfe and
D. R. Boggs, "Ethernet", Communications of the ACM 19(7), 1976, for the doubling.
"""

from collections.abc import Callable


def ceiling(attempt: int, base: float, cap: float) -> float:
    """Return the longest wait after `attempt` failed attempts (1 or more), in seconds.

    The ceiling is base * 2 ** (attempt - 1), but at most `cap`. `base` and `cap` are in seconds.
    """
    # Limit the exponent, because 2.0 ** 1024 raises OverflowError. 64 doublings reach every practical cap.
    doublings = min(attempt - 1, 64)
    return min(cap, base * 2.0**doublings)


def full_jitter(attempt: int, *, base: float, cap: float, random: Callable[[], float]) -> float:
    """Return a random wait after failed attempt number `attempt`, in seconds, between 0 and the ceiling.

    Args:
        attempt:    the number of the attempt that has failed, from 1.
        base, cap:  the ceiling after the first attempt, and the maximum ceiling, in seconds.
        random:     a function such as `random.random` that returns a number from 0 to 1. If its numbers are uniformly
                    distributed, so are the waits.
    """
    return random() * ceiling(attempt, base, cap)
