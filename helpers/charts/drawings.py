"""Two drawings: the worker pool as a kitchen, and the map of the series."""

from collections.abc import Collection, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Circle, Ellipse, FancyArrowPatch, FancyBboxPatch, PathPatch, Polygon, Rectangle, Wedge
from matplotlib.path import Path

from helpers.charts.style import GREY, INK, ORANGE, SKY, VERMILLION, YELLOW, styled
from helpers.measure.words import describe

Point = tuple[float, float]

WOOD, SKIN, STEEL = "#C9A27A", "#F3DCC8", "#D5D9DD"

# The parts of the series in reading order: name, what the reader can do afterwards, color (dark enough for text on
# white), and the number and title of each notebook.
PARTS: list[tuple[str, str, str, list[tuple[int, str]]]] = [
    ("See it fail", "you can say what breaks when all jobs run at once", "#B84A00", [(1, "Unbounded")]),
    (
        "Build it",
        "you can write a pool and choose the number of its workers",
        "#0068A3",
        [(2, "Basic pool"), (3, "Image pool"), (4, "Email pool")],
    ),
    (
        "Make it strong",
        "you can handle bursts, failures, and shutdowns",
        "#00735A",
        [(5, "Dynamic pool"), (6, "Retrying pool"), (7, "Best practices"), (8, "Common mistakes")],
    ),
    (
        "Choose and measure",
        "you can tell when a pool is the wrong tool",
        "#8F4F78",
        [(9, "Choosing"), (10, "Engines"), (11, "Capacity"), (12, "Monitoring"), (13, "Beyond one machine")],
    ),
]
LAST = 13
ROW, COLUMN, FIRST, TOP = 2.5, 3.4, 2.4, 9.2  # the map's grid: distances, and the center of its first station
RIGHT = 17.66  # the right edge of every box
HEIGHT = 1.98  # of every box


def kitchen(ax: Axes | None = None) -> Axes:
    """Draw the pattern as a kitchen: waiter (producer), rail (bounded queue), cooks (workers), dishes (results)."""
    with styled(ax, size=(9.4, 3.9)) as axes:
        axes.set(xlim=(0, 21), ylim=(0.2, 7.9), aspect="equal")
        axes.set_axis_off()
        axes.set_title("While the rail is full, the waiter has to wait", pad=0)
        orders(axes, 0.3, 3.0)
        person(axes, 4.1, "white", "")
        slip(axes, 4.75, 2.75, z=4)
        rail(axes, (8.35, 9.65))
        for number, (x, apron) in enumerate(((13.2, SKY), (14.8, ORANGE), (16.4, YELLOW)), start=1):
            cook(axes, x, apron, number)
            small_slip(axes, x + 0.2, 2.68)
        counter(axes, 12.4, 17.2)
        the_pass(axes, (18.75, 20.05))
        for start, end in ((2.65, 3.3), (11.2, 12.2), (17.4, 18.0)):
            arrow(axes, start, end, INK)
        arrow(axes, 5.9, 6.75, VERMILLION)
        axes.plot((6.75, 6.75), (3.7, 4.9), color=VERMILLION, linewidth=5, solid_capstyle="round")
        axes.text(6.5, 5.25, "full", ha="center", color=VERMILLION, fontweight="bold")
        caption(axes, 1.45, "Orders", "jobs", "as many\nas come in")
        caption(axes, 4.6, "The waiter", "producer", "waits until\na hook is free")
        caption(axes, 9.0, "The rail", "bounded queue", "two hooks,\nboth taken")
        caption(axes, 14.8, "The cooks", "workers", "a fixed number,\none order at a time each")
        caption(axes, 19.4, "The counter", "results", "each dish when\nit is ready")
    return axes


def arrow(ax: Axes, start: float, end: float, colour: str) -> None:
    """Draw an arrow from left to right at the height of the cooks' heads."""
    look: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 18, "color": colour, "lw": 2.2}
    ax.add_patch(FancyArrowPatch((start, 4.3), (end, 4.3), **look))


def caption(ax: Axes, x: float, name: str, term: str, words: str) -> None:
    """Write the name in the kitchen and the term of the pattern below the drawing, and `words` above it."""
    ax.text(x, 1.35, name, ha="center", fontsize=12.5, fontweight="bold")
    ax.text(x, 0.55, term, ha="center", fontsize=12, style="italic")
    for line, text in enumerate(words.split("\n")):  # one by one: a text of several lines is aligned by its last line
        ax.text(x, 7.2 - 0.5 * line, text, ha="center", fontsize=10.5)


