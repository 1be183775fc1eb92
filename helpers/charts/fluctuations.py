"""How many jobs are in a pool from moment to moment, compared with the number of its workers."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, PercentFormatter

from helpers.charts.panels import row_of_panels
from helpers.charts.style import BLUE, ORANGE, VERMILLION, label_of, need, numbers, plain, positive, styled
from helpers.charts.timelines import steps
from helpers.measure.words import describe

MOST_PANELS = 3  # in one row
GAP = 0.05  # between two panels, as a share of the width
MOMENTS = 1500  # that are drawn; more steps than pixels would only take time


def fluctuations(pools: Mapping[int, pd.DataFrame], *, begin: float, seconds: float, ax: Axes | None = None) -> Axes:
    """Draw a panel per pool: the jobs in the pool, in percent of its workers, over the same piece of time.

    Above 100%, which is a dashed line, jobs wait; that part is filled with another color. All panels share their
    scales.

    Args:
        pools:   tables with the columns submitted and finished (in seconds) under their numbers of workers; at most
            three.
        begin:   the time at which the panels begin, in seconds on the clock of the tables.
        seconds: the length of the panels.

    Raises TypeError if `pools` is not a mapping, ValueError for no pool, more than three, or one with bad columns.
    """
    if not issubclass(type(pools), Mapping):
        raise TypeError(f"pools must be tables under their numbers of workers, not {describe(pools)}")
    if not 1 <= len(pools) <= MOST_PANELS:
        raise ValueError(f"pools must be from 1 to {MOST_PANELS} tables, not {len(pools)}")
    shares = {}
    for workers, table in pools.items():
        need(table, "submitted", "finished")
        numbers(table, "submitted", "finished")
        positive("the number of workers", workers)
        shares[workers] = in_pool(table, begin, seconds) / workers
    top = 1.1 * max(1.0, *(float(share.max()) for share in shares.values()))
    with styled(ax, size=(8.6, 3.6)) as axes:
        axes.set_axis_off()
        axes.set_title("Jobs in the pool")
        for workers, panel in row_of_panels(axes, list(shares), GAP, "Jobs in the pool, in % of the workers"):
            draw_panel(panel, label_of(f"{workers:,} workers"), shares[workers], seconds, top)
    return axes


def in_pool(table: pd.DataFrame, begin: float, seconds: float) -> "pd.Series[float]":
    """Return the number of jobs in the pool at equally distant moments, which are counted from `begin`."""
    counts = steps(table["submitted"], table["finished"])
    moments = [seconds * n / MOMENTS for n in range(MOMENTS + 1)]
    places = counts.index.searchsorted([begin + moment for moment in moments], side="right") - 1
    return pd.Series(counts.to_numpy()[places], index=moments, dtype="float64")


def draw_panel(panel: Axes, name: str, share: "pd.Series[float]", seconds: float, top: float) -> None:
    """Draw one pool, and fill the part in which jobs wait."""
    times, values = [1e3 * moment for moment in share.index], share.tolist()
    filled: dict[str, Any] = {"step": "post", "color": ORANGE, "alpha": 0.7, "linewidth": 0, "label": "_waiting"}
    panel.fill_between(times, 1.0, values, where=[value > 1 for value in values], **filled)
    panel.step(times, values, where="post", color=BLUE, linewidth=1.5, label=name)
    panel.axhline(1.0, color=VERMILLION, linestyle=(0, (6, 2)), linewidth=1.6, label="_all busy")
    panel.set(xlim=(0, 1e3 * seconds), ylim=(0, top), xlabel="Time (ms)")
    panel.xaxis.set_major_formatter(FuncFormatter(plain))
    panel.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))
    panel.grid(True)
    panel.set_title(name, fontsize=10.5, fontweight="normal", loc="left", pad=6)
