"""The parts that all charts share: the colors, the style, and the checks of their arguments.

Color is never the only difference between two things: each also has a marker, line style, or hatch of its own, so that
a page printed in grey is readable. Source of the colors: M. Okabe and K. Ito, "Color Universal Design" (2008).
"""

import math
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, DrawingArea
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from helpers.measure.words import describe

INK, GREY = "#222222", "#6b6b6b"
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, YELLOW = "#E69F00", "#56B4E9", "#F0E442"

STYLE = "helpers.charts.series"  # series.mplstyle beside this file
PIECE = 32.0  # points: the length of the piece of a line before its label
SIZE = (8.0, 4.4)  # inches, as in the style

# Matplotlib's settings belong to the whole process. Suppose that thread A enters the style, thread B enters it, A
# leaves it, and then B leaves it. B would restore the settings that it found on entering. These are the style, which
# would then apply to the whole process until it ends. The lock lets only one thread in.
_one_at_a_time = threading.RLock()


@contextmanager
def in_style() -> Iterator[None]:
    """Apply the style of the series to Matplotlib's settings, and restore the settings afterwards.

    Only one thread at a time can be inside the context. Other threads wait.
    """
    with _one_at_a_time, plt.style.context(STYLE):
        yield


LABEL = 120  # characters: the maximum for the text of a user's object on a chart


def label_of(value: Any, limit: int = LABEL) -> str:
    """Return `str(value)` in a form that a chart can show: at most `limit` characters, and no control characters.

    Line breaks are kept. If `str(value)` raises, the result is the text that `describe` returns. Dollar signs are
    escaped, because Matplotlib reads the text between two of them as a formula and fails if it is not a valid one.
    """
    try:
        text = str.__str__(str(value))
    except KeyboardInterrupt:
        raise  # it can come from the Stop button and not from the value
    except BaseException:
        text = describe(value, limit)
    if len(text) > limit:
        text = f"{text[: limit - 1]}…"
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text).replace("$", r"\$")


def same_jobs(jobs: Iterable[Any]) -> list[int]:
    """Number the jobs from 0 in the order of their first appearance. Equal jobs get the same number.

    Jobs that cannot be hashed or compared, such as lists and arrays, are equal only if they are the same object.
    """
    known: dict[Any, int] = {}
    found = []
    for job in jobs:
        try:
            number = known.setdefault(job, len(known))
        except KeyboardInterrupt:
            raise  # it can come from the Stop button and not from the job
        except BaseException:
            number = known.setdefault(("not comparable", id(job)), len(known))
        found.append(number)
    return found


@contextmanager
def styled(ax: Axes | None, *, size: tuple[float, float] | None = None) -> Iterator[Axes]:
    """Yield axes to draw on in the style of the series: `ax`, or those of a new figure of `size` (inches).

    Matplotlib's settings are restored afterwards. If the drawing raises, the new figure is closed.
    """
    if ax is not None and not issubclass(type(ax), Axes):
        raise TypeError(f"ax must be the Axes to draw on, not {describe(ax)}")
    with in_style():
        if ax is not None:
            yield ax
            return
        figure, new = plt.subplots(figsize=size)
        try:
            yield new
        except BaseException:
            plt.close(figure)
            raise


def blank() -> Axes:
    """Return empty axes on a figure of the usual size that pyplot does not manage, so that any thread may draw on it.

    A figure of pyplot is for the main thread only: Jupyter displays all open figures of pyplot whenever a cell ends.
    """
    with in_style():
        return Figure(figsize=SIZE, layout="constrained").add_subplot()


def need(table: pd.DataFrame, *columns: str) -> None:
    """Raise ValueError, naming every missing column, or if the table is empty; TypeError if it is not a DataFrame."""
    if not issubclass(type(table), pd.DataFrame):  # isinstance() may run the user's own code
        raise TypeError(f"the table must be a DataFrame, not {describe(table)}")
    missing = [column for column in columns if column not in table]
    if missing:
        found = ", ".join(label_of(name, 40) for name in list(table.columns)[:20])
        raise ValueError(f"the table has no column {', '.join(missing)}; it has {found}")
    if table.empty:
        raise ValueError("the table has no rows: there is nothing to draw")


def numbers(
    table: pd.DataFrame, *columns: str, least: float = -math.inf, above: float = -math.inf, gaps: bool = False
) -> None:
    """Raise ValueError, naming the value, if a column has a value that is not a finite number within the bounds.

    The bounds are value >= least and value > above. With `gaps`, missing values (None, NaN, NA) are allowed.
    """
    bounds = {f"{least:g} or more": least, f"more than {above:g}": above}
    rule = next((words for words, bound in bounds.items() if math.isfinite(bound)), "a finite number")
    for column in columns:
        for value in table[column]:
            if not (gaps and _missing(value)) and not (_finite(value) and value >= least and value > above):
                raise ValueError(f"{column} must be {rule} in every row of the table, not {describe(value)}")


def positive(name: str, value: float | None) -> None:
    """Raise ValueError unless `value` is None, or a finite number greater than 0; TypeError if it is not a number."""
    if value is not None and not (_finite(value) and value > 0):
        kind = ValueError if issubclass(type(value), Real) else TypeError
        raise kind(f"{name} must be more than 0, not {describe(value)}")


def _missing(value: Any) -> bool:
    kind = type(value)  # pd.isna() would return an array for a list or an array
    return value is None or value is pd.NA or value is pd.NaT or (issubclass(kind, float) and math.isnan(value))


def _finite(value: Any) -> bool:
    return issubclass(type(value), Real) and type(value) is not bool and abs(value) <= sys.float_info.max


