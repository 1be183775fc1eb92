"""What happened when: who cooked what, what waited, and what a server accepted and refused.

A results frame has one row a result, its times in seconds from the start of the run.
"""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from helpers.charts.style import (
    BLUE,
    GREY,
    INK,
    PURPLE,
    SKY,
    VERMILLION,
    end_labels,
    label_of,
    laid_out,
    legend_above,
    limit_line,
    need,
    numbers,
    positive,
    styled,
    whole_numbers,
)

SECONDS = "Time since the start (s)"
OUTCOMES = [(BLUE, "-"), (VERMILLION, "--"), (PURPLE, "-.")]  # the look of each kind, the most frequent first
BAR = 0.74  # a bar's height, of the row's
SHORT = 12  # pixels: too short a bar for a letter, or to be seen
FEW = 6  # failed jobs too short to be seen that are named, and the letters of such a name


def floor_plan(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Who cooked what: a row a worker, a bar a job from started to finished, failed ones hatched.

    A job's name stands in its bar where it fits. A failed one too short to be seen has a cross, and its name beside it.
    Jobs that never started have no bar; the legend counts them.

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
        axes.set(title="Who cooked what", xlabel=SECONDS, ylabel="Worker")
        axes.set_xlim(0)
        axes.set_ylim(max(crew) + 0.6, min(crew) - 0.6)  # worker 1 on top
        whole_numbers(axes.yaxis)
        axes.grid(True, axis="x")
        legend_above(axes, legend)
        name_bars(axes, ran)
        mark_short_failures(axes, ran[~ran["ok"].astype(bool)])
    return axes


def bars(ax: Axes, some: pd.DataFrame, *, ok: bool) -> Patch:
    """One bar a row of `some`, all with the look of `ok`; returns the legend's entry for them."""
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
    """Write each job's name in the middle of its bar, where there is room for it."""
    laid_out(ax)
    (_, top), (_, bottom) = ax.transData.transform([(0, 0), (0, BAR)])
    for job, worker, ok, start, end in ran[["job", "worker", "ok", "started", "finished"]].itertuples(index=False):
        (left, _), (right, _) = ax.transData.transform([(start, 0), (end, 0)])
        if right - left < SHORT or abs(top - bottom) < SHORT:
            continue  # not even one letter fits: thousands of jobs cost no time here
        back = None if ok else {"facecolor": "white", "edgecolor": "none", "pad": 1.5}  # letters on a hatch do not read
        text = ax.text((start + end) / 2, worker, label_of(job), ha="center", va="center", fontsize=9.5, bbox=back)
        box = text.get_window_extent()
        if box.width + 6 > right - left or box.height > abs(top - bottom):
            text.remove()


def mark_short_failures(ax: Axes, failed: pd.DataFrame) -> None:
    """A cross on top of each failed bar that is too short to be seen; with its name, if they are few."""
    (zero, _), (one, _) = ax.transData.transform([(0, 0), (1, 0)])
    short = failed[(failed["finished"] - failed["started"]) * (one - zero) < SHORT]
    places = (short["started"] + short["finished"]) / 2, short["worker"].astype(float) - BAR / 2
    ax.plot(*places, "X", color=VERMILLION, markeredgecolor="white", markersize=10, clip_on=False, label="_too short")
    if len(short) > FEW:
        return
    for job, x, y in zip(short["job"], *places, strict=True):
        if len(name := label_of(job)) <= FEW:
            ax.annotate(name, (x, y), (8, 0), textcoords="offset points", va="center", fontsize=9.5)


def queue_depth(frame: pd.DataFrame, *, bound: int | None = None, ax: Axes | None = None) -> Axes:
    """How many jobs waited and how many ran at each moment, as steps.

    Args:
        frame: columns submitted, started, finished (seconds); started is missing for a job that never ran.
        bound: the queue's size, jobs: a line that the waiting jobs never pass.

    Raises:
        ValueError: for a missing column, an empty frame, or a bound that is not positive.
    """
    need(frame, "submitted", "started", "finished")
    numbers(frame, "submitted", "finished")
    numbers(frame, "started", gaps=True)
    positive("bound", bound)
    ran = frame.dropna(subset=["started"])
    waiting = steps(frame["submitted"], frame["started"].fillna(frame["finished"]))
    running = steps(ran["started"], ran["finished"])
    with styled(ax) as axes:
        axes.fill_between(waiting.index, waiting, step="post", color=SKY, alpha=0.35, linewidth=0)
        axes.step(waiting.index, waiting, where="post", color=BLUE, label="waiting in the queue")
        axes.step(running.index, running, where="post", color=VERMILLION, linestyle="--", label="running")
        if bound is not None:
            limit_line(axes, bound, f"bound of the queue: {bound:,} jobs", GREY, ":")
        axes.set(title="Jobs in the pool over time", xlabel=SECONDS, ylabel="Jobs", xlim=(0, None))
        axes.set_ylim(0, 1.18 * max(waiting.max(), running.max(), bound or 1))
        whole_numbers(axes.yaxis)
        axes.grid(True)
        legend_above(axes)
    return axes


def progress(frame: pd.DataFrame, *, ideal: float | None = None, ax: Axes | None = None) -> Axes:
    """How many jobs had ended at each moment, and how: a line of steps for each kind of outcome.

    Args:
        frame: columns finished (seconds) and outcome ("sent", "failed", …, at most three kinds); without the latter ok
            is taken for it.
        ideal: jobs/s of some limit; draws the straight line from nothing to all jobs.

    Raises:
        ValueError: for a missing column, an empty frame, too many kinds, or an ideal that is not positive.
    """
    need(frame, "finished")
    need(frame, "outcome" if "outcome" in frame else "ok")
    numbers(frame, "finished")
    positive("ideal", ideal)
    kinds = frame["outcome"] if "outcome" in frame else frame["ok"].map({True: "succeeded", False: "failed"})
    names = list(kinds.value_counts().index)  # the most frequent first
    if len(names) > len(OUTCOMES):
        raise ValueError(f"the frame has {len(names)} kinds of outcome; a chart can tell {len(OUTCOMES)} apart")
    with styled(ax) as axes:
        if ideal is not None:
            label = f"limit: {ideal:,.4g} jobs/s"
            axes.plot([0, len(frame) / ideal], [0, len(frame)], color=GREY, linestyle=":", label=label)
        end = float(frame["finished"].max())
        for name, (colour, line) in zip(names, OUTCOMES, strict=False):
            times = sorted(frame["finished"][kinds == name])
            label = f"{label_of(name)}: {len(times):,}"
            counts = [*range(len(times) + 1), len(times)]
            axes.step([0.0, *times, end], counts, where="post", color=colour, linestyle=line, label=label)
        axes.set(title="Progress", xlabel=SECONDS, ylabel="Jobs ended", xlim=(0, None), ylim=(0, None))
        whole_numbers(axes.yaxis)
        axes.grid(True)
        legend_above(axes)
    return axes


def steps(begins: "pd.Series[float]", ends: "pd.Series[float]") -> "pd.Series[int]":
    """How many are between their begin and their end, from each moment (the index, seconds) at which that changes."""
    changes = pd.concat([pd.Series(1, index=begins.to_numpy()), pd.Series(-1, index=ends.to_numpy())])
    start = pd.Series([0], index=[0.0])
    return pd.concat([start, changes]).groupby(level=0).sum().cumsum()


def admission(frame: pd.DataFrame, *, limit: int | None = None, ax: Axes | None = None) -> Axes:
    """Draw how many jobs had succeeded and how many had been refused at each moment, as two lines of steps.

    Args:
        frame: columns finished (seconds) and ok (False: refused); as `to_frame` makes them.
        limit: how many jobs the server accepts; draws a line that the jobs that succeeded never pass.

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
            # Above the line of successes, which covers it once the limit has been reached.
            axes.axhline(limit, color=INK, linestyle=":", linewidth=1.2, label="_limit", zorder=4)
            axes.annotate(
                f"limit of the server: {limit:,}",
                (0.99, limit),
                (0, 4),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="right",
                va="bottom",
            )
        whole_numbers(axes.yaxis)
        axes.grid(True)
        end_labels(axes, drawn)
    return axes
