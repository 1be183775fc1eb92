"""A crew that changes: how many there were while how much waited, and what that cost against what it gained."""

import pandas as pd
from matplotlib.axes import Axes

from helpers.charts.style import (
    BLUE,
    INK,
    SKY,
    VERMILLION,
    label_of,
    legend_above,
    need,
    numbers,
    positive,
    styled,
    whole_numbers,
)
from helpers.charts.timelines import SECONDS, steps

MARKERS = ["o", "s", "^", "D", "v", "P"]


def crew(jobs: pd.DataFrame, changes: pd.DataFrame, *, end: float | None = None, ax: Axes | None = None) -> Axes:
    """The workers (right axis) and the waiting jobs (left axis) over the same time, as steps.

    Args:
        jobs: columns submitted, started (seconds); as `to_frame` makes them.
        changes: columns time (seconds), after (workers); as `crew_frame` makes them, with the same `zero`.
        end: where the chart ends, seconds; by default at the last event.

    Raises:
        ValueError: for a missing column, an empty frame, or an end that is not positive.
    """
    need(jobs, "submitted", "started")
    need(changes, "time", "after")
    numbers(jobs, "submitted")
    numbers(jobs, "started", gaps=True)
    numbers(changes, "time", "after")
    positive("end", end)
    waiting = steps(jobs["submitted"], jobs["started"])
    last = end or max(float(waiting.index[-1]), float(changes["time"].iloc[-1]))
    with styled(ax) as axes:
        area = axes.fill_between([*waiting.index, last], [*waiting, 0], step="post", color=SKY, alpha=0.35, linewidth=0)
        area.set_label("waiting jobs (left)")
        axes.step(waiting.index, waiting, where="post", color=BLUE)
        right = axes.twinx()
        times, crew = [*changes["time"], last], [*changes["after"], changes["after"].iloc[-1]]
        (line,) = right.step(times, crew, where="post", color=VERMILLION, linestyle="--", label="workers (right)")
        axes.set(title="Crew and queue", xlabel=SECONDS, ylabel="Waiting jobs", xlim=(0, last))
        axes.set_ylim(0, 1.12 * max(waiting.max(), 1))
        right.set(ylabel="Workers", ylim=(0, 1.12 * max(crew)))
        right.spines["right"].set_visible(True)
        right.grid(False)
        for axis in (axes.yaxis, right.yaxis):
            whole_numbers(axis)
        axes.grid(True)
        legend_above(axes, [area, line])
    return axes


def cost(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """What a crew costs against what its jobs wait: a point a pool, best at the lower left.

    Args:
        table: columns pool (a name), worker_seconds, latency (seconds); at most six pools, one row each.

    Raises:
        ValueError: for a missing column, an empty table, or more than six rows.
    """
    need(table, "pool", "worker_seconds", "latency")
    numbers(table, "worker_seconds", "latency")
    if len(table) > len(MARKERS):
        raise ValueError(f"the table has {len(table)} pools; a chart can tell {len(MARKERS)} apart")
    with styled(ax) as axes:
        points = zip(MARKERS, table["pool"], table["worker_seconds"], table["latency"], strict=False)
        for marker, pool, paid, latency in points:
            axes.plot(paid, latency, marker=marker, color=BLUE, markersize=10, linestyle="none")
            axes.annotate(label_of(pool), (paid, latency), (10, 6), textcoords="offset points", color=INK)
        axes.set(title="What it costs, what it gains", xlabel="Worker-seconds paid for", ylabel="p95 of latency (s)")
        axes.set_xlim(0, 1.3 * float(table["worker_seconds"].max()))
        axes.set_ylim(0, 1.2 * float(table["latency"].max()))
        axes.grid(True)
    return axes
