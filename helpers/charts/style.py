"""What all charts share: the colours, the style, and the checks of what they are given.

Colour is never the only difference between two things: each also has its own marker, line style or hatch, so that a
page printed in grey still reads. Colours: M. Okabe and K. Ito, "Color Universal Design" (2008).
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
PIECE = 32.0  # points: the piece of a line that stands before its label
SIZE = (8.0, 4.4)  # inches, as in the style

# Matplotlib's settings belong to the whole process. If thread A enters the style, thread B enters it, A leaves it, and
# then B leaves it, B puts back what it found on entering: the style, for everybody and forever. So one at a time.
_one_at_a_time = threading.RLock()


@contextmanager
def in_style() -> Iterator[None]:
    """Have Matplotlib's settings as the style of the series wants them; afterwards they are as they were.

    Only one thread at a time can be inside; the others wait.
    """
    with _one_at_a_time, plt.style.context(STYLE):
        yield


LABEL = 120  # characters of a user's object on a chart


def label_of(value: Any, limit: int = LABEL) -> str:
    """Return `str(value)` as a chart can show it: at most `limit` characters, without control characters and formulas.

    Line ends stay. If `str(value)` raises, the result is what `describe` says of the value. Dollar signs are escaped,
    because Matplotlib takes the text between two of them for a formula, and fails if it is none.
    """
    try:
        text = str.__str__(str(value))
    except KeyboardInterrupt:
        raise  # it may be the Stop button
    except BaseException:
        text = describe(value, limit)
    if len(text) > limit:
        text = f"{text[: limit - 1]}…"
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text).replace("$", r"\$")


def same_jobs(jobs: Iterable[Any]) -> list[int]:
    """Number the jobs from 0 in the order in which they first appear; equal jobs get the same number.

    Jobs that cannot be hashed or compared, such as lists and arrays, are the same only if they are one object.
    """
    known: dict[Any, int] = {}
    found = []
    for job in jobs:
        try:
            number = known.setdefault(job, len(known))
        except KeyboardInterrupt:
            raise  # it may be the Stop button
        except BaseException:
            number = known.setdefault(("not comparable", id(job)), len(known))
        found.append(number)
    return found


@contextmanager
def styled(ax: Axes | None, *, size: tuple[float, float] | None = None) -> Iterator[Axes]:
    """Draw in the style of the series: on `ax` if there is one, else on a new figure of `size` (inches).

    Matplotlib's settings are as they were afterwards. If the drawing raises, a figure made here is closed again.
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
    """Empty axes on a figure of the usual size that pyplot does not know, so that any thread may draw on it.

    pyplot's figures are for the main thread: Jupyter shows all that are open whenever a cell ends.
    """
    with in_style():
        return Figure(figsize=SIZE, layout="constrained").add_subplot()


def need(table: pd.DataFrame, *columns: str) -> None:
    """Raise `ValueError` that names every missing column or says that there are no rows, `TypeError` for no table."""
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
    """Raise `ValueError` that names the first value that is no finite number within the bounds; `gaps`: NaN may be."""
    bounds = {f"{least:g} or more": least, f"more than {above:g}": above}
    rule = next((words for words, bound in bounds.items() if math.isfinite(bound)), "a finite number")
    for column in columns:
        for value in table[column]:
            if not (gaps and _missing(value)) and not (_finite(value) and value >= least and value > above):
                raise ValueError(f"{column} must be {rule} in every row of the table, not {describe(value)}")


def positive(name: str, value: float | None) -> None:
    """Raise `ValueError` unless `value` is None or more than 0 and finite, `TypeError` if it is no number."""
    if value is not None and not (_finite(value) and value > 0):
        kind = ValueError if issubclass(type(value), Real) else TypeError
        raise kind(f"{name} must be more than 0, not {describe(value)}")


def _missing(value: Any) -> bool:
    kind = type(value)  # pd.isna() would look into a list or an array
    return value is None or value is pd.NA or value is pd.NaT or (issubclass(kind, float) and math.isnan(value))


def _finite(value: Any) -> bool:
    return issubclass(type(value), Real) and type(value) is not bool and abs(value) <= sys.float_info.max


