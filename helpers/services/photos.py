"""Generated pictures for a resize service: any number of photo-like ones, and a few that it must refuse.

They show invented landscapes: a sky with clouds and a sun, ridges that fade into haze, sometimes a lake, and grain.
They are drawn from a seed and compress like photos. `PHOTOS` has eight of them, which data/make_photos.py wrote.
"""

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from helpers.services.data_files import data_file
from helpers.services.sandbox import check_number, check_path, check_whole
from helpers.services.words import describe

PHOTOS = data_file("photos")

# The colors of morning, noon, evening, dusk, and mist: upper sky, lower sky, sun, far hills, near hills.
PALETTES = [
    ((86, 132, 186), (250, 222, 190), (255, 240, 205), (150, 160, 178), (42, 62, 54)),
    ((62, 124, 196), (206, 228, 242), (255, 252, 236), (136, 166, 186), (44, 84, 42)),
    ((70, 84, 140), (252, 170, 104), (255, 226, 150), (162, 116, 122), (46, 34, 44)),
    ((36, 46, 92), (222, 132, 134), (255, 206, 180), (104, 90, 130), (24, 28, 48)),
    ((160, 176, 186), (232, 234, 228), (255, 252, 240), (184, 192, 194), (70, 84, 78)),
]
SIDEWAYS = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
ORIENTATION = 0x0112  # the EXIF tag
MOST = 2**31 - 1  # the largest width and height that a PNG header can have
BASES, BASE_SIZE = 6, (2600, 1950)  # `make_photos` cuts its pictures from this many large ones of this size

Layer = np.ndarray[Any, np.dtype[np.float32]]


