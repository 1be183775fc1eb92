"""The time to send a job to a worker and to get its result back, against the size of the job."""

import pandas as pd
from matplotlib.axes import Axes

from helpers.charts.style import end_labels, label_of, log_axis, need, numbers, styled
from helpers.charts.sweeps import LOOKS, median_line

SIZES = {1e9: "GB", 1e6: "MB", 1e3: "kB"}


def trips(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a line per engine: the median time per job against the size of the job, on two logarithmic axes.

    If a point has several runs, each run is a dot, and a thin vertical line spans them.

    Args:
        table: columns engine, size (bytes per job), ms (per job); one row per run. At most four engines.

    Raises:
        ValueError: for a missing column, an empty table, too many engines, or a number that is not more than 0.
    """
    need(table, "engine", "size", "ms")
    numbers(table, "size", "ms", above=0)
    groups = list(table.groupby("engine", sort=False))
    if len(groups) > len(LOOKS):
        raise ValueError(f"the table has {len(groups)} engines; a chart can tell {len(LOOKS)} apart")
    with styled(ax) as axes:
        axes.set(xscale="log", yscale="log", xlabel="Size of a job", ylabel="Time per job (ms)")
        ends = [
            median_line(axes, rows.rename(columns={"size": "workers"}), "ms", look, label_of(name, 40))
            for (name, rows), look in zip(groups, LOOKS, strict=False)
        ]
        axes.set_title("What a trip costs")
        log_axis(axes.yaxis)
        log_axis(axes.xaxis, table["size"])
        axes.xaxis.set_major_formatter(bytes_in_words)
        end_labels(axes, ends)
    return axes


def bytes_in_words(size: float, _: object = None) -> str:
    """Return a number of bytes in its largest unit: 10 B, 100 kB, 10 MB."""
    for factor, unit in SIZES.items():
        if size >= factor:
            return f"{size / factor:,.10g} {unit}"
    return f"{size:,.10g} B"
