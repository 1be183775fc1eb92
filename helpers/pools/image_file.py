"""Read a picture from a file: smaller, upright, in RGB or gray, with its color profile.

Pillow refuses some sound pictures because of damaged metadata. Such a file gets a second try without its metadata, and
a third one without its color profile. A file that has no metadata is tried only once.
"""

import errno
import os
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from PIL import Image

from . import image_metadata, image_pixels
from .image_containers import without_metadata

MAX_PIXELS = 89_478_485  # of a source: a third of a gigabyte when decoded; Pillow warns above this number
MAX_WEBP_PIXELS = MAX_PIXELS // 4  # the WEBP decoder uses four times the memory, even for a file of a hundred bytes
MAX_REREAD = 2**26  # bytes of a file that is read a second time, without its metadata
FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"]  # Pillow reads fifty; fewer formats are easier to defend


def read(source: str | os.PathLike[str], width: int, height: int) -> tuple[Image.Image, bytes | None]:
    """Return the picture in the file `source`, fitted into width x height pixels, and its color profile if it has one.

    A picture that fits already keeps its size. Damaged bytes can make Pillow raise nearly every kind of exception.
    """
    errors: list[Exception] = []
    for stream, removed in _versions(os.fspath(source)):
        try:
            return _read(stream, (width, height), removed)
        except Exception as error:
            if is_of_system(error):
                raise
            errors.append(error)
    raise errors[0]  # about the file as it is


def _versions(path: str | bytes) -> Iterator[tuple[Any, list[bytes]]]:
    """The file, then the file without metadata, then also without its profile. With each: what has been removed.

    A TIFF file comes without metadata at once, because the C library that decodes it prints complaints to stderr.
    """
    with open(path, "rb") as file:
        tiff = file.read(2) in (b"II", b"MM") and os.fstat(file.fileno()).st_size <= MAX_REREAD
    if not tiff:
        yield path, []
    with open(path, "rb") as file:
        data = file.read(MAX_REREAD + 1)
    if len(data) <= MAX_REREAD:
        most, removed = without_metadata(data, keep_profile=True)
        if most != data or tiff:
            yield BytesIO(most), removed
        bare, removed = without_metadata(data, keep_profile=False)
        if bare != most:
            yield BytesIO(bare), removed


def is_of_system(error: Exception) -> bool:
    """Return True if the system failed, and False if the picture is the reason.

    An OSError of Pillow has no errno. EINVAL comes from a file that says that its pixels begin at an impossible offset.
    """
    if isinstance(error, OSError):
        return error.errno not in (None, errno.EINVAL)
    return isinstance(error, MemoryError)


def _read(source: Any, box: tuple[int, int], removed: list[bytes]) -> tuple[Image.Image, bytes | None]:
    """Read a picture from a path or a stream. `removed` is the metadata that has been taken out of the stream."""
    image_metadata.ignore_warnings()
    with Image.open(source, formats=FORMATS) as file:
        most = MAX_WEBP_PIXELS if file.format == "WEBP" else MAX_PIXELS
        if file.width * file.height > most:  # Pillow only warns here, and refuses from twice as many pixels
            raise ValueError(f"more than {most:,} pixels, which would fill the memory")
        orientation = image_metadata.find_orientation(removed) if removed else image_metadata.orientation(file)
        picture = _reduced(file, box if orientation < 5 else box[::-1])  # from 5 on, the picture lies on its side
        picture = image_pixels.upright(picture, orientation)
    profile = image_metadata.profile(picture, picture.info.get("icc_profile"))
    picture.info = {}  # some versions of Pillow write a comment or XMP that they find here into the new file
    return picture, profile


def _reduced(file: Image.Image, box: tuple[int, int]) -> Image.Image:
    """Return the picture of an open file, not turned yet, fitted into `box`, in mode RGB or L."""
    picture = file
    if file.format not in ("JPEG", "MPO") or file.mode == "CMYK":
        image_metadata.forget_orientation(file)
        file.load()
        if file.size != file.im.size:  # Pillow has exchanged the two for an orientation that does not count
            picture = file.copy()
        profile = picture.info.get("icc_profile")
        picture = image_pixels.plain(
            picture
        )  # before the size changes, because the indexes of a palette have no average
        picture.info = {"icc_profile": profile}
    picture.thumbnail(box, Image.Resampling.LANCZOS, reducing_gap=1.0)
    return picture
