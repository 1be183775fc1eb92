"""Charts of a changing number of workers: workers and queued jobs over time, and what the workers cost and gain."""

from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from helpers.charts.style import (
    BLUE,
    VERMILLION,
    label_of,
    legend_above,
    need,
    numbers,
    plain,
    positive,
    styled,
    whole_numbers,
)
from helpers.charts.timelines import SECONDS, steps

MOST_POOLS = 6
LEFT, RIGHT = 0.36, 0.42  # shares of the axes' width: where the enlarged column ends, and where the other column begins
HIGH, LOW, HEIGHT = 0.54, 0.0, 0.40  # shares of the axes' height: the lower edges of the two rows, and their height


def crew(
    jobs: pd.DataFrame,
    changes: pd.DataFrame,
    *,
    end: float | None = None,
    zoom: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the queued jobs and, in a panel below, the workers over the same time. The panels are children of `ax`.

    Args:
        jobs: columns submitted, started (seconds), as `to_frame` returns them.
        changes: columns time (seconds), after (workers), as `crew_frame` returns them for the same `zero`.
        end: where the chart ends, seconds; by default at the last event.
        zoom: seconds; two more panels at the left show the time from 0 to `zoom`, enlarged, in ms.

    Raises:
        ValueError: for a missing column, an empty frame, or an end or a zoom that is not positive.
    """
    need(jobs, "submitted", "started")
    need(changes, "time", "after")
    numbers(jobs, "submitted")
    numbers(jobs, "started", gaps=True)
    numbers(changes, "time", "after")
    positive("end", end)
    positive("zoom", zoom)
    queued = steps(jobs["submitted"], jobs["started"])
    last = end or max(float(queued.index[-1]), float(changes["time"].iloc[-1]))
    rows = [
        ("Queued jobs", HIGH, BLUE, list(queued.index), queued.tolist()),
        ("Workers", LOW, VERMILLION, changes["time"].tolist(), changes["after"].tolist()),
    ]
    with styled(ax, size=(8.4, 4.8)) as axes:
        axes.set_title("Queued jobs and workers")
        axes.set_axis_off()
        for name, bottom, colour, times, counts in rows:
            left = 0.0 if zoom is None else RIGHT
            panel = first = axes.inset_axes((left, bottom, 1 - left, HEIGHT))
            step_panel(panel, times, counts, last, colour)
            panel.set_xlabel(SECONDS if bottom == LOW else "")
            if zoom is not None:
                panel.tick_params(labelleft=False)
                first = axes.inset_axes((0, bottom, LEFT, HEIGHT))
                step_panel(first, [1e3 * time for time in times], counts, 1e3 * zoom, colour)
                first.set_xlabel("Time since the start (ms)" if bottom == LOW else "")
            if zoom is not None and bottom == HIGH:
                name_panel(first, f"Enlarged: the first {plain(round(1e3 * zoom, 1))} ms")
                name_panel(panel, "The whole run")
            first.set_ylabel(name)
    return axes


def name_panel(ax: Axes, words: str) -> None:
    """Write the name of a panel above it, smaller than the title of the chart."""
    ax.set_title(words, fontsize="medium", fontweight="normal", pad=6)


def step_panel(ax: Axes, times: Sequence[float], counts: Sequence[float], end: float, colour: str) -> None:
    """Draw one count over time as steps from `times[0]` to `end`, with the area below them filled."""
    xs, ys = [*times, max(end, times[-1])], [*counts, counts[-1]]
    ax.fill_between(xs, ys, step="post", color=colour, alpha=0.2, linewidth=0)
    ax.step(xs, ys, where="post", color=colour)
    ax.set(xlim=(0, end), ylim=(0, 1.15 * max(*counts, 1)))
    ax.xaxis.set_major_formatter(plain)
    whole_numbers(ax.yaxis, 5)
    ax.grid(True)


def cost(table: pd.DataFrame, *, marked: Collection[str] = (), ax: Axes | None = None) -> Axes:
    """Draw a row per pool: at the left the cost of its workers, at the right how long its bursts took.

    Args:
        table: columns pool (a name), worker_seconds, seconds (until the last job is done); at most six pools. If there
            is a column first, it has the seconds of the first burst, and `seconds` is for the later bursts.
        marked: the names of the pools that are drawn in another color.

    Raises:
        ValueError: for a missing column, an empty table, or more than six rows.
    """
    need(table, "pool", "worker_seconds", "seconds")
    numbers(table, "worker_seconds", "seconds")
    if len(table) > MOST_POOLS:
        raise ValueError(f"the table has {len(table)} pools; a chart has room for {MOST_POOLS}")
    rows = range(len(table))
    colours = [VERMILLION if pool in marked else BLUE for pool in table["pool"]]
    with styled(ax, size=(8.4, 1.4 + 0.55 * len(table))) as axes:
        axes.set_title("Cost and speed")
        axes.set_axis_off()
        paid, speed = axes.inset_axes((0.12, 0, 0.38, 1)), axes.inset_axes((0.55, 0, 0.45, 1))
        paid.barh(rows, table["worker_seconds"], height=0.5, color=colours, alpha=0.8)
        for row, seconds in enumerate(table["worker_seconds"]):
            paid.annotate(f"{seconds:,.0f}", (seconds, row), (4, 0), textcoords="offset points", va="center")
        paid.set(xlabel="Worker-seconds", xlim=(0, 1.25 * float(table["worker_seconds"].max())))
        paid.set_yticks(rows, [label_of(pool) for pool in table["pool"]])
        draw_bursts(speed, table, colours)
        for panel in (paid, speed):
            panel.set_ylim(len(table) - 0.5, -0.5)  # the first pool on top
            panel.tick_params(axis="y", length=0)
    return axes


def draw_bursts(ax: Axes, table: pd.DataFrame, colours: Sequence[str]) -> None:
    """Draw the later bursts of each pool as a filled mark, and its first burst, if it is known, as a hollow one."""
    firsts = table["first"] if "first" in table.columns else table["seconds"]
    for row, (first, later, colour) in enumerate(zip(firsts, table["seconds"], colours, strict=True)):
        ax.plot([first, later], [row, row], color=colour, linewidth=1.6, label="_from first to later")
        if "first" in table.columns:
            look: dict[str, Any] = {
                "markerfacecolor": "white",
                "markersize": 13,
                "label": "first burst" if row == 0 else "_first",
            }
            ax.plot(first, row, "o", color=colour, markeredgewidth=1.8, **look)
        ax.plot(later, row, "o", color=colour, markersize=7, label="later bursts" if row == 0 else "_later")
    ax.set(xlabel="Burst time (s)", xlim=(0, 1.15 * float(max(firsts.max(), table["seconds"].max()))))
    ax.set_yticks([])
    ax.grid(True, axis="x")
    if "first" in table.columns:
        legend_above(ax)
