"""How long to wait before trying again: exponential backoff with full jitter, under a cap.

Everybody who failed at the same moment would come back at the same moment, and fail again. So each waits a random
time, from nothing to a ceiling that doubles with every try. Source: M. Brooker, "Exponential Backoff And Jitter", AWS
Architecture Blog, 2015; the doubling: R. M. Metcalfe and D. R. Boggs, "Ethernet", CACM 19(7), 1976.
"""

from collections.abc import Callable


def ceiling(attempt: int, base: float, cap: float) -> float:
    """The longest wait after `attempt` failures, seconds: base, 2 base, 4 base, … and never more than `cap`."""
    doublings = min(attempt - 1, 64)  # capped before it is raised: 2.0 ** 1024 is an OverflowError
    return min(cap, base * 2.0**doublings)


def full_jitter(attempt: int, *, base: float, cap: float, random: Callable[[], float]) -> float:
    """Seconds to wait after failure number `attempt` (from 1): evenly spread between 0 and the ceiling.

    `random` gives numbers from 0 to 1, as `random.random` and `random.Random(seed).random` do.
    """
    return random() * ceiling(attempt, base, cap)
