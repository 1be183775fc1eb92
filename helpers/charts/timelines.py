"""Charts over time: which worker ran which job, and which jobs a server accepted and refused.

A table of results has one row per result. Its times are in seconds since the start of the run.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from helpers.charts.style import (
    BLUE,
    GREY,
    INK,
    SKY,
    VERMILLION,
    end_labels,
    label_of,
    laid_out,
    legend_above,
    need,
    numbers,
    positive,
    styled,
    whole_numbers,
)

SECONDS = "Time since the start (s)"
BAR = 0.74  # the height of a bar, as a share of the height of its row
SHORT = 12  # pixels: a shorter bar has no room for a letter and is hard to see
FEW = 6  # short failed jobs are named only if there are at most this many, and the name has at most this many letters


def floor_plan(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a row per worker and a bar per job, from its start to its end. The bars of failed jobs are hatched.

    The name of a job is written in its bar if there is room. A failed job whose bar is too short to be seen is marked
    with a cross, and its name is written beside the cross. Jobs that never started have no bar; the legend counts them.
    If all jobs finished, all bars look the same, so there is no legend.

    Args:
        frame: columns job, worker, ok, started, finished (seconds).

    Raises:
        ValueError: for a missing column or an empty frame.
    """
    need(frame, "job", "worker", "ok", "started", "finished")
    numbers(frame, "worker", "started", gaps=True)
    numbers(frame, "finished")
    ran = frame.dropna(subset=["worker", "started"])
    crew = [int(worker) for worker in ran["worker"]] or [1]
    with styled(ax, size=(8.0, min(max(2.6, 1.5 + 0.5 * len(set(crew))), 8.0))) as axes:
        kinds = [(ok, ran[ran["ok"].astype(bool) == ok]) for ok in (True, False)]
        legend = [bars(axes, some, ok=ok) for ok, some in kinds if len(some)]
        if never := len(frame) - len(ran):
            legend.append(Patch(facecolor="white", edgecolor=GREY, linestyle=":", label=f"never started: {never:,}"))
        axes.set(title="Jobs by worker", xlabel=SECONDS, ylabel="Worker")
        axes.set_xlim(0)
        axes.set_ylim(max(crew) + 0.6, min(crew) - 0.6)  # worker 1 on top
        whole_numbers(axes.yaxis)
        axes.grid(True, axis="x")
        if never or not ran["ok"].astype(bool).all():
            legend_above(axes, legend)
        name_bars(axes, ran)
        mark_short_failures(axes, ran[~ran["ok"].astype(bool)])
    return axes


def bars(ax: Axes, some: pd.DataFrame, *, ok: bool) -> Patch:
    """Draw a bar for each row of `some`, with the look for `ok`. Return the legend entry."""
    colour, hatch, label = (SKY, "", "finished") if ok else (VERMILLION, "////", "failed")
    ax.barh(
        some["worker"].astype(int),
        some["finished"] - some["started"],
        left=some["started"],
        height=BAR,
        color=colour,
        edgecolor="white",
        linewidth=1.2,
        hatch=hatch,
    )
    return Patch(facecolor=colour, edgecolor="white", hatch=hatch, label=f"{label}: {len(some):,}")


def name_bars(ax: Axes, ran: pd.DataFrame) -> None:
    """Write the name of each job in the middle of its bar, if there is room."""
    laid_out(ax)
    (_, top), (_, bottom) = ax.transData.transform([(0, 0), (0, BAR)])
    for job, worker, ok, start, end in ran[["job", "worker", "ok", "started", "finished"]].itertuples(index=False):
        (left, _), (right, _) = ax.transData.transform([(start, 0), (end, 0)])
        if right - left < SHORT or abs(top - bottom) < SHORT:
            continue  # not even one letter fits; skipping it early keeps a chart of thousands of jobs fast
        # A white background hides the hatch of a failed job behind its name.
        back = None if ok else {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        text = ax.text((start + end) / 2, worker, label_of(job), ha="center", va="center", fontsize=9.5, bbox=back)
        box = text.get_window_extent()
        if box.width + 6 > right - left or box.height > abs(top - bottom):
            text.remove()


def mark_short_failures(ax: Axes, failed: pd.DataFrame) -> None:
    """Draw a cross above each failed bar that is too short to be seen. If there are few of them, write their names."""
    (zero, _), (one, _) = ax.transData.transform([(0, 0), (1, 0)])
    short = failed[(failed["finished"] - failed["started"]) * (one - zero) < SHORT]
    places = (short["started"] + short["finished"]) / 2, short["worker"].astype(float) - BAR / 2
    ax.plot(*places, "X", color=VERMILLION, markeredgecolor="white", markersize=10, clip_on=False, label="_too short")
    if len(short) > FEW:
        return
    for job, x, y in zip(short["job"], *places, strict=True):
        if len(name := label_of(job)) <= FEW:
            ax.annotate(name, (x, y), (8, 0), textcoords="offset points", va="center", fontsize=9.5)


def steps(begins: "pd.Series[float]", ends: "pd.Series[float]") -> "pd.Series[int]":
    """Return the number of intervals that are open at each instant at which it changes; the index is in seconds."""
    changes = pd.concat([pd.Series(1, index=begins.to_numpy()), pd.Series(-1, index=ends.to_numpy())])
    start = pd.Series([0], index=[0.0])
    return pd.concat([start, changes]).groupby(level=0).sum().cumsum()


def admission(frame: pd.DataFrame, *, limit: int | None = None, ax: Axes | None = None) -> Axes:
    """Draw the number of jobs that had succeeded and that had been refused by each instant, as two lines of steps.

    Args:
        frame: columns finished (seconds) and ok (False means refused), as `to_frame` returns them.
        limit: the number of jobs that the server accepts; draws a horizontal line.

    Raises:
        ValueError: for a missing column, an empty frame, or a limit that is not positive.
    """
    need(frame, "finished", "ok")
    numbers(frame, "finished")
    positive("limit", limit)
    end = float(frame["finished"].max())
    with styled(ax) as axes:
        drawn = []
        for name, ok, colour, line in (("succeeded", True, BLUE, "-"), ("refused", False, VERMILLION, "--")):
            times = sorted(frame["finished"][frame["ok"].astype(bool) == ok])
            counts = [*range(len(times) + 1), len(times)]
            label = f"{len(times):,} {name}"
            drawn += axes.step([0.0, *times, end], counts, where="post", color=colour, linestyle=line, label=label)
        axes.set(title="Succeeded and refused", xlabel=SECONDS, ylabel="Jobs", xlim=(0, end))
        succeeded = int(frame["ok"].astype(bool).sum())
        axes.set_ylim(0, 1.1 * max(succeeded, len(frame) - succeeded, limit or 1))
        if limit is not None:
            # In front of the line of the jobs that succeeded, which runs along the limit once it has been reached.
            axes.axhline(limit, color=INK, linestyle=":", linewidth=1.2, label="_limit", zorder=4)
            axes.annotate(
                f"limit of the server: {limit:,}",
                (0.01, limit),
                (0, 4),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="left",
                va="bottom",
            )
        whole_numbers(axes.yaxis)
        axes.grid(True)
        end_labels(axes, drawn)
    return axes
