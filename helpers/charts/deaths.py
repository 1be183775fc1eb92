"""A drawing of a worker that dies between an effect and the deletion of its job."""

from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from helpers.charts.style import GREY, INK, SKY, VERMILLION, styled

WIDTH, HEIGHT = 13.0, 5.0  # of a box
FIRST, NEXT = (17.0, 35.0), (52.0, 66.0)  # the left edges of the boxes of the two workers
DEATH = 32.5  # where the first worker dies
RESULT, RIGHT = 83.0, 101.0
ROWS = (20.0, 11.0, 2.0)  # the bottom of the boxes of each order


class Order(NamedTuple):
    """One order of the two steps."""

    name: str
    steps: tuple[str, str]
    look: tuple[str, str]  # of the boxes of the first worker: done, missing, or undone
    repeated: bool  # whether the next worker finds the job
    effects: str
    promise: str


ORDERS = (
    Order("effect,\nthen delete", ("send mail", "delete job"), ("done", "missing"), True, "2 mails", "at least once"),
    Order("delete,\nthen effect", ("delete job", "send mail"), ("done", "missing"), False, "0 mails", "at most once"),
    Order(
        "both in one\ntransaction",
        ("insert row", "delete job"),
        ("undone", "missing"),
        True,
        "1 row",
        "exactly once",
    ),
)


def deaths(*, ax: Axes | None = None) -> Axes:
    """Draw three orders of an effect and the deletion of its job, each with a worker that dies between the two steps.

    The columns show the steps of the worker that dies, the steps of the next worker, and what has happened in the end.
    """
    with styled(ax, size=(9.6, 3.4)) as axes:
        axes.set(xlim=(0, RIGHT), ylim=(-1, 31), title="A worker dies between the two steps")
        axes.set_axis_off()
        for x, words in ((FIRST[0], "first worker"), (NEXT[0], "next worker"), (RESULT, "in the end")):
            axes.text(x, 29, words, color=GREY, va="center")
        axes.plot([DEATH, DEATH], [-0.5, 27], color=VERMILLION, linestyle=(0, (2, 2)), linewidth=1.8, label="_death")
        for bottom, order in zip(ROWS, ORDERS, strict=True):
            _row(axes, bottom, order)
        axes.annotate("dies here", (DEATH + 1, 29), color=VERMILLION, va="center", fontweight="bold")
    return axes


def _row(ax: Axes, bottom: float, order: Order) -> None:
    """Draw one order: its name, the steps of both workers, and the result."""
    middle = bottom + HEIGHT / 2
    ax.text(0, middle, order.name, va="center", fontweight="bold")
    for left, words, look in zip(FIRST, order.steps, order.look, strict=True):
        _box(ax, left, bottom, words, look)
    ax.plot([DEATH], [middle], "X", color=VERMILLION, markersize=11, label="_death")
    if order.repeated:
        for left, words in zip(NEXT, order.steps, strict=True):
            _box(ax, left, bottom, words, "done")
    else:
        ax.text(NEXT[0], middle, "finds no job", va="center", color=GREY, style="italic")
    ax.text(RESULT, middle + 1.4, order.effects, va="center", fontweight="bold")
    ax.text(RESULT, middle - 1.5, order.promise, va="center")


def _box(ax: Axes, left: float, bottom: float, words: str, look: str) -> None:
    """Draw a step: filled if it is done, dashed if it never happens, and filled, dashed, and marked if it is undone."""
    face = "white" if look == "missing" else SKY
    edge, line = (INK, "-") if look == "done" else (GREY, (0, (3, 2)))
    shape = FancyBboxPatch((left, bottom), WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=0.8")
    shape.set(facecolor=face, edgecolor=edge, linestyle=line, linewidth=1.2, alpha=0.45 if look == "undone" else 1)
    ax.add_patch(shape)
    label = f"{words}\n(undone)" if look == "undone" else words
    color = INK if look == "done" else GREY
    ax.text(left + WIDTH / 2, bottom + HEIGHT / 2, label, ha="center", va="center", fontsize=10, color=color)
