"""The Universal Scalability Law (USL): a curve through measured throughputs that can rise, flatten, and fall.

    throughput = rate * workers / (1 + contention * (workers - 1) + coherency * workers * (workers - 1))

`rate` is the throughput of one worker, in jobs/s. `contention` describes work that only one worker at a time can do;
with contention alone, the law is that of Amdahl. `coherency` describes work that each worker causes for each other
one; it makes the throughput fall beyond a peak at sqrt((1 - contention) / coherency) workers.

The law has three parameters, and they come from a fit to measured points. So it describes what was measured. Beyond
the largest measured number of workers it is a guess. It cannot describe a sharp limit, such as 25 connections: its
curve is smooth.

Source: N. J. Gunther, "Guerrilla Capacity Planning", Springer, 2007, chapter 4; and "A General Theory of Computational
Scalability Based on Rational Functions", 2008, arXiv:0808.1431.
"""

import math
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from helpers.pools.checks import iterable, number, whole_number
from helpers.pools.words import describe

MIN_COUNTS = 4  # different numbers of workers: one more than the law has parameters
WIDEST = 0.5  # the widest interval of the contention, which lies from 0 to 1, that still says something


class Estimate(NamedTuple):
    """A parameter of a fit, and the ends of its confidence interval."""

    value: float
    low: float
    high: float


class Scalability(NamedTuple):
    """A fit of the law. Its three parameters are explained at the top of `usl.py`.

    Attributes:
        rate:        the throughput of one worker, in jobs/s.
        contention:  from 0.0 to 1.0.
        coherency:   0.0 or more.
        confidence:  the confidence of the three intervals, such as 0.95.
    """

    rate: Estimate
    contention: Estimate
    coherency: Estimate
    confidence: float

    def throughput(self, workers: float) -> float:
        """Return the throughput, in jobs/s, that the fitted curve has at `workers` workers, 1 or more.

        Raises TypeError if `workers` is not a number, ValueError if it is less than 1.
        """
        count = number("workers must be a number, 1 or more", workers, least=1.0)
        return float(curve(count, self.rate.value, self.contention.value, self.coherency.value))

    def peak(self) -> int:
        """Return the number of workers at which the fitted curve is highest.

        Raises ValueError if the interval of the coherency includes 0. Then the points do not show that the throughput
        falls again, and the curve may rise forever.
        """
        if self.coherency.low <= 0:
            raise ValueError(
                "the coherency must be above 0 in all of its interval to name a peak, and the interval is from 0 to "
                f"{self.coherency.high:.2g}: measure more workers, or more repeats"
            )
        below = max(1, math.floor(math.sqrt((1 - self.contention.value) / self.coherency.value)))
        return max(below, below + 1, key=self.throughput)


def fit_usl(workers: Iterable[int], throughput: Iterable[float], *, confidence: float = 0.95) -> Scalability:
    """Fit the law to measured points by least squares, within its bounds, and return the parameters.

    The confidence intervals use Student's t distribution and the curve's slopes at the fit, as is usual for nonlinear
    fits, and are cut at the bounds of the parameters. They hold only if the law is right. They become wider if the
    points scatter more, and also if the curve does not fit the points. They do not say which of the two it was.

    Args:
        workers:     the number of workers of each point. Repeats are points of their own.
        throughput:  the throughput of each point, in jobs/s.
        confidence:  of the intervals, more than 0 and less than 1.

    Raises ValueError if the points cannot tell the parameters: if there are less than four different numbers of
    workers, or if an interval is so wide that it says nothing. Raises TypeError or ValueError for bad points.
    """
    counts, rates = _points(workers, throughput)
    _share("confidence", confidence)
    values, deviations = _least_squares(counts, rates)
    if not np.isfinite(deviations).all():
        raise ValueError("the points must tell the three parameters, and they leave one of them open: measure more")
    halves = deviations * _students_t(confidence, len(counts) - len(values))
    tops = (math.inf, 1.0, math.inf)
    estimates = [
        Estimate(float(value), float(max(0.0, value - half)), float(min(top, value + half)))
        for value, half, top in zip(values, halves, tops, strict=True)
    ]
    _check_widths(estimates, confidence)
    rate, contention, coherency = estimates
    return Scalability(rate, contention, coherency, confidence)


def curve(workers: Any, rate: float, contention: float, coherency: float) -> Any:
    """Return the law's throughput for a number of workers, or for an array of them."""
    return rate * workers / (1 + contention * (workers - 1) + coherency * workers * (workers - 1))


def _points(workers: Iterable[int], throughput: Iterable[float]) -> tuple[Any, Any]:
    counts = [whole_number("workers", count) for count in iterable("workers", workers)]
    rule = "throughput must be a number of jobs/s, more than 0, in every point"
    rates = [number(rule, rate, above=0) for rate in iterable("throughput", throughput)]
    if len(counts) != len(rates):
        raise ValueError(f"each point needs both numbers, not {len(counts)} of workers and {len(rates)} of throughput")
    if len(set(counts)) < MIN_COUNTS:
        raise ValueError(
            f"the points must have at least {MIN_COUNTS} different numbers of workers, because the law has three "
            f"parameters, not {describe(sorted(set(counts)))}"
        )
    return np.array(counts, float), np.array(rates)


def _least_squares(counts: Any, rates: Any) -> tuple[Any, Any]:
    """Return the best parameters and their standard deviations, which are infinite if the points leave them open."""
    from scipy.optimize import OptimizeWarning, curve_fit  # only here, because this import takes a quarter of a second

    scale = rates.max()  # so that the parameters have similar sizes
    start = (rates[counts.argmin()] / counts.min() / scale, 0.01, 1e-4)
    bounds = ([0, 0, 0], [np.inf, 1, np.inf])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)  # of infinite deviations, which `fit_usl` refuses
        try:
            values, covariance = curve_fit(curve, counts, rates / scale, p0=start, bounds=bounds, x_scale="jac")
        except RuntimeError as error:  # no minimum within the allowed number of steps
            raise ValueError(
                f"the points must have about the form of the law, and the fit found none: {error}"
            ) from None
    back = np.array([scale, 1.0, 1.0])
    return values * back, np.sqrt(np.diag(covariance)) * back


def _students_t(confidence: float, freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + confidence) / 2))


def _check_widths(estimates: list[Estimate], confidence: float) -> None:
    """Raise ValueError if an interval is so wide that the points say nothing about its parameter."""
    rate, contention, _ = estimates
    if contention.high - contention.low > WIDEST:
        raise ValueError(
            f"the points must tell the contention to within {WIDEST}, and its {confidence:.0%} interval is "
            f"{contention.low:.2g} to {contention.high:.2g}: measure more worker counts, from 1 up, or more repeats"
        )
    if rate.low <= 0:
        raise ValueError(
            f"the points must tell the throughput of one worker, and its {confidence:.0%} interval is 0 to "
            f"{rate.high:.3g} jobs/s: measure smaller numbers of workers, or more repeats"
        )


def _share(name: str, value: Any) -> None:
    rule = f"{name} must be a number more than 0 and less than 1"
    if number(rule, value, above=0) >= 1:
        raise ValueError(f"{rule}, not {describe(value)}")
