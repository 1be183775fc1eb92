"""Jobs that are tried again: their attempts, how long they back off, and what a crowd of them does to a server."""

from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from helpers.charts.style import (
    BLUE,
    GREY,
    ORANGE,
    SKY,
    VERMILLION,
    label_of,
    legend_above,
    need,
    numbers,
    positive,
    same_jobs,
    styled,
    whole_numbers,
)
from helpers.charts.timelines import SECONDS
from helpers.measure.words import describe

PIECES = 100_000  # of time: more than any picture can show
MOST = 40  # jobs that have room for a row each
RUNS = [(VERMILLION, "-"), (BLUE, "--"), (ORANGE, "-.")]


def attempts(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """A row a job: its attempts as bars, failed ones hatched, and thin lines where it waited for the next one.

    Args:
        frame: columns job, attempt, ok, started, finished (seconds); at most 40 jobs.

    Raises:
        ValueError: for a missing column, an empty frame, or too many jobs.
    """
    need(frame, "job", "attempt", "ok", "started", "finished")
    numbers(frame, "attempt", "started", "finished")
    rows = frame.groupby(same_jobs(frame["job"]), sort=False)
    if len(rows) > MOST:
        raise ValueError(f"the frame has {len(rows)} jobs; a chart has room for {MOST}")
    with styled(ax, size=(8.0, 1.6 + 0.26 * len(rows))) as axes:
        for row, (_, some) in enumerate(rows):
            tries = some.sort_values("attempt")
            spans = list(zip(tries["started"], tries["finished"], strict=True))
            for (_, end), (begin, _) in pairwise(spans):
                axes.plot([end, begin], [row, row], color=GREY, linewidth=1)
            for (begin, end), ok in zip(spans, tries["ok"], strict=True):
                colour, hatch = (SKY, "") if ok else (VERMILLION, "////")
                axes.barh(row, end - begin, left=begin, color=colour, hatch=hatch, edgecolor="white", height=0.7)
        axes.set_yticks(range(len(rows)), [label_of(some["job"].iloc[0]) for _, some in rows])
        axes.set(title="Attempts", xlabel=SECONDS, ylabel="Job", xlim=(0, None), ylim=(len(rows) - 0.4, -0.6))
        axes.grid(True, axis="x")
        ok = Patch(facecolor=SKY, label="ok")
        failed = Patch(facecolor=VERMILLION, hatch="////", edgecolor="white", label="failed")
        legend_above(axes, [ok, failed, Line2D([], [], color=GREY, linewidth=1, label="backs off, then queues")])
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


def arrivals(table: pd.DataFrame, *, bin_width: float, limit: float | None = None, ax: Axes | None = None) -> Axes:
    """How many requests a server gets in each piece of time, a line a run (at most three).

    Args:
        table: columns run (a name), seconds (when the request came).
        bin_width: the length of a piece, seconds.
        limit: requests a piece that the server answers.

    Raises:
        ValueError: for a missing column, an empty table, too many runs, or a number that is not positive.
    """
    need(table, "run", "seconds")
    numbers(table, "seconds", least=0)
    if bin_width is None:
        raise TypeError("bin_width must be more than 0, not None")
    positive("bin_width", bin_width)
    positive("limit", limit)
    if table["seconds"].max() / bin_width > PIECES:
        raise ValueError(
            f"bin_width must make at most {PIECES:,} pieces of {table['seconds'].max():g} s, not {describe(bin_width)}"
        )
    runs = table.groupby("run", sort=False)["seconds"]
    if len(runs) > len(RUNS):
        raise ValueError(f"the table has {len(runs)} runs; a chart can tell {len(RUNS)} apart")
    edges = np.arange(0.0, float(table["seconds"].max()) + 2 * bin_width, bin_width)
    with styled(ax) as axes:
        most = limit or 1.0
        for (name, times), (colour, line) in zip(runs, RUNS, strict=False):
            counts = np.histogram(times, edges)[0]
            axes.stairs(counts, edges, color=colour, linestyle=line, linewidth=1.8, label=label_of(name))
            most = max(most, counts.max())
        if limit is not None:
            axes.axhline(limit, color=GREY, linestyle=":", linewidth=2, label=f"{limit:g} can be answered")
        axes.set(title="Requests at the server", xlabel=SECONDS, xlim=(0, edges[-1]), ylim=(0, 1.15 * most))
        axes.set_ylabel(f"Requests in {bin_width:g} s")
        whole_numbers(axes.yaxis)
        axes.grid(True)
        legend_above(axes)
    return axes
