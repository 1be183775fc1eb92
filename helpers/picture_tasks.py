"""A handler that worker processes can import: it resizes a picture, counts its runs, and can kill its own process.

It is not in `helpers.tasks`, because it needs Pillow, and the processes that run the functions there start faster
without Pillow.
"""

import time
from pathlib import Path

import psutil

from helpers.pools.image import ImageJob, Thumbnail, resize


def leave_mark(folder: Path, name: str) -> int:
    """Add one more empty file, the *mark*, for `name` in the folder: name.1, name.2, … Return the number of the mark.

    A mark is a file, so it survives a process that is killed. Two processes never make the same mark.
    """
    number = 1
    while True:
        try:
            (folder / f"{name}.{number}").touch(exist_ok=False)
            return number
        except FileExistsError:
            number += 1


def resize_with_mark(job: ImageJob, output: Path, marks: Path, victim: str = "", kills: int = 0) -> Thumbnail:
    """Leave a mark in the folder `marks`, and make the picture in the folder `output`.

    Args:
        victim: the image_id of a job that kills the process in which it runs, once its picture is written.
        kills:  the number of runs of the victim that do so; later runs return their value.

    Raises what `resize` raises.
    """
    run = leave_mark(marks, job.image_id)
    thumbnail = resize(job, output)
    if job.image_id == victim and run <= kills:
        time.sleep(0.5)  # Time to fetch the values of earlier jobs, so that only this job is lost.
        psutil.Process().kill()  # SIGKILL; on Windows TerminateProcess
    return thumbnail
