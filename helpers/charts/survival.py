"""What a job costs, against what becomes of the jobs when processes are killed."""

import pandas as pd
from matplotlib.axes import Axes

from helpers.charts.style import BLUE, INK, VERMILLION, label_of, need, numbers, styled

ROOM = 2.6  # the width of the axis, in lengths of the longest bar: the words stand beside the bars


def survival(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a bar per way: the cost per job. Beside it stand the cost, the jobs that were lost, and those done twice.

    Args:
        table: columns way, ms (per job), jobs, lost, doubled (numbers of jobs); one row per way, the first at the top.

    Raises ValueError for a missing column, an empty table, or a number below 0.
    """
    need(table, "way", "ms", "jobs", "lost", "doubled")
    numbers(table, "ms", "jobs", "lost", "doubled", least=0)
    costs, jobs = table["ms"].tolist(), table["jobs"].tolist()
    longest = max(costs)
    with styled(ax, size=(8.8, 0.75 * len(table) + 1.5)) as axes:
        axes.barh(range(len(costs)), costs, height=0.55, color=BLUE, label="_cost")
        for place, cost in enumerate(costs):
            lost, doubled = table["lost"].iloc[place], table["doubled"].iloc[place]
            color = VERMILLION if lost else INK
            axes.text(cost + 0.02 * longest, place, f"{in_words(cost)} ms", va="center", fontweight="bold")
            words = f"{lost:,.0f} of {jobs[place]:,.0f} lost"
            axes.text(1.3 * longest, place, words, va="center", color=color, fontweight="bold")
            axes.text(2.05 * longest, place, f"{doubled:,.0f} twice", va="center")
        axes.set_yticks(range(len(costs)), [label_of(way, 40) for way in table["way"]])
        axes.invert_yaxis()
        axes.set(title="What a job costs, and what survives", xlim=(0, ROOM * longest))
        axes.set_xlabel("Time per job (ms)", loc="left")
        axes.set_xticks([tick for tick in axes.get_xticks() if tick <= 1.05 * longest])
    return axes


def in_words(ms: float) -> str:
    """Return the number with two digits that count: 0.0031, 0.42, 2.7, 31."""
    return f"{ms:.2g}"
