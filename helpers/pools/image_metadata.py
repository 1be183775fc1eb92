"""Read the two pieces of metadata that matter for a new picture: its EXIF orientation and its color profile.

EXIF is a small TIFF file inside the picture file. Cameras, editors, and phones write EXIF, and some of them write it
incorrectly.

Always true: metadata cannot make a picture unusable, because a value that these functions do not understand counts as
absent. If they raised instead, photos that every viewer shows would fail. The functions decode the bytes themselves
instead of calling Pillow's `getexif`, which raises if EXIF is damaged, guesses if a value has the wrong type, and takes
the first one if there are several values.

Sources: the EXIF 2.32 standard (JEITA CP-3451E), section 4.6; TIFF 6.0, section 2; ICC.1:2022, section 7.2.
"""

import logging
import re
import struct
import warnings
from collections.abc import Iterable
from contextlib import suppress
from io import BytesIO
from threading import Lock
from typing import IO, Any

from PIL import Image

ORIENTATION = 0x0112  # a tag whose value says how to turn the stored pixels upright
INTEGERS = {3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 16: "Q"}  # TIFF's integer types; EXIF uses BYTE only for raw bytes
MAX_TAGS = 10_000  # the number of entries of an EXIF directory that are read
MAX_PROFILE = 2**20  # bytes of a color profile; a larger profile would be most of the new file
BLOBS = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")  # the keys under which Pillow keeps EXIF and XMP
XMP = re.compile(rb"tiff:Orientation(?:\s*=\s*[\"']|>)\s*([1-8])\s*[\"'<]")
PLUGINS = re.compile(r"PIL\.\w+ImagePlugin")

# Pillow logs an error about some damaged TIFF files. Without a handler, `logging` would print that error to stderr.
logging.getLogger("PIL").addHandler(logging.NullHandler())
_filter_lock = Lock()


def ignore_warnings() -> None:
    """Tell `warnings` to ignore the UserWarnings of Pillow's file readers about damaged metadata, from now on.

    The function is called for each picture. It adds the filter only if the filter is not the first one in the list, for
    example because the program has called `warnings.resetwarnings`.

    The filter is never removed, because both alternatives are worse. `warnings.catch_warnings` is not safe with
    threads. If the filter were added and removed for each picture, Python would forget which warnings of the whole
    program it has already shown.
    """
    wanted: tuple[Any, ...] = ("ignore", None, UserWarning, PLUGINS, 0)
    with _filter_lock:
        if tuple(warnings.filters[:1]) != (wanted,):
            warnings.filterwarnings("ignore", category=UserWarning, module=PLUGINS.pattern)


def orientation(file: Image.Image) -> int:
    """Return the EXIF orientation of an open picture file, from 1 to 8. 1 means upright or unknown.

    The value counts if it is a single integer from 1 to 8 of any of TIFF's integer types except BYTE. If EXIF has no
    such value, the function uses the `tiff:Orientation` of XMP.
    """
    stream = getattr(file, "fp", None)
    if file.format == "TIFF" and stream is not None:
        position = stream.tell()
        found = _orientation_in_tiff(stream)
        stream.seek(position)
        if found:
            return found
    return find_orientation(file.info.get(name) for name in BLOBS)


def find_orientation(blobs: Iterable[Any]) -> int:
    """Return the first valid orientation in some pieces of metadata, or 1 if there is none.

    A piece may be EXIF, XMP, or anything else.
    """
    for blob in blobs:
        found = _orientation_in_blob(blob)
        if found:
            return found
    return 1


def forget_orientation(file: Image.Image) -> None:
    """Make Pillow's `load` leave the pixels of an open TIFF file as they are stored, instead of turning them.

    Pillow turns a TIFF picture by its own reading of the orientation, and raises if the metadata is damaged.
    """
    if file.format != "TIFF":
        return
    with suppress(Exception):
        file.getexif()
    exif = file.getexif()  # if the first call raised, the second one returns the tags that were read before the error
    for tag in list(exif):
        del exif[tag]


def profile(picture: Image.Image, content: Any) -> bytes | None:
    """Return the color profile `content` if it is valid and fits the mode of the picture, or None otherwise.

    A valid profile has at most `MAX_PROFILE` bytes. Its header states the right length, the signature "acsp", and the
    color space of the picture (RGB or gray).
    """
    if not isinstance(content, bytes) or not 128 <= len(content) <= MAX_PROFILE:
        return None
    space = {"RGB": b"RGB ", "L": b"GRAY"}.get(picture.mode)
    valid = int.from_bytes(content[:4], "big") == len(content) and content[36:40] == b"acsp"
    return content if valid and content[16:20] == space else None


def _orientation_in_blob(blob: Any) -> int:
    """Return the orientation in one piece of metadata, or 0 if it has none."""
    if isinstance(blob, str):  # ImageMagick writes EXIF as hexadecimal text, after a header of three lines
        _, header, *lines = [*blob.split("\n"), "", ""]
        blob = blob.encode("utf-8", "replace")
        if header == "exif":
            with suppress(ValueError):
                blob = bytes.fromhex("".join(lines[1:]))
    if not isinstance(blob, bytes):
        return 0
    exif = re.sub(rb"^(Exif\0\0){1,2}", b"", blob)
    if exif[:2] in (b"II", b"MM"):
        return _orientation_in_tiff(BytesIO(exif))
    match = XMP.search(blob)
    return int(match[1]) if match else 0


def _orientation_in_tiff(file: IO[bytes]) -> int:
    """Return the orientation in the first directory of a TIFF file, or 0 if it has none."""
    with suppress(KeyError, OSError, OverflowError, ValueError, struct.error):
        file.seek(0)
        order, big, start = tiff_header(file.read(16))
        file.seek(start)
        (count,) = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))
        layout = order + ("HHQ8s" if big else "HHL4s")
        for _ in range(min(count, MAX_TAGS)):
            tag, kind, values, cell = struct.unpack(layout, file.read(struct.calcsize(layout)))
            if tag == ORIENTATION:
                (value,) = struct.unpack_from(order + INTEGERS[kind], cell)
                return int(value) if values == 1 and 1 <= value <= 8 else 0
    return 0


def tiff_header(head: bytes) -> tuple[str, bool, int]:
    """Return the byte order for `struct`, True for a BigTIFF file, and the offset of the first directory in bytes.

    `head` is the first 16 bytes of the file. Raises KeyError, ValueError, or struct.error if they are not the header of
    a TIFF file.
    """
    order = {b"II": "<", b"MM": ">"}[head[:2]]
    big = 43 in head[2:4]
    if not big and 42 not in head[2:4]:
        raise ValueError("not a TIFF file")
    (start,) = struct.unpack_from(order + ("Q" if big else "L"), head, 8 if big else 4)
    return order, big, start
