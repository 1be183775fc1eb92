"""The signals of pools over time, and an alert on one of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from helpers.charts.style import (
    INK,
    VERMILLION,
    end_labels,
    label_of,
    limit_line,
    need,
    numbers,
    plain,
    positive,
    styled,
)
from helpers.charts.sweeps import LOOKS

# The column of each panel, the words above it, and the least top of its scale.
SIGNALS = {
    "utilization": ("Utilization", 1.0),
    "errors": ("Errors (jobs)", 1.0),
    "queued": ("Jobs in the queue", 1.0),
    "oldest_wait": ("Oldest wait (s)", 0.1),
}
GAP = 0.075  # between two panels, as a share of the width
TIME = "Time (s)"
BAND = 0.1  # the height of the band with the states of an alert, as a share of the height
SHADES = [("white", INK), ("#f2c9ad", INK), (VERMILLION, "white")]  # of the states: the color, and that of the words


def signals(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a panel for each of the four signals of a pool, with a line per pool. All pools share the scale of a panel.

    Args:
        table: columns pool (a name), time (seconds), utilization (from 0 to 1), errors (jobs so far), queued
            (jobs), oldest_wait (seconds); one row per sample. At most four pools.

    Raises ValueError for a missing column, an empty table, too many pools, or a bad number.
    """
    need(table, "pool", "time", *SIGNALS)
    numbers(table, "time", *SIGNALS, least=0)
    pools = _pools(table)
    width = (1 + GAP) / len(SIGNALS) - GAP
    with styled(ax, size=(9.6, 3.0)) as axes:
        axes.set_axis_off()
        axes.set_title("The four signals")
        for place, (column, (words, least)) in enumerate(SIGNALS.items()):
            panel = axes.inset_axes((place * (width + GAP), 0.0, width, 0.9))
            ends = _lines(panel, pools, column)
            panel.set_title(words, fontsize=10.5, fontweight="normal", loc="left", pad=6)
            panel.set(xlabel=TIME, xlim=(0, None), ylim=(0, 1.1 * max(least, float(table[column].max()))))
            whole = column in ("errors", "queued")  # jobs: no half ones
            panel.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10], integer=whole))
            panel.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
            share = PercentFormatter(xmax=1, decimals=0) if column == "utilization" else FuncFormatter(plain)
            panel.yaxis.set_major_formatter(share)
            panel.grid(True)
        end_labels(panel, ends)
    return axes


