"""When each worker was busy, in one panel for each way, with the part of the time that is not the work itself."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from helpers.charts.style import GREY, INK, ORANGE, SKY, label_of, need, numbers, styled, whole_numbers

MOST_WAYS = 4  # panels, one above the other
GAP = 0.1  # between two panels, as a share of the height
ROOM = 1.12  # the width of the time axis, as a multiple of the last end


def schedules(table: pd.DataFrame, *, work: str = "work", ax: Axes | None = None) -> Axes:
    """Draw a panel for each way: a row per worker, and a bar per job with two parts, the extra time and then the work.

    All panels share the time axis. In each panel, a solid vertical line with a label marks the end of the last job, and
    a dotted line marks the end of the first way, for comparison.

    Args:
        table: columns way, worker, started, finished, and `work`; one row per job. The times are in seconds since the
               start of the way. At most four ways.
        work:  the name of the column with the seconds of the work itself; also its name in the legend.

    Raises:
        ValueError: for a missing column, an empty table, too many ways, or a value that is not a finite number.
    """
    need(table, "way", "worker", "started", work, "finished")
    numbers(table, "worker", "started", work, "finished")
    ways = list(dict.fromkeys(table["way"]))
    if len(ways) > MOST_WAYS:
        raise ValueError(f"the table has {len(ways)} ways; there is room for {MOST_WAYS} panels")
    most = 1000 * ROOM * float(table["finished"].max())
    first = table[table["way"] == ways[0]]
    rows = len(table[["way", "worker"]].drop_duplicates())
    with styled(ax, size=(8.4, 1.4 + 0.17 * rows + 0.3 * len(ways))) as axes:
        axes.set_axis_off()
        axes.set_title("When each worker was busy")
        height = (1 + GAP) / len(ways) - GAP
        for place, way in enumerate(ways):
            bottom = 1 - height - place * (height + GAP)
            panel = axes.inset_axes((0.0, bottom, 1.0, height))
            draw_panel(panel, table[table["way"] == way], work, most)
            panel.axvline(1000 * float(first["finished"].max()), color=INK, linestyle=":", linewidth=1.2)
            panel.set_title(label_of(way, 40), fontsize=11, loc="left", pad=6, fontweight="normal")
            panel.set_ylabel("Worker")
            panel.tick_params(labelbottom=way == ways[-1])
        panel.set_xlabel("Time since the start (ms)")
        parts = [
            Patch(facecolor=SKY, edgecolor=INK, label=label_of(work, 40)),
            Patch(facecolor=ORANGE, edgecolor=INK, hatch="////", label="extra time"),
        ]
        axes.legend(handles=parts, loc="lower right", bbox_to_anchor=(1, 1.04), ncols=2, borderaxespad=0.0)
    return axes


def draw_panel(panel: Axes, part: pd.DataFrame, work: str, most: float) -> None:
    """Draw one way, on a time axis from 0 to `most` milliseconds."""
    workers, started, finished = part["worker"], 1000 * part["started"], 1000 * part["finished"]
    begun = finished - 1000 * part[work]
    look: dict[str, Any] = {"height": 0.8, "edgecolor": INK, "linewidth": 0.5}
    panel.barh(workers, begun - started, left=started, color=ORANGE, hatch="////", **look)
    panel.barh(workers, finished - begun, left=begun, color=SKY, **look)
    end, middle = float(finished.max()), float(workers.max() + workers.min()) / 2
    panel.axvline(end, color=GREY, linewidth=1.6)
    label = f"{end:.0f} ms"
    panel.annotate(label, (end, middle), (6, 0), textcoords="offset points", va="center", fontweight="bold")
    panel.set_xlim(0, most)
    panel.set_ylim(float(workers.max()) + 0.6, float(workers.min()) - 0.6)  # worker 1 on top
    whole_numbers(panel.yaxis)
    panel.grid(True, axis="x")
