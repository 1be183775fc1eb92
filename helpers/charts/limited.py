"""Measured throughput against the limit that the number of cores sets."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from helpers.charts.style import INK, SKY, VERMILLION, need, numbers, positive, styled

HALF = 0.37  # half of the width of a bar; the distance of two bars is 1
RIGHT = HALF + 0.05  # where the rings stand: beside the bar


def against_limit(table: pd.DataFrame, *, cores: int, core_seconds: float, ax: Axes | None = None) -> Axes:
    """Draw a bar per number of workers up to its best run, and above it the limit min(workers, cores) / core_seconds.

    A ring beside a bar is a run. On each bar stand the throughput and the number of cores that the best run used.

    Args:
        table: columns workers, throughput (jobs/s), and "cores used"; one row per run.
        cores: the number of cores that the workers can use.
        core_seconds: the core seconds per job.

    Raises:
        ValueError: for a missing column, an empty table, or a number that is not positive.
    """
    need(table, "workers", "throughput", "cores used")
    numbers(table, "workers", "throughput", "cores used", above=0)
    positive("cores", cores)
    positive("core_seconds", core_seconds)
    best = table.sort_values("throughput").groupby("workers").tail(1).sort_values("workers")
    places = {workers: place for place, workers in enumerate(best["workers"])}
    limits = [min(workers, cores) / core_seconds for workers in places]
    with styled(ax) as axes:
        axes.set(title="Throughput and its limit", xlabel="Workers", ylabel="Throughput (jobs/s)")
        axes.bar(list(places.values()), best["throughput"], width=2 * HALF, color=SKY, edgecolor=INK, linewidth=0.8)
        rings: dict[str, Any] = {"color": INK, "markerfacecolor": "none", "markersize": 6}
        axes.plot(table["workers"].map(places) + RIGHT, table["throughput"], "o", label="_runs", **rings)
        axes.set_ylim(0, 1.15 * max([*limits, *best["throughput"]]))
        for place, limit in enumerate(limits):
            draw_limit(axes, place, limit)
        for place, rate, used in zip(places.values(), best["throughput"], best["cores used"], strict=True):
            words = f"{rate:.1f} jobs/s\n{used:.2f} cores used"
            axes.annotate(words, (place, 0), (0, 6), textcoords="offset points", ha="center", va="bottom", fontsize=10)
        axes.set_xticks(list(places.values()), [f"{workers:g}" for workers in places])
        axes.tick_params(axis="x", length=0)
        axes.grid(True, axis="y")
    return axes


def draw_limit(ax: Axes, place: int, limit: float) -> None:
    """Draw a dashed line at the limit across the place of a bar, and write the limit above it."""
    ax.plot(
        [place - HALF - 0.08, place + HALF + 0.08], [limit, limit], color=VERMILLION, linestyle="--", label="_limit"
    )
    where: dict[str, Any] = {"ha": "center", "va": "bottom", "color": VERMILLION, "fontweight": "bold"}
    where["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # hides the grid line behind the words
    ax.annotate(f"limit {limit:.1f}", (place, limit), (0, 3), textcoords="offset points", **where)
