"""How long jobs wait in queues of different lengths."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from helpers.charts.style import label_of, legend_above, need, numbers, plain, styled
from helpers.charts.sweeps import LOOKS
from helpers.measure.words import describe


def waits(tables: Mapping[str, pd.DataFrame], *, ax: Axes | None = None) -> Axes:
    """Draw how long each job waited in the queue, against the time at which it finished, a mark per job.

    Both are in ms. The marks show which run was done first, and which run made its jobs wait.

    Args:
        tables: tables of `to_frame` under the names of their runs, at most four. Columns finished and wait, seconds.

    Raises TypeError if `tables` is not a mapping, ValueError for no table, too many, or one with bad columns.
    """
    if not issubclass(type(tables), Mapping):
        raise TypeError(f"tables must be tables under the names of their runs, not {describe(tables)}")
    if not 1 <= len(tables) <= len(LOOKS):
        raise ValueError(f"tables must be from 1 to {len(LOOKS)} tables, not {len(tables)}")
    for table in tables.values():
        need(table, "finished", "wait")
        numbers(table, "finished", "wait", least=0)
    with styled(ax) as axes:
        for (name, table), look in zip(tables.items(), LOOKS, strict=False):
            rows = table.sort_values("finished")
            times = (1e3 * rows["finished"]).tolist(), (1e3 * rows["wait"]).tolist()
            marks: dict[str, Any] = {"color": look.colour, "marker": look.marker, "markerfacecolor": look.fill}
            axes.plot(*times, linestyle="none", markersize=5, label=label_of(name), **marks)
        axes.set(title="Wait in the queue", xlabel="Time since the start (ms)", ylabel="Wait of each job (ms)")
        axes.set(xlim=(0, None), ylim=(0, None))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(plain))
        axes.grid(True)
        legend_above(axes)
    return axes
