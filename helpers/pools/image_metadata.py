"""Read the two pieces of metadata that matter for a new picture: its EXIF orientation and its color profile.

EXIF is a small TIFF file inside the picture file. Cameras, editors, and phones write it, and some of them write it
wrong. Nothing in the metadata can therefore make a picture unusable: a value that these functions do not understand
counts as absent. The functions decode the bytes themselves instead of calling Pillow's `getexif`, which raises on
damaged EXIF, guesses at values of the wrong type, and takes the first of several values.

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

ORIENTATION = 0x0112  # the tag; its value says how to turn the stored pixels upright
INTEGERS = {3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 16: "Q"}  # TIFF's integer types; a BYTE is not a number in EXIF
MAX_TAGS = 10_000  # entries of an EXIF directory that are looked at
MAX_PROFILE = 2**20  # bytes of a color profile; a larger one would be most of the new file
BLOBS = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")  # where Pillow stores EXIF and XMP
XMP = re.compile(rb"tiff:Orientation(?:\s*=\s*[\"']|>)\s*([1-8])\s*[\"'<]")
PLUGINS = re.compile(r"PIL\.\w+ImagePlugin")

# Pillow logs an error about some damaged TIFF files. Without a handler, `logging` would print it to stderr.
logging.getLogger("PIL").addHandler(logging.NullHandler())
_filters = Lock()


def ignore_warnings() -> None:
    """Tell `warnings` to ignore what Pillow's file readers say about damaged metadata. The filter stays in place.

    Both alternatives are worse. `warnings.catch_warnings` is not safe with threads. A filter that is added and removed
    for each picture makes Python forget which warnings of the whole program it has already shown. The function is
    called for each picture and adds the filter only if it is not the first one, for example because somebody has
    called `warnings.resetwarnings`.
    """
    wanted: tuple[Any, ...] = ("ignore", None, UserWarning, PLUGINS, 0)
    with _filters:
        if tuple(warnings.filters[:1]) != (wanted,):
            warnings.filterwarnings("ignore", category=UserWarning, module=PLUGINS.pattern)


def orientation(file: Image.Image) -> int:
    """Return the EXIF orientation of an open picture file, 1 to 8; 1 means upright, and is the answer if unknown.

    The value counts if it is a single integer from 1 to 8 of any of TIFF's integer types except BYTE. XMP's
    `tiff:Orientation` is used if EXIF has no such value.
    """
    stream = getattr(file, "fp", None)
    if file.format == "TIFF" and stream is not None:
        position = stream.tell()
        found = _in_directory(stream)
        stream.seek(position)
        if found:
            return found
    return find_orientation(file.info.get(name) for name in BLOBS)


def find_orientation(blobs: Iterable[Any]) -> int:
    """Return the first valid orientation in pieces of metadata, 1 if there is none. A piece is EXIF, XMP, or junk."""
    for blob in blobs:
        found = _in_blob(blob)
        if found:
            return found
    return 1


def forget_orientation(file: Image.Image) -> None:
    """Make Pillow's `load` leave the pixels of an open TIFF file as they are stored, instead of turning them.

    Pillow turns a TIFF picture by what it understands of its metadata, and raises if that is damaged.
    """
    if file.format != "TIFF":
        return
    with suppress(Exception):
        file.getexif()
    exif = file.getexif()  # after a first call that raised, Pillow returns the tags that it has read so far
    for tag in list(exif):
        del exif[tag]


def profile(picture: Image.Image, content: Any) -> bytes | None:
    """Return the color profile `content` if it is sound and fits the mode of the picture, otherwise None.

    Sound means at most `MAX_PROFILE` bytes, and a header that gives the right length, the signature "acsp", and the
    color space of the picture (RGB or gray).
    """
    if not isinstance(content, bytes) or not 128 <= len(content) <= MAX_PROFILE:
        return None
    space = {"RGB": b"RGB ", "L": b"GRAY"}.get(picture.mode)
    sound = int.from_bytes(content[:4], "big") == len(content) and content[36:40] == b"acsp"
    return content if sound and content[16:20] == space else None


def _in_blob(blob: Any) -> int:
    """Return the orientation in one piece of metadata, 0 if there is none."""
    if isinstance(blob, str):  # ImageMagick writes EXIF as hexadecimal text, after three lines of header
        _, header, *lines = [*blob.split("\n"), "", ""]
        blob = blob.encode("utf-8", "replace")
        if header == "exif":
            with suppress(ValueError):
                blob = bytes.fromhex("".join(lines[1:]))
    if not isinstance(blob, bytes):
        return 0
    exif = re.sub(rb"^(Exif\0\0){1,2}", b"", blob)
    if exif[:2] in (b"II", b"MM"):
        return _in_directory(BytesIO(exif))
    match = XMP.search(blob)
    return int(match[1]) if match else 0


def _in_directory(file: IO[bytes]) -> int:
    """Return the orientation in the first directory of a TIFF file, 0 if there is none."""
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
    """Return the byte order for `struct`, whether the file is a BigTIFF, and where its first directory is.

    Raises KeyError, ValueError, or struct.error if `head` does not begin like a TIFF file.
    """
    order = {b"II": "<", b"MM": ">"}[head[:2]]
    big = 43 in head[2:4]
    if not big and 42 not in head[2:4]:
        raise ValueError("not a TIFF file")
    (start,) = struct.unpack_from(order + ("Q" if big else "L"), head, 8 if big else 4)
    return order, big, start
