"""Display a chart in a notebook, with the finding above it and a caption below it that is also its alternative text."""

import re
from base64 import b64encode
from io import BytesIO
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from PIL import Image, PngImagePlugin

from helpers.charts.headline import headline, sentence
from helpers.charts.style import in_style, root_figure

DPI = 144  # pixels per inch: 1.5 times the size on the page, so that the picture is sharp on high-density screens
PALETTE = 128  # colors of a stored chart; a reader cannot see the difference
MOST_COLORS = 8192  # a chart has fewer, including the antialiased edges of letters and lines; a photo has more


def show(
    ax: Axes,
    caption: str | None = None,
    *,
    title: str | None = None,
    subtitle: str | None = None,
    alt: str | None = None,
) -> None:
    """Display the figure of `ax` once, as a PNG, with its caption below it, and close the figure.

        charts.show(
            charts.throughput(table, limit=250),
            title="25 connections cap throughput; more workers only add waiting",
            subtitle="Throughput against workers, median and range of 3 runs",
            caption="The line rises up to 25 workers and is flat from there on.",
        )

    Args:
        ax:        the axes that a chart returned, or any other axes.
        caption:   a description of the chart, in one or two sentences. It is displayed below the picture and is also
                   its alternative text, so write it for a reader who cannot see the chart.
        title:     the finding, in at most twelve words. It replaces the chart's own title.
        subtitle:  what is plotted, and how it was measured. Needs a title.
        alt:       an alternative text that is not displayed, in place of `caption`. Use it for a chart that the text
                   of the notebook already describes.

    The notebook's test compares the caption and the alternative text, so they must not contain a number that changes
    from run to run. The test does not compare the title and the subtitle, which are part of the picture.

    Raises TypeError or ValueError if a text breaks its rule. The figure then stays open.
    """
    from IPython.display import display  # imported here because the charts themselves work without IPython

    if caption is not None and alt is not None:
        raise TypeError("give show() a caption or an alt, not both: the caption is the alternative text, too")
    words = sentence("caption", caption) if alt is None else sentence("alt", alt)
    headline(ax, title, subtitle)
    picture = png(ax, words)
    width = int.from_bytes(picture[16:20], "big") * 100 // DPI  # bytes 16 to 19 of a PNG hold its width
    data = {"image/png": b64encode(picture).decode(), "text/plain": words}
    _display(display, data, {"image/png": {"alt": words, "width": width}})
    if alt is None:
        _display(display, {"text/markdown": in_italics(words), "text/plain": words}, {})


def _display(display: Any, data: dict[str, str], metadata: dict[str, Any]) -> None:
    display(data, metadata=metadata, raw=True)


def in_italics(words: str) -> str:
    """Return the text in italics as Markdown. Characters with a meaning in Markdown are escaped."""
    return "*" + re.sub(r"([\\`*_{}\[\]<>$#|~])", r"\\\1", words) + "*"


def png(ax: Axes, description: str = "", *, tight: bool = True) -> bytes:
    """Return the figure of `ax` as a PNG, for a widget or a file, and close the figure.

    An open figure would be displayed a second time at the end of the cell. `tight` crops the white margins. With
    tight=False all figures of the same size give pictures of the same size, so that a widget that replaces its picture
    does not change its size.
    """
    figure = root_figure(ax)
    file = BytesIO()
    with in_style():
        figure.savefig(file, format="png", dpi=DPI, bbox_inches="tight" if tight else None)
    if figure.canvas.manager is not None:  # pyplot created the figure
        plt.close(figure)
    return _small(file, description)


def _small(file: BytesIO, description: str) -> bytes:
    """Return the picture as a PNG, with a palette if it has no more colors than a chart. A palette saves two thirds.

    Photos keep all their colors, because a palette of 128 colors would make visible stripes in a sky.
    """
    picture = Image.open(file).convert("RGB")
    if picture.getcolors(MOST_COLORS) is not None:
        picture = picture.quantize(PALETTE, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    words = PngImagePlugin.PngInfo()
    words.add_itxt("Description", description)
    small = BytesIO()
    picture.save(small, format="PNG", optimize=True, dpi=(DPI, DPI), pnginfo=words)
    return small.getvalue()
