"""What becomes of the jobs when processes are killed."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from helpers.charts.style import BLUE, INK, VERMILLION, label_of, log_axis, need, numbers, styled

ROOM = 210  # percent: the width of a panel, with room for the words beside a bar of 50 percent
GAP = 0.04  # between two panels, as a share of the width
COST_WIDTH = 0.8  # the width of the panel of costs, if a panel of lost jobs has the width 1


def survival(table: pd.DataFrame, costs: pd.DataFrame | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw a panel per kind of kill, with a bar per way to run jobs: the share of its jobs that were lost.

    A second part of the bar is the share of its jobs that started twice. Both numbers stand beside the bar. A panel
    before the others shows what a job costs: a ring per measurement, with the median as its number.

    Args:
        table: columns kill (the title of a panel), way, jobs (their number, from 1 up), lost and doubled (numbers of
            jobs); one row per kill and way, the first at the top. Each kill has the same ways in the same order.
        costs: columns way and ms (milliseconds per job, above 0), with one row or more per way of `table`. Rows of
            other ways are not drawn. None: there is no panel of costs.

    Raises ValueError for a missing column, an empty table, a number that is too small, different ways, or a way without
    costs.
    """
    need(table, "kill", "way", "jobs", "lost", "doubled")
    numbers(table, "jobs", least=1)
    numbers(table, "lost", "doubled", least=0)
    panels = list(table.groupby("kill", sort=False))
    ways = panels[0][1]["way"].tolist()
    if any(rows["way"].tolist() != ways for _, rows in panels):
        raise ValueError("each kill must have the same ways in the same order")
    cost_width = 0.0 if costs is None else COST_WIDTH
    width = (1 + GAP) / (len(panels) + cost_width) - GAP
    first = cost_width * (width + GAP)  # where the first panel of lost jobs begins
    with styled(ax, size=(9.4, 0.5 * len(ways) + 1.3)) as axes:
        axes.set_axis_off()
        axes.set_title("Jobs that are lost when processes are killed")
        if costs is not None:
            _cost_panel(axes.inset_axes((0.0, 0.0, first - GAP, 0.9)), costs, ways)
        for place, (kill, rows) in enumerate(panels):
            panel = axes.inset_axes((first + place * (width + GAP), 0.0, width, 0.9))
            _bars(panel, rows.to_dict("records"))
            _name(panel, kill)
        _label_ways(axes, ways)
    return axes


def _cost_panel(panel: Axes, costs: pd.DataFrame, ways: Sequence[Any]) -> None:
    """Draw what a job of each way costs."""
    need(costs, "way", "ms")
    numbers(costs, "ms", above=0)
    drawn = costs.loc[costs["way"].isin(ways), "ms"]
    for place, way in enumerate(ways):
        found = costs.loc[costs["way"] == way, "ms"]
        if found.empty:
            raise ValueError(f"costs must have a row for each way, but it has none for {label_of(way, 40)}")
        panel.plot(found, [place] * len(found), "o", mfc="none", ms=7, color=BLUE, label="_cost")
        words = f"{found.median():.2g}"
        panel.annotate(words, (found.median(), place), (0, 7), textcoords="offset points", ha="center", color=INK)
    first, last = math.floor(math.log10(drawn.min() * 0.9)), math.ceil(math.log10(drawn.max() * 1.1))
    decades = [10.0**power for power in range(first, last + 1)]
    panel.set(xscale="log", xlim=(decades[0], decades[-1]), ylim=(len(ways) - 0.5, -0.5))
    panel.set_xlabel("ms per job", loc="left")
    log_axis(panel.xaxis, decades)
    panel.grid(False, axis="y")
    _name(panel, "What a job costs")


def _name(panel: Axes, title: Any) -> None:
    panel.set_title(label_of(title, 60), fontsize=11, loc="left", pad=6)


def _label_ways(axes: Axes, ways: Sequence[Any]) -> None:
    """Write the ways beside the first panel only."""
    for panel in axes.child_axes:
        is_first = panel is axes.child_axes[0]
        panel.set_yticks(range(len(ways)), [label_of(way, 40) for way in ways] if is_first else [])
        panel.tick_params(axis="y", length=0)


def _bars(panel: Axes, rows: Sequence[Mapping[Any, Any]]) -> None:
    """Draw the bars of one kind of kill, each with its words."""
    places = range(len(rows))
    lost = [100 * row["lost"] / row["jobs"] for row in rows]
    twice = [100 * row["doubled"] / row["jobs"] for row in rows]
    panel.barh(places, lost, height=0.55, color=VERMILLION, label="_lost")
    panel.barh(places, twice, left=lost, height=0.55, color=BLUE, label="_twice")
    for place, row in enumerate(rows):
        words = f"{row['lost']:,.0f} lost, {row['doubled']:,.0f} twice"
        weight, color = ("bold", VERMILLION) if row["lost"] else ("normal", INK)
        panel.text(lost[place] + twice[place] + 3, place, words, va="center", color=color, fontweight=weight)
    panel.set(xlim=(0, ROOM), ylim=(len(rows) - 0.5, -0.5), xticks=range(0, 101, 25))
    panel.grid(False)
    panel.spines["bottom"].set_bounds(0, 100)
    panel.set_xlabel("Jobs (%)", loc="left")
