"""How long to wait before a retry: exponential backoff with full jitter, up to a cap.

Jobs that fail at the same moment would also be retried at the same moment, and would overload the server again.
Full jitter spreads them out: each job waits a random time between 0 and a ceiling, and the ceiling doubles with every
failed attempt until it reaches the cap.

Sources: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015, for full jitter; R. M. Metcalfe and
D. R. Boggs, "Ethernet", Communications of the ACM 19(7), 1976, for the doubling.
"""

from collections.abc import Callable


def ceiling(attempt: int, base: float, cap: float) -> float:
    """Return the longest wait after `attempt` failed attempts, in seconds: base * 2 ** (attempt - 1), at most `cap`."""
    # Limit the exponent before using it, because 2.0 ** 1024 raises OverflowError.
    doublings = min(attempt - 1, 64)
    return min(cap, base * 2.0**doublings)


def full_jitter(attempt: int, *, base: float, cap: float, random: Callable[[], float]) -> float:
    """Return a random wait after failed attempt number `attempt` (from 1), in seconds, between 0 and the ceiling.

    The wait is uniformly distributed if `random` is: a function such as `random.random` that returns a number from 0
    to 1.
    """
    return random() * ceiling(attempt, base, cap)
