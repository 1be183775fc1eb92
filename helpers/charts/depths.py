"""The number of jobs in the queue while jobs are submitted."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from helpers.charts.style import end_labels, label_of, numbers, styled, whole_numbers
from helpers.charts.sweeps import LOOKS
from helpers.measure.words import describe


def depths(runs: Mapping[str, Sequence[int]], *, ax: Axes | None = None) -> Axes:
    """Draw the number of jobs in the queue after each submit, a line per run.

    Args:
        runs: maps the name of each run to its depths; at most four runs. The n-th depth follows the n-th submit.

    Raises TypeError if `runs` is not a mapping, ValueError for no run, too many, an empty one, or a bad depth.
    """
    if not issubclass(type(runs), Mapping):
        raise TypeError(f"runs must be a mapping from the name of each run to its depths, not {describe(runs)}")
    if not 1 <= len(runs) <= len(LOOKS):
        raise ValueError(f"runs must be from 1 to {len(LOOKS)} runs, not {len(runs)}")
    if not all(len(found) for found in runs.values()):
        raise ValueError("every run must have at least one depth")
    for found in runs.values():
        numbers(pd.DataFrame({"depth": list(found)}), "depth", least=0)
    with styled(ax) as axes:
        ends = []
        for (name, found), look in zip(runs.items(), LOOKS, strict=False):
            style: dict[str, Any] = {"color": look.colour, "linestyle": look.line, "linewidth": 2.2}
            submits = range(1, len(found) + 1)
            ends += axes.step(submits, list(found), where="post", label=label_of(name, 40), **style)
        axes.set(title="Jobs in the queue", xlabel="Jobs submitted so far", ylabel="Jobs waiting in the queue")
        axes.set_xlim(0, max(len(found) for found in runs.values()))
        top = max(1, *(max(found) for found in runs.values()))
        axes.set_ylim(-0.04 * top, 1.1 * top)  # an empty queue is a line above the axis
        whole_numbers(axes.xaxis)
        whole_numbers(axes.yaxis)
        axes.grid(True)
        # If all lines end at the right border, a piece of a line there would look like more data.
        end_labels(axes, ends, pieces=len({len(found) for found in runs.values()}) > 1)
    return axes
