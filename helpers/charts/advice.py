"""Was the advice right? Which way is faster? Charts of what was chosen."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, PercentFormatter

from helpers.charts.style import (
    GREY,
    INK,
    VERMILLION,
    label_of,
    legend_above,
    log_axis,
    need,
    numbers,
    plain,
    styled,
)
from helpers.charts.sweeps import LOOKS, Look, loads


def advice(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Throughput, as a share of each load's best, against workers, as a multiple of the advice: the knee belongs at 1.

    The scale below doubles from tick to tick.

    Args:
        table: columns load (a name), workers, advised (workers), throughput (jobs/s); at most four loads.

    Raises:
        ValueError: for a missing column, an empty table, or more loads than can be told apart.
    """
    need(table, "load", "workers", "advised", "throughput")
    numbers(table, "workers", "advised", "throughput", above=0)
    with styled(ax) as axes:
        axes.set(
            xscale="log", xlabel="Workers, as a multiple of the advice", ylabel="Throughput, share of the best (%)"
        )
        axes.axvline(1.0, color=VERMILLION, linestyle=(0, (2, 2)), linewidth=1.6, label="_the advice")
        axes.annotate("the advice", (1.0, 0.0), (6, 8), textcoords="offset points", va="bottom")  # where no curve is
        for name, rows, look in loads(table):
            share = (
                rows.groupby("workers")["throughput"].median() / rows.groupby("workers")["throughput"].median().max()
            )
            times = [workers / float(rows["advised"].iloc[0]) for workers in share.index]
            style: dict[str, Any] = {"color": look.colour, "linestyle": look.line, "marker": look.marker}
            axes.plot(
                times, share.tolist(), markerfacecolor=look.fill, markersize=look.size, label=name or "load", **style
            )
        low, high = axes.get_xlim()
        doublings = [2.0**n for n in range(-6, 7)]
        log_axis(axes.xaxis, [times for times in doublings if low <= times <= high])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"× {plain(value)}"))
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))
        axes.set_ylim(0, 1.12)
        axes.set_title("Was the advice right?")
        axes.grid(True)
        legend_above(axes)
    return axes


def ways(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """How long each way took in each case, as a multiple of the case's first way: left of 1 is faster, right is slower.

    Args:
        table: columns case, way (names) and seconds; a row a run: the marker is at the median, a dot at each run. The
               time itself stands beside it. At most four ways.

    Raises:
        ValueError: for a missing column, an empty table, or more ways than can be told apart.
    """
    need(table, "case", "way", "seconds")
    numbers(table, "seconds", above=0)
    cases = list(dict.fromkeys(table["case"]))
    if (count := table["way"].nunique()) > len(LOOKS):
        raise ValueError(f"the table has {count} ways; a chart can tell {len(LOOKS)} apart")
    with styled(ax, size=(8.0, 1.4 + 0.62 * len(cases))) as axes:
        axes.set_xscale("log")
        axes.axvline(1.0, color=GREY, linestyle=":", label="_first")
        for name, look in zip(dict.fromkeys(table["way"]), LOOKS, strict=False):
            for row, case in enumerate(cases):
                here = table[table["case"] == case]
                if name in set(here["way"]):
                    _way(axes, here, name, row, look)
        axes.set_yticks(range(len(cases)), [label_of(case) for case in cases])
        axes.set_ylim(len(cases) - 0.5, -0.5)  # the first case on top
        low, high = axes.get_xlim()
        axes.set_xlim(low, high * (high / low) ** 0.12)  # room for the last time
        axes.set(xlabel="Time, as a multiple of the first way's", title="Which way is faster?")
        log_axis(axes.xaxis)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"× {plain(value)}"))
        handles, names = axes.get_legend_handles_labels()
        legend_above(axes, list(dict(zip(names, handles, strict=True)).values()))
    return axes


def _way(ax: Axes, here: pd.DataFrame, name: Any, row: int, look: Look) -> None:
    """One way of one case: a line from 1 to its marker, its runs, and its time in words."""
    names = list(dict.fromkeys(here["way"]))
    times = here.groupby("way")["seconds"].median()
    place = row + 0.26 * (names.index(name) - (len(names) - 1) / 2)
    at = float(times[name] / times[names[0]])
    ax.plot([1.0, at], [place, place], color=look.colour, linewidth=2.5, label="_line")
    runs = here.loc[here["way"] == name, "seconds"] / times[names[0]]
    ax.plot(runs.tolist(), [place] * len(runs), ".", color=INK, markersize=4, zorder=3, label="_runs")
    style: dict[str, Any] = {"color": look.colour, "markersize": 9, "linestyle": "none", "markeredgewidth": 1.6}
    ax.plot([at], [place], marker=look.marker, markerfacecolor="white", label=label_of(name), **style)
    beside: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": "small"}
    ax.annotate(_time(float(times[name])), (max(at, 1.0, float(runs.max())), place), (10, 0), **beside)


def _time(seconds: float) -> str:
    """A time in the unit in which it is readable."""
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"
