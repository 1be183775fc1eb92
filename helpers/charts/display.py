"""Show a chart in a notebook: the finding above it, and a caption below it that is also its alternative text."""

import re
from base64 import b64encode
from io import BytesIO
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from PIL import Image, PngImagePlugin

from helpers.charts.headline import headline, sentence
from helpers.charts.style import in_style, root_figure

DPI = 144  # pixels per inch: 1.5 for each pixel on the page, so that the picture is sharp on dense screens
PALETTE = 128  # colors of a stored chart; no eye sees the difference
MOST_COLORS = 8192  # of a chart, counting the shades at the edges of letters and lines; photos have more


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
            caption="A line that rises with the workers up to 25 of them and is flat from there on.",
        )

    Args:
        ax:        what a chart returned, or any other axes.
        caption:   what there is to see, in one or two sentences. It stands below the picture, and it is the picture's
                   alternative text, so write it for somebody who cannot see the chart.
        title:     the finding, in at most twelve words. It takes the place of the chart's own title.
        subtitle:  what is plotted, and how it was measured. Needs a title.
        alt:       in place of `caption`: an alternative text that is not shown. For charts that the text around them
                   describes already.

    Caption and alternative text are compared when the notebook is tested. Do not write a number into them that can
    change from run to run. The same holds for a title that is made from measured numbers only if it is in the caption.

    Raises TypeError or ValueError for words that break their rule. The figure then stays open.
    """
    from IPython.display import display  # only here: the charts themselves work without IPython

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
    """Return the words as one line of Markdown in italics, with every character escaped that has a meaning there."""
    return "*" + re.sub(r"([\\`*_{}\[\]<>$#|~])", r"\\\1", words) + "*"


def png(ax: Axes, description: str = "", *, tight: bool = True) -> bytes:
    """Return the figure of `ax` as a PNG, for a widget or a file, and close it. An open figure would be shown again.

    `tight` cuts the white edges off. Without it, all pictures of figures of one size have the same size, so that a
    picture that changes does not jump.
    """
    figure = root_figure(ax)
    file = BytesIO()
    with in_style():
        figure.savefig(file, format="png", dpi=DPI, bbox_inches="tight" if tight else None)
    if figure.canvas.manager is not None:  # it is one of pyplot's
        plt.close(figure)
    return _small(file, description)


def _small(file: BytesIO, description: str) -> bytes:
    """Return the picture with a palette, which takes a third of the bytes, unless it has more colors than a chart has.

    Photos keep all their colors: in a palette of 128, their skies have stripes.
    """
    picture = Image.open(file).convert("RGB")
    if picture.getcolors(MOST_COLORS) is not None:
        picture = picture.quantize(PALETTE, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    words = PngImagePlugin.PngInfo()
    words.add_itxt("Description", description)
    small = BytesIO()
    picture.save(small, format="PNG", optimize=True, dpi=(DPI, DPI), pnginfo=words)
    return small.getvalue()
