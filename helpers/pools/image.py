"""`ImageProcessor`: a worker pool that makes smaller copies of pictures. A bad picture fails alone.

    with ImageProcessor(workers=3, output="thumbnails") as service:
        for result in service.stream([ImageJob("img001", "photo1.jpg", 800, 600, 85)]):
            print(result.value.path if result.ok else result.error)

Always true:
- A worker checks first what it can check without the file. A job that breaks such a rule takes only microseconds.
- A new picture fits into width x height pixels, keeps its aspect ratio, is never enlarged, and is turned upright as its
  EXIF orientation says. The new file contains its pixels and its color profile, and no other metadata, such as the
  place or the time of the photo.
- Damaged or unknown metadata counts as absent (`image_metadata.py`). Such a picture is resized like any other picture.
- Gray with more than 8 bits is scaled by a fixed rule or refused (`image_pixels.py`). It never silently becomes black.
- If anything is wrong with a file, its job fails with an `ImageError`. The worker and all other jobs continue.
- A file under its final name is complete, because it is written under another name and then renamed. Stopping the pool
  leaves no partial picture.
A mistake in these rules would publish damaged pictures or private metadata, or let a hostile file of a hundred bytes
use gigabytes of memory.

Costs: if half, a quarter, or an eighth of the size of a JPEG is still large enough, the JPEG is decoded directly at
that size (shrink on load). From 3840 to 800 pixels, this reduces the work to a quarter (benchmarks/README.md). Pillow
releases the interpreter lock while it computes, so more threads help up to the number of cores. Do not start as many
workers as there are pictures: each worker holds one decoded picture, which takes 48 MB for 12 million pixels.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from . import checks
from .image_file import FORMATS, MAX_PIXELS, MAX_WEBP_PIXELS, is_of_system, read, too_many
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
# A file name that is valid on every system. It must not name a device of Windows, such as "con" or "com1.jpg".
NAME = re.compile(r"(?!(con|prn|aux|nul|com\d|lpt\d)(\.|$))[a-z0-9_-][a-z0-9._-]{0,99}", re.I)
# Pillow says how many pixels a picture has that it refuses: "Image size (900000000 pixels) exceeds limit of …".
PILLOWS_COUNT = re.compile(r"\((\d+) pixels\)")

_part_numbers = count(1)  # the number in the name of an unfinished file, so that two workers never share a file


@dataclass(frozen=True, slots=True)
class ImageJob:
    """A request for a copy of a picture that fits into width x height pixels.

    The constructor checks nothing. A worker checks the job, so a job that breaks a rule is one failed result.

    Args:
        image_id:  the first part of the new file's name: 1 to 100 letters, digits, `.`, `_`, and `-`, with no `.` at
                   the beginning. The name of a Windows device, such as "con", is refused.
        source:    the path of the picture.
        width:     the maximum width of the new picture, 1 to 4000 pixels.
        height:    the maximum height of the new picture, 1 to 4000 pixels.
        quality:   the JPEG quality of the new picture, 1 to 100.
    """

    image_id: str
    source: str | os.PathLike[str]
    width: int
    height: int
    quality: int = 85


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A new picture: its path, the sizes of the old and the new file in bytes, and its width and height in pixels."""

    path: Path
    original_size: int
    new_size: int
    width: int
    height: int


class ImageError(ValueError):
    """A picture that cannot be made. The message names the picture, its file, and the rule that was broken.

    `permanent` is True, so the job is not retried. It is False if the error came from the system, such as a full disk,
    too little memory, or a file that does not exist yet.
    """

    permanent = True