def plain(value: float, _: object = None) -> str:
    """A tick's number without powers of ten: 0.5, 20, 1,000."""
    return f"{value:,.10g}"


def log_axis(axis: Axis, ticks: Iterable[float] | None = None) -> None:
    """Give a logarithmic axis, after all is drawn on it, plain numbers at `ticks`, and say that it is logarithmic.

    Of ticks too close to be read the later ones go. Without `ticks` they are 1, 2, 5, 10, …, on a short axis more, and
    on a long one 1, 10, 100, ….
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
    """At `most` so many ticks, at whole numbers only, in steps of 1, 2, 5, 10, …, with a comma for the thousands."""
    axis.set_major_locator(MaxNLocator(nbins=most, steps=[1, 2, 5, 10], integer=True))
    axis.set_major_formatter(FuncFormatter(plain))


def limit_line(ax: Axes, y: float, label: str, colour: str = VERMILLION, line: Any = (0, (6, 2))) -> None:
    """A dashed horizontal line at `y` with its label on it, at the left end; it needs no legend."""
    ax.axhline(y, color=colour, linestyle=line, linewidth=1.6, label=f"_{label}")
    note(ax, (0.01, y), label, (0, 4), va="bottom")


def note(ax: Axes, at: tuple[float, float], text: str, offset: tuple[float, float], va: str) -> None:
    """Write `text` `offset` points from `at`: x as a share of the axes' width, y in the data."""
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
    """The legend in one row, right of the title, where it hides nothing."""
    shown = ax.get_legend_handles_labels()[0] if handles is None else list(handles)
    if shown:
        labels = [str(handle.get_label()) for handle in shown]
        ax.legend(shown, labels, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(shown), borderaxespad=0.2)


def root_figure(ax: Axes) -> Figure:
    """The whole figure that `ax` is on, also from within a subfigure. Raises `TypeError` if `ax` is no Axes."""
    if not issubclass(type(ax), Axes):
        raise TypeError(f"ax must be the Axes that a chart returned, not {describe(ax)}")
    figure = ax.figure
    while not isinstance(figure, Figure):
        figure = figure.figure
    return figure


def laid_out(ax: Axes) -> Figure:
    """The figure of `ax` after its layout is done, so that sizes on the page can be measured."""
    figure = root_figure(ax)
    figure.draw_without_rendering()
    return figure


def end_labels(ax: Axes, lines: Sequence[Line2D], gap: float = 15.0) -> None:
    """Right of the axes, at the last y of each line, a piece of it and its label: a legend without looking to and fro.

    They are moved up so that two are never closer than `gap` points.
    """
    points = 72 / laid_out(ax).dpi  # points a pixel
    free = float("-inf")
    for line in sorted(lines, key=last):
        y = last(line)
        at = float(ax.transData.transform((1, y))[1]) * points  # 1 lies on a logarithmic x axis too
        free = max(at, free)
        box = DrawingArea(PIECE, 0)
        box.add_artist(piece(line))
        ax.add_artist(
            AnnotationBbox(
                box,
                (1, y),
                (5, free - at),
                xycoords=("axes fraction", "data"),
                boxcoords="offset points",
                box_alignment=(0, 0.5),
                frameon=False,
                pad=0,
                annotation_clip=False,
            )
        )
        note(ax, (1, y), str(line.get_label()), (PIECE + 12, free - at), va="center")
        free += gap


def last(line: Line2D) -> float:
    """The y at which a line ends."""
    return float(np.asarray(line.get_ydata(), float)[-1])


def piece(line: Line2D) -> Line2D:
    """A short piece with the look of `line`, its marker in the middle."""
    new = Line2D([0, PIECE / 2, PIECE], [0, 0, 0], markevery=[1], label=line.get_label())
    new.set(color=line.get_color(), linestyle=line.get_linestyle(), linewidth=line.get_linewidth())
    new.set(marker=line.get_marker(), markersize=line.get_markersize(), markerfacecolor=line.get_markerfacecolor())
    new.set(markeredgecolor=line.get_markeredgecolor(), markeredgewidth=line.get_markeredgewidth())
    return new
