"""Showing a chart in a notebook, with words for whoever cannot see it."""

from base64 import b64encode
from io import BytesIO

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from PIL import Image, PngImagePlugin

from helpers.charts.style import in_style, root_figure
from helpers.measure.words import describe

DPI = 144  # pixels an inch: one and a half for each pixel on the page, so that it is sharp on dense screens
PALETTE = 128  # colors of a stored chart; no eye sees the difference
MOST_COLORS = 8192  # of a chart, counting the shades at the edges of letters and lines; photos have more


def show(ax: Axes, alt: str) -> None:
    """Display the figure of `ax` once, as a PNG with `alt` for its alternative text, and close it.

    `alt` says what there is to see, in a sentence. It is the output's plain text and its metadata (`image/png`: `alt`),
    and it is compared when the notebook is tested: a number that another run would change does not belong in it.

    Raises:
        ValueError: if `alt` is empty. The figure stays open.
    """
    from IPython.display import display  # only here: the charts themselves work without IPython

    if not issubclass(type(alt), str):
        raise TypeError(f"alt must be a sentence, not {describe(alt)}")
    words = " ".join(alt.split())
    if not words:
        raise ValueError("alt is empty: say in a sentence what the picture shows")
    picture = png(ax, words)
    width = int.from_bytes(picture[16:20], "big") * 100 // DPI  # a PNG's width stands in bytes 16 to 19
    data = {"image/png": b64encode(picture).decode(), "text/plain": words}
    display(data, metadata={"image/png": {"alt": words, "width": width}}, raw=True)  # type: ignore[no-untyped-call]


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