def orders(ax: Axes, x: float, y: float) -> None:
    """Draw a pile of order slips, more of them than the rail has hooks."""
    for step in range(5):
        slip(ax, x + 0.27 * step, y + 0.3 * step, z=2 + step)


def slip(ax: Axes, x: float, y: float, z: float = 2) -> None:
    """Draw an order slip with its lower left corner at x, y."""
    ax.add_patch(Rectangle((x, y), 1.1, 1.5, facecolor="white", edgecolor=INK, linewidth=1.4, zorder=z))
    for line, length in ((1.1, 0.7), (0.78, 0.5), (0.46, 0.62)):
        ax.plot((x + 0.2, x + 0.2 + length), (y + line, y + line), color=GREY, linewidth=1.6, zorder=z)


def small_slip(ax: Axes, x: float, y: float) -> None:
    """Draw the order that a cook works on, on the counter in front of the cook."""
    ax.add_patch(Rectangle((x, y), 0.5, 0.66, facecolor="white", edgecolor=INK, linewidth=1.2, zorder=4))
    for line, length in ((0.48, 0.3), (0.32, 0.2), (0.16, 0.26)):
        ax.plot((x + 0.1, x + 0.1 + length), (y + line, y + line), color=GREY, linewidth=1.2, zorder=4)


def rail(ax: Axes, hooks: Sequence[float]) -> None:
    """Draw a wooden rail with an order on each hook; `hooks` are the x positions."""
    width = hooks[-1] - hooks[0] + 1.5
    ax.add_patch(Rectangle((hooks[0] - 0.75, 5.75), width, 0.34, facecolor=WOOD, edgecolor=INK, linewidth=1.4))
    for x in hooks:
        slip(ax, x - 0.55, 3.6)
        ax.plot((x, x), (5.75, 5.1), color=INK, linewidth=2)
        ax.add_patch(Circle((x, 5.02), 0.09, facecolor=INK, zorder=3))


def cook(ax: Axes, x: float, apron: str, number: int) -> None:
    """Draw a cook with a hat and the worker's number on the apron."""
    person(ax, x, apron, str(number))
    line: dict[str, Any] = {"edgecolor": INK, "linewidth": 1.4}
    for dx, dy, size in ((-0.3, 5.35, 0.27), (0.3, 5.35, 0.27), (0, 5.5, 0.34)):
        ax.add_patch(Circle((x + dx, dy), size, facecolor="white", **line))
    ax.add_patch(Rectangle((x - 0.38, 4.72), 0.76, 0.5, facecolor="white", **line))
    ax.add_patch(Rectangle((x - 0.36, 5.1), 0.72, 0.3, facecolor="white", edgecolor="none"))  # hides edges


def person(ax: Axes, x: float, clothes: str, words: str) -> None:
    """Draw the head and shoulders of a person, with `words` on the clothes."""
    line: dict[str, Any] = {"edgecolor": INK, "linewidth": 1.4}
    shoulders = [
        (x - 0.62, 2.9),
        (x - 0.56, 3.85),
        (x - 0.28, 4.12),
        (x + 0.28, 4.12),
        (x + 0.56, 3.85),
        (x + 0.62, 2.9),
    ]
    ax.add_patch(Polygon(shoulders, facecolor=clothes, joinstyle="round", **line))
    ax.text(x, 3.56, words, ha="center", va="center", fontsize=13, fontweight="bold")
    ax.add_patch(Circle((x, 4.5), 0.4, facecolor=SKIN, **line))
    for side in (-0.14, 0.14):
        ax.add_patch(Circle((x + side, 4.5), 0.045, facecolor=INK))
    ax.add_patch(Wedge((x, 4.42), 0.18, 200, 340, width=0.03, facecolor=INK))


def counter(ax: Axes, start: float, end: float) -> None:
    """Draw the counter in front of the cooks."""
    ax.add_patch(Rectangle((start, 2.5), end - start, 0.5, facecolor=WOOD, edgecolor=INK, linewidth=1.4, zorder=3))


def the_pass(ax: Axes, plates: Sequence[float]) -> None:
    """Draw a counter with a covered dish at each x position in `plates`."""
    counter(ax, plates[0] - 0.75, plates[-1] + 0.75)
    for x in plates:
        ax.add_patch(Ellipse((x, 3.12), 1.15, 0.22, facecolor="white", edgecolor=INK, linewidth=1.4, zorder=4))
        ax.add_patch(Wedge((x, 3.17), 0.47, 0, 180, facecolor=STEEL, edgecolor=INK, linewidth=1.4, zorder=5))
        ax.add_patch(Circle((x, 3.72), 0.09, facecolor=STEEL, edgecolor=INK, linewidth=1.4, zorder=4))


