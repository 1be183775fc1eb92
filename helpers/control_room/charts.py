"""The charts of the control room: what waits, and the throughput, over the last half minute."""

from collections.abc import Sequence
from math import floor, log10
from typing import Any, NamedTuple

from helpers.charts.style import BLUE, GREY, INK, VERMILLION
from helpers.control_room.alert import OK
from helpers.control_room.history import Sample
from helpers.control_room.marks import HEIGHT, WIDTH, line, text

STEPS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)  # of the numbers at which an axis may end
LEFT, RIGHT = 36, 8  # units beside the chart: for the numbers of the axis


class Frame(NamedTuple):
    """Where a chart is, in units, and what its axes show: `window` seconds from `begin` on, and 0 to `most`."""

    top: float
    height: float
    begin: float
    window: float
    most: float

    def x(self, time: float) -> float:
        """Return the place of a time, in units."""
        return LEFT + (time - self.begin) / self.window * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Return the place of a value, in units. A value above the axis is drawn at its end."""
        return self.top + self.height * (1 - min(value / self.most, 1.0))

    def points(self, history: Sequence[Sample], name: str) -> list[tuple[float, float]]:
        """Return the places of the values of one field of the samples. Samples without a value are left out."""
        found = ((sample.time, getattr(sample, name)) for sample in history)
        return [(self.x(time), self.y(value)) for time, value in found if value is not None]

    def axes(self, title: str) -> str:
        """Draw the axes, with a title above and the ends of the axis of values at the left."""
        right = WIDTH - RIGHT
        low, high = self.top + self.height, self.top
        parts = [text(4, self.top - 8, title, 13, weight="bold")]
        parts += [text(LEFT - 4, y + 4, f"{value:g}", 11, "end") for y, value in ((low, 0), (high, self.most))]
        parts.append(line([(LEFT, high), (LEFT, low), (right, low)], GREY, width=1))
        return "".join(parts)

    def level(self, value: float, words: str) -> str:
        """Draw a dashed horizontal line at a value, and its name above the chart, where no curve crosses the words."""
        y, right = self.y(value), WIDTH - RIGHT
        return line([(LEFT, y), (right, y)], VERMILLION, "5 4", 1.5) + text(right, self.top - 8, words, 11, "end")


def waits(snap: dict[str, Any], history: Sequence[Sample]) -> str:
    """Draw the queue depth above the oldest wait, with the limit and the state of the alert."""
    window, limit = snap["window"], snap["alert_limit"]
    begin = _begin(window, history)
    state = "dashed: alert" if snap["alert"] == OK else f"alert {snap['alert']}:"
    depth = Frame(28, 62, begin, window, snap["queue_size"])
    wait = Frame(128, 62, begin, window, _nice(max([limit * 1.5, *(sample.oldest_wait for sample in history)])))
    return "".join(
        [
            depth.axes(f"Queue depth: {snap['queued']} jobs"),
            line(depth.points(history, "queued"), BLUE),
            wait.axes(f"Oldest wait: {snap['oldest_wait']:.1f} s"),
            wait.level(limit, f"{state} above {limit:g} s for {snap['alert_hold']:g} s"),
            line(wait.points(history, "oldest_wait"), BLUE),
            _window(window),
        ]
    )


def rates(snap: dict[str, Any], history: Sequence[Sample]) -> str:
    """Draw the throughput and its maximum, which is the number of workers divided by the service time."""
    limits = [sample.limit for sample in history if sample.limit is not None]
    most = _nice(max([10.0, *limits, *(sample.throughput for sample in history)]) * 1.05)
    window = snap["window"]
    chart = Frame(62, 128, _begin(window, history), window, most)
    known = "not known yet" if snap["limit"] is None else f"{snap['limit']:.0f}"
    throughput = f"{snap['throughput']:.0f}"
    return "".join(
        [
            text(4, 20, "Jobs per second", 13, weight="bold"),
            text(WIDTH - RIGHT, 20, "maximum: workers / service time", 11, "end"),
            _key(8, 38, BLUE, "none", f"succeeded: {throughput}"),
            _key(140, 38, INK, "5 4", f"maximum: {known}"),
            chart.axes(""),
            line(chart.points(history, "limit"), INK, "5 4"),
            line(chart.points(history, "throughput"), BLUE),
            _window(window),
        ]
    )


def _key(x: float, y: float, color: str, dash: str, words: str) -> str:
    return line([(x, y - 4), (x + 22, y - 4)], color, dash) + text(x + 28, y, words, 11)


def _begin(window: float, history: Sequence[Sample]) -> float:
    """Return the time at the left end of the charts."""
    return max(0.0, history[-1].time - window) if history else 0.0


def _window(window: float) -> str:
    """Name the axis of time at the bottom."""
    return text(WIDTH - RIGHT, HEIGHT - 10, f"time: the last {window:g} seconds", 11, "end", GREY)


def _nice(value: float) -> float:
    """Return the next number that is one of STEPS times a power of ten."""
    power = 10.0 ** floor(log10(value))
    return next(step * power for step in STEPS if step * power >= value * 0.999999)
