"""The stored output of a panel with widgets, and drawing in several threads, which must not change settings."""

import threading
from base64 import b64decode
from io import BytesIO

import ipywidgets as widgets
import matplotlib as mpl
import matplotlib.pyplot as plt
from PIL import Image

from helpers import charts
from helpers.charts.style import in_style
from helpers.panel import Panel

CAPTION = "A slider above a chart of three bars that stands for all charts."


def bars(heights=(1, 2, 3)):
    ax = charts.blank()
    ax.bar(range(len(heights)), heights)
    return ax


def test_no_broken_picture_is_shown_before_the_first_one():
    panel = Panel([widgets.IntSlider()], CAPTION)
    assert panel.picture.layout.display == "none"
    data, _ = panel._repr_mimebundle_()
    assert "image/png" not in data and data["text/plain"] == CAPTION
    panel.show(bars())
    assert panel.picture.layout.display is None


def test_a_saved_notebook_holds_the_picture_and_the_caption():
    panel = Panel([widgets.IntSlider()], CAPTION)
    panel.show(bars())
    data, metadata = panel._repr_mimebundle_()
    assert b64decode(data["image/png"]) == panel.picture.value
    assert data["text/plain"] == metadata["image/png"]["alt"] == CAPTION
    assert "application/vnd.jupyter.widget-view+json" in data, "and a notebook with a kernel shows the widgets"


def test_two_threads_in_the_style_leave_the_settings_as_they_were():
    """If the style let the second thread in, the first thread would leave the style while the second one is in it."""
    before = dict(mpl.rcParams)
    second_is_in, first_is_out = threading.Event(), threading.Event()

    def second():
        with in_style():
            second_is_in.set()
            first_is_out.wait(20)

    thread = threading.Thread(target=second)
    with in_style():
        thread.start()
        assert not second_is_in.wait(0.3)
    first_is_out.set()
    thread.join()
    assert second_is_in.is_set() and dict(mpl.rcParams) == before


def test_charts_drawn_in_two_threads_leave_the_settings_as_they_were():
    before, figures = dict(mpl.rcParams), plt.get_fignums()
    pictures = []

    def draw():
        for _ in range(3):
            pictures.append(charts.png(bars(), tight=False))

    threads = [threading.Thread(target=draw) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(mpl.rcParams) == before and plt.get_fignums() == figures
    assert len(pictures) == 6 and len(set(pictures)) == 1


def test_a_chart_is_stored_with_a_palette_and_a_photo_with_all_its_colors():
    chart = charts.png(bars(), CAPTION)
    assert Image.open(BytesIO(chart)).mode == "P" and Image.open(BytesIO(chart)).text["Description"] == CAPTION
    ax = charts.blank()
    ax.imshow(Image.linear_gradient("L").resize((400, 400)), cmap="rainbow")
    ax.imshow(Image.effect_mandelbrot((400, 400), (-2, -1, 1, 1), 100), cmap="viridis", alpha=0.5)
    assert Image.open(BytesIO(charts.png(ax))).mode == "RGB"
