"""The pictures of the control room, as the inside of SVG elements. Pure functions of a snapshot and of samples.

There are three pictures of the same size: the way of the jobs, what waits, and the throughput. The widget shows them
side by side, or below each other in a narrow window. `whole` puts them into one file.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import ceil
from typing import Any
from xml.sax.saxutils import escape

from helpers.charts.style import BLUE, GREEN, GREY, INK, PURPLE, VERMILLION
from helpers.control_room.charts import rates, waits
from helpers.control_room.history import Sample
from helpers.control_room.marks import HEIGHT, WIDTH, box, circle, text

TITLES = {
    "flow": "The way of the jobs: from the queue to the workers to the results",
    "waits": "The queued jobs and the oldest wait over the last seconds",
    "rates": "The throughput and its maximum over the last seconds",
}
COLUMNS, ROWS, CELL = 6, 10, 15  # of the cells of the queue; a cell is one job, or more in a long queue
QUEUE_X, WORKERS_X, RESULTS_X, TOP = 12, 132, 262, 48
MOST_WORKERS = 20  # that are drawn
MOST_MOVES = 4  # of each kind per frame
# Name in the snapshot, label, color, and a sign that can be told apart without color.
OUTCOMES = [
    ("succeeded", "succeeded", GREEN, "✓"),
    ("failed", "failed", VERMILLION, "✗"),
    ("cancelled", "cancelled", GREY, "–"),
]
ROW = 38  # units between two outcomes
AWAY_Y = 178  # of the heading above the jobs that were turned away


def flow(snap: dict[str, Any]) -> str:
    """Draw the queue, the workers, the results, and the jobs that were turned away, which have no result."""
    queue, workers = _queue(snap["queue_size"], snap["queued"]), _workers(snap["workers"], snap["running"])
    return queue + workers + _results(snap) + text(QUEUE_X, HEIGHT - 10, accounts(snap), 11)


def accounts(snap: dict[str, Any]) -> str:
    """Return the accounts of the pool as a sentence, which is always true."""
    counts = f"{snap['queued']:,} queued + {snap['running']:,} running + {snap['finished']:,} finished"
    return f"{snap['submitted']:,} jobs = {counts}"


def _heading(x: float, title: str, count: str) -> list[str]:
    return [text(x, 18, title, 13, weight="bold"), text(x, 36, count, 12)]


@lru_cache
def _queue(size: int, queued: int) -> str:
    per_cell = ceil(size / (COLUMNS * ROWS))
    cells, filled = ceil(size / per_cell), ceil(queued / per_cell)
    parts = _heading(QUEUE_X, "Queue", f"{queued} of {size} jobs")
    for number in range(cells):
        x, y = _cell(number)
        parts.append(box(x, y, CELL - 3, CELL - 3, BLUE if number < filled else "none", GREY))
    return "".join(parts)


def _cell(number: int) -> tuple[int, int]:
    """Return the place of a cell: the first job is at the right, next to the workers."""
    column, row = divmod(number, ROWS)
    return QUEUE_X + (COLUMNS - 1 - column) * CELL, TOP + row * CELL


@lru_cache
def _workers(workers: int, running: int) -> str:
    parts = _heading(WORKERS_X, "Workers", f"{running} of {workers} busy")
    for number in range(min(max(workers, running), MOST_WORKERS)):
        x, y = _worker(number)
        busy = number < running
        parts.append(box(x, y, 21, 21, BLUE if busy else "none", BLUE, round_by=5))
        parts.append(text(x + 10.5, y + 15, str(number + 1), 11, "middle", "white" if busy else INK))
    return "".join(parts)


def _worker(number: int) -> tuple[int, int]:
    column, row = number % 4, number // 4
    return WORKERS_X + column * 25, TOP + row * 27


def _results(snap: dict[str, Any]) -> str:
    parts = _heading(RESULTS_X, "Results", f"{snap['finished']:,} jobs")
    for row, (name, label, color, sign) in enumerate(OUTCOMES):
        parts += _count(TOP + row * ROW + 13, sign, color, snap[name])
        parts.append(text(RESULTS_X, TOP + row * ROW + 28, label, 12))
    parts.append(text(RESULTS_X, AWAY_Y, "Turned away", 12, weight="bold"))
    parts += _count(AWAY_Y + 18, "↩", PURPLE, snap["turned_away"])
    return "".join(parts)


def _count(y: float, sign: str, color: str, jobs: int) -> list[str]:
    number = text(RESULTS_X + 20, y, f"{jobs:,}", 16, weight="bold")
    return [text(RESULTS_X, y, sign, 16, color=color, weight="bold"), number]


def moves(before: dict[str, Any], after: dict[str, Any]) -> list[list[float]]:
    """Return the ways of the jobs that have moved between two snapshots, as [x1, y1, x2, y2]; a few per kind."""
    grown = {name: after[name] - before[name] for name in ("submitted", "queued", "finished", "succeeded", "failed")}
    taken = grown["submitted"] - grown["queued"]
    queue, last = (QUEUE_X + COLUMNS * CELL, TOP + 8.0), _cell(max(after["queued"] - 1, 0) % (COLUMNS * ROWS))
    found = [[0.0, last[1] + 6.0, last[0] + 6.0, last[1] + 6.0]] * _few(grown["submitted"])
    for number in range(_few(taken)):
        x, y = _worker(number)
        found.append([*queue, x + 10.0, y + 10.0])
    for row, name in enumerate(("succeeded", "failed")):
        for number in range(_few(grown[name])):
            x, y = _worker(number)
            found.append([x + 10.0, y + 10.0, RESULTS_X - 4.0, TOP + row * ROW + 8.0])
    return found


def _on_its_way(number: int, way: Sequence[float]) -> str:
    """Draw a dot on a way. Dots with different numbers have gone different parts of it, so that they are seen apart."""
    x1, y1, x2, y2 = way
    share = (number % MOST_MOVES + 0.5) / MOST_MOVES
    return circle(x1 + (x2 - x1) * share, y1 + (y2 - y1) * share, INK)


def _few(count: int) -> int:
    return max(0, min(count, MOST_MOVES))


def pictures(snap: dict[str, Any], history: Sequence[Sample]) -> dict[str, str]:
    """Draw the three pictures, each as the inside of an SVG element of WIDTH x HEIGHT units."""
    return {"flow": flow(snap), "waits": waits(snap, history), "rates": rates(snap, history)}


def _up_to(snap: dict[str, Any], history: Sequence[Sample]) -> Sequence[Sample]:
    """Add the snapshot to the samples, so that the curves end at the numbers beside them. A sample may be older."""
    newest = Sample(*(snap[name] for name in Sample._fields))
    if not history or newest.time <= history[-1].time:
        return history
    return [*(sample for sample in history if sample.time >= newest.time - snap["window"]), newest]


def whole(
    snap: dict[str, Any],
    history: Sequence[Sample],
    caption: str,
    moving: Sequence[Sequence[float]] = (),
    names: Sequence[str] = tuple(TITLES),
) -> str:
    """Draw the pictures with these names side by side, as one SVG file.

    Args:
        caption:  the title of the file, for screen readers.
        moving:   what `moves` returns. These jobs are drawn as dots on their ways.
    """
    drawn = pictures(snap, _up_to(snap, history))
    drawn["flow"] += "".join(_on_its_way(number, way) for number, way in enumerate(moving))
    groups = [f'<g transform="translate({n * WIDTH} 0)">{drawn[name]}</g>' for n, name in enumerate(names)]
    width = len(names) * WIDTH
    # Without a width of its own, the file becomes as wide as the place in which it is shown, also in a narrow window.
    size = f'viewBox="0 0 {width} {HEIGHT}"'
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="sans-serif">'
    background = box(0, 0, width, HEIGHT, "white", "none")
    return f"{opening}<title>{escape(caption)}</title>{background}{''.join(groups)}</svg>"
