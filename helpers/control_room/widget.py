"""The control room as a widget: it shows a `Room`, and does what its buttons say.

    from helpers.control_room import ControlRoom
    ControlRoom()                       # as the last line of a cell

The browser draws the frames that this module sends ten times per second, and sends back the name of the button that
was used. Widgets exist only while their kernel runs, so a saved notebook keeps a picture and the caption instead. The
picture shows the room as it was when the cell displayed it. Before the first run, it is always the same picture.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from helpers.control_room import picture, sentences
from helpers.control_room.history import Sample
from helpers.control_room.marks import HEIGHT, WIDTH
from helpers.control_room.model import READY, Room, close_all
from helpers.control_room.run import PAUSED, RUNNING, STOPPING
from helpers.control_room.service import MODES
from helpers.pools.words import describe_error

CAPTION = (
    "Three pictures of a pool: the way of the jobs, what waits, and the throughput. In a notebook that runs, there are "
    "also buttons to start, pause, and stop the pool, and controls for the workers, the arrivals, and the service."
)
PICTURE = "image/svg+xml"

# What each button and input does, by the name that the browser sends.
ACTIONS: dict[str, Callable[[Room, Any], object]] = {
    "start": lambda room, value: room.start(),
    "pause": lambda room, value: room.resume() if room.state == PAUSED else room.pause(),
    "stop": lambda room, value: room.stop(),
    "kill": lambda room, value: room.kill_worker(),
    "engine": lambda room, value: room.set_engine(value),
    "mode": lambda room, value: room.set_mode(value),
    "rate": lambda room, value: room.set_rate(value),
    "workers": lambda room, value: room.resize(value, max(value, room.max_workers) if room.elastic else None),
    "max_workers": lambda room, value: room.resize(min(value, room.workers), value),
}


class ControlRoom(anywidget.AnyWidget):
    """A pool to run by hand and to watch. Make it the last line of a cell.

    Args:
        settings:  the arguments of `Room`, for example workers=4, rate=30, or handler=ReadUser(database.url).

    Attributes:
        room:   what runs. Its methods do the same as the buttons: `room.start()`, `room.set_mode("slow")`.
        setup:  what stays the same: the titles and the size of the pictures, and which controls there are.
        frame:  what the browser shows now.

    A new control room stops the earlier ones of the same kernel, so that a cell can be run again. An interrupted cell
    stops them, too. Raises TypeError or ValueError for a bad argument.
    """

    _esm = Path(__file__).with_name("control_room.js")
    setup = traitlets.Dict().tag(sync=True)
    frame = traitlets.Dict().tag(sync=True)

    def __init__(self, **settings: Any) -> None:
        close_all()
        self.room = Room(**settings)
        self._sending = threading.Lock()  # The thread of a run and the main thread send frames.
        self._problem = ""
        self._shown = self.room.snapshot()
        self._pictures: dict[str, str] = {}
        self._last: Sample | None = None  # the newest sample that the charts show
        setup = {
            "titles": picture.TITLES,
            "width": WIDTH,
            "height": HEIGHT,
            "modes": MODES,
            "elastic": self.room.elastic,
        }
        super().__init__(setup=setup, frame=self._frame(self._shown))
        self.room.on_tick = self._show
        self.on_msg(self._receive)
        stop_after_interrupts()

    def close(self) -> None:
        """Stop the run, wait until it has ended, and remove the widget."""
        self.room.close()
        super().close()

    def _receive(self, _: Any, message: Any, buffers: Any) -> None:
        """Do what a button or an input of the browser says, and show the result or the problem."""
        action = ACTIONS.get(str(message.get("do"))) if isinstance(message, dict) else None
        if action is None:
            return
        self._problem = ""
        try:
            action(self.room, message.get("value"))
        except (TypeError, ValueError, RuntimeError) as error:
            self._problem = describe_error(error)
        self._show()

    def _show(self) -> None:
        with self._sending:
            self.frame = self._frame(self.room.snapshot())

    def _frame(self, snap: dict[str, Any]) -> dict[str, Any]:
        before, self._shown = self._shown, snap
        history = self.room.history()
        if snap["state"] == RUNNING and history and history[-1] is self._last:  # The charts have nothing new to show.
            self._pictures = self._pictures | {"flow": picture.flow(snap)}
        else:
            self._pictures = picture.pictures(snap, history)
            self._last = history[-1] if history else None
        same_run = before["submitted"] <= snap["submitted"]
        controls = ("state", "mode", "engine", "rate", "min_workers", "max_workers")
        return {
            **{name: snap[name] for name in controls},
            "may_start": snap["state"] not in (RUNNING, PAUSED, STOPPING),
            "pictures": self._pictures,
            "moves": picture.moves(before, snap) if same_run and snap["state"] != READY else [],
            "alert": snap["alert"],
            "alert_words": sentences.alert(snap),
            "status": self._problem or sentences.status(snap),
        }

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget for a notebook with a kernel; the picture and the caption for everything else."""
        found = super()._repr_mimebundle_(**options)
        drawn = picture.whole(self.room.snapshot(), self.room.history(), CAPTION)
        data = (found[0] if found else {}) | {"text/plain": CAPTION, PICTURE: drawn}
        return data, {PICTURE: {"alt": CAPTION, "width": 3 * WIDTH}}


def stop_after_interrupts() -> None:
    """Have IPython stop the control rooms after a cell that was interrupted. Does nothing outside of IPython."""
    from IPython import get_ipython

    shell = get_ipython()
    if shell is not None:
        shell.events.register("post_run_cell", close_if_interrupted)  # once, even if it is registered again


def close_if_interrupted(result: Any) -> None:
    """Stop the control rooms if the cell with this result was interrupted. IPython calls this after each cell."""
    if isinstance(result.error_in_exec, KeyboardInterrupt):
        close_all()
