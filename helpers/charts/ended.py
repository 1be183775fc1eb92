"""How many jobs had ended at each moment, in several runs of the same jobs."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from helpers.charts.style import BLUE, INK, PURPLE, VERMILLION, label_of, need, numbers, plain, styled, whole_numbers
from helpers.measure.words import describe

LOOKS = [(INK, ":"), (BLUE, "-"), (VERMILLION, "--"), (PURPLE, "-.")]  # the first is meant for an ideal


def ended(runs: Mapping[str, Sequence[float]], *, ax: Axes | None = None) -> Axes:
    """Draw a line of steps per run: the number of jobs that had ended at each moment. A dot marks the end of a run.

    Beside each dot stand the name of the run and its length in ms, the first run above, the others below each other.

    Args:
        runs: for each run, under its name, the times in seconds at which its jobs ended. At most four runs.

    Raises TypeError if `runs` is not a mapping, ValueError for no run, too many, or one with bad times.
    """
    if not issubclass(type(runs), Mapping):
        raise TypeError(f"runs must be the times of each run under its name, not {describe(runs)}")
    if not 1 <= len(runs) <= len(LOOKS):
        raise ValueError(f"runs must be from 1 to {len(LOOKS)} runs, not {len(runs)}")
    tables = {name: pd.DataFrame({"finished": list(times)}) for name, times in runs.items()}
    for table in tables.values():
        need(table, "finished")
        numbers(table, "finished", least=0)
    with styled(ax) as axes:
        for place, ((name, table), (color, line)) in enumerate(zip(tables.items(), LOOKS, strict=False)):
            times = (1e3 * table["finished"]).sort_values().tolist()
            counts = range(len(times) + 1)
            axes.step([0.0, *times], counts, where="post", color=color, linestyle=line, label=label_of(name))
            axes.plot(times[-1:], [len(times)], "o", color=color, markersize=6, label="_end")
            words = f"{label_of(name)}: {times[-1]:,.0f} ms"
            shift, ha, va = ((-4, 7), "right", "bottom") if place == 0 else ((9, 14 - 14 * place), "left", "center")
            look: dict[str, Any] = {"ha": ha, "va": va, "color": color, "fontweight": "bold"}
            axes.annotate(words, (times[-1], len(times)), shift, textcoords="offset points", **look)
        longest = 1e3 * max(float(table["finished"].max()) for table in tables.values())
        most = max(len(table) for table in tables.values())
        axes.set(title="Jobs that had ended", xlabel="Time since the start (ms)", ylabel="Jobs that had ended")
        axes.set(xlim=(0, 1.3 * longest), ylim=(0, 1.14 * most))
        whole_numbers(axes.yaxis)
        axes.xaxis.set_major_formatter(FuncFormatter(plain))
        axes.grid(True)
    return axes