def alert(
    table: pd.DataFrame,
    *,
    limit: float,
    marks: Mapping[str, float] | None = None,
    states: Mapping[str, tuple[float, float]] | None = None,
    delays: Mapping[str, tuple[float, float]] | None = None,
    others: Mapping[str, tuple[str, float]] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the oldest wait of each pool over time, the limit of an alert, and when the state of the alert changed.

    The words of the first mark stand at its left, and those of the others at their right.

    Args:
        table: columns pool (a name), time and oldest_wait (seconds); one row per sample. At most four pools.
        limit: the oldest wait above which the condition of the alert is true, in seconds.
        marks: words and the time at which they became true, in seconds; such as {"pending": 3.0, "firing": 5.0}.
        states: a state of the alert, and the times at which it began and ended, in seconds; such as
            {"pending": (3.0, 5.0)}. A band at the top names the states, in this order and from light to dark.
        delays: words and the two times between which they were true, in seconds; such as {"hold": (3.0, 5.0)}.
        others: a pool, and words with a time in seconds to mark on its line; such as {"mail": ("fires", 4.0)}.

    Raises ValueError for a missing column, an empty table, too many pools, or a bad number.
    """
    need(table, "pool", "time", "oldest_wait")
    numbers(table, "time", "oldest_wait", least=0)
    positive("limit", limit)
    with styled(ax) as axes:
        ends = _lines(axes, _pools(table), "oldest_wait")
        for line in ends:
            line.set(marker="o", markersize=4)
        limit_line(axes, limit, f"limit: {limit:g} s")
        share = 1 - BAND if states else 1.0
        top = 1.6 / share * max(limit, float(table["oldest_wait"].max()))  # room above the lines for the words
        if states:
            _band(axes, states, top)
        for place, (words, at) in enumerate(sorted((marks or {}).items(), key=lambda mark: mark[1])):
            axes.axvline(at, ymax=share, color=INK, linestyle=":", linewidth=1.6, label=f"_{words}")
            side = ("right", -5) if place == 0 else ("left", 5)
            style: dict[str, Any] = {"ha": side[0], "va": "top", "color": INK}
            axes.annotate(label_of(words, 40), (at, share * top), (side[1], -4), textcoords="offset points", **style)
        for place, (words, ends_at) in enumerate((delays or {}).items()):
            _delay(axes, words, ends_at, level=(share - 0.13 - 0.12 * place) * top, total=float(table["time"].max()))
        for pool, (words, at) in (others or {}).items():
            _mark_on_line(axes, table[table["pool"] == pool].sort_values("time"), words, at)
        axes.set(title="Oldest wait", xlabel=TIME, ylabel="Oldest wait (s)", xlim=(0, None), ylim=(0, top))
        axes.set_yticks([tick for tick in axes.get_yticks() if tick <= (share - 0.31) * top])  # a delay has no height
        axes.grid(True)
        end_labels(axes, ends)
    return axes


def _band(axes: Axes, states: Mapping[str, tuple[float, float]], top: float) -> None:
    """Draw a band at the top of the axes with a part per state, and a dotted line down from each change."""
    for place, (words, (begin, end)) in enumerate(states.items()):
        colour, ink = SHADES[min(place, len(SHADES) - 1)]
        axes.axvspan(begin, end, ymin=1 - BAND, facecolor=colour, edgecolor=INK, linewidth=1.2, label=f"_{words}")
        if place:
            axes.axvline(begin, ymax=1 - BAND, color=INK, linestyle=":", linewidth=1.6, label=f"_from {words}")
        style: dict[str, Any] = {"ha": "center", "va": "center", "color": ink, "fontweight": "bold"}
        axes.text((begin + end) / 2, (1 - BAND / 2) * top, label_of(words, 20), **style)


def _mark_on_line(axes: Axes, rows: pd.DataFrame, words: str, at: float) -> None:
    """Mark a time on the line of a pool, with words at its upper left."""
    level = float(np.interp(at, rows["time"], rows["oldest_wait"]))
    look: dict[str, Any] = {"marker": "D", "markersize": 8, "linestyle": "none", "zorder": 5}
    axes.plot([at], [level], color=INK, label=f"_{words}", **look)
    style: dict[str, Any] = {"ha": "right", "va": "bottom", "color": INK, "zorder": 5}
    style["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # the words may cross the line of a mark
    axes.annotate(label_of(words, 40), (at, level), (3, 7), textcoords="offset points", **style)


def _delay(axes: Axes, words: str, ends_at: tuple[float, float], level: float, total: float) -> None:
    """Draw a horizontal line between two times, with the words and the seconds above its middle.

    The words stand at its right if it is short (less than a third of the `total` time), so that they cross no mark.
    """
    begin, end = ends_at
    axes.plot([begin, end], [level, level], color=INK, linewidth=1.6, marker="|", markersize=9, label=f"_{words}")
    text = f"{label_of(words, 40)}: {end - begin:.2f} s"
    style: dict[str, Any] = {"textcoords": "offset points", "color": INK}
    if end - begin < total / 3:
        axes.annotate(text, (end, level), (7, 0), ha="left", va="center", **style)
    else:
        axes.annotate(text, ((begin + end) / 2, level), (0, 5), ha="center", va="bottom", **style)


def _pools(table: pd.DataFrame) -> list[tuple[Any, pd.DataFrame]]:
    pools = list(table.groupby("pool"))  # sorted, so that a pool has the same look in each chart
    if len(pools) > len(LOOKS):
        raise ValueError(f"the table has {len(pools)} pools; a chart can tell {len(LOOKS)} apart")
    return pools


def _lines(axes: Axes, pools: list[tuple[Any, pd.DataFrame]], column: str) -> list[Any]:
    """Draw a line per pool, and return the lines."""
    lines: list[Any] = []
    for (name, rows), look in zip(pools, LOOKS, strict=False):
        ordered = rows.sort_values("time")
        style: dict[str, Any] = {"color": look.colour, "linestyle": look.line, "linewidth": 2.2}
        lines += axes.plot(ordered["time"].tolist(), ordered[column].tolist(), label=label_of(name, 40), **style)
    return lines
