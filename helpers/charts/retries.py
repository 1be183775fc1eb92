"""Jobs that are retried: their attempts, and how long they back off."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from helpers.charts.style import (
    BLUE,
    GREY,
    SKY,
    VERMILLION,
    label_of,
    legend_above,
    need,
    numbers,
    same_jobs,
    styled,
    whole_numbers,
)
from helpers.charts.timelines import SECONDS

MOST = 40  # jobs that have room for a row each
BACKS_OFF: dict[str, Any] = {"color": VERMILLION, "linestyle": ":", "linewidth": 2.2}
QUEUES: dict[str, Any] = {"color": GREY, "linestyle": "-", "linewidth": 1.6}


def attempts(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a row per job: its attempts as bars, failed ones hatched, and lines where it waited for the next one.

    A dotted line is the backoff, from the end of an attempt to the time at which the next one is due. A solid line is
    the wait in the queue, from that time to the start of the attempt.

    Args:
        frame: columns job, attempt, ok, due, started, finished (seconds); at most 40 jobs. `attempts_frame` makes it.

    Raises:
        ValueError: for a missing column, an empty frame, or too many jobs.
    """
    need(frame, "job", "attempt", "ok", "due", "started", "finished")
    numbers(frame, "attempt", "due", "started", "finished")
    rows = frame.groupby(same_jobs(frame["job"]), sort=False)
    if len(rows) > MOST:
        raise ValueError(f"the frame has {len(rows)} jobs; a chart has room for {MOST}")
    with styled(ax, size=(8.0, 1.6 + 0.26 * len(rows))) as axes:
        for row, (_, some) in enumerate(rows):
            tries = some.sort_values("attempt")
            spans = list(zip(tries["due"], tries["started"], tries["finished"], strict=True))
            for (_, _, end), (due, begin, _) in pairwise(spans):
                axes.plot([end, due], [row, row], **BACKS_OFF)
                axes.plot([due, begin], [row, row], **QUEUES)
            for (_, begin, end), ok in zip(spans, tries["ok"], strict=True):
                colour, hatch = (SKY, "") if ok else (VERMILLION, "////")
                axes.barh(row, end - begin, left=begin, color=colour, hatch=hatch, edgecolor="white", height=0.7)
        axes.set_yticks(range(len(rows)), [label_of(some["job"].iloc[0]) for _, some in rows])
        axes.set(title="Attempts", xlabel=SECONDS, ylabel="Job", xlim=(0, None), ylim=(len(rows) - 0.4, -0.6))
        axes.grid(True, axis="x")
        ok = Patch(facecolor=SKY, label="ok")
        failed = Patch(facecolor=VERMILLION, hatch="////", edgecolor="white", label="failed")
        waits = [Line2D([], [], label="backs off", **BACKS_OFF), Line2D([], [], label="queues", **QUEUES)]
        legend_above(axes, [ok, failed, *waits])
    return axes


def backoff(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """How long each attempt is waited for: the ceiling as a line, the waits that were drawn under it as dots.

    Args:
        table: columns attempt (from 1), ceiling, wait (seconds); many rows an attempt.

    Raises:
        ValueError: for a missing column or an empty table.
    """
    need(table, "attempt", "ceiling", "wait")
    numbers(table, "attempt", "ceiling", "wait")
    top = table.groupby("attempt")["ceiling"].max()
    with styled(ax) as axes:
        axes.plot(top.index, top, color=VERMILLION, marker="s", label="ceiling: what all wait without jitter")
        shift = np.resize(np.linspace(-0.18, 0.18, 19), len(table))  # so that dots do not hide each other
        axes.plot(table["attempt"] + shift, table["wait"], ".", color=BLUE, alpha=0.6, label="with full jitter")
        axes.set(title="Exponential backoff", xlabel="Failed attempts", ylabel="Wait before the next attempt (s)")
        axes.set_ylim(0, 1.15 * float(top.max()))
        whole_numbers(axes.xaxis)
        axes.grid(True)
        legend_above(axes)
    return axes
