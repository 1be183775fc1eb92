"""How long jobs wait, against how busy the workers are."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, PercentFormatter

from helpers.charts.style import VERMILLION, label_of, need, numbers, plain, positive, styled
from helpers.charts.sweeps import LOOKS

FIRST, LAST = 0.82, 0.5  # the heights at which the names of the lines stand, as shares of the axes' height


def hockey_stick(
    table: pd.DataFrame,
    *,
    top: float,
    dots: pd.DataFrame | None = None,
    mark: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the mean wait against the utilization, one line per pool, and dots for what was simulated or measured.

    Args:
        table: columns pool (a name), utilization (from 0.0 to 1.0), wait (mean, in seconds; drawn in ms); one row per
            point of a line. At most four pools, the one with the longest waits first.
        top:   the longest wait that the chart shows, in seconds. Lines and dots above it are cut off.
        dots:  columns utilization and wait.
        mark:  a utilization for an upright line, such as 0.8.

    Raises ValueError for a missing column, an empty table, a bad number, or more than four pools.
    """
    need(table, "pool", "utilization", "wait")
    numbers(table, "utilization", "wait", least=0)
    positive("top", top)
    positive("mark", mark)
    if dots is not None:
        need(dots, "utilization", "wait")
        numbers(dots, "utilization", "wait", least=0)
    groups = list(table.groupby("pool", sort=False))
    if len(groups) > len(LOOKS):
        raise ValueError(f"the table has {len(groups)} pools; a chart can tell {len(LOOKS)} apart")
    with styled(ax) as axes:
        axes.set(xlabel="Utilization of the workers", ylabel="Mean wait (ms)", xlim=(0, 1), ylim=(0, 1e3 * top))
        if mark is not None:
            axes.axvline(mark, color=VERMILLION, linestyle=(0, (2, 2)), linewidth=1.6, label="_mark")
        for place, ((name, rows), look) in enumerate(zip(groups, LOOKS, strict=False)):
            line: dict[str, Any] = {"color": look.colour, "linestyle": look.line, "linewidth": 2.4}
            ordered = rows.sort_values("utilization")
            axes.plot(ordered["utilization"], 1e3 * ordered["wait"], label=label_of(name, 40), **line)
            height = FIRST - (FIRST - LAST) * place / max(1, len(groups) - 1)
            last = 0 < place == len(groups) - 1
            name_line(axes, ordered, label_of(name, 40), height * top, right=last)
        if dots is not None:
            look_of_dots: dict[str, Any] = {"color": "#222222", "markersize": 6, "zorder": 3}
            axes.plot(dots["utilization"], 1e3 * dots["wait"], "o", label="_dots", **look_of_dots)
        axes.xaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))
        axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
        axes.yaxis.set_major_formatter(FuncFormatter(plain))
        axes.grid(True)
        axes.set_title("Wait against utilization")
    return axes


def name_line(ax: Axes, rows: pd.DataFrame, name: str, height: float, *, right: bool) -> None:
    """Write the name of a line left or right of the point at which its wait first reaches `height` seconds.

    The last of several lines has its name on the right, where no other line is.
    """
    reached = rows[rows["wait"] >= height]
    at = rows.iloc[-1] if reached.empty else reached.iloc[0]
    place = float(at["utilization"]), 1e3 * float(at["wait"])
    back = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}  # so that the line of `mark` does not cross the name
    offset, side = (7, "left") if right else (-6, "right")
    ax.annotate(name, place, (offset, 0), textcoords="offset points", ha=side, va="center", bbox=back)
