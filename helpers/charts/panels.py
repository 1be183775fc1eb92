"""Throughput against workers, in one panel for each kind of work, with a line at the recommended number of workers."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from helpers.charts.style import BLUE, INK, VERMILLION, label_of, limit_line, need, numbers, positive, styled
from helpers.charts.sweeps import WORKERS, spread_out

MOST_PANELS = 5  # in one row; with more panels, the tick labels overlap
GAP = 0.04  # between two panels, as a share of the width
NAME = 20  # characters in one line of a panel's name
CLOSE = 0.13  # the smallest distance of two ticks, as a share of the panel's width


def panels(table: pd.DataFrame, *, limit: float | None = None, ax: Axes | None = None) -> Axes:
    """Draw a panel for each load: the throughput against the number of workers.

    All panels share the vertical scale. The line connects the medians, each run is a faint dot, and a thin vertical
    line spans the runs of each number of workers. A dashed vertical line marks the advised number of workers and is
    labeled with it. A dotted horizontal line marks `limit`, a throughput that no run can exceed.

    Args:
        table: columns load (a name), workers, advised (workers), throughput (jobs/s); a row per run.
        limit: in jobs/s; None draws no line.

    Raises ValueError for a missing column, an empty table, more than five loads, or a bad limit.
    """
    need(table, "load", "workers", "advised", "throughput")
    numbers(table, "workers", "advised", "throughput", above=0)
    positive("limit", limit)
    names = list(dict.fromkeys(table["load"]))
    if len(names) > MOST_PANELS:
        raise ValueError(f"the table has {len(names)} loads; there is room for {MOST_PANELS} panels")
    top = 1.12 * max(float(table["throughput"].max()), limit or 0)
    with styled(ax, size=(9.2, 3.4)) as axes:
        axes.set_axis_off()
        axes.set_title("Throughput against workers")
        for name, panel in row_of_panels(axes, names, GAP, "Throughput (jobs/s)"):
            draw_panel(panel, label_of(name, 60), table[table["load"] == name], top)
            if limit is not None:
                limit_line(panel, limit, f"limit: {limit:,g}", colour=INK, line=(0, (1, 2)))
    return axes


def row_of_panels(axes: Axes, names: Sequence[Any], gap: float, ylabel: str) -> Iterator[tuple[Any, Axes]]:
    """Yield each name with its panel. The panels are side by side, and only the first one has `ylabel`."""
    width = (1 + gap) / len(names) - gap
    for place, name in enumerate(names):
        panel = axes.inset_axes((place * (width + gap), 0.0, width, 0.94))
        if place == 0:
            panel.set_ylabel(ylabel)
        else:
            panel.tick_params(labelleft=False)
        yield name, panel


def draw_panel(panel: Axes, name: str, part: pd.DataFrame, top: float) -> None:
    """Draw one load: its median runs, all its runs, and the line at the advised number. The scale ends at `top`."""
    most, advised = float(part["workers"].max()), float(part["advised"].iloc[0])
    panel.axvline(advised, color=VERMILLION, linestyle=(0, (3, 2)), linewidth=1.8, label="_advised", zorder=1)
    panel.annotate(f"rule: {advised:,g}", (advised, 0), (5, 5), textcoords="offset points", va="bottom", fontsize=9.5)
    runs = part.groupby("workers")["throughput"]
    median, fastest, slowest = runs.median(), runs.max(), runs.min()
    panel.plot(list(median.index), median.tolist(), "o-", color=BLUE, markersize=5, label=name)
    panel.plot(part["workers"], part["throughput"], ".", color=BLUE, alpha=0.35, ms=8, zorder=1.5, label="_runs")
    panel.vlines(list(median.index), slowest.tolist(), fastest.tolist(), color=BLUE, alpha=0.4, linewidth=1.2)
    panel.grid(True)
    panel.set_xlim(0, 1.06 * most)
    panel.set_ylim(0, top)
    # Thin out the ticks from the right, so that the tick at the largest count is kept. The advised number needs no
    # tick, because its line is labeled.
    kept = spread_out([most - count for count in sorted(set(part["workers"]), reverse=True)][1:], CLOSE * most)
    panel.set_xticks(sorted([most, *(most - back for back in kept)]))
    panel.set_xlabel(WORKERS)
    panel.set_title(textwrap.fill(name, NAME), fontsize=10.5, fontweight="normal", loc="left", pad=6)
