"""Checks for notebook 03."""

import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from helpers.exercises.verdict import PATIENCE, Verdict, attempt, expect, never_raises

MEANWHILE = 0.5  # seconds that the second writer gets while the first one pauses


@never_raises
def check_fit(answer: Any) -> Verdict:
    """Check fit(width, height, box_width, box_height): the size of a picture that fits into a box."""
    cases = [
        ((4000, 3000, 800, 600), (800, 600)),
        ((4000, 3000, 800, 300), (400, 300)),
        ((2800, 4200, 640, 480), (320, 480)),
        ((640, 480, 1024, 768), (640, 480)),
        ((1000, 333, 100, 100), (100, 33)),
        ((4000, 10, 100, 100), (100, 1)),
    ]
    return expect(answer, cases, "the tighter side decides, nothing grows, nothing vanishes.")


@never_raises
def check_safe_write(answer: Any) -> Verdict:
    """Check write_whole(path, parts): it writes all parts or changes nothing, also if two threads use the same path."""
    with tempfile.TemporaryDirectory(prefix="exercise-") as folder:
        path = Path(folder) / "picture.jpg"
        _, problem = attempt(answer, path, [b"old ", b"picture"])
        if problem is not None:
            return Verdict(False, f"writing two parts: {problem}")
        if not path.exists() or path.read_bytes() != b"old picture":
            return Verdict(False, "the file must contain the two parts, and it does not.")
        wrong = _wrong_after_an_error(answer, path)
        if wrong is not None:
            return Verdict(False, wrong)
        _, problem = attempt(answer, path, [b"new picture"])
        if problem is not None or path.read_bytes() != b"new picture":
            return Verdict(False, "after an error that was cleaned up, a new picture could not be written.")
        wrong = _wrong_with_two_writers(answer, path)
        if wrong is not None:
            return Verdict(False, wrong)
    return Verdict(True, "each writer writes a complete picture, or leaves the old one untouched.")


def _wrong_after_an_error(answer: Any, path: Path) -> str | None:
    _, problem = attempt(answer, path, _parts_that_fail())
    left = [other for other in path.parent.iterdir() if other != path]
    findings = {
        "reading the parts raised an error, and write_whole hid it.": problem is None,
        f"the error of the parts must be raised again; instead {problem}.": "the power is gone" not in str(problem),
        "the new parts failed half-way, and now the old picture is gone too.": not path.exists(),
        "the new parts failed half-way, and now the old picture is half overwritten.": path.exists()
        and path.read_bytes() != b"old picture",
        "after an error something was left in the folder beside the picture: clean up.": bool(left),
    }
    return next((words for words, found in findings.items() if found), None)


def _wrong_with_two_writers(answer: Any, path: Path) -> str | None:
    """Start a second call in the middle of the first. An answer whose second call waits for a lock is right too."""
    halfway, go_on = threading.Event(), threading.Event()
    problems: list[str | None] = []

    def write(parts: Iterable[bytes]) -> None:
        problems.append(attempt(answer, path, parts)[1])

    def parts_with_a_pause() -> Iterator[bytes]:
        yield b"first "
        halfway.set()
        go_on.wait(PATIENCE)
        yield b"writer"

    first = threading.Thread(target=write, args=[parts_with_a_pause()], daemon=True)
    second = threading.Thread(target=write, args=[[b"second ", b"writer"]], daemon=True)
    first.start()
    halfway.wait(PATIENCE)
    second.start()
    second.join(MEANWHILE)
    go_on.set()
    first.join()
    second.join()
    if problems != [None, None]:
        return "two workers wrote to the same path at the same time, and one of them failed. Which file did both use?"
    if path.read_bytes() not in (b"first writer", b"second writer"):
        return "two workers wrote to the same path at the same time, and the file is a mixture of both pictures."
    left = [other for other in path.parent.iterdir() if other != path]
    return "after two workers wrote to the same path, another file was left in the folder." if left else None


def _parts_that_fail() -> Iterator[bytes]:
    yield b"new"
    raise RuntimeError("the power is gone")


@never_raises
def check_seconds_needed(answer: Any) -> Verdict:
    """Check seconds_needed(pictures, each, workers, cores): the shortest possible time for CPU-bound work."""
    cases = [
        ((8, 0.5, 2, 4), 2.0),
        ((8, 0.5, 4, 2), 2.0),
        ((7, 0.25, 16, 2), 1.0),
        ((1, 0.5, 3, 3), 0.5),
        ((10_000, 0.03125, 8, 2), 156.25),
        ((0, 0.5, 3, 2), 0.0),
    ]
    return expect(answer, cases, "workers beyond the cores only take turns.")
