"""The resize service: a worker pool that makes smaller copies of pictures. One bad picture affects no other picture.

    with ImageProcessor(workers=3, output="thumbnails") as service:
        for result in service.stream([ImageJob("img001", "photo1.jpg", 800, 600, 85)]):
            print(result.value.path if result.ok else result.error)

Always true:
- Everything that can be checked without the file is checked first. A job that breaks such a rule costs microseconds.
- A new picture fits into its box, keeps its shape, is never enlarged, and stands upright as its EXIF orientation says.
  The new file contains its pixels and its color profile, and nothing else: not where or when it was taken.
- Damaged or unknown metadata counts as absent (`image_metadata.py`). Such a picture is resized like any other picture.
- Gray with more than 8 bits is scaled by a fixed rule, or refused (`image_pixels.py`); it never silently becomes black.
- Whatever is wrong with a file, its job fails with an `ImageError`. The worker and all other jobs continue.
- A file under its final name is complete: it is written under another name and then renamed. Stopping the pool leaves
  no partial picture.

Costs: a JPEG is decoded directly at a half, a quarter, or an eighth of its size if that is still large enough (shrink
on load). From 3840 to 800 pixels, this reduces the work to a quarter (benchmarks/README.md). Pillow computes without
the interpreter lock, so more threads help up to the number of cores, and no further. Do not start as many workers as
there are pictures: each worker holds one decoded picture, 36 MB for twelve million pixels.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from . import checks
from .image_file import FORMATS, MAX_PIXELS, MAX_WEBP_PIXELS, is_of_system, read
from .image_metadata import MAX_PROFILE, ORIENTATION
from .policy import RetryPolicy
from .result import JobCancelled
from .retrying import RetryingPool
from .words import LIMIT, describe, describe_error
from .worker import worker_or_none

__all__ = [
    "FORMATS",
    "MAX_HEIGHT",
    "MAX_PIXELS",
    "MAX_PROFILE",
    "MAX_WEBP_PIXELS",
    "MAX_WIDTH",
    "NAME",
    "ORIENTATION",
    "ImageError",
    "ImageJob",
    "ImageProcessor",
    "Thumbnail",
    "resize",
]

MAX_WIDTH = MAX_HEIGHT = 4000  # pixels of a new picture
NAME = re.compile(r"(?!(con|prn|aux|nul|com\d|lpt\d)(\.|$))[a-z0-9_-][a-z0-9._-]{0,99}", re.I)  # no Windows devices

_parts = count(1)  # numbers the unfinished files


@dataclass(frozen=True, slots=True)
class ImageJob:
    """A request for a copy of a picture that fits into width x height pixels. A worker checks it, not the constructor.

    Args:
        image_id:  first part of the new file's name: letters, digits, `.`, `_`, and `-`.
        source:    path of the picture.
        width:     maximum width of the new picture, 1 to 4000 pixels.
        height:    maximum height of the new picture, 1 to 4000 pixels.
        quality:   JPEG quality of the new picture, 1 to 100.
    """

    image_id: str
    source: str | os.PathLike[str]
    width: int
    height: int
    quality: int = 85


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A new picture: its path, the size of the old and the new file in bytes, its width and height in pixels."""

    path: Path
    original_size: int
    new_size: int
    width: int
    height: int


class ImageError(ValueError):
    """A job that cannot be done. The message names the picture, its file, and the rule.

    `permanent` is True, so the job is not retried, unless the system was the reason: a full disk, missing memory, or a
    file that does not exist yet.
    """

    permanent = True


