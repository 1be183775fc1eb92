"""Was the advice right? And: which way of doing it is faster? Charts of what has been chosen against what is there."""

from collections.abc import Hashable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, PercentFormatter

from helpers.charts.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    VERMILLION,
    legend_above,
    log_axes,
    need,
    plain,
    styled,
)
from helpers.charts.sweeps import loads

FILLS = [(BLUE, ""), (ORANGE, "//"), (GREEN, ".."), (GREY, "xx")]  # a colour and a hatch a way
HIGH = 0.8  # of a case's height is its bars'


def advice(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Throughput, as a share of each load's best, against workers, as a multiple of the advice: the knee belongs at 1.

    Args:
        table: columns load (a name), workers, advised (workers), throughput (jobs/s); at most four loads.

    Raises:
        ValueError: for a missing column, an empty table, or more loads than can be told apart.
    """
    need(table, "load", "workers", "advised", "throughput")
    with styled(ax) as axes:
        log_axes(axes)
        axes.set_yscale("linear")
        axes.axvline(1.0, color=VERMILLION, linestyle=(0, (2, 2)), linewidth=1.6, label="_advice")
        for name, rows, look in loads(table):
            share = (
                rows.groupby("workers")["throughput"].median() / rows.groupby("workers")["throughput"].median().max()
            )
            times = [workers / float(rows["advised"].iloc[0]) for workers in share.index]
            style: dict[str, Any] = {"color": look.colour, "linestyle": look.line, "marker": look.marker}
            axes.plot(
                times, share.tolist(), markerfacecolor=look.fill, markersize=look.size, label=name or "load", **style
            )
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"× {plain(value)}"))
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))
        axes.set_ylim(0, 1.12)
        axes.set(xlabel="Workers, as a multiple of the advice", ylabel="Throughput, share of the best (%)")
        axes.set_title("Was the advice right?")
        axes.grid(True)
        legend_above(axes)
    return axes


def ways(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """How long each way took in each case, as bars; the time of a case's first way is 1, so that all fit on one axis.

    Args:
        table: columns case, way (names) and seconds; a row a run, the bar is at the median and every run is a dot. At
               most four ways.

    Raises:
        ValueError: for a missing column, an empty table, or more ways than can be told apart.
    """
    need(table, "case", "way", "seconds")
    cases, names = list(dict.fromkeys(table["case"])), list(dict.fromkeys(table["way"]))
    if len(names) > len(FILLS):
        raise ValueError(f"the table has {len(names)} ways; a chart can tell {len(FILLS)} apart")
    with styled(ax, size=(8.0, 1.2 + 0.75 * len(cases))) as axes:
        for name, (colour, hatch) in zip(names, FILLS, strict=False):
            places, medians = [], []
            for row, case in enumerate(cases):
                runs = _runs(table, case, name)
                if runs.empty:
                    continue
                first = float(_runs(table, case, _ways_of(table, case)[0]).median())
                place = row + _offset(_ways_of(table, case), name)
                places.append(place)
                medians.append(float(runs.median()) / first)
                axes.plot([second / first for second in runs], [place] * len(runs), ".", color=INK, markersize=4)
                axes.annotate(
                    _time(float(runs.median())), (medians[-1], place), (8, 0), textcoords="offset points", va="center"
                )
            height = HIGH / len(names)
            axes.barh(places, medians, height, color=colour, hatch=hatch, edgecolor="white", label=name)
        axes.axvline(1.0, color=GREY, linestyle=":", label="_first")
        axes.set_yticks(range(len(cases)), cases)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.18 * axes.get_xlim()[1])
        axes.set(xlabel="Time, as a multiple of the case's first way (shorter is better)", title="Which way is faster?")
        legend_above(axes)
    return axes


def _runs(table: pd.DataFrame, case: Hashable, way: Hashable) -> "pd.Series[float]":
    return table.loc[(table["case"] == case) & (table["way"] == way), "seconds"]


def _ways_of(table: pd.DataFrame, case: Hashable) -> list[Hashable]:
    return list(dict.fromkeys(table.loc[table["case"] == case, "way"]))


def _offset(ways: list[Hashable], way: Hashable) -> float:
    """Where in the case's row the bar of `way` stands, so that all of them are centred on it."""
    return (ways.index(way) - (len(ways) - 1) / 2) * HIGH / max(2, len(ways))


def _time(seconds: float) -> str:
    """A time in the unit in which it is readable."""
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"
