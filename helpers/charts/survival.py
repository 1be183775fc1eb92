"""What becomes of the jobs when processes are killed."""

import pandas as pd
from matplotlib.axes import Axes

from helpers.charts.style import INK, VERMILLION, label_of, need, numbers, styled

ROOM = 140  # percent: the width of the axis, with room for the words beside a bar of 100 percent


def survival(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a bar per way to run jobs: the share of its jobs that were lost. The numbers stand beside the bar.

    Args:
        table: columns way, jobs (their number, from 1 up), lost (a number of jobs); one row per way, the first at the
            top.

    Raises ValueError for a missing column, an empty table, or a number that is too small.
    """
    need(table, "way", "jobs", "lost")
    numbers(table, "jobs", least=1)
    numbers(table, "lost", least=0)
    jobs, lost = table["jobs"].tolist(), table["lost"].tolist()
    shares = [100 * some / every for some, every in zip(lost, jobs, strict=True)]
    with styled(ax, size=(8.8, 0.75 * len(table) + 1.5)) as axes:
        axes.barh(range(len(shares)), shares, height=0.55, color=VERMILLION, label="_lost")
        for place, share in enumerate(shares):
            words, color = f"{lost[place]:,.0f} of {jobs[place]:,.0f} lost", VERMILLION if share else INK
            axes.text(share + 1.5, place, words, va="center", color=color, fontweight="bold")
        axes.set_yticks(range(len(shares)), [label_of(way, 60) for way in table["way"]])
        axes.invert_yaxis()
        axes.set(title="Jobs that are lost when processes are killed", xlim=(0, ROOM), xticks=range(0, 101, 25))
        axes.spines["bottom"].set_bounds(0, 100)
        axes.set_xlabel("Jobs lost (%)", loc="left")
    return axes
