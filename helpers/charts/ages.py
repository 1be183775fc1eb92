"""The age of the jobs and the oldest wait in the queue over time, in one panel per run."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from helpers.charts.panels import row_of_panels
from helpers.charts.style import SKY, VERMILLION, end_labels, label_of, need, numbers, plain, styled
from helpers.measure.words import describe

MOST_RUNS = 3
GAP = 0.06  # between two panels, as a share of the width
# The line of the age is wide and pale, so that the other line is visible on top of it where both coincide.
AGE: dict[str, Any] = {"color": SKY, "linewidth": 6.0}
OLDEST_WAIT: dict[str, Any] = {"color": VERMILLION, "linewidth": 2.0, "linestyle": "--"}


def ages(runs: Mapping[str, pd.DataFrame], *, ax: Axes | None = None) -> Axes:
    """Draw the age of the jobs and the oldest wait in the queue against time, a panel per run.

    All panels share both scales. The title of a panel is the name of the run.

    Args:
        runs: maps the name of each run to a table with the columns time, age, and oldest_wait, all in ms.

    Raises TypeError if `runs` is not a mapping, ValueError for no run, too many, an empty table, a missing column, or a
    bad value.
    """
    if not issubclass(type(runs), Mapping):
        raise TypeError(f"runs must be a mapping from the name of each run to its table, not {describe(runs)}")
    if not 1 <= len(runs) <= MOST_RUNS:
        raise ValueError(f"runs must be from 1 to {MOST_RUNS} runs, not {len(runs)}")
    for run in runs.values():
        need(run, "time", "age", "oldest_wait")
        numbers(run, "time", "age", "oldest_wait", least=0)
    end = max(float(run["time"].max()) for run in runs.values())
    top = max(1.0, *(float(run[["age", "oldest_wait"]].to_numpy().max()) for run in runs.values()))
    with styled(ax, size=(8.8, 3.9)) as axes:
        axes.set_axis_off()
        axes.set_title("Age and oldest wait")
        for name, panel in row_of_panels(axes, list(runs), GAP, "Age, oldest wait (ms)"):
            lines = [
                *panel.plot(runs[name]["time"], runs[name]["age"], label="age", **AGE),
                *panel.plot(runs[name]["time"], runs[name]["oldest_wait"], label="oldest wait", **OLDEST_WAIT),
            ]
            panel.set_title(label_of(name, 40), fontsize=11, loc="left", pad=6, fontweight="normal")
            panel.set(xlim=(0, end), ylim=(-0.03 * top, 1.1 * top), xlabel="Time since the start (ms)")
            panel.xaxis.set_major_formatter(plain)
            panel.yaxis.set_major_formatter(plain)
            panel.grid(True)
        end_labels(panel, lines)
    return axes
