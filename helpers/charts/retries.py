"""The attempts of jobs that are retried, and the waits between the attempts."""

from itertools import pairwise
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from helpers.charts.style import (
    GREY,
    SKY,
    VERMILLION,
    label_of,
    legend_above,
    need,
    numbers,
    same_jobs,
    styled,
)
from helpers.charts.timelines import SECONDS

MOST = 40  # jobs: with more rows, the chart would be too high
BACKS_OFF: dict[str, Any] = {"color": VERMILLION, "linestyle": ":", "linewidth": 2.2}
QUEUES: dict[str, Any] = {"color": GREY, "linestyle": "-", "linewidth": 1.6}


def attempts(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a row per job: each attempt is a bar, hatched if it failed, and each wait between two attempts is a line.

    A dotted line is the backoff, from the end of an attempt to the time at which the next attempt is due. A solid line
    is the wait in the queue, from that time to the start of the attempt.

    Args:
        frame: columns job, attempt, ok, due, started, finished (seconds), as `attempts_frame` returns them; at most
            40 jobs.

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
