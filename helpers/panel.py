"""Sliders and buttons above a picture, for a notebook.

    panel = Panel([workers, service], caption="Two sliders above a chart of the workers.")
    panel.show(charts.floor_plan(frame))
    display(panel)

The saved notebook holds the picture and the caption instead of the widgets, because widgets exist only while their
kernel runs. A reader who has not run the cell therefore sees the picture as it was when the panel was displayed.
"""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
from matplotlib.axes import Axes

from helpers import charts

WIDEST = 720  # pixels on the page: a picture is as wide as the page, but not wider than this


class Panel(widgets.VBox):  # type: ignore[misc]  # ipywidgets has no type hints
    """A row of controls, which wraps in a narrow window, and a picture below it.

    Args:
        controls: the widgets in the row.
        caption:  a sentence that describes the controls and the picture. It is the alternative text of the picture, and
                  the notebook's test compares it.
    """

    def __init__(self, controls: Sequence[widgets.Widget], caption: str) -> None:
        row = widgets.HBox(list(controls), layout=widgets.Layout(flex_flow="row wrap"))
        # A browser shows an image without a value as a broken image, so it is hidden until `show` is called.
        hidden = widgets.Layout(width="100%", max_width=f"{WIDEST}px", display="none")
        self.picture = widgets.Image(format="png", layout=hidden)
        self.caption = caption
        super().__init__([row, self.picture])

    def show(self, ax: Axes) -> None:
        """Replace the picture with the chart of `ax`, and close its figure."""
        self.picture.value = charts.png(ax, self.caption)
        self.picture.layout.display = None

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the widgets, for a notebook with a kernel, and the picture and the caption, for everything else."""
        data = super()._repr_mimebundle_(**options) | {"text/plain": self.caption}
        if self.picture.value:
            data["image/png"] = b64encode(self.picture.value).decode()
        return data, {"image/png": {"alt": self.caption, "width": WIDEST}}
