"""Throughput at a few numbers of workers, and the upper limit at each of them, in one panel for each handler."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from helpers.charts.panels import row_of_panels
from helpers.charts.style import BLUE, VERMILLION, label_of, need, numbers, plain, styled
from helpers.charts.sweeps import WORKERS

MOST_PANELS = 3  # in one row
GAP = 0.06  # between two panels, as a share of the width
# The distance between two numbers of workers is 1.
HALF = 0.34  # half the length of the bar of a limit
SPREAD = 0.24  # the runs lie side by side, at most this far from the middle, so that they do not cover each other


def ceilings(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a panel for each handler: each run is a faint dot, the fastest run a diamond, the upper limit a thick bar.

    The runs of a number of workers lie side by side, in the order of the table.

    Other programs can slow a run down but cannot speed it up, so the fastest run is the least disturbed run. All panels
    share the vertical scale, which begins at zero. The numbers of workers are categories with equal distances.

    Args:
        table: columns handler (a name), workers, throughput, limit (both in jobs/s); a row per run.

    Raises ValueError for a missing column, an empty table, or more than three handlers.
    """
    need(table, "handler", "workers", "throughput", "limit")
    numbers(table, "workers", "throughput", "limit", above=0)
    names = list(dict.fromkeys(table["handler"]))
    if len(names) > MOST_PANELS:
        raise ValueError(f"the table has {len(names)} handlers; there is room for {MOST_PANELS} panels")
    top = 1.18 * float(table[["throughput", "limit"]].max().max())
    with styled(ax, size=(8.0, 3.8)) as axes:
        axes.set_axis_off()
        axes.set_title("Throughput and its upper limit")
        for name, panel in row_of_panels(axes, names, GAP):
            draw_panel(panel, label_of(name, 60), table[table["handler"] == name], top)
    return axes


def draw_panel(panel: Axes, name: str, part: pd.DataFrame, top: float) -> None:
    """Draw one handler: all its runs, the fastest run of each number of workers, and the limits."""
    counts = sorted(set(part["workers"]))
    at = (part["workers"].map(counts.index) + side_by_side(part["workers"])).tolist()
    fastest = part.groupby("workers")["throughput"].max().tolist()
    limits = part.groupby("workers")["limit"].max().tolist()
    for place, limit in enumerate(limits):
        panel.hlines(limit, place - HALF, place + HALF, color=VERMILLION, linewidth=3, label="_limit")
        above: dict[str, Any] = {"xytext": (0, 4), "textcoords": "offset points", "ha": "center", "va": "bottom"}
        panel.annotate(f"limit {limit:,.0f}", (place, limit), color=VERMILLION, fontsize=10, **above)
    panel.plot(at, part["throughput"], "o", color=BLUE, alpha=0.3, markersize=6, markeredgewidth=0, label="_runs")
    panel.plot(range(len(counts)), fastest, "D", color=BLUE, markersize=7, label=name)
    for place, rate in enumerate(fastest):
        beside = (place + HALF + 0.03, rate)  # right of the bar
        panel.annotate(f"{rate:,.0f}", beside, color=BLUE, fontsize=10, fontweight="bold", ha="left", va="center")
    panel.grid(True, axis="y")
    panel.set(xlim=(-0.6, len(counts) - 0.4), ylim=(0, top), xlabel=WORKERS)
    panel.set_xticks(range(len(counts)), [f"{count:,g}" for count in counts])
    panel.yaxis.set_major_formatter(FuncFormatter(plain))
    panel.set_title(name, fontsize=10.5, fontweight="normal", loc="left", pad=6)


def side_by_side(workers: pd.Series) -> pd.Series:
    """Return how far to move each run sideways, so that runs with the same number of workers lie side by side."""
    runs = workers.groupby(workers)
    last = runs.transform("size") - 1
    return (runs.cumcount() - last / 2) * 2 * SPREAD / last.clip(lower=1)
