"""The signals of one pool over time, while the service that its jobs call changes."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from helpers.charts.style import (
    BLUE,
    GREY,
    INK,
    PURPLE,
    VERMILLION,
    end_labels,
    label_of,
    limit_line,
    need,
    numbers,
    plain,
    positive,
    styled,
)

PANELS = ("Jobs in the queue", "Oldest wait (s)", "Jobs that failed or were turned away, so far")
GAP = 0.15  # between two panels, as a share of the height
ROOM = 1.5  # the top of a scale, as a multiple of the largest value: the upper third is for words


def episodes(
    table: pd.DataFrame, *, limit: float, notes: Mapping[str, str] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw three panels, one above the other: the queue depth, the oldest wait, and the jobs that came to nothing.

    A part of the run is the time in which the service has one mode. Vertical lines divide the parts, and the name of
    the mode stands above each. A bar in the second panel shows when the alert fired.

    Args:
        table: columns time (seconds), mode (a word), queued (jobs), oldest_wait (seconds), failed and turned_away (jobs
            so far), alert ("firing", or another word); one row per sample.
        limit: the oldest wait above which the condition of the alert is true, in seconds.
        notes: a mode, and the words that the second panel shows in the parts with this mode.

    Raises ValueError for a missing column, an empty table, or a bad number.
    """
    need(table, "time", "mode", "queued", "oldest_wait", "failed", "turned_away", "alert")
    numbers(table, "time", "queued", "oldest_wait", "failed", "turned_away", least=0)
    positive("limit", limit)
    ordered = table.sort_values("time")
    times = ordered["time"].tolist()
    height = (1 + GAP) / len(PANELS) - GAP
    with styled(ax, size=(8.0, 5.6)) as axes:
        axes.set_axis_off()
        axes.set_title("Signals while the service changes")
        panels = [axes.inset_axes((0.0, (2 - place) * (height + GAP), 1.0, height)) for place in range(3)]
        for panel, words in zip(panels, PANELS, strict=True):
            panel.set_title(words, fontsize=10.5, fontweight="normal", loc="left", pad=6)
        panels[0].plot(times, ordered["queued"].tolist(), color=BLUE, linewidth=2.2, label="_queued")
        panels[1].plot(times, ordered["oldest_wait"].tolist(), color=BLUE, linewidth=2.2, label="_oldest wait")
        limit_line(panels[1], limit, f"limit: {limit:g} s")
        ends = panels[2].plot(times, ordered["turned_away"].tolist(), color=PURPLE, linewidth=2.2, label="turned away")
        failed: dict[str, Any] = {"color": VERMILLION, "linestyle": (0, (4, 1.5)), "linewidth": 2.2, "label": "failed"}
        ends += panels[2].plot(times, ordered["failed"].tolist(), **failed)
        for panel, tops in zip(panels, (["queued"], ["oldest_wait"], ["failed", "turned_away"]), strict=True):
            top = ROOM * max(1.0, float(ordered[tops].to_numpy().max()))
            panel.set(xlim=(times[0], times[-1]), ylim=(0, top))
            panel.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10]))
            panel.yaxis.set_major_formatter(FuncFormatter(plain))
            panel.grid(True)
        for panel in panels[:2]:
            panel.tick_params(labelbottom=False)  # all panels have the same times
        panels[2].set_xlabel("Time (s)")
        _firing(panels[1], times, ordered["alert"].tolist())
        _parts(panels, times, ordered["mode"].tolist(), notes or {})
        end_labels(panels[2], ends)
    return axes


def _runs(values: Sequence[Any]) -> list[tuple[int, int]]:
    """Return the first and the last place of each run of equal values."""
    changes = [place for place, (one, two) in enumerate(pairwise(values), 1) if one != two]
    return list(zip([0, *changes], [place - 1 for place in [*changes, len(values)]], strict=True))


def _parts(panels: Sequence[Axes], times: Sequence[float], modes: Sequence[Any], notes: Mapping[str, str]) -> None:
    """Divide the panels at each change of the mode. Write the modes into the first panel, the notes into the second."""
    for first, end in _runs(modes):
        if first:
            for panel in panels:
                panel.axvline(times[first], color=GREY, linestyle=":", linewidth=1.4)
        until = times[min(end + 1, len(times) - 1)]
        style: dict[str, Any] = {"ha": "center", "va": "top", "color": INK, "textcoords": "offset points"}
        for panel, words, weight in (
            (panels[0], label_of(modes[first], 20), "bold"),
            (panels[1], notes.get(modes[first], ""), "normal"),
        ):
            place = ((times[first] + until) / 2, panel.get_ylim()[1])
            panel.annotate(words, place, (0, -5), fontweight=weight, **style)


def _firing(panel: Axes, times: Sequence[float], states: Sequence[Any]) -> None:
    """Draw a bar at the top for each time in which the alert fired, with words before it."""
    bottom, top = panel.get_ylim()
    for first, end in _runs(states):
        if states[first] != "firing":
            continue
        style: dict[str, Any] = {"color": VERMILLION, "linewidth": 6, "solid_capstyle": "butt"}
        level = bottom + 0.93 * (top - bottom)
        panel.plot([times[first], times[end]], [level, level], label="_firing", **style)
        words: dict[str, Any] = {"ha": "right", "va": "center", "color": INK}
        panel.annotate("the alert fires", (times[first], level), (-6, 0), textcoords="offset points", **words)
