"""Remove the metadata from a picture file that Pillow cannot open because of damaged metadata.

A picture file is a sequence of parts: segments of a JPEG, chunks of a PNG or WEBP, tags of a TIFF. Some parts contain
pixels. The others contain text, EXIF, XMP, thumbnails, or a color profile. Pillow reads all parts when it opens the
file. A single damaged part, such as a comment with a wrong checksum, makes Pillow refuse a picture whose pixels are
good.

Always true: the parts that are needed for the pixels stay unchanged and in order. Everything from the first
part that is not recognized to the end of the file stays unchanged too. Time and memory grow linearly with the length of
the file. If a part that is needed for the pixels were removed, a good picture would be refused or would get wrong
colors.

Sources: ITU-T T.81, annex B; PNG specification, third edition, section 5; RFC 9649 (WEBP); TIFF 6.0, section 2.
"""

import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from .image_metadata import tiff_header

MAX_PARTS = 100_000  # the rest of a file that has more parts stays unchanged
TIFF_METADATA = {
    *(270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 316),  # text, orientation, resolution
    *(700, 33432, 33723, 34377, 34665, 34853, 37724),  # XMP, copyright, IPTC, Photoshop, EXIF, GPS
}
TIFF_PROFILE = 34675

PIXELS, PROFILE, METADATA = "pixels", "profile", "metadata"


class Part(NamedTuple):
    """A part of a file.

    Attributes:
        raw:    all bytes of the part.
        use:    PIXELS (needed for the pixels), PROFILE (the color profile), or METADATA.
        start:  the index in `raw` at which the content begins, after the header of the part.
    """

    raw: bytes
    use: str
    start: int = 0


def without_metadata(data: bytes, *, keep_profile: bool) -> tuple[bytes, list[bytes]]:
    """Return the bytes of a picture file without its metadata, and the contents of the parts that were removed.

    If `keep_profile` is true, the color profile stays in the file. The header of a WEBP file gets the new length.
    """
    kept, removed = [], []
    if data.startswith((b"II", b"MM")):
        return _tiff_without_metadata(data, keep_profile)
    for part in _parts(data):
        if part.use == PIXELS or (part.use == PROFILE and keep_profile):
            kept.append(part.raw)
        else:
            removed.append(part.raw[part.start :])
    bare = b"".join(kept)
    return (_with_webp_header(bare, keep_profile) if bare.startswith(b"RIFF") else bare), removed


def _parts(data: bytes) -> Iterator[Part]:
    """Yield the parts of a JPEG, PNG, or WEBP file in order. A file of another format is one part."""
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
    """Return the segment at `position`, or None if the compressed pixels, or no segment at all, begin there."""
    if data[position : position + 2] == b"\xff\xff":  # a fill byte, which may precede a marker
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
    # The JFIF and Adobe segments tell a decoder what the colors mean. A decoder ignores them if they are shorter.
    jfif = marker == b"\xe0" and content.startswith(b"JFIF\0") and len(content) >= 14
    adobe = marker == b"\xee" and content.startswith(b"Adobe") and len(content) >= 12
    optional = b"\xe0" <= marker <= b"\xef" or marker == b"\xfe"  # application segments and comments
    return Part(raw, METADATA if optional and not jfif and not adobe else PIXELS, 4)


def _png_part(data: bytes, position: int) -> Part | None:
    """Return the chunk at `position`, or None if it does not fit into the file."""
    raw = data[position : position + 12 + int.from_bytes(data[position : position + 4], "big")]
    name = raw[4:8]
    if len(raw) < 12 or len(raw) != 12 + int.from_bytes(raw[:4], "big"):
        return None
    if name == b"iCCP":
        return Part(raw, PROFILE, 8)
    optional = name[0] & 0x20 and name != b"tRNS"  # decoders may skip a chunk whose name begins in lowercase
    return Part(raw, METADATA if optional else PIXELS, 8)


def _webp_part(data: bytes, position: int) -> Part | None:
    """Return the chunk at `position`, which may be cut off by the end of the file, or None at the end of the file."""
    length = int.from_bytes(data[position + 4 : position + 8], "little")
    raw = data[position : position + 8 + length + length % 2]
    if not raw:
        return None
    if len(raw) < 8:  # the file ends in the middle of the chunk's header, so the pixels cannot be in this chunk
        return Part(raw, METADATA)
    use = {b"ICCP": PROFILE, b"EXIF": METADATA, b"XMP ": METADATA}.get(raw[:4], PIXELS)
    return Part(raw, use, 8)


def _with_webp_header(data: bytes, keep_profile: bool) -> bytes:
    """Return a WEBP file with the right length in its header and without the flags of the chunks that were removed."""
    fixed = bytearray(data)
    fixed[4:8] = struct.pack("<L", max(len(data) - 8, 0) % 2**32)
    if fixed[12:16] == b"VP8X" and len(fixed) > 20:
        fixed[20] &= ~0x0C if keep_profile else ~0x2C
    return bytes(fixed)


def _tiff_without_metadata(data: bytes, keep_profile: bool) -> tuple[bytes, list[bytes]]:
    """Remove the metadata tags from the first directory of a TIFF file. All other bytes keep their places.

    Return the file and, if tags were removed, the original file as the removed metadata.
    """
    unwanted = TIFF_METADATA if keep_profile else TIFF_METADATA | {TIFF_PROFILE}
    with suppress(KeyError, ValueError, struct.error):
        order, big, start = tiff_header(data[:16])
        number, size = (order + "Q", 20) if big else (order + "H", 12)
        (count,) = struct.unpack_from(number, data, start)
        first = start + struct.calcsize(number)
        entries = [data[at : at + size] for at in range(first, min(first + count * size, len(data)), size)]
        kept = [entry for entry in entries if struct.unpack_from(order + "H", entry)[0] not in unwanted]
        if len(kept) < len(entries):
            directory = struct.pack(number, len(kept)) + b"".join(kept) + bytes(8)  # zeros: no directory follows
            return data[:start] + directory + data[start + len(directory) :], [data]
    return data, []
