"""The few SVG elements that the pictures of the control room consist of."""

from collections.abc import Iterable
from xml.sax.saxutils import escape

from helpers.charts.style import INK

WIDTH, HEIGHT = 350, 226  # units of each picture; a unit is a pixel, unless the window is narrower


def text(
    x: float, y: float, words: str, size: int, anchor: str = "start", color: str = INK, weight: str = "normal"
) -> str:
    """Draw a text whose baseline is at `y`."""
    style = f'font-size="{size}" text-anchor="{anchor}" fill="{color}" font-weight="{weight}"'
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, fill: str, stroke: str, round_by: int = 2) -> str:
    """Draw a rectangle."""
    place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    return f'<rect {place} rx="{round_by}" fill="{fill}" stroke="{stroke}"/>'


def circle(x: float, y: float, color: str) -> str:
    """Draw a dot."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"/>'


def line(points: Iterable[tuple[float, float]], color: str, dash: str = "none", width: float = 2) -> str:
    """Draw a line through the points. `dash` is the value of stroke-dasharray."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    style = f'fill="none" stroke="{color}" stroke-width="{width:g}" stroke-dasharray="{dash}"'
    return f'<polyline points="{path}" {style}/>'
