"""Amdahl's law: how much faster several workers are if one part of each job is done by only one worker at a time.

    speedup = 1 / (serial + (1 - serial) / workers)

Here `serial` is the share of a job's time for which the job needs something that only one worker at a time can have,
such as a lock. The speedup is the throughput divided by that of one worker. It never exceeds 1 / serial.

For a pool, the law is a lower bound of the mean throughput. In the worst case, each worker finds all the others before
it at the lock. Then a job takes its time outside of the lock, and the time that all workers hold the lock for one job
each, and this gives the formula above. The upper bound is min(workers, 1 / serial): no job ever waits for the lock, or
the lock is never free.

Sources: G. M. Amdahl, "Validity of the single processor approach to achieving large scale computing capabilities",
AFIPS Conference Proceedings 30, 1967, doi:10.1145/1465482.1465560. That the law is the throughput of workers that all
come to the lock at the same time: N. J. Gunther, "A General Theory of Computational Scalability Based on Rational
Functions", 2008, arXiv:0808.1431.
"""

from helpers.pools.checks import number
from helpers.pools.words import describe


def amdahl(workers: float, serial: float) -> float:
    """Return the speedup of `workers` workers over one worker, by Amdahl's law: see the top of this file.

    Args:
        workers: the number of workers, 1 or more; the curve between two whole numbers is for charts.
        serial:  the share of a job's time that only one worker at a time can do, from 0.0 to 1.0.

    Raises TypeError if an argument is not a number, ValueError if it is out of its range.
    """
    count = number("workers must be a number, 1 or more", workers, least=1.0)
    rule = "serial must be a share of a job's time, from 0 to 1"
    if number(rule, serial) > 1:
        raise ValueError(f"{rule}, not {describe(serial)}")
    return 1 / (serial + (1 - serial) / count)
