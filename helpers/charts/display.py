"""Showing a chart in a notebook, with words for whoever cannot see it."""

from base64 import b64encode
from io import BytesIO

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from helpers.charts.style import STYLE, root_figure
from helpers.measure.words import describe

DPI = 144  # pixels an inch: one and a half for each pixel on the page, so that it is sharp on dense screens


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


def png(ax: Axes, description: str = "") -> bytes:
    """The figure of `ax` as a PNG, for a widget or a file, and closed: else the notebook would show it once more."""
    figure = root_figure(ax)
    file = BytesIO()
    with plt.style.context(STYLE):
        figure.savefig(file, format="png", dpi=DPI, bbox_inches="tight", metadata={"Description": description})
    plt.close(figure)
    return file.getvalue()
