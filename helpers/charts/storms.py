"""The number of calls that a server receives per interval, in one panel per run, so that the runs do not overlap."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from helpers.charts.style import (
    GREY,
    INK,
    SKY,
    VERMILLION,
    in_style,
    label_of,
    legend_above,
    need,
    numbers,
    positive,
    whole_numbers,
)
from helpers.charts.timelines import SECONDS
from helpers.measure.words import describe

MOST_RUNS = 4  # with more panels, each would be too low to be read
MOST_PIECES = 100_000  # more intervals than a picture can show
HATCH = "////"
CALLS: dict[str, Any] = {"facecolor": SKY, "edgecolor": INK, "linewidth": 1}
FAILED: dict[str, Any] = {"facecolor": VERMILLION, "edgecolor": "white", "hatch": HATCH, "linewidth": 0}


def storm(
    table: pd.DataFrame,
    *,
    bin_width: float,
    limit: float | None = None,
    outage: tuple[float, float] | None = None,
    mark_last: bool = False,
) -> Axes:
    """Draw the number of calls per interval as steps, in one panel per run. All panels have the same scales.

    Args:
        table:      columns run (the title of the panel) and seconds (when the call arrived). If there is a column ok
                    (whether the call succeeded), the failed calls are hatched, below the others.
        bin_width:  the length of an interval, in seconds.
        limit:      calls per interval above which the server is overloaded: a dashed line, labeled in the first panel.
        outage:     start and end of an outage of the server, in seconds: a hatched background.
        mark_last:  True: a line at the last call of each run, labeled with its time.

    Returns the axes of the first panel.

    Raises:
        ValueError: for a missing column, an empty table, too many runs or intervals, or a number that is not positive.
    """
    need(table, "run", "seconds")
    numbers(table, "seconds", least=0)
    if bin_width is None:
        raise TypeError("bin_width must be more than 0, not None")
    positive("bin_width", bin_width)
    positive("limit", limit)
    last = float(table["seconds"].max())
    if last / bin_width > MOST_PIECES:
        raise ValueError(
            f"bin_width must give at most {MOST_PIECES:,} intervals in {last:g} s, not {describe(bin_width)}"
        )
    runs = list(table.groupby("run", sort=False))
    if len(runs) > MOST_RUNS:
        raise ValueError(f"the table has {len(runs)} runs; the chart has room for {MOST_RUNS}")
    edges = np.arange(0.0, last + 2 * bin_width, bin_width)
    with in_style():
        size = (8.0, 0.8 + 1.7 * len(runs))
        _, grid = plt.subplots(len(runs), sharex=True, sharey=True, squeeze=False, figsize=size)
        panels: list[Axes] = list(grid[:, 0])
        for panel, (name, calls) in zip(panels, runs, strict=True):
            panel.stairs(np.histogram(calls["seconds"], edges)[0], edges, fill=True, **CALLS)
            if "ok" in table:
                failed = calls["seconds"][~calls["ok"].astype(bool)]
                panel.stairs(np.histogram(failed, edges)[0], edges, fill=True, **FAILED)
            panel.set(title=label_of(name, 80), ylabel=f"Calls per {bin_width:g} s", xlim=(0, edges[-1]))
            panel.grid(True, axis="y")
            whole_numbers(panel.yaxis, 5)
            _mark(panel, limit, outage)
            if mark_last:
                _mark_last(panel, float(calls["seconds"].max()))
        _name_marks(panels[0], limit, outage)
        if "ok" in table:
            legend_above(panels[0], [Patch(label="succeeded", **CALLS), Patch(label="failed", **FAILED)])
        panels[-1].set_xlabel(SECONDS)
    return panels[0]


def _mark(panel: Axes, limit: float | None, outage: tuple[float, float] | None) -> None:
    """Draw the limit in front of the steps and the outage behind them."""
    if limit is not None:
        panel.axhline(limit, color=INK, linestyle=(0, (6, 2)), linewidth=1.6)
    if outage is not None:
        panel.axvspan(*outage, facecolor="#eeeeee", edgecolor=GREY, hatch=HATCH, linewidth=0, alpha=0.6, zorder=0)


def _mark_last(panel: Axes, seconds: float) -> None:
    """Draw a line at the last call, and a label on the side that has more room."""
    panel.axvline(seconds, color=INK, linestyle=":", linewidth=1.6)
    near_the_end = seconds > sum(panel.get_xlim()) / 2
    panel.annotate(
        f"last call after {seconds:.2f} s",
        (seconds, 0.75),
        (-6 if near_the_end else 6, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right" if near_the_end else "left",
        va="center",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )


def _name_marks(panel: Axes, limit: float | None, outage: tuple[float, float] | None) -> None:
    """Label the line and the background, with room for the labels above the highest step."""
    top = panel.get_ylim()[1]
    back = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    if limit is not None:
        place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        panel.annotate(
            f"overloaded above {limit:g}", (0.99, limit), (0, 4), ha="right", va="bottom", bbox=back, **place
        )
    if outage is not None:
        panel.set_ylim(0, 1.2 * top)
        panel.text(sum(outage) / 2, 1.1 * top, "outage", ha="center", va="center", bbox=back)
