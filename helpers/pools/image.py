"""The resize service: pictures in, smaller pictures out, and a bad one harms nobody but itself.

    with ImageProcessor(workers=3, output="thumbnails") as service:
        for result in service.stream([ImageJob("img001", "photo1.jpg", 800, 600, 85)]):
            print(result.value.path if result.ok else result.error)

What holds:
- All that can be checked is checked before any work: a job that breaks a rule costs a few microseconds.
- A picture fits into its box, keeps its shape, is never enlarged, and stands upright as its EXIF says. Only its pixels
  and its colour profile go into the new file; where and when it was taken does not.
- A file under its final name is whole: it is written under another one and renamed. A stop leaves no half picture.

What it costs: a JPEG is unpacked straight at a half, a quarter or an eighth of its size where that is still large
enough (shrink on load), which makes 800 from 3840 pixels a quarter of the work (benchmarks/README.md). Pillow computes
without the interpreter lock, so threads help up to the number of cores, and no further. What not to do: as many workers
as pictures. Each holds one unpacked picture, 36 MB for twelve million pixels.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

from . import checks
from .policy import RetryPolicy
from .result import JobCancelled
from .retrying import RetryingPool
from .worker import worker_or_none

MAX_WIDTH = MAX_HEIGHT = 4000  # pixels of a new picture
MAX_PIXELS = 89_478_485  # of a source: a third of a gigabyte unpacked, where Pillow begins to warn
MAX_WEBP_PIXELS = MAX_PIXELS // 4  # its decoder unpacks a picture four times over, be the file a hundred bytes
MAX_PROFILE = 2**20  # bytes of a colour profile: more would be most of the new file
FORMATS = ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"]  # Pillow knows fifty; what nobody sends nobody need defend
NAME = re.compile(r"(?!(con|prn|aux|nul|com\d|lpt\d)(\.|$))[a-z0-9_-][a-z0-9._-]{0,99}", re.I)  # no Windows devices
ORIENTATION = 0x0112  # the EXIF tag; 5 to 8 say that the picture lies on its side

_parts = count(1)  # numbers the unfinished files


@dataclass(frozen=True, slots=True)
class ImageJob:
    """A picture to be made to fit into width x height pixels. Nothing is checked before a worker takes it.

    image_id is the first part of the new file's name; quality is JPEG's, 1 to 100.
    """

    image_id: str
    source: str | os.PathLike[str]
    width: int
    height: int
    quality: int = 85


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """The new picture: its path, the old and the new size in bytes, its own width and height in pixels."""

    path: Path
    original_size: int
    new_size: int
    width: int
    height: int


class ImageError(ValueError):
    """A job that cannot be done: names the picture, its file and the rule.

    `permanent` unless the system was the reason: a disk that is full or a file that is not there yet may change.
    """

    permanent = True


class ImageProcessor(RetryingPool[ImageJob, Thumbnail]):
    """`workers` threads that make pictures smaller.

    Args:
        workers, queue_size:  as for `WorkerPool`.
        output:   the folder for the new pictures, `{image_id}_{width}x{height}.jpg`. One that is there is replaced.
        policy:   what is tried again, as for `RetryingPool`; only what the system refused ever is. None: nothing.
        options:  `resource` and `clock` of `WorkerPool`.

    Raises NotADirectoryError if `output` is no folder, TypeError or ValueError for an argument that breaks its rule.
    """

    def __init__(
        self,
        *,
        workers: int = 3,
        queue_size: int = 100,
        output: str | os.PathLike[str],
        policy: RetryPolicy | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(output, str | os.PathLike):
            raise TypeError(f"output must be the path of a folder, not {output!r}")
        self.output = Path(output)
        if not output or not self.output.is_dir():  # "" would be the current folder
            raise NotADirectoryError(f"output must be a folder that exists, not {str(output)!r}")
        super().__init__(self.process, workers=workers, queue_size=queue_size, policy=policy, **options)

    def process(self, job: ImageJob) -> Thumbnail:
        """What a worker does with one job. Raises ImageError."""
        return resize(job, self.output)


def resize(job: ImageJob, output: Path) -> Thumbnail:
    """Make one picture, without a pool. Raises ImageError; JobCancelled if the pool that runs it is being stopped."""
    _check(job)
    with _named(job):
        original_size = os.stat(job.source).st_size
        picture = _shrunk(job)
    worker = worker_or_none()
    if worker is not None and worker.cancelled.is_set():
        raise JobCancelled(f"{job.image_id}: stopped before its picture was written")
    target = output / f"{job.image_id}_{job.width}x{job.height}.jpg"
    with _named(job, f"cannot be written to {str(output)!r}"), _whole(target) as part:
        picture.save(part, "JPEG", quality=job.quality, icc_profile=_profile(picture), comment=b"")
        new_size = os.stat(part).st_size
    return Thumbnail(target, original_size, new_size, *picture.size)


def _shrunk(job: ImageJob) -> Image.Image:
    """The picture in its new size, upright, in a mode that JPEG knows."""
    with Image.open(job.source, formats=FORMATS) as file:
        most = MAX_WEBP_PIXELS if file.format == "WEBP" else MAX_PIXELS
        if file.width * file.height > most:  # Pillow warns here (to stderr, once), and refuses at twice as many
            raise ValueError(f"more than {most:,} pixels, which would fill the memory")
        picture: Image.Image = file
        if file.format not in ("JPEG", "MPO") or file.mode == "CMYK":
            ImageOps.exif_transpose(file, in_place=True)  # and no copy: this is the whole picture
            picture = _plain(file)  # first: the colours of a palette cannot be averaged
        box = (job.width, job.height)
        if picture.getexif().get(ORIENTATION, 1) >= 5:
            box = (job.height, job.width)
        picture.thumbnail(box, Image.Resampling.LANCZOS, reducing_gap=1.0)
        return ImageOps.exif_transpose(picture)


def _plain(picture: Image.Image) -> Image.Image:
    """In RGB or greyscale, 8 bits, on white where it was transparent."""
    if picture.mode.startswith("I"):  # 16 bits of grey: `convert` would cut all that is brighter than 255 to white
        plain = picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    elif picture.has_transparency_data:
        above = picture if picture.mode in ("RGBA", "LA") else picture.convert("RGBA")
        plain = Image.new("RGB", picture.size, "white")
        plain.paste(above, mask=above)
    elif picture.mode in ("L", "RGB"):
        plain = picture
    else:
        plain = picture.convert("L" if picture.mode == "1" else "RGB")
    plain.info = {name: value for name, value in picture.info.items() if name == "icc_profile"}
    return plain


def _profile(picture: Image.Image) -> bytes | None:
    """The colour profile, if it still is one for the picture's colours (its bytes 16 to 19 say for which)."""
    profile: bytes = picture.info.get("icc_profile") or b""
    if len(profile) > MAX_PROFILE:
        return None
    return profile if profile[16:20] == {"RGB": b"RGB ", "L": b"GRAY"}.get(picture.mode) else None