def series_map(ready: Collection[int] = range(LAST + 1), ax: Axes | None = None) -> Axes:
    """Draw the notebooks of the series as stations along one line, with one box per part.

    A notebook whose number is not in `ready` has a dashed station with the words "to come".

    Raises:
        ValueError: for a number in `ready` that no notebook has.
    """
    if not issubclass(type(ready), Collection):
        raise TypeError(f"ready must be numbers of notebooks, not {describe(ready)}")
    if unknown := [number for number in ready if number not in range(LAST + 1)]:
        raise ValueError(f"there is no notebook {describe(unknown[0])}: they go from 0 to {LAST}")
    with styled(ax, size=(9.0, 5.3)) as axes:
        axes.set(xlim=(0, 18.1), ylim=(0.3, 10.4), aspect="equal")
        axes.set_axis_off()
        axes.set_title("Four parts, and what you can do after each of them")
        track(axes)
        station(axes, (FIRST, TOP), 0, "Start here", colour=INK, ready=0 in ready)
        for row, (name, ability, colour, stations) in enumerate(PARTS):
            places = [place(row, column) for column in range(len(stations))]
            box(axes, places[0], name, ability, colour)
            for where, (number, title) in zip(places, stations, strict=True):
                station(axes, where, number, title, colour=colour, ready=number in ready)
    return axes


def place(row: int, column: int) -> Point:
    """Return the position of a station. Notebook 00 has the first position of the first row and belongs to no part."""
    return FIRST + COLUMN * (column + (row == 0)), TOP - ROW * row


def box(ax: Axes, first: Point, name: str, ability: str, colour: str) -> None:
    """Draw the box of a part, from its first station to the right edge, with its name and what the reader learns."""
    left, y = first
    ax.add_patch(
        FancyBboxPatch(
            (left - 1.66, y - 1.08),
            RIGHT - left + 1.66,
            HEIGHT,
            boxstyle="round,pad=0.1,rounding_size=0.35",
            facecolor=(colour, 0.09),
            edgecolor=(colour, 0.6),
            linewidth=1.2,
            zorder=0,
        )
    )
    ax.text(left - 1.42, y + 0.62, name, va="center", fontsize=12, fontweight="bold", color=colour)
    ax.text(RIGHT - 0.25, y + 0.62, ability, ha="right", va="center", fontsize=10.5, color=colour)


def track(ax: Axes) -> None:
    """Draw the line through all stations: along each row, then between two boxes back to the start of the next row."""
    corners = [place(0, -1)]
    for row, (_, _, _, stations) in enumerate(PARTS):
        end, y = place(row, len(stations) - 1)
        if row == len(PARTS) - 1:
            corners.append((end, y))
            break
        turn, between = RIGHT + 0.33, y - 1.08 - (ROW - HEIGHT) / 2
        corners += [(turn, y), (turn, between), (0.3, between), (0.3, y - ROW)]
    ax.add_patch(PathPatch(rounded(corners, 0.3), facecolor="none", edgecolor="#9A9A9A", linewidth=4, zorder=1))


def rounded(corners: Sequence[Point], radius: float) -> Path:
    """Return the path through `corners`, which alternate between horizontal and vertical, with rounded corners."""
    points, codes = [corners[0]], [Path.MOVETO]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        points += [towards(corner, before, radius), corner, towards(corner, after, radius)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    return Path([*points, corners[-1]], [*codes, Path.LINETO])


def towards(start: Point, end: Point, distance: float) -> Point:
    """Return the point at `distance` from `start` on the line to `end`."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    share = distance / (abs(dx) + abs(dy))  # one of the two is 0
    return start[0] + dx * share, start[1] + dy * share


def station(ax: Axes, where: Point, number: int, title: str, *, colour: str, ready: bool) -> None:
    """Draw a filled disc for a notebook that is ready, or an empty dashed disc for one to come; its title is below."""
    x, y = where
    disc(ax, where, colour, ready)
    ink = "white" if ready else colour
    ax.text(x, y, f"{number:02}", ha="center", va="center", fontsize=11.5, fontweight="bold", color=ink, zorder=4)
    ax.text(x, y - 0.8, title, ha="center", fontsize=10, color=INK if ready else "#595959")
    if not ready:
        ax.text(x, y - 1.1, "to come", ha="center", fontsize=9, style="italic", color="#595959")


def disc(ax: Axes, where: Point, colour: str, ready: bool, radius: float = 0.43) -> None:
    """Draw a station without its number and title."""
    line = "-" if ready else (0, (2.2, 1.4))
    fill = colour if ready else "white"
    ax.add_patch(Circle(where, radius, facecolor=fill, edgecolor=colour, linewidth=1.8, linestyle=line, zorder=3))