def plain(value: float, _: object = None) -> str:
    """Return the label of a tick without powers of ten: 0.5, 20, 1,000."""
    return f"{value:,.10g}"


def log_axis(axis: Axis, ticks: Iterable[float] | None = None) -> None:
    """Put plain numbers at `ticks` of a logarithmic axis, and add "log scale" to its label. Call it after drawing.

    Of two ticks that are too close to each other, the larger one is left out. Without `ticks`, they are 1, 2, 5, 10, …;
    a short axis has more of them, and a long axis has 1, 10, 100, ….
    """
    low, high = sorted(axis.get_view_interval())
    if ticks is None:
        span = high / low
        subs = (1, 2, 3, 4, 6, 8) if span < 25 else (1, 2, 3, 5) if span < 60 else (1, 2, 5) if span < 500 else (1,)
        axis.set_major_locator(LogLocator(subs=subs))
    else:
        kept: list[float] = []
        for tick in sorted(set(ticks)):
            if not kept or tick / kept[-1] > (high / low) ** 0.045:
                kept.append(tick)
        axis.set_major_locator(FixedLocator(kept))
    axis.set_major_formatter(FuncFormatter(plain))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    words = axis.get_label_text()
    axis.set_label_text(f"{words[:-1]}, log scale)" if words.endswith(")") else f"{words} (log scale)")


def whole_numbers(axis: Axis, most: int = 10) -> None:
    """Put at most `most` ticks on the axis, at whole numbers only, in steps of 1, 2, 5, 10, …, as in 1,000."""
    # Without min_n_ticks=1, an axis with a single whole number would have ticks at fractions.
    axis.set_major_locator(MaxNLocator(nbins=most, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axis.set_major_formatter(FuncFormatter(plain))


def limit_line(ax: Axes, y: float, label: str, colour: str = VERMILLION, line: Any = (0, (6, 2))) -> None:
    """Draw a dashed horizontal line at `y`, with its label above its left end. The line needs no legend."""
    ax.axhline(y, color=colour, linestyle=line, linewidth=1.6, label=f"_{label}")
    note(ax, (0.01, y), label, (0, 4), va="bottom")


def note(ax: Axes, at: tuple[float, float], text: str, offset: tuple[float, float], va: str) -> None:
    """Write `text` at a distance of `offset` points from `at`: x is a share of the axes' width, y is a data value."""
    ax.annotate(
        text,
        at,
        offset,
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va=va,
        annotation_clip=False,
    )


def legend_above(ax: Axes, handles: Sequence[Artist | BarContainer] | None = None) -> None:
    """Place the legend in one row, right of the title, where it hides nothing."""
    shown = ax.get_legend_handles_labels()[0] if handles is None else list(handles)
    if shown:
        labels = [str(handle.get_label()) for handle in shown]
        ax.legend(shown, labels, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(shown), borderaxespad=0.2)


def root_figure(ax: Axes) -> Figure:
    """Return the whole figure of `ax`, also if `ax` is in a subfigure. Raises TypeError if `ax` is not an Axes."""
    if not issubclass(type(ax), Axes):
        raise TypeError(f"ax must be the Axes that a chart returned, not {describe(ax)}")
    figure = ax.figure
    while not isinstance(figure, Figure):
        figure = figure.figure
    return figure


def laid_out(ax: Axes) -> Figure:
    """Return the figure of `ax` after computing its layout, so that sizes in pixels can be measured."""
    figure = root_figure(ax)
    figure.draw_without_rendering()
    return figure


def end_labels(ax: Axes, lines: Sequence[Line2D], gap: float = 15.0, pieces: bool = True) -> None:
    """Write the label of each line right of the axes, at the last y of the line, after a short piece of the line.

    The labels replace a legend. A label is moved up if it would be closer than `gap` points to the label below it.
    The label of a line that ends above the axes stands at their top. Without `pieces`, the label follows the line
    itself, which must end at the right border of the axes.
    """
    points = 72 / laid_out(ax).dpi  # points per pixel
    top, free = ax.get_ylim()[1], float("-inf")
    for line in sorted(lines, key=last):
        y = min(last(line), top)
        at = float(ax.transData.transform((1, y))[1]) * points  # x = 1, because a logarithmic axis has no 0
        free = max(at, free)
        if pieces:
            _end_piece(ax, line, y, (5, free - at))
        note(ax, (1, y), str(line.get_label()), (PIECE + 12 if pieces else 6, free - at), va="center")
        free += gap


def _end_piece(ax: Axes, line: Line2D, y: float, offset: tuple[float, float]) -> None:
    """Draw a short piece of `line` right of the axes, at a distance of `offset` points from `y`."""
    box = DrawingArea(PIECE, 0)
    box.add_artist(piece(line))
    ax.add_artist(
        AnnotationBbox(
            box,
            (1, y),
            offset,
            xycoords=("axes fraction", "data"),
            boxcoords="offset points",
            box_alignment=(0, 0.5),
            frameon=False,
            pad=0,
            annotation_clip=False,
        )
    )


def last(line: Line2D) -> float:
    """Return the last y value of a line."""
    return float(np.asarray(line.get_ydata(), float)[-1])


def piece(line: Line2D) -> Line2D:
    """Return a short line that looks like `line`, with one marker in the middle."""
    new = Line2D([0, PIECE / 2, PIECE], [0, 0, 0], markevery=[1], label=line.get_label())
    new.set(color=line.get_color(), linestyle=line.get_linestyle(), linewidth=line.get_linewidth())
    new.set(marker=line.get_marker(), markersize=line.get_markersize(), markerfacecolor=line.get_markerfacecolor())
    new.set(markeredgecolor=line.get_markeredgecolor(), markeredgewidth=line.get_markeredgewidth())
    return new
