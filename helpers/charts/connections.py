"""How many connections are open at each instant, in one panel per run."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes

from helpers.charts.panels import row_of_panels
from helpers.charts.style import BLUE, VERMILLION, label_of, limit_line, numbers, plain, positive, styled, whole_numbers
from helpers.measure.words import describe

Times = Sequence[float]
Steps = tuple[list[float], list[int]]
MOST_RUNS = 3
GAP = 0.06  # between two panels, as a share of the width


def open_connections(
    runs: Mapping[str, tuple[Times, Times]],
    *,
    limit: float | None = None,
    refused: Mapping[str, int] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a line of steps for each run: the number of open connections against time.

    All panels share both scales. The title of a panel has the name of the run and its largest number of open
    connections. A dashed horizontal line marks `limit`.

    Args:
        runs: maps the name of each run to two lists of equal length: when its connections were opened, and when they
            were closed, in seconds on any clock.
        limit: the number of connections that the server allows; None draws no line.
        refused: maps the name of a run to the number of its refused jobs, which is written at the top of its panel.

    Raises TypeError if `runs` is not a mapping, ValueError for no run, too many, a bad time or limit, or a run without
    a connection or with two lists of different lengths.
    """
    if not issubclass(type(runs), Mapping):
        raise TypeError(f"runs must be a mapping from the name of each run to its times, not {describe(runs)}")
    if not 1 <= len(runs) <= MOST_RUNS:
        raise ValueError(f"runs must be from 1 to {MOST_RUNS} runs, not {len(runs)}")
    positive("limit", limit)
    steps = {name: steps_of(opens, ends) for name, (opens, ends) in runs.items()}
    end = max(times[-1] for times, _ in steps.values())
    most = max(limit or 0, *(max(counts) for _, counts in steps.values()))
    with styled(ax, size=(8.8, 3.9)) as axes:
        axes.set_axis_off()
        axes.set_title("Open connections")
        for name, panel in row_of_panels(axes, list(steps), GAP, "Open connections"):
            if limit is not None:  # drawn first, so that it does not hide the steps that reach it
                limit_line(panel, limit, f"limit: {limit:,g}", colour=VERMILLION)
            draw_panel(panel, *steps[name])
            panel.set_title(
                f"{label_of(name, 30)}: {max(steps[name][1]):,} at most",
                fontsize=11,
                loc="left",
                pad=6,
                fontweight="normal",
            )
            panel.set_ylim(0, 1.18 * most)
            panel.set_xlim(0, 1.04 * end)
            whole_numbers(panel.yaxis)
            if refused and name in refused:
                words = f"{refused[name]:,} jobs refused"
                panel.text(0.98, 0.97, words, transform=panel.transAxes, ha="right", va="top", fontweight="bold")
    return axes


def draw_panel(panel: Axes, times: list[float], counts: list[int]) -> None:
    """Draw one run as a line of steps over a filled area."""
    panel.step(times, counts, where="post", color=BLUE, linewidth=1.6, label="open")
    panel.fill_between(times, counts, step="post", color=BLUE, alpha=0.2, linewidth=0)
    panel.grid(True)
    panel.xaxis.set_major_formatter(plain)
    panel.set_xlabel("Time since the first connection (s)")


def steps_of(opens: Times, ends: Times) -> Steps:
    """Return the instants at which the number of open connections changes, in seconds since the first, and the number.

    Raises ValueError for no times, a bad one, or two lists of different lengths.
    """
    if not len(opens) or len(opens) != len(ends):
        raise ValueError("every run must have at least one connection, and as many ends as opens")
    numbers(pd.DataFrame({"time": [*opens, *ends]}), "time")
    # At equal times, an end sorts before an opening, so the two connections do not count as open together.
    changes = sorted([(time, 1) for time in opens] + [(time, -1) for time in ends])
    times, counts, count = [0.0], [0], 0
    for time, change in changes:
        count += change
        times.append(time - changes[0][0])
        counts.append(count)
    return times, counts
