"""Remove the metadata from a picture file, for the case that Pillow cannot open the file because of it.

A picture file is a sequence of parts: segments of a JPEG, chunks of a PNG or WEBP, tags of a TIFF. Some parts hold
pixels; the others hold text, EXIF, XMP, thumbnails, or a color profile. Pillow reads all of them when it opens the
file, and one damaged part, such as a comment with a wrong checksum, makes it refuse a picture whose pixels are sound.

Always true: the parts that are needed for the pixels stay unchanged and in order, and everything from the
first part that cannot be understood stays unchanged too. Time and memory grow linearly with the length of the file.

Sources: ITU-T T.81, annex B; PNG specification, third edition, section 5; RFC 9649 (WEBP); TIFF 6.0, section 2.
"""

import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from .image_metadata import tiff_header

MAX_PARTS = 100_000  # after these, the rest of a file stays as it is
TIFF_METADATA = {
    *(270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 316),  # text, orientation, resolution
    *(700, 33432, 33723, 34377, 34665, 34853, 37724),  # XMP, copyright, IPTC, Photoshop, EXIF, GPS
}
TIFF_PROFILE = 34675

PIXELS, PROFILE, METADATA = "pixels", "profile", "metadata"


class Part(NamedTuple):
    """A part of a file: all of its bytes, what it is for, and where in these bytes the content begins."""

    raw: bytes
    use: str
    start: int = 0


def without_metadata(data: bytes, *, keep_profile: bool) -> tuple[bytes, list[bytes]]:
    """Return the bytes of a picture file without metadata, and the contents of the parts that were removed.

    With `keep_profile`, the color profile stays. A WEBP file also gets a header that says how long it really is.
    """
    kept, removed = [], []
    if data.startswith((b"II", b"MM")):
        return _tiff(data, keep_profile)
    for part in _parts(data):
        if part.use == PIXELS or (part.use == PROFILE and keep_profile):
            kept.append(part.raw)
        else:
            removed.append(part.raw[part.start :])
    bare = b"".join(kept)
    return (_riff(bare, keep_profile) if bare.startswith(b"RIFF") else bare), removed


def _parts(data: bytes) -> Iterator[Part]:
    """The parts of a JPEG, PNG, or WEBP file, in order; a file of another format is one part."""
    readers: dict[bytes, tuple[int, Callable[[bytes, int], Part | None]]] = {
        b"\xff\xd8": (2, _jpeg_part),
        b"\x89P": (8, _png_part),
        b"RI": (12, _webp_part),
    }
    position, read = readers.get(data[:2], (0, lambda data, position: None))
    yield Part(data[:position], PIXELS)
    for _ in range(MAX_PARTS):
        part = read(data, position)
        if part is None:
            break
        yield part
        position += len(part.raw)
    yield Part(data[position:], PIXELS)


def _jpeg_part(data: bytes, position: int) -> Part | None:
    """The segment at `position`, or None at the compressed pixels and at anything that is not a segment."""
    if data[position : position + 2] == b"\xff\xff":  # a fill byte before a marker
        return Part(b"\xff", PIXELS)
    marker = data[position + 1 : position + 2]
    length = int.from_bytes(data[position + 2 : position + 4], "big") + 2
    raw = data[position : position + length]
    segment = raw[:1] == b"\xff" and (b"\xc0" <= marker < b"\xd0" or b"\xda" < marker < b"\xff")
    if not segment or len(raw) < max(length, 4):
        return None
    content = raw[4:]
    if marker == b"\xe2" and content.startswith(b"ICC_PROFILE\0"):
        return Part(raw, PROFILE, 4)
    # Decoders use JFIF and Adobe to find out what the colors mean, and ignore them if they are shorter than this.
    jfif = marker == b"\xe0" and content.startswith(b"JFIF\0") and len(content) >= 14
    adobe = marker == b"\xee" and content.startswith(b"Adobe") and len(content) >= 12
    optional = b"\xe0" <= marker <= b"\xef" or marker == b"\xfe"  # the application segments, and comments
    return Part(raw, METADATA if optional and not jfif and not adobe else PIXELS, 4)


def _png_part(data: bytes, position: int) -> Part | None:
    """The chunk at `position`, or None if it does not fit into the file."""
    raw = data[position : position + 12 + int.from_bytes(data[position : position + 4], "big")]
    name = raw[4:8]
    if len(raw) < 12 or len(raw) != 12 + int.from_bytes(raw[:4], "big"):
        return None
    if name == b"iCCP":
        return Part(raw, PROFILE, 8)
    optional = name[0] & 0x20 and name != b"tRNS"  # the lowercase first letter of a chunk that decoders may skip
    return Part(raw, METADATA if optional else PIXELS, 8)


def _webp_part(data: bytes, position: int) -> Part | None:
    """The chunk at `position`, which may be cut off by the end of the file, or None at the end."""
    length = int.from_bytes(data[position + 4 : position + 8], "little")
    raw = data[position : position + 8 + length + length % 2]
    if not raw:
        return None
    if len(raw) < 8:  # The file ends in the middle of a chunk's header. The pixels cannot be in this chunk.
        return Part(raw, METADATA)
    use = {b"ICCP": PROFILE, b"EXIF": METADATA, b"XMP ": METADATA}.get(raw[:4], PIXELS)
    return Part(raw, use, 8)


def _riff(data: bytes, keep_profile: bool) -> bytes:
    """A WEBP file with the right length in its header, and without the flags for the chunks that were removed."""
    fixed = bytearray(data)
    fixed[4:8] = struct.pack("<L", max(len(data) - 8, 0) % 2**32)
    if fixed[12:16] == b"VP8X" and len(fixed) > 20:
        fixed[20] &= ~0x0C if keep_profile else ~0x2C
    return bytes(fixed)


def _tiff(data: bytes, keep_profile: bool) -> tuple[bytes, list[bytes]]:
    """A TIFF file with the tags of metadata left out of its first directory; nothing else in it moves."""
    unwanted = TIFF_METADATA if keep_profile else TIFF_METADATA | {TIFF_PROFILE}
    with suppress(KeyError, ValueError, struct.error):
        order, big, start = tiff_header(data[:16])
        number, size = (order + "Q", 20) if big else (order + "H", 12)
        (count,) = struct.unpack_from(number, data, start)
        first = start + struct.calcsize(number)
        entries = [data[at : at + size] for at in range(first, min(first + count * size, len(data)), size)]
        kept = [entry for entry in entries if struct.unpack_from(order + "H", entry)[0] not in unwanted]
        if len(kept) < len(entries):
            directory = struct.pack(number, len(kept)) + b"".join(kept) + bytes(8)  # zeros: the last directory
            return data[:start] + directory + data[start + len(directory) :], [data]
    return data, []
