"""Contact sheets of pictures, and pictures before and after a resize.

Pictures are drawn small, so that the notebook file stays small, and upright, as their EXIF orientation says.
"""

import os
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from PIL import Image, ImageOps

from helpers.charts.style import GREY, INK, VERMILLION, styled
from helpers.measure.words import describe

Source = str | os.PathLike[str] | Image.Image

SMALL = 240  # pixels: the longer side of a picture on the sheet
CELL = (1.0, 0.75)  # width and height of a cell of the grid: a picture with the ratio 4:3 fills it
GAP = 0.08
CAPTION = 0.16  # the height of one line of text below a picture
MARGIN = 0.01  # around the grid, so that the outer half of a frame's line is not cut off


def contact_sheet(pictures: Sequence[tuple[str, Source]], *, columns: int = 4, ax: Axes | None = None) -> Axes:
    """Draw pictures in a grid, each with its caption below.

    Args:
        pictures: (caption, picture) pairs, where a picture is a file or a PIL image.
        columns: the number of pictures in a row.

    Raises:
        ValueError: for no pictures, or a number of columns that is not positive.
    """
    rows = _rows(pictures, 2, columns)
    with styled(ax, size=(8.6, 8.6 * rows * (CELL[1] + CAPTION) / (columns * (CELL[0] + GAP)))) as axes:
        _prepare(axes, rows, columns)
        for number, (words, source) in enumerate(pictures):
            left, top = _place(number, columns)
            picture, _ = small(source)
            _draw(axes, picture, left, top)
            axes.text(left + CELL[0] / 2, top + CELL[1] + 0.03, words, ha="center", va="top", fontsize=9)
    return axes


def before_and_after(
    pictures: Sequence[tuple[str, Source, Source]], *, columns: int = 4, ax: Axes | None = None
) -> Axes:
    """Draw each old picture faded, and the new picture on top of it at the same scale, with a frame.

    The chart shows how much smaller the new picture is: at this scale, 640 pixels cover a small part of 4,000.

    Args:
        pictures: (caption, old, new) triples; each picture is a file or a PIL image. The sizes in pixels are added to
            the caption.
        columns: the number of pictures in a row.

    Raises:
        ValueError: for no pictures, or a number of columns that is not positive.
    """
    rows = _rows(pictures, 3, columns)
    with styled(ax, size=(8.6, 8.6 * rows * (CELL[1] + 1.6 * CAPTION) / (columns * (CELL[0] + GAP)))) as axes:
        _prepare(axes, rows, columns, lines=1.6)
        for number, (words, old, new) in enumerate(pictures):
            left, top = _place(number, columns, lines=1.6)
            before, (width, height) = small(old)
            after, (new_width, new_height) = small(new)
            x, y, wide, high = _draw(axes, before, left, top, alpha=0.45)
            _put(axes, after, x, y, wide * new_width / width, high * new_height / height, frame=VERMILLION)
            sizes = f"{width:,} x {height:,}\nto {new_width:,} x {new_height:,}"
            axes.text(left + CELL[0] / 2, top + CELL[1] + 0.03, f"{words}: {sizes}", ha="center", va="top", fontsize=9)
    return axes


def small(source: Source) -> tuple[Image.Image, tuple[int, int]]:
    """Return the picture, upright and with at most `SMALL` pixels per side, and the size of the original, upright."""
    picture = source.copy() if isinstance(source, Image.Image) else Image.open(source)
    with picture:
        size = picture.size
        turned = picture.getexif().get(0x0112, 1) >= 5  # orientations 5 to 8 exchange width and height
        picture.thumbnail((SMALL, SMALL), reducing_gap=1.0)
        return ImageOps.exif_transpose(picture).convert("RGB"), (size[1], size[0]) if turned else size


def _rows(pictures: Sequence[Any], length: int, columns: int) -> int:
    """Return the number of rows of the grid. Raises TypeError or ValueError unless each item is a tuple of `length`."""
    if not issubclass(type(pictures), Sequence):
        raise TypeError(f"pictures must be a list of tuples, not {describe(pictures)}")
    if not pictures:
        raise ValueError("there are no pictures to show")
    if type(columns) is bool or not issubclass(type(columns), int):
        raise TypeError(f"columns must be a whole number of at least 1, not {describe(columns)}")
    if columns < 1:
        raise ValueError(f"columns must be a whole number of at least 1, not {describe(columns)}")
    for one in pictures:
        if not issubclass(type(one), tuple) or len(one) != length:
            raise TypeError(
                f"each of the pictures must be a tuple of {length} items, the caption first, not {describe(one)}"
            )
    return -(-len(pictures) // columns)


def _prepare(ax: Axes, rows: int, columns: int, lines: float = 1.0) -> None:
    high = rows * (CELL[1] + lines * CAPTION)
    wide = columns * (CELL[0] + GAP) - GAP
    ax.set(xlim=(-MARGIN, wide + MARGIN), ylim=(high, -MARGIN), aspect="equal")
    ax.set_axis_off()


def _place(number: int, columns: int, lines: float = 1.0) -> tuple[float, float]:
    return (number % columns) * (CELL[0] + GAP), (number // columns) * (CELL[1] + lines * CAPTION)


def _draw(ax: Axes, picture: Image.Image, left: float, top: float, alpha: float = 1.0) -> tuple[float, ...]:
    """Draw a picture in the middle of its cell, as large as fits. Return its left, top, width, and height."""
    scale = min(CELL[0] / picture.width, CELL[1] / picture.height)
    wide, high = picture.width * scale, picture.height * scale
    left, top = left + (CELL[0] - wide) / 2, top + (CELL[1] - high) / 2
    _put(ax, picture, left, top, wide, high, alpha=alpha, frame=GREY)
    return left, top, wide, high


def _put(
    ax: Axes, picture: Image.Image, left: float, top: float, wide: float, high: float, *, frame: str, alpha: float = 1.0
) -> None:
    limits = ax.get_xlim(), ax.get_ylim()
    ax.imshow(picture, extent=(left, left + wide, top + high, top), alpha=alpha, interpolation="antialiased")
    ax.plot(
        [left, left + wide, left + wide, left, left],
        [top, top, top + high, top + high, top],
        color=INK if frame == GREY else frame,
        linewidth=0.6 if frame == GREY else 1.6,
    )
    ax.set(xlim=limits[0], ylim=limits[1])  # because imshow has changed the limits
