"""Compare several ways to do the same jobs: how many jobs succeed, and which worker does which job when."""

import textwrap
from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from helpers.charts.style import GREEN, INK, SKY, VERMILLION, label_of, laid_out, need, numbers, plain, styled

WHITE = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}  # a background: text on a hatch is not readable
GAP = 0.4  # rows: the free space between two groups of bars
WIDE = 25  # percent: a part of a bar that is wider than this has room for text
WIDTH = 16  # characters in one line of the name of a group


def shares(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a bar per run, split into the jobs that succeeded and those that failed, in one group per place.

    Each bar has the same length, 100% of the jobs of its run, so that runs with different numbers of jobs can be
    compared. The number of jobs that succeeded is written on the bar, and so is `failure`, if there is room.

    Args:
        table: columns place (the group), way, jobs, succeeded, failure (why the other jobs failed; may be empty). With
               a column seconds, the time of each run is written to the right of its bar.

    Raises:
        ValueError: for a missing column, an empty table, no jobs, or more succeeded jobs than jobs.
    """
    need(table, "place", "way", "jobs", "succeeded", "failure")
    numbers(table, "jobs", above=0)
    numbers(table, "succeeded", least=0)
    if "seconds" in table:
        numbers(table, "seconds", least=0)
    if (table["succeeded"] > table["jobs"]).any():
        raise ValueError("succeeded must be at most jobs in every row of the table")
    places = [label_of(place, 60) for place in table["place"]]
    heights = grouped(places)
    with styled(ax, size=(8.4, 1.0 + 0.42 * len(table) + 0.2 * len(set(places)))) as axes:
        percent = 100 * table["succeeded"] / table["jobs"]
        axes.barh(heights, percent, height=0.78, color=GREEN, edgecolor=INK, linewidth=0.8)
        failed: dict[str, Any] = {"color": "#F6D3BF", "edgecolor": VERMILLION, "hatch": "//", "linewidth": 0.8}
        axes.barh(heights, (100 - percent).where(percent < 100), left=percent, height=0.78, **failed)
        axes.set_yticks(heights, [label_of(way, 40) for way in table["way"]])
        axes.set(title="How many of the jobs succeed", xlabel="Share of the jobs that succeed (%)", xlim=(0, 100))
        axes.set_ylim(max(heights) + 0.5, -0.5)
        name_groups(axes, places, heights)
        for height, row in zip(heights, table.to_dict("records"), strict=True):
            name_parts(axes, height, row)
        if "seconds" in table:
            add_times(axes, heights, table["seconds"])
        bare(axes)
    return axes


def add_times(ax: Axes, heights: list[float], seconds: Iterable[float]) -> None:
    """Write the time of each run to the right of its bar, under the heading "time"."""
    ax.text(102, -0.62, "time", va="center", fontsize=10, fontweight="bold")
    for height, value in zip(heights, seconds, strict=True):
        ax.text(102, height, f"{value:,.1f} s", va="center", fontsize=10)


def name_parts(ax: Axes, height: float, row: dict[Any, Any]) -> None:
    """Write on a bar how many jobs succeeded, and at its right end why the others failed."""
    share = 100 * row["succeeded"] / row["jobs"]
    words = f"{'all ' if share == 100 else ''}{row['succeeded']:,} succeed"
    if share > WIDE:
        ax.text(share / 2, height, words, ha="center", va="center", fontsize=10, bbox=WHITE)
    else:
        ax.text(share + 1, height, words, va="center", fontsize=10, bbox=WHITE)
    if 100 - share > WIDE and isinstance(row["failure"], str) and row["failure"]:
        ax.text(99.5, height, label_of(row["failure"], 60), ha="right", va="center", fontsize=10, bbox=WHITE)


def lanes(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw each job as a bar in the row of its worker, in one group of rows per way; a line marks the end of each way.

    Args:
        table: columns way (the group), worker, job, started, finished; the times in seconds since the start of the way.

    Raises:
        ValueError: for a missing column or an empty table.
    """
    need(table, "way", "worker", "job", "started", "finished")
    numbers(table, "worker", "started", "finished")
    table = table.assign(way=[label_of(way, 60) for way in table["way"]])
    ways = list(dict.fromkeys(table["way"]))
    rows = [(way, worker) for way in ways for worker in sorted(set(table["worker"][table["way"] == way]))]
    heights = grouped(way for way, _ in rows)
    places = dict(zip(rows, heights, strict=True))
    with styled(ax, size=(8.4, 1.3 + 0.5 * len(rows) + 0.2 * len(ways))) as axes:
        at = [places[pair] for pair in zip(table["way"], table["worker"], strict=True)]
        length = table["finished"] - table["started"]
        axes.barh(at, length, left=table["started"], height=0.76, color=SKY, edgecolor=INK, linewidth=0.8)
        axes.set_yticks(heights, [f"worker {worker:.0f}" for _, worker in rows])
        axes.set(title="Which worker does which job when", xlabel="Time since the start (s)")
        axes.set_xlim(0, 1.2 * table["finished"].max())
        axes.set_ylim(max(heights) + 0.6, -0.6)
        name_groups(axes, [way for way, _ in rows], heights)
        for height, start, end, job in zip(at, table["started"], table["finished"], table["job"], strict=True):
            axes.text((start + end) / 2, height, label_of(job, 12), ha="center", va="center", fontsize=10)
        for way in ways:
            end = float(table["finished"][table["way"] == way].max())
            mark_end(axes, [places[row] for row in rows if row[0] == way], end)
        bare(axes)
        axes.grid(True, axis="x")
    return axes


def mark_end(ax: Axes, heights: list[float], end: float) -> None:
    """Draw a dashed line where the last job of a group ends, and write the time beside it."""
    ax.plot([end, end], [min(heights) - 0.45, max(heights) + 0.45], color=VERMILLION, linestyle="--", linewidth=1.8)
    middle = (min(heights) + max(heights)) / 2
    ax.annotate(f"{end:.2f} s", (end, middle), (7, 0), textcoords="offset points", va="center", fontweight="bold")


def grouped(groups: Iterable[str]) -> list[float]:
    """Return the y position of each row, starting at 0, with a gap where a new group begins."""
    heights: list[float] = []
    before = ""
    for group in groups:
        gap = GAP if group != before else 0.0
        heights.append(heights[-1] + 1 + gap if heights else 0.0)
        before = group
    return heights


def name_groups(ax: Axes, groups: Iterable[str], heights: list[float]) -> None:
    """Write the name of each group in bold, left of the labels of its rows."""
    members: dict[str, list[float]] = {}
    for group, height in zip(groups, heights, strict=True):
        members.setdefault(group, []).append(height)
    points = 72 / laid_out(ax).dpi  # points per pixel
    widest = max(label.get_window_extent().width for label in ax.get_yticklabels())
    left = -(widest * points) - 16  # points
    for group, rows in members.items():
        at = (0, sum(rows) / len(rows))
        where: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        ax.annotate(
            textwrap.fill(group, WIDTH),
            at,
            (left, 0),
            ha="right",
            va="center",
            fontweight="bold",
            **where,
        )


def bare(ax: Axes) -> None:
    """Remove the left spine and the ticks of the y axis, and write plain numbers on the x axis."""
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.xaxis.set_major_formatter(plain)
