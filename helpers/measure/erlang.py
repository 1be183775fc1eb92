"""Erlang C: how long jobs wait for a worker if they arrive at random times.

The law holds if the arrivals are independent of each other (a Poisson process), the service times are exponentially
distributed, the jobs start in the order of their arrival, and the queue has no bound. The books call this the M/M/c
queue. With the load a = rate * service_time, which is the mean number of busy workers, and c workers:

    B(0) = 1,  B(k) = a * B(k-1) / (k + a * B(k-1))       for k = 1, 2, ..., c
    chance that a job waits        C = B(c) / (1 - (a / c) * (1 - B(c)))
    mean wait                      C * service_time / (c - a)
    chance that it waits longer    C * exp(-(c - a) * seconds / service_time)

Service times that vary more or less than exponential ones change the mean wait by the factor (1 + v * v) / 2, where v,
the coefficient of variation, is their standard deviation divided by their mean: 0 for constant times, 1 for exponential
ones. The factor is exact for one worker (the formula of Pollaczek and Khinchine), and an approximation for more.

Sources: A. K. Erlang, "Solution of some problems in the theory of probabilities of significance in automatic telephone
exchanges", 1917. The recursion and the formulas: R. B. Cooper, "Introduction to Queueing Theory", 2nd edition, 1981,
chapter 3. The approximation: A. M. Lee and P. A. Longton, Operational Research Quarterly 10(1), 1959.
"""

import math
from dataclasses import dataclass
from typing import Any

from helpers.pools.checks import number, whole_number
from helpers.pools.words import describe

MAX_WORKERS = 10_000_000  # that `workers_for` looks at; each step takes a tenth of a microsecond


@dataclass(frozen=True)
class ErlangC:
    """Waits of a pool with an unbounded queue and random arrivals: see the top of this file.

    Args:
        workers:      the number of workers.
        rate:         the jobs that arrive per second, more than 0.
        service_time: the mean time that a worker needs for a job, in seconds, more than 0.
        variation:    the standard deviation of the service times, divided by their mean; 1.0 for exponential times.

    Raises TypeError or ValueError for a bad argument, and ValueError if more jobs arrive than the workers can do,
    because then the queue grows without end.
    """

    workers: int
    rate: float
    service_time: float
    variation: float = 1.0

    def __post_init__(self) -> None:
        count = whole_number("workers", self.workers)
        _check(self.rate, self.service_time)
        number("variation must be a number, 0 or more", self.variation)
        if self.load >= count:
            raise ValueError(
                f"fewer jobs must arrive than the workers can do: {describe(count)} workers do at most "
                f"{count / self.service_time:.6g} jobs/s, and {self.rate:.6g} jobs/s arrive, so the queue would grow "
                "without end"
            )

    @property
    def load(self) -> float:
        """The mean number of busy workers."""
        return self.rate * self.service_time

    @property
    def utilization(self) -> float:
        """The mean share of the workers that are busy, from 0.0 to 1.0."""
        return self.load / self.workers

    @property
    def waiting(self) -> float:
        """The chance that a job waits, from 0.0 to 1.0. It does not depend on `variation` here."""
        return _waiting(_blocked(self.workers, self.load), self.utilization)

    @property
    def mean_wait(self) -> float:
        """The mean wait of all jobs, in seconds; the jobs that do not wait count as 0."""
        exponential = self.waiting * self.service_time / (self.workers - self.load)
        return exponential * (1 + self.variation**2) / 2

    def longer_than(self, seconds: float) -> float:
        """Return the share of jobs that wait for more than `seconds`, for exponential service times.

        Raises TypeError or ValueError if `seconds` is not a number, 0 or more; ValueError for another `variation`.
        """
        self._need_exponential()
        number("seconds must be a number of seconds, 0 or more", seconds)
        return self.waiting * math.exp(-(self.workers - self.load) * seconds / self.service_time)

    def wait_quantile(self, share: float) -> float:
        """Return the seconds within which `share` of all jobs start: 0.95 gives the p95 of the wait.

        Raises ValueError if `share` is not between 0 and 1, or if `variation` is not 1, because the distribution is
        known for exponential service times only.
        """
        self._need_exponential()
        _check_share(share)
        if self.waiting <= 1 - share:
            return 0.0
        return self.service_time / (self.workers - self.load) * math.log(self.waiting / (1 - share))

    def _need_exponential(self) -> None:
        if self.variation != 1:
            raise ValueError(
                "variation must be 1 for the share of jobs that wait for some time, because the law is known for "
                f"exponential service times only, not {describe(self.variation)}"
            )


def workers_for(rate: float, service_time: float, *, wait: float, share: float = 0.95) -> int:
    """Return the smallest number of workers with which at least `share` of the jobs wait for at most `wait` seconds.

    The other arguments, and what the law assumes, are those of `ErlangC`. Raises TypeError or ValueError for a bad
    argument, ValueError if more than 10 million workers would be needed.
    """
    _check(rate, service_time)
    number("wait must be a number of seconds, 0 or more", wait)
    _check_share(share)
    load, blocked = rate * service_time, 1.0
    if load >= MAX_WORKERS:
        raise ValueError(f"the load must be less than {MAX_WORKERS:,} workers, not {load:.6g}")
    for count in range(1, MAX_WORKERS + 1):
        blocked = load * blocked / (count + load * blocked)
        if count > load:
            late = _waiting(blocked, load / count) * math.exp(-(count - load) * wait / service_time)
            if late <= 1 - share:
                return count
    raise ValueError(f"at most {MAX_WORKERS:,} workers are looked at, and they are not enough")


def _blocked(workers: int, load: float) -> float:
    """Return Erlang's B by its recursion, which does not overflow as the factorials in the textbook formula do."""
    blocked = 1.0
    for count in range(1, workers + 1):
        blocked = load * blocked / (count + load * blocked)
    return blocked


def _waiting(blocked: float, utilization: float) -> float:
    return blocked / (1 - utilization * (1 - blocked))


def _check(rate: Any, service_time: Any) -> None:
    number("rate must be a number of jobs/s, more than 0", rate, above=0)
    number("service_time must be a number of seconds, more than 0", service_time, above=0)


def _check_share(share: Any) -> None:
    rule = "share must be a number more than 0 and less than 1"
    if number(rule, share, above=0) >= 1:
        raise ValueError(f"{rule}, not {describe(share)}")
