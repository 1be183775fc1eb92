"""The text above a chart: the finding as the title, and what is plotted as the subtitle."""

import textwrap
from typing import Any

from matplotlib.axes import Axes

from helpers.charts.style import GREY, INK, in_style, label_of, root_figure
from helpers.measure.words import describe

MOST_WORDS = 12  # in a title: a longer one cannot be read at a glance
TITLE, SUBTITLE = 13.0, 11.0  # points
BOLD_WIDTH, PLAIN_WIDTH = 0.65, 0.57  # the width of an average letter, as a share of the size of the font
LINE = 1.35  # the height of a line, as a multiple of the size of the font
GAP = 7.0  # points between the text and the chart


def headline(ax: Axes, title: str | None, subtitle: str | None = None) -> Axes:
    """Write the title and, below it, the subtitle above the whole figure of `ax`. Return `ax`.

    The figure grows by the height of the text, so the chart keeps its size. The title replaces the title of the axes.
    If several axes of the figure have titles, these are the names of panels, and they are kept. If `title` is None,
    nothing changes.

    Args:
        ax:        any axes of the figure.
        title:     the finding, in at most twelve words.
        subtitle:  what is plotted, and how it was measured.

    Raises TypeError if a text is not a string. Raises ValueError if a text is empty, if the title has more than twelve
    words, or if there is a subtitle without a title.
    """
    figure = root_figure(ax)
    if title is None:
        if subtitle is not None:
            raise ValueError(f"a subtitle needs a title above it: title is None, subtitle is {describe(subtitle)}")
        return ax
    first = sentence("title", title)
    if (count := len(first.split())) > MOST_WORDS:
        raise ValueError(f"title must have at most {MOST_WORDS} words, not {count}: {describe(first)}")
    second = None if subtitle is None else sentence("subtitle", subtitle)
    titled = [axes for axes in figure.get_axes() if axes.get_title(loc="left") or axes.get_title()]
    if titled in ([], [ax]):
        ax.set_title("", loc="left")
        ax.set_title("")
    _write_above(figure, first, second)
    return ax


def _write_above(figure: Any, title: str, subtitle: str | None) -> None:
    """Make room at the top of the figure, and write the title and the subtitle there."""
    width, height = figure.get_size_inches()
    lines = [(title, TITLE, BOLD_WIDTH, "bold", INK)]
    if subtitle is not None:
        lines.append((subtitle, SUBTITLE, PLAIN_WIDTH, "normal", GREY))
    wrapped = [textwrap.fill(label_of(text, 400), int(width * 72 / (size * part))) for text, size, part, *_ in lines]
    heights = [size * LINE * (text.count("\n") + 1) for text, (_, size, *_) in zip(wrapped, lines, strict=True)]
    total = height + (sum(heights) + GAP) / 72
    figure.set_size_inches(width, total)
    figure.set_layout_engine("constrained", rect=(0, 0, 1, height / total))
    with in_style():
        top = total * 72  # points from the bottom of the figure
        for text, (_, size, _, weight, color), used in zip(wrapped, lines, heights, strict=True):
            figure.text(0.01, top / (total * 72), text, size=size, weight=weight, color=color, va="top")
            top -= used


def sentence(name: str, value: Any) -> str:
    """Return the text with single spaces. Raises TypeError if it is not a string, ValueError if it is empty."""
    if not issubclass(type(value), str):
        raise TypeError(f"{name} must be a sentence, not {describe(value)}")
    words = " ".join(value.split())
    if not words:
        raise ValueError(f"{name} is empty: describe in a sentence what the picture shows")
    return words
