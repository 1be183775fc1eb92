"""A quantile that is computed from the buckets of a histogram, beside the true one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from helpers.charts.style import BLUE, GREY, INK, VERMILLION, numbers, positive, styled


def histogram_view(
    seconds: Sequence[float],
    bounds: Sequence[float],
    *,
    share: float,
    true: float,
    estimate: float,
    ax: Axes | None = None,
) -> Axes:
    """Draw the share of jobs that took at most so long: the true curve, and the line that a histogram's buckets give.

    Args:
        seconds:   the service time of each job.
        bounds:    the finite upper bounds of the buckets, in seconds, ascending.
        share:     the share of the quantile, from 0 to 1; it is a horizontal line.
        true, estimate:  the quantile of `seconds`, and the one from the buckets, in seconds. Both are marked.

    Raises ValueError for no job, no bound, or a bad number.
    """
    if not len(seconds) or not len(bounds):
        raise ValueError("seconds and bounds must have at least one number each")
    numbers(pd.DataFrame({"seconds": list(seconds)}), "seconds", least=0)
    numbers(pd.DataFrame({"bounds": list(bounds)}), "bounds", above=0)
    for name, value in (("share", share), ("true", true), ("estimate", estimate)):
        positive(name, value)
    ordered = np.sort(np.asarray(seconds, float))
    upward = np.arange(1, len(ordered) + 1) / len(ordered)
    right = 1.08 * max(estimate, true, float(ordered[-1]), min((b for b in bounds if b >= estimate), default=estimate))
    shares = [0.0, *(float((ordered <= bound).mean()) for bound in bounds)]
    with styled(ax) as axes:
        axes.step([0.0, *ordered], [0.0, *upward], where="post", color=BLUE, linewidth=2.4, label="the truth")
        line: dict[str, Any] = {
            "color": VERMILLION,
            "linestyle": "--",
            "marker": "o",
            "markersize": 7,
            "linewidth": 1.8,
        }
        axes.plot([0.0, *bounds], shares, label="from the buckets", **line)
        axes.axhline(share, color=GREY, linewidth=1.2, linestyle=":", label="_share")
        for words, at, color in (("true", true, BLUE), ("from the buckets", estimate, VERMILLION)):
            axes.vlines(at, 0, share, color=color, linestyle=":", linewidth=1.8, label=f"_{words}")
            place: dict[str, Any] = {"textcoords": "offset points", "rotation": 90, "ha": "left", "va": "bottom"}
            axes.annotate(f"{words}: {at:.2f} s", (at, 0.03), (4, 0), color=INK, **place)
        axes.set(title="Quantiles from buckets", xlabel="Service time (s)", ylabel="Jobs that took at most so long")
        axes.set(xlim=(0, right), ylim=(0, 1.05))
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        axes.grid(True)
        axes.annotate(f"{share:.0%}", (0, share), (4, 2), textcoords="offset points", va="bottom", color=INK)
        axes.legend(loc="upper left", bbox_to_anchor=(0, 0.88))
    return axes
