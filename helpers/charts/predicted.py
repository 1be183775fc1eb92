"""Measured throughput beside a prediction: a panel per workload, or one chart with the curves of several laws."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, PercentFormatter

from helpers.charts.panels import row_of_panels
from helpers.charts.style import (
    BLUE,
    GREEN,
    INK,
    PURPLE,
    VERMILLION,
    end_labels,
    label_of,
    legend_above,
    need,
    numbers,
    plain,
    positive,
    styled,
)
from helpers.charts.sweeps import LOOKS, WORKERS, mark_workers, median_line, spread_out
from helpers.measure.words import describe

MOST_PANELS = 3  # in one row
GAP = 0.05  # between two panels, as a share of the width
CLOSE = 0.13  # of a panel's width: two ticks that are closer would overlap
LAWS = [(INK, ":"), (VERMILLION, "--"), (GREEN, "-."), (PURPLE, (0, (1, 1, 4, 1)))]  # a color and a line per law
POINTS = 200  # of a curve


def predictions(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a panel for each workload: the measured throughput, and the prediction, in percent of the limit.

    All panels share the upright scale, so workloads of different speeds can be compared. An upright line stands at the
    corner of the prediction. A dot is a run, the line goes through the medians, and a thin line spans the runs.

    Args:
        table: columns workload (a name), workers, throughput and predicted (both in jobs/s), best (the workers at the
            corner, which may be a fraction); one row per run.

    Raises ValueError for a missing column, an empty table, a number that is not more than 0, or more than three
    workloads.
    """
    need(table, "workload", "workers", "throughput", "predicted", "best")
    numbers(table, "workers", "throughput", "predicted", "best", above=0)
    names = list(dict.fromkeys(table["workload"]))
    if len(names) > MOST_PANELS:
        raise ValueError(f"the table has {len(names)} workloads; there is room for {MOST_PANELS} panels")
    most = table.groupby("workload")["predicted"].transform("max")
    shares = table.assign(throughput=table["throughput"] / most, predicted=table["predicted"] / most)
    top = 1.1 * max(1.0, float(shares["throughput"].max()))
    with styled(ax, size=(9.2, 3.8)) as axes:
        axes.set_axis_off()
        axes.set_title("Predicted and measured throughput")
        for name, panel in row_of_panels(axes, names, GAP, "Throughput (% of the limit)"):
            handles = draw_panel(panel, label_of(name, 40), shares[shares["workload"] == name], top)
        legend_above(axes, handles)
    return axes


def draw_panel(panel: Axes, name: str, part: pd.DataFrame, top: float) -> list[Any]:
    """Draw one workload, and return the lines for the legend."""
    best, most = float(part["best"].iloc[0]), float(part["workers"].max())
    panel.axvline(best, color=VERMILLION, linestyle=(0, (3, 2)), linewidth=1.8, label="_best", zorder=1)
    words: dict[str, Any] = {"xytext": (5, -3), "textcoords": "offset points", "va": "top", "fontsize": 9.5}
    panel.annotate(f"corner: {best:,.0f}", (best, top), **words)
    predicted = part.groupby("workers")["predicted"].first()
    counts, shares = [0.0, *predicted.index.tolist()], [0.0, *predicted.tolist()]
    if best < most and best not in counts:  # the corner of the line
        place = next(n for n, count in enumerate(counts) if count > best)
        counts.insert(place, best)
        shares.insert(place, 1.0)
    (law,) = panel.plot(counts, shares, color=INK, linestyle=":", linewidth=2.0, zorder=2.5, label="predicted")
    measured = median_line(panel, part, "throughput", LOOKS[0]._replace(size=5), "measured")
    panel.set(xlim=(0, 1.05 * most), ylim=(0, top), xlabel=WORKERS)
    panel.set_xticks([0, *spread_out(sorted(set(part["workers"])), CLOSE * most)])
    panel.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))
    panel.set_title(name, fontsize=10.5, fontweight="normal", loc="left", pad=6)
    return [law, measured]


def laws(
    table: pd.DataFrame,
    curves: Mapping[str, Callable[[float], float]],
    *,
    marks: Mapping[float, str] | None = None,
    top: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the measured throughput against workers, and one curve per law, on two linear axes from zero.

    Args:
        table:  columns workers, throughput (jobs/s); one row per run. Each run is a dot.
        curves: functions of the number of workers that return jobs/s, under the names of their laws; at most four.
        marks:  words at worker counts, beside an upright line: {25: "25 connections"}.
        top:    the highest throughput that the chart shows, in jobs/s. Lines and dots above it are cut off. None means
            that the chart shows all of them.

    Raises TypeError if `curves` is not a mapping, ValueError for a bad table, for no law or more than four, or if `top`
    is not more than 0.
    """
    positive("top", top)
    need(table, "workers", "throughput")
    numbers(table, "workers", "throughput", above=0)
    if not issubclass(type(curves), Mapping):
        raise TypeError(f"curves must be functions under the names of their laws, not {describe(curves)}")
    if not 1 <= len(curves) <= len(LAWS):
        raise ValueError(f"curves must be from 1 to {len(LAWS)} laws, not {len(curves)}")
    most = float(table["workers"].max())
    with styled(ax) as axes:
        axes.set(xlabel=WORKERS, ylabel="Throughput (jobs/s)", xlim=(0, 1.03 * most))
        mark_workers(axes, marks)
        ends = []
        for (name, law), (color, line) in zip(curves.items(), LAWS, strict=False):
            counts = np.linspace(1.0, most, POINTS).tolist()
            look: dict[str, Any] = {"color": color, "linestyle": line, "linewidth": 2.2}
            ends += axes.plot(counts, [law(count) for count in counts], label=label_of(name, 40), **look)
        dots: dict[str, Any] = {"color": BLUE, "markersize": 7, "markeredgecolor": "white", "zorder": 3}
        axes.plot(table["workers"], table["throughput"], "o", label="_measured", **dots)
        axes.set_ylim(bottom=0, top=top)
        axes.set_xticks([0, *spread_out(sorted(set(table["workers"])), 0.06 * most)])
        axes.yaxis.set_major_formatter(FuncFormatter(plain))
        axes.grid(True)
        axes.set_title("Measured throughput (dots) and laws (lines)", pad=24 if marks else None)
        end_labels(axes, ends)
    return axes
