"""Compare tools for a kind of work: the time of each way against a loop, and the longest chain of a task graph."""

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from helpers.charts.compared import bare, grouped, name_groups
from helpers.charts.style import BLUE, INK, ORANGE, SKY, VERMILLION, label_of, need, numbers, styled

MOST = 150.0  # percent of the loop's time: the right end of the axis
NEAR = 10.0  # percent: if the line ends less than this far after its bar, the label is placed after the line
FACTOR = 10.0  # above this multiple of the loop's time, the label says "times" and not percent
THICK = 0.7  # the height of a task's bar, as a part of its row
MANY = 100.0  # above this multiple, the label says only that it is more: the number would depend on chance


def shares_of_loop(table: pd.DataFrame, pools: Collection[str], *, ax: Axes | None = None) -> Axes:
    """Draw a bar per way, up to its median time in percent of the median of the case's first way, in a group per case.

    The first way of a case is the loop. It has no bar; a dashed line marks its time, 100%. A thin line on each bar
    spans the middle half of the runs (between the quartiles), so that a single slow run does not show. It has an
    arrowhead if it continues past the axis. A bar that is longer than the axis is cut there, and its label states its
    length.

    Args:
        table: columns case, way, and ms; one row per run. The first row of each case belongs to the loop.
        pools: the ways that are thread pools. Their bars are dark; the other bars are light and hatched.

    Raises:
        ValueError: for a missing column, an empty table, or a time that is not more than 0.
    """
    need(table, "case", "way", "ms")
    numbers(table, "ms", above=0)
    bars = relative(table)
    heights = grouped(bars["case"])
    with styled(ax, size=(8.4, 1.2 + 0.36 * len(bars) + 0.16 * bars["case"].nunique())) as axes:
        for height, bar in zip(heights, bars.to_dict("records"), strict=True):
            draw_bar(axes, height, bar, bar["way"] in pools)
        axes.axvline(100, color=VERMILLION, linestyle=(0, (6, 2)), linewidth=1.6, zorder=3)
        axes.annotate("the loop", (100, -0.6), (4, 3), textcoords="offset points", color=VERMILLION)
        axes.set_yticks(heights, [label_of(way, 40) for way in bars["way"]])
        axes.set(title="Which way is faster?", xlabel="Time, in percent of the loop's time")
        axes.set(xlim=(0, MOST), ylim=(max(heights) + 0.6, -0.6))
        name_groups(axes, [label_of(case, 60) for case in bars["case"]], heights)
        bare(axes)
        axes.grid(True, axis="x")
    return axes


def relative(table: pd.DataFrame) -> pd.DataFrame:
    """Return the quartiles of every way but the first of its case, in percent of the first way's median."""
    rows = []
    for case, runs in table.groupby("case", sort=False):
        times = runs.groupby("way", sort=False)["ms"].describe()[["25%", "50%", "75%"]]
        percent = (100 * times / times["50%"].iloc[0]).set_axis(["lower", "median", "upper"], axis=1)
        for way, row in percent.iloc[1:].iterrows():
            rows.append({"case": case, "way": way, **row})
    if not rows:
        raise ValueError("the table has only the first way of each case: there is nothing to compare")
    return pd.DataFrame(rows)


def draw_bar(ax: Axes, height: float, bar: dict[Any, Any], dark: bool) -> None:
    """Draw one way: its bar, the line between the quartiles of its runs, and its median as a label."""
    look: dict[str, Any] = {"color": SKY} if dark else {"color": "#FBE3B5", "hatch": "//"}
    median, upper = float(bar["median"]), float(bar["upper"])
    ax.barh(height, min(median, MOST), height=0.74, edgecolor=INK if dark else ORANGE, linewidth=0.8, **look)
    ax.plot([bar["lower"], min(upper, MOST)], [height, height], color=INK, linewidth=1.6, zorder=4)
    if upper > MOST >= median:
        ax.plot([MOST - 1], [height], color=INK, marker=">", markersize=6, zorder=4)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    beside: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 10, "bbox": box, "zorder": 5}
    if median > MOST:
        ax.annotate(length_in_words(median / 100), (MOST, height), (-6, 0), ha="right", **beside)
    else:  # After the line if the line is short; otherwise after the bar, so that the label belongs to the bar's end.
        end = upper if upper < median + NEAR else median
        if 100 - NEAR < end < 100:  # The label would hide the dashed line.
            end = 100.0
        ax.annotate(f"{median:.0f}%", (end, height), (6, 0), **beside)


def length_in_words(times: float) -> str:
    """Return how many times as long as the loop a way took, as words for a bar that the axis cuts off."""
    if times > MANY:
        return f"more than {MANY:.0f} times as long →"
    return f"{times:.0f} times as long →" if times > FACTOR else f"{times:.0%} →"


def longest_chain(frame: pd.DataFrame, chain: Sequence[Any], least: float, *, ax: Axes | None = None) -> Axes:
    """Draw each task as a bar in the row of its worker, the tasks of the longest chain in a darker color.

    An arrow leads from each task of the chain to the next one, if the next one is in another row.

    Args:
        frame: columns job, worker, started, and finished; the times in ms since the start.
        chain: the tasks of the longest chain, in their order.
        least: the sum of their times, in ms. A dashed line marks it.

    Raises:
        ValueError: for a missing column, an empty frame, or a value that is not a number.
    """
    need(frame, "job", "worker", "started", "finished")
    numbers(frame, "worker", "started", "finished")
    workers = sorted({int(worker) for worker in frame["worker"]})
    with styled(ax, size=(8.4, 1.5 + 0.62 * len(workers))) as axes:
        for job, worker, started, finished in frame[["job", "worker", "started", "finished"]].itertuples(index=False):
            inside = job in chain
            color = BLUE if inside else SKY
            axes.barh(worker, finished - started, left=started, height=THICK, color=color, edgecolor=INK, linewidth=0.8)
            words: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9}
            words |= {"color": "white", "fontweight": "bold"} if inside else {"color": INK}
            axes.text((started + finished) / 2, worker, label_of(job, 12), **words)
        draw_arrows(axes, [row for name in chain for row in frame.to_dict("records") if row["job"] == name])
        axes.axvline(least, color=VERMILLION, linestyle=(0, (6, 2)), linewidth=1.8, zorder=0.5)  # behind the bars
        top = min(workers) - 0.55
        note = f"at least {least:g} ms: the longest chain"
        axes.annotate(note, (least, top), (-4, 2), textcoords="offset points", color=VERMILLION, ha="right")
        axes.set_yticks(workers, [f"worker {worker}" for worker in workers])
        axes.set(title="Which worker does which task when", xlabel="Time since the start (ms)")
        axes.set(xlim=(0, 1.05 * max(least, frame["finished"].max())), ylim=(max(workers) + 0.55, top))
        bare(axes)
    return axes


def draw_arrows(ax: Axes, tasks: Sequence[dict[Any, Any]]) -> None:
    """Draw an arrow from the end of each task to the start of the next one, if another worker does the next one."""
    for task, following in pairwise(tasks):
        if task["worker"] != following["worker"]:
            edge = THICK / 2 if following["worker"] > task["worker"] else -THICK / 2
            ends = (following["started"], following["worker"] - edge), (task["finished"], task["worker"] + edge)
            ax.annotate("", *ends, arrowprops={"arrowstyle": "-|>", "color": INK, "shrinkA": 0, "shrinkB": 0})