class ImageProcessor(RetryingPool[ImageJob, Thumbnail]):
    """A pool of `workers` threads that make smaller copies of pictures.

    Args:
        workers, queue_size:  as for `WorkerPool`.
        output:   an existing folder for the new pictures. Their names are `{image_id}_{width}x{height}.jpg`, and files
                  with these names are replaced.
        policy:   the rules for retries, as for `RetryingPool`; None: no job is retried. Only jobs that failed because
                  of an error of the system are retried.
        options:  `clock`, `on_result`, and other options of `RetryingPool`.

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
        if not output or not self.output.is_dir():  # an empty string is refused: Path("") is the current folder
            raise NotADirectoryError(f"output must be a folder that exists, not {describe(str(output))}")
        # A process can be sent a function and a folder, but not this pool.
        handler = self.process if options.get("engine") is None else partial(resize, output=self.output)
        super().__init__(handler, workers=workers, queue_size=queue_size, policy=policy, **options)

    def process(self, job: ImageJob) -> Thumbnail:
        """Make one picture. This is the handler of the pool. It raises what `resize` raises."""
        return resize(job, self.output)


def resize(job: ImageJob, output: Path) -> Thumbnail:
    """Make one picture in the folder `output`. The function can also be called without a pool.

    Raises ImageError if the picture cannot be made, TypeError if `job` is not an ImageJob, and JobCancelled if the
    pool that runs the job is stopping.
    """
    _check(job)
    with _errors_as_image_errors(job):
        original_size = os.stat(os.fspath(job.source)).st_size  # fspath refuses the number of an open file
        picture, profile = read(job.source, job.width, job.height)
    worker = worker_or_none()
    if worker is not None and worker.cancelled.is_set():
        raise JobCancelled(f"{job.image_id}: the pool was stopped before this picture was written")
    target = output / f"{job.image_id}_{job.width}x{job.height}.jpg"
    failure = f"cannot be written to {describe(str(output))}"
    with _errors_as_image_errors(job, failure), _atomic_write(target) as part:
        picture.save(part, "JPEG", quality=job.quality, icc_profile=profile)
        new_size = os.stat(part).st_size
    return Thumbnail(target, original_size, new_size, *picture.size)


def _check(job: Any) -> None:
    """Check every rule that can be checked without the file. Raises TypeError or ImageError."""
    if not isinstance(job, ImageJob):
        raise TypeError(f"a job must be an ImageJob, not {describe(job)}")
    if not isinstance(job.image_id, str) or not NAME.fullmatch(job.image_id):
        name = describe(job.image_id)
        raise ImageError(f"image_id must be a plain file name of letters, digits, . _ and -, not {name}")
    with _errors_as_image_errors(job):
        for name, most in (("width", MAX_WIDTH), ("height", MAX_HEIGHT)):
            if checks.whole_number(name, value := getattr(job, name)) > most:
                raise ValueError(f"max {name} is {most} px, not {describe(value)}")
        if checks.whole_number("quality", job.quality) > 100:
            raise ValueError(f"quality must be 1 to 100, not {describe(job.quality)}")


@contextmanager
def _errors_as_image_errors(job: ImageJob, failure: str = "cannot be read") -> Iterator[None]:
    """Turn every exception of the block into an ImageError that names the job and its file.

    `failure` says what has failed, for exceptions whose own message does not.
    """
    try:
        yield
    except Exception as error:
        failed = ImageError(f"{job.image_id} ({_file_name(job.source)}): {_explain(error, failure)}")
        failed.permanent = not is_of_system(error)
        raise failed from error


def _explain(error: Exception, failure: str) -> str:
    """Return in words what is wrong. Damaged bytes can make Pillow raise nearly every kind of exception."""
    if isinstance(error, UnidentifiedImageError | SyntaxError):
        return f"not a picture in one of the formats {', '.join(FORMATS)}"
    # With `python -W error`, Pillow raises the warning.
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        pixels = PILLOWS_COUNT.search(str(error))
        return too_many(int(pixels[1]) if pixels else None)
    if isinstance(error, MemoryError):
        return f"{failure}: not enough memory"
    words = describe_error(error, 2 * LIMIT).removesuffix(": ")  # the suffix of an error without a message
    message = words.partition(": ")[2]
    if isinstance(error, OSError):
        return f"{failure}: {error.strerror or message}"
    # A ValueError or a TypeError, of this package or of Pillow, has a message that states a rule. The messages of other
    # errors need a context: that of a KeyError is only the key.
    return message if type(error) in (ValueError, TypeError) and message else f"{failure}: {words}"


def _file_name(source: Any) -> str:
    """Return the last part of a path, or the `repr` of a value that is not a path."""
    try:
        name = Path(os.fsdecode(source)).name
    except Exception:
        return describe(source)
    return name if len(name) <= LIMIT else describe(name)


@contextmanager
def _atomic_write(target: Path) -> Iterator[Path]:
    """Yield the path of a temporary file. It is renamed to `target` if the block succeeds, and deleted if it raises."""
    part = target.with_name(f".{target.name}.{os.getpid()}-{next(_part_numbers)}.part")
    try:
        yield part
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
