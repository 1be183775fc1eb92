"""The outcomes of jobs (how many succeeded, and how many failed with which error), and the speed of several ways."""

import textwrap
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import ScaledTranslation

from helpers.charts.style import (
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    YELLOW,
    label_of,
    laid_out,
    need,
    numbers,
    plain,
    root_figure,
    styled,
    whole_numbers,
)
from helpers.measure.words import describe

SUCCEEDED = "succeeded"
FEW = 3  # runs: with more, the legend has no room for their names
ERRORS = [
    (VERMILLION, "//"),
    (YELLOW, ".."),
    (PURPLE, "xx"),
    (SKY, "\\\\"),
    (ORANGE, "++"),
    ("#BBBBBB", "oo"),
    ("white", "--"),
]


def outcomes(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a bar per run, split by outcome: "succeeded" is plain, and every kind of error has a hatch of its own.

    The number of jobs is written on each part that is wide enough. For up to three runs the legend has the numbers
    too, so that a reader can see one lost job in a million. For more runs the legend has no numbers.

    Args:
        table: columns run, outcome, jobs (the number of jobs); rows with the same run and outcome are added up.

    Raises:
        ValueError: for a missing column, an empty table, or more kinds of error than can be told apart.
    """
    need(table, "run", "outcome", "jobs")
    numbers(table, "jobs", least=0)
    counts = table.pivot_table(index="run", columns="outcome", values="jobs", aggfunc="sum", fill_value=0, sort=False)
    errors = [kind for kind in counts.columns if kind != SUCCEEDED]
    if len(errors) > len(ERRORS):
        raise ValueError(f"the table has {len(errors)} kinds of error; a chart can tell {len(ERRORS)} apart")
    looks = dict(zip(errors, ERRORS, strict=False))
    if SUCCEEDED in counts:
        looks = {SUCCEEDED: (GREEN, ""), **looks}
    with styled(ax, size=(8.0, 1.7 + 0.6 * len(counts) + 0.28 * len(looks))) as axes:
        parts = stacked(axes, counts, looks)
        axes.set_yticks(range(len(counts)), [textwrap.fill(label_of(run), 22) for run in counts.index])
        axes.set(title="What became of the jobs", xlabel="Jobs", ylim=(len(counts) - 0.5, -0.5))
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        whole_numbers(axes.xaxis, most=6)
        down = ScaledTranslation(0, -48 / 72, root_figure(axes).dpi_scale_trans)  # below the ticks and their label
        where = {"bbox_to_anchor": (0, 0), "bbox_transform": axes.transAxes + down, "borderaxespad": 0}
        axes.legend(loc="upper left", alignment="left", **where)
        for part in parts:
            write_counts(axes, part)
    return axes


def rates(table: pd.DataFrame, *, unit: str, ax: Axes | None = None) -> Axes:
    """Draw the rate of each way as a bar up to the median, with a dot per run if a way has several runs.

    If the fastest way is more than twenty times as fast as the slowest, the axis is logarithmic. A logarithmic axis has
    no zero for a bar to start at, so a diamond marks the median instead.

    Args:
        table: columns way (a name) and rate; several rows of one way are repeated runs.
        unit: the unit of the rate, for the axis label, such as "pictures/s".

    Raises:
        ValueError: for a missing column, an empty table, or a rate that is not positive.
    """
    need(table, "way", "rate")
    numbers(table, "rate", above=0)
    if not issubclass(type(unit), str) or not unit:
        raise TypeError(f"unit must be the unit of the rate as text, not {describe(unit)}")
    median = table.groupby("way", sort=False)["rate"].median()
    places = {way: place for place, way in enumerate(median.index)}
    with styled(ax, size=(8.0, 1.4 + 0.62 * len(median))) as axes:
        rows = list(range(len(median)))
        if median.max() > 20 * median.min():
            axes.set_xscale("log")
            axes.set_xlim(median.min() / 3, median.max() * 4)
            look: dict[str, Any] = {"color": SKY, "markeredgecolor": INK, "markersize": 11}
            axes.plot(median.tolist(), rows, "D", label="_median", **look)
        else:
            axes.set_xlim(0, 1.18 * table["rate"].max())  # room for the label right of the last dot
            axes.barh(rows, median, height=0.56, color=SKY, edgecolor=INK, linewidth=0.8)
        for place, (rate, most) in enumerate(zip(median, table.groupby("way", sort=False)["rate"].max(), strict=True)):
            words = f"{rate:,.3g}" if rate < 100 else f"{rate:,.0f}"
            axes.annotate(words, (most, place), (12, 0), textcoords="offset points", va="center")  # right of all dots
        if len(table) > len(median):
            axes.plot(table["rate"], table["way"].map(places), ".", color=INK, markersize=7)
        axes.set_yticks(rows, [textwrap.fill(label_of(way), 34) for way in median.index])
        form = "the diamond their median, log scale" if axes.get_xscale() == "log" else "the bar their median"
        axes.set_xlabel(f"{label_of(unit[:1].upper() + unit[1:])} (a dot is a run, {form})")
        axes.set(title="How fast each way is", ylim=(len(median) - 0.5, -0.5))
        axes.xaxis.set_major_formatter(FuncFormatter(plain))
        axes.tick_params(axis="y", length=0)
        axes.grid(True, axis="x")
    return axes


def stacked(ax: Axes, counts: pd.DataFrame, looks: dict[str, tuple[str, str]]) -> list[BarContainer]:
    """Draw the bars of each kind of outcome, from left to right in the order of `looks`. Return them in this order.

    `counts` has one column per kind of outcome and one row per run.
    """
    parts = []
    left = pd.Series(0, index=counts.index)
    for kind, (colour, hatch) in looks.items():
        look: dict[str, Any] = {"color": colour, "hatch": hatch, "edgecolor": INK, "linewidth": 0.8}
        label = legend_text(kind, counts[kind])
        parts.append(ax.barh(range(len(counts)), counts[kind], left=left, height=0.62, label=label, **look))
        left = left + counts[kind]
    return parts


def legend_text(kind: str, jobs: "pd.Series[int]") -> str:
    """Return the legend entry of a kind of outcome, wrapped if it is long.

    It is "kind: 883" for one run, "kind: 883 (naive), 2 (pool)" for a few runs, and "kind" for many runs.
    """
    if len(jobs) == 1:
        counts = f": {jobs.sum():,}"
    elif len(jobs) <= FEW:
        counts = ": " + ", ".join(f"{n:,} ({label_of(run)})" for run, n in jobs.items() if n)
    else:
        counts = ""
    return textwrap.fill(f"{label_of(kind, 200)}{counts}", 76)


def write_counts(ax: Axes, part: BarContainer) -> None:
    """Write on each bar of `part` its number of jobs, if the bar is wide enough."""
    laid_out(ax)
    back = {"facecolor": "white", "edgecolor": "none", "pad": 2}
    for bar in part:
        x, y = bar.get_center()
        text = ax.text(x, y, f"{bar.get_width():,.0f}", ha="center", va="center", bbox=back)
        if text.get_window_extent().width + 10 > bar.get_window_extent().width:
            text.remove()
