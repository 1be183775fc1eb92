"""A pool to run by hand and to watch: start, pause, and stop it, and make its service slow, fail, or refuse.

    from helpers.control_room import ControlRoom
    ControlRoom()                       # as the last line of a cell in JupyterLab

Read the files in this order:

    model       Room: the pool, its settings, and what the buttons do. No browser needed
    run         one run: the thread that submits the jobs and takes samples
    service     what the jobs call: simulated or real, and slow or broken on demand
    arrivals    when jobs arrive
    alert       when the alert fires
    history     the samples of the last half minute
    picture     the three pictures, as SVG; with charts and marks
    sentences   the same in words
    widget      ControlRoom: it connects a Room with the browser
    control_room.js    what the browser does: it shows frames, and sends the names of buttons

A name is imported when it is first used. So a child process that runs a job imports `service` only, and no widgets.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from helpers.control_room.model import Room
    from helpers.control_room.widget import ControlRoom

__all__ = ["ControlRoom", "Room"]

_HOME = {"ControlRoom": "widget", "Room": "model"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