def _check(job: Any) -> None:
    """Every rule that can be looked up without opening the file."""
    if not isinstance(job, ImageJob):
        raise TypeError(f"an ImageJob is wanted, not {job!r}")
    if not isinstance(job.image_id, str) or not NAME.fullmatch(job.image_id):
        raise ImageError(f"image_id must be a plain file name of letters, digits, . _ and -, not {job.image_id!r}")
    with _named(job):
        for name, most in (("width", MAX_WIDTH), ("height", MAX_HEIGHT)):
            if checks.whole_number(name, value := getattr(job, name)) > most:
                raise ValueError(f"max {name} is {most} px, not {value}")
        if checks.whole_number("quality", job.quality) > 100:
            raise ValueError(f"quality must be 1 to 100, not {job.quality}")


@contextmanager
def _named(job: ImageJob, what: str = "cannot be read") -> Iterator[None]:
    """What goes wrong inside comes out as an ImageError that names the job and its file."""
    try:
        yield
    except (UnidentifiedImageError, SyntaxError) as error:
        raise _error(job, f"no picture, or of no format out of {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise _error(job, f"more than {MAX_PIXELS:,} pixels, which would fill the memory") from error
    except OSError as error:  # with an errno it is the system's, without one it is Pillow's
        failed = _error(job, f"{what}: {error.strerror or error}")
        failed.permanent = error.errno is None
        raise failed from error
    except MemoryError as error:
        failed = _error(job, f"{what}: no memory left")
        failed.permanent = False
        raise failed from error
    except (EOFError, ValueError, TypeError, OverflowError) as error:
        raise _error(job, str(error)) from error


def _error(job: ImageJob, rule: str) -> ImageError:
    return ImageError(f"{job.image_id} ({Path(str(job.source)).name}): {rule}")


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A name to write under; it becomes `target` if all goes well, and is gone if not."""
    part = target.with_name(f".{target.name}.{os.getpid()}-{next(_parts)}.part")
    try:
        yield part
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
