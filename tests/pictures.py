"""Malicious pictures of a few bytes each, and a function that resizes them in the sandbox."""

import io
import struct
import zlib
from pathlib import Path

from PIL import Image

from helpers.pools import ImageJob, ImageProcessor
from helpers.pools.image import ImageError

MIB = 2**20
EDGE = 9459  # pixels per side: the largest square that the limit for a JPEG allows


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*more: tuple[bytes, bytes], side: int = 9, colours: int = 0, rows: bytes = bytes(10 * 9)) -> bytes:
    head = struct.pack(">IIBBBBB", side, side, 8, colours, 0, 0, 0)
    parts = [(b"IHDR", head), *more, (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def gif(screen: int, frame: int) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", screen, screen, 0x80, 0, 0) + bytes(6)
    return head + b"," + struct.pack("<HHHHB", 0, 0, frame, frame, 0) + b"\x02\x02\x4c\x01\x00;"


def animated_webp(side: int) -> bytes:
    """Return a WebP of a hundred bytes with a canvas of any size and one frame of 9 x 9 pixels."""
    u24 = [struct.pack("<I", n)[:3] for n in (0, 8, 100, side - 1)]
    frame = u24[0] * 2 + u24[1] * 2 + u24[2] + b"\0" + encoded("WEBP")[12:]
    parts = [(b"VP8X", b"\2\0\0\0" + u24[3] * 2), (b"ANIM", bytes(6)), (b"ANMF", frame)]
    body = b"WEBP" + b"".join(name + struct.pack("<I", len(c)) + c + bytes(len(c) % 2) for name, c in parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff(side: int, compression: int = 1, *, loop: bool = False) -> bytes:
    """Return a TIFF with one strip of 81 bytes. With `loop`, its next picture is the same picture, without an end."""
    tags = [(256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, compression), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    tags += [(278, 4, side), (279, 4, 81)]
    here = 8 + 96
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    head = b"II*\0" + struct.pack("<I", here) + bytes(96)
    return head + struct.pack("<H", len(tags)) + entries + struct.pack("<I", here if loop else 0)


def encoded(kind: str, side: int = 9, **options) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((side, side), 60).convert("RGB").save(file, kind, **options)
    return file.getvalue()


def patched(kind: str, at: int, form: str, side: int) -> bytes:
    """Return a small picture whose header has a large size."""
    content = bytearray(encoded(kind))
    struct.pack_into(form, content, at, side, side)
    return bytes(content)


def half(kind: str) -> bytes:
    content = encoded(kind, 150)
    return content[: len(content) // 2]


TOO_MANY = "pixels; the limit is 89,478,485"


def bombs() -> dict[str, tuple[bytes, str]]:
    """Return pictures by name, and the text that the error of each must contain."""
    return {
        "png": (png(side=60_000), TOO_MANY),
        "png-edge": (png(side=EDGE), "cannot be read"),
        "gif": (gif(65_535, 65_535), TOO_MANY),
        "gif-frame": (gif(9, 65_535), TOO_MANY),
        "gif-edge": (gif(EDGE, EDGE), "cannot be read"),
        "webp": (animated_webp(16_383), TOO_MANY),
        "webp-edge": (animated_webp(EDGE), f"has {EDGE * EDGE:,} pixels; the limit is 22,369,621"),
        "tiff": (tiff(200_000), TOO_MANY),
        "tiff-2-31": (tiff(2**31), TOO_MANY),
        "tiff-edge": (tiff(EDGE), "cannot be read"),
        "tiff-lzw": (tiff(EDGE, 5), "cannot be read"),
        "jpeg": (patched("JPEG", encoded("JPEG").index(b"\xff\xc0") + 5, ">HH", 65_500), TOO_MANY),
        "bmp": (patched("BMP", 18, "<ii", 2**31 - 1), TOO_MANY),
        **{
            f"half-{kind.lower()}": (half(kind), "cannot be read")
            for kind in ("PNG", "GIF", "WEBP", "TIFF", "BMP", "JPEG")
        },
    }


def harmless() -> dict[str, bytes]:
    """Return pictures that are unusual but valid. Metadata that unpacks to many megabytes is skipped."""
    zeros = zlib.compress(bytes(50_000_000), 9)  # 50 kB that unpack to 50 MB
    text = zlib.compress(bytes(1_000_000), 9)
    texts = [(b"zTXt", b"k%d\0\0" % n + text) for n in range(70)]
    profile = b"\0" * 16 + b"RGB " + bytes(16 * MIB - 20)
    return {
        "good": encoded("JPEG"),
        "frames": encoded(
            "GIF", save_all=True, append_images=[Image.new("RGB", (9, 9), (n, 0, 0)) for n in range(255)] * 8
        ),
        "loop": tiff(9, loop=True),
        "too-many-rows": png(rows=bytes(20_000_000)),
        "ztxt": png((b"zTXt", b"k\0\0" + zeros)),
        "itxt": png((b"iTXt", b"k\0\1\0\0\0" + zeros)),
        "iccp": png((b"iCCP", b"k\0\0" + zeros)),
        "many-texts": png(*texts),
        "profile": encoded("JPEG", icc_profile=profile),
        "exif": encoded("JPEG", exif=b"Exif\0\0" + b"MM\0*\0\0\0\10\xff\xff" + bytes(60_000)),
    }


def resize_all(folder: str, names: list[str]) -> dict[str, str]:
    """Return the error text of each picture, or "" if it was resized. Runs in the sandbox."""
    jobs = [ImageJob(name, Path(folder, name), 8, 8) for name in names]
    with ImageProcessor(workers=2, output=folder) as service:
        results = list(service.stream(jobs))
    assert all(r.ok or type(r.error) is ImageError for r in results), results
    return {r.job.image_id: "" if r.ok else str(r.error) for r in results}
