"""Read a picture from a file, and return it at its new size, upright, in RGB or gray, with its color profile.

Pillow refuses some good pictures because their metadata is damaged. If that happens, the file is read a second time
without its metadata, and a third time also without its color profile. A file that has no metadata is read only once.

Always true: a picture with more pixels than the limit is refused before it is decoded. Without this rule, decoding a
file of a hundred bytes could take gigabytes of memory.
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
EXACT = 3.0  # from this gap on, Pillow's result is nearly that of all pixels, and faster
MAX_REREAD = 2**26  # bytes: a longer file is not read again without its metadata
# Pillow reads fifty formats. Each of them is code that a hostile file can attack, so only these are accepted.
FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"]


def read(source: str | os.PathLike[str], width: int, height: int) -> tuple[Image.Image, bytes | None]:
    """Return the picture in the file `source`, and its color profile or None.

    The picture is reduced to fit into width x height pixels. If it already fits, it keeps its size. Raises OSError or
    MemoryError for an error of the system. Damaged bytes can make Pillow raise nearly every kind of exception, and the
    exception of the first attempt is raised here.
    """
    errors: list[Exception] = []
    for stream, removed in _versions(os.fspath(source)):
        try:
            return _read(stream, (width, height), removed)
        except Exception as error:
            if is_of_system(error):
                raise
            errors.append(error)
    raise errors[0]  # the error of the unchanged file


def too_many(pixels: int | None, most: int = MAX_PIXELS) -> str:
    """Return the message for a picture with more than `most` pixels. `pixels` is None if the number is unknown."""
    return f"the picture has {'too many' if pixels is None else f'{pixels:,}'} pixels; the limit is {most:,}"


def _versions(path: str | bytes) -> Iterator[tuple[Any, list[bytes]]]:
    """Yield the file, the file without metadata, and the file without metadata and profile.

    Each version comes with the contents of the parts that were removed. Identical versions are yielded once. A TIFF
    file is yielded without its metadata from the start, because the C library that decodes TIFF files prints messages
    about damaged metadata to stderr.
    """
    with open(path, "rb") as file:
        tiff = file.read(2) in (b"II", b"MM") and os.fstat(file.fileno()).st_size <= MAX_REREAD
    if not tiff:
        yield path, []
    with open(path, "rb") as file:
        data = file.read(MAX_REREAD + 1)
    if len(data) <= MAX_REREAD:
        with_profile, removed = without_metadata(data, keep_profile=True)
        if with_profile != data or tiff:
            yield BytesIO(with_profile), removed
        bare, removed = without_metadata(data, keep_profile=False)
        if bare != with_profile:
            yield BytesIO(bare), removed


def is_of_system(error: Exception) -> bool:
    """Return True if the system is the reason for `error`, and False if the picture is the reason.

    An OSError that Pillow raises has no errno. EINVAL also counts as an error of the picture: the system raises it if a
    file says that its pixels begin at an impossible offset.
    """
    if isinstance(error, OSError):
        return error.errno not in (None, errno.EINVAL)
    return isinstance(error, MemoryError)


def _read(source: Any, box: tuple[int, int], removed: list[bytes]) -> tuple[Image.Image, bytes | None]:
    """Read a picture from a path or a stream. `removed` contains the metadata that was removed from the stream."""
    image_metadata.ignore_warnings()
    with Image.open(source, formats=FORMATS) as file:
        most = MAX_WEBP_PIXELS if file.format == "WEBP" else MAX_PIXELS
        if file.width * file.height > most:  # Pillow itself only warns, and refuses only twice as many pixels
            raise ValueError(too_many(file.width * file.height, most))
        orientation = image_metadata.find_orientation(removed) if removed else image_metadata.orientation(file)
        picture = _reduced(file, box if orientation < 5 else box[::-1])  # orientations 5 to 8 swap width and height
        picture = image_pixels.upright(picture, orientation)
    profile = image_metadata.profile(picture, picture.info.get("icc_profile"))
    picture.info = {}  # some versions of Pillow write a comment or XMP from `info` into the new file
    return picture, profile


def _reduced(file: Image.Image, box: tuple[int, int]) -> Image.Image:
    """Return the picture of an open file in mode RGB or L, reduced to fit into `box`, and not yet turned upright."""
    picture = file
    if file.format not in ("JPEG", "MPO") or file.mode == "CMYK":
        image_metadata.forget_orientation(file)
        file.load()
        # Pillow may have swapped width and height in `file.size` for an orientation that has now been removed. A copy
        # has the size of the stored pixels.
        if file.size != file.im.size:
            picture = file.copy()
        profile = picture.info.get("icc_profile")
        # Convert the colors before the size changes, because the average of two palette indexes is not a color.
        picture = image_pixels.plain(picture)
        picture.info = {"icc_profile": profile}
    return _resized(picture, box)


def _resized(picture: Image.Image, box: tuple[int, int]) -> Image.Image:
    """Return the picture, reduced to fit into `box`, and never enlarged.

    A JPEG file is decoded at the smallest scale that has at least the pixels of the result. This is not the method
    `thumbnail` with the same `reducing_gap` of 1, which would also average whole pixels before it resizes: that blurs
    small letters.
    """
    scale = min(1.0, box[0] / picture.width, box[1] / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    drafted = picture.draft(None, size)  # only of a JPEG file that is not yet decoded; None for any other picture
    picture.load()
    if picture.size == size:
        return picture
    area = drafted[1] if drafted else None  # the part of the decoded pixels that the picture covers
    return picture.resize(size, Image.Resampling.LANCZOS, box=area, reducing_gap=EXACT)