def make_photo(seed: int, width: int, height: int) -> Image.Image:
    """Return an RGB landscape. Equal arguments give equal pixels (with the same versions of numpy and Pillow).

    Like all functions of this module, it raises TypeError or ValueError for bad arguments.
    """
    check_whole("seed", seed, least=0)
    check_whole("width", width)
    check_whole("height", height)
    random = np.random.default_rng(seed)
    top, bottom, sun, far, near = (np.array(c, np.float32) for c in PALETTES[seed % len(PALETTES)])
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    horizon = 0.42 + 0.16 * random.random()
    picture = np.repeat(top + (bottom - top) * np.minimum(down / horizon, 1), width, axis=1)
    _add_sun(picture, random, sun, horizon)
    _add_clouds(picture, random, sun)
    layers = 4 + int(random.random() * 3)
    for number in range(layers):
        share = number / (layers - 1)
        _add_ridge(picture, random, far + (near - far) * share, horizon + 0.38 * share**1.3, 0.05 + 0.1 * share)
    if random.random() < 0.5:
        _add_lake(picture, int(height * (0.86 + 0.05 * random.random())))
    picture += (_noise(random, width, height, width // 3)[:, :, None] - 0.5) * 9  # grain
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def write_photo(
    path: str | os.PathLike[str], seed: int, width: int, height: int, *, quality: int = 80, orientation: int = 1
) -> Path:
    """Write `make_photo(seed, width, height)` as a JPEG and return the path. No incomplete file is ever at the path.

    orientation: the EXIF orientation 1, 3, 6, or 8, as a rotated camera writes it. The pixels in the file are rotated,
    and a program that applies the tag shows the picture upright.
    """
    check_path("path", path)
    check_whole("quality", quality, most=100)
    if not issubclass(type(orientation), int) or orientation not in SIDEWAYS:  # 6.0 and numpy arrays are refused too
        raise ValueError(f"orientation must be one of {list(SIDEWAYS)}, not {describe(orientation)}")
    return _save(make_photo(seed, width, height), Path(path), quality, orientation)


def make_photos(
    folder: str | os.PathLike[str], count: int, *, width: int = 1600, height: int = 1200, seed: int = 1
) -> Iterator[Path]:
    """Write `count` pictures to `folder`, as photo00001.jpg, photo00002.jpg, …, and yield each path when it is written.

    An existing file is kept, so that an interrupted run can continue. For speed, each picture is a part of one of a few
    large pictures, with a brightness of its own. Width and height must not exceed those of the large pictures.
    """
    check_path("folder", folder)
    check_whole("seed", seed, least=0)
    for name, value, most in (("count", count, None), ("width", width, BASE_SIZE[0]), ("height", height, BASE_SIZE[1])):
        check_whole(name, value)
        if most is not None and value > most:
            raise ValueError(f"{name} must be at most {most}, not {describe(value)}")
    return _make_photos(Path(folder), count, width, height, seed)


def load_all(sources: Iterable[str | os.PathLike[str]]) -> int:
    """Decode all pictures before using any of them, which is the naive way. Return their number."""
    pictures = [Image.open(source).convert("RGB") for source in sources]
    return len(pictures)


def truncate(source: str | os.PathLike[str], target: str | os.PathLike[str], share: float = 0.5) -> Path:
    """Write the first part of a file, like a copy that was interrupted, and return the path."""
    check_path("source", source)
    check_path("target", target)
    check_number("share", share, least=0)
    if share > 1:
        raise ValueError(f"share must be at most 1, not {describe(share)}")
    content = Path(source).read_bytes()
    Path(target).write_bytes(content[: int(len(content) * share)])
    return Path(target)


def write_bomb(path: str | os.PathLike[str], width: int = 30_000, height: int = 30_000) -> Path:
    """Write a small PNG that decodes to a huge black picture of `width` x `height` pixels, and return the path."""
    check_path("path", path)
    check_whole("width", width, most=MOST)
    check_whole("height", height, most=MOST)
    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = [_chunk(b"IHDR", header), _chunk(b"IDAT", rows), _chunk(b"IEND", b"")]
    Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return Path(path)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _save(picture: Image.Image, path: Path, quality: int, orientation: int = 1) -> Path:
    exif = Image.Exif()
    if orientation != 1:
        exif[ORIENTATION] = orientation
        turn = SIDEWAYS[orientation]
        assert turn is not None
        picture = picture.transpose(turn)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        picture.save(part, "JPEG", quality=quality, exif=exif)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _make_photos(folder: Path, count: int, width: int, height: int, seed: int) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        path = folder / f"photo{number:05}.jpg"
        if not path.exists():
            _save(_window(seed, number, width, height), path, 80)
        yield path


def _window(seed: int, number: int, width: int, height: int) -> Image.Image:
    random = np.random.default_rng([seed, number])
    base = _base(seed, number % BASES)
    left = int(random.random() * (base.width - width + 1))
    top = int(random.random() * (base.height - height + 1))
    light = [min(255, int(value * (0.8 + 0.4 * random.random()))) for value in range(256)]
    return base.crop((left, top, left + width, top + height)).point(light * 3)


@lru_cache(BASES)
def _base(seed: int, number: int) -> Image.Image:
    return make_photo(seed * BASES + number, *BASE_SIZE)


def _noise(random: np.random.Generator, width: int, height: int, cells: int) -> Layer:
    """Return smooth noise from 0 to 1 with the given number of cells in a row."""
    cells = max(2, min(cells, width))
    grid = random.random((max(2, cells * height // width), cells), dtype=np.float32)
    return np.asarray(Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC))


def _clouds(random: np.random.Generator, width: int, height: int, cells: int) -> Layer:
    """Return the sum of several layers of noise, each finer and weaker than the layer before."""
    octaves = [_noise(random, width, height, cells * 2**n) / 2**n for n in range(5)]
    return np.asarray(sum(octaves) / 1.94, np.float32)


def _add_sun(picture: Layer, random: np.random.Generator, colour: Layer, horizon: float) -> None:
    height, width = picture.shape[:2]
    x, y = width * (0.15 + 0.7 * random.random()), height * horizon * (0.35 + 0.5 * random.random())
    across = (np.arange(width, dtype=np.float32) - x)[None, :]
    upright = (np.arange(height, dtype=np.float32) - y)[:, None]
    distance = np.sqrt(across**2 + upright**2) / min(width, height)
    glow = np.exp(-distance * 5) * 0.7 + np.clip((0.035 - distance) * 300, 0, 1)
    picture += (colour - picture) * np.minimum(glow, 1)[:, :, None]


def _add_clouds(picture: Layer, random: np.random.Generator, colour: Layer) -> None:
    height, width = picture.shape[:2]
    cover = _clouds(random, width, height * 3, 3)[: height * 3 : 3]  # flattened, because clouds are seen from the side
    thick = np.clip((cover - 0.52) * 4.5, 0, 0.85)[:, :, None]
    shade = 1 - 0.25 * np.clip((cover - 0.62) * 4, 0, 1)[:, :, None]
    picture += (colour * shade - picture) * thick


def _add_ridge(picture: Layer, random: np.random.Generator, colour: Layer, at: float, rough: float) -> None:
    """Paint the area below a jagged line in the color of a hillside, which is lighter at the bottom, as in mist."""
    height, width = picture.shape[:2]
    line = sum(_noise(random, width, 2, 3 * 2**n)[0] / 1.9**n for n in range(9)) / 2.1
    edge = height * (at + rough * (0.9 - 1.8 * np.asarray(line)))
    below = np.arange(height, dtype=np.float32)[:, None] - edge[None, :]
    inside = np.clip(below + 0.5, 0, 1)[:, :, None]
    texture = (_clouds(random, width, height, 40) - 0.5) * 46 * (0.3 + at)
    mist = np.clip(below / (height * 0.3), 0, 1) * 26
    hillside = colour + (texture + mist)[:, :, None]
    picture += (hillside - picture) * inside


def _add_lake(picture: Layer, shore: int) -> None:
    """Paint the area below the shore as a reflection of the area above it: upside down, darker, and bluer."""
    depth = min(picture.shape[0] - shore, shore)
    mirrored = picture[shore - depth : shore][::-1]
    picture[shore : shore + depth] = mirrored * np.array([0.62, 0.7, 0.8], np.float32) + np.array(
        [8, 14, 24], np.float32
    )