class ImageProcessor(RetryingPool[ImageJob, Thumbnail]):
    """A pool of `workers` threads that make smaller copies of pictures.

    Args:
        workers, queue_size:  as for `WorkerPool`.
        output:   existing folder for the new pictures, `{image_id}_{width}x{height}.jpg`. Old ones are replaced.
        policy:   what is retried, as for `RetryingPool`. Only errors of the system are. None: nothing is retried.
        options:  `resource` and `clock` of `WorkerPool`.

    Raises NotADirectoryError if `output` is not a folder, and TypeError or ValueError if an argument breaks its rule.
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
            raise TypeError(f"output must be the path of a folder, not {describe(output)}")
        self.output = Path(output)
        if not output or not self.output.is_dir():  # Path("") would be the current folder
            raise NotADirectoryError(f"output must be a folder that exists, not {describe(str(output))}")
        super().__init__(self.process, workers=workers, queue_size=queue_size, policy=policy, **options)

    def process(self, job: ImageJob) -> Thumbnail:
        """Make one picture. This is the handler of the pool; it raises what `resize` raises."""
        return resize(job, self.output)


def resize(job: ImageJob, output: Path) -> Thumbnail:
    """Make one picture in the folder `output`. This works without a pool, too.

    Raises ImageError, TypeError if `job` is not an ImageJob, and JobCancelled if the pool that runs it is stopping.
    """
    _check(job)
    with _named(job):
        original_size = os.stat(job.source).st_size
        picture, profile = read(job.source, job.width, job.height)
    worker = worker_or_none()
    if worker is not None and worker.cancelled.is_set():
        raise JobCancelled(f"{job.image_id}: the pool was stopped before this picture was written")
    target = output / f"{job.image_id}_{job.width}x{job.height}.jpg"
    with _named(job, f"cannot be written to {describe(str(output))}"), _whole(target) as part:
        picture.save(part, "JPEG", quality=job.quality, icc_profile=profile)
        new_size = os.stat(part).st_size
    return Thumbnail(target, original_size, new_size, *picture.size)


def _check(job: Any) -> None:
    """Check every rule that does not need the file. Raises TypeError or ImageError."""
    if not isinstance(job, ImageJob):
        raise TypeError(f"a job must be an ImageJob, not {describe(job)}")
    if not isinstance(job.image_id, str) or not NAME.fullmatch(job.image_id):
        name = describe(job.image_id)
        raise ImageError(f"image_id must be a plain file name of letters, digits, . _ and -, not {name}")
    with _named(job):
        for name, most in (("width", MAX_WIDTH), ("height", MAX_HEIGHT)):
            if checks.whole_number(name, value := getattr(job, name)) > most:
                raise ValueError(f"max {name} is {most} px, not {describe(value)}")
        if checks.whole_number("quality", job.quality) > 100:
            raise ValueError(f"quality must be 1 to 100, not {describe(job.quality)}")


@contextmanager
def _named(job: ImageJob, what: str = "cannot be read") -> Iterator[None]:
    """Turn every exception of the block into an ImageError that names the job and its file."""
    try:
        yield
    except Exception as error:
        failed = ImageError(f"{job.image_id} ({_file_name(job.source)}): {_rule(error, what)}")
        failed.permanent = not is_of_system(error)
        raise failed from error


def _rule(error: Exception, what: str) -> str:
    """Say in words what is wrong with the file. Damaged bytes can make Pillow raise nearly every kind of exception."""
    if isinstance(error, UnidentifiedImageError | SyntaxError):
        return f"not a picture in one of the formats {', '.join(FORMATS)}"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):  # the second under -W error
        return f"more than {MAX_PIXELS:,} pixels, which would fill the memory"
    if isinstance(error, MemoryError):
        return f"{what}: not enough memory"
    words = describe_error(error, 2 * LIMIT).removesuffix(": ")  # an error without a message
    message = words.partition(": ")[2]
    if isinstance(error, OSError):
        return f"{what}: {error.strerror or message}"
    # These two carry a sentence that states a rule, ours or Pillow's. The message of a KeyError is only the key.
    return message if type(error) in (ValueError, TypeError) and message else f"{what}: {words}"


def _file_name(source: Any) -> str:
    """The last part of a path; the `repr` of a value that is not a path."""
    try:
        name = Path(os.fsdecode(source)).name
    except Exception:
        return describe(source)
    return name if len(name) <= LIMIT else describe(name)


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """Yield a name to write under. The file is renamed to `target` if the block succeeds, and deleted if not."""
    part = target.with_name(f".{target.name}.{os.getpid()}-{next(_parts)}.part")
    try:
        yield part
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
