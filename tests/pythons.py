"""The Pythons of this machine, by version: for what must hold on all of them, or can only be run on some.

"3.14t" is the free-threaded build of 3.14, which has no GIL.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SUPPORTED = ("3.11", "3.12", "3.13", "3.14", "3.15")
FREE_THREADED = ("3.13t", "3.14t", "3.15t")
NAMED = "FREE_THREADED_PYTHON"  # the environment variable with the path of a free-threaded Python
ASK = (
    "import sys, sysconfig; "
    "print('%d.%d' % sys.version_info[:2] + 't' * bool(sysconfig.get_config_var('Py_GIL_DISABLED')))"
)


def find(version: str) -> str | None:
    """The interpreter of that version: this one, one that is named, one on the PATH, or one of pyenv; None if none."""
    pattern = f"{version[:-1]}.*t" if version.endswith("t") else f"{version}.*"
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{pattern}/bin/python"), reverse=True)
    candidates = [sys.executable, os.environ.get(NAMED), shutil.which(f"python{version}"), *map(str, pyenv)]
    return next((python for python in candidates if python and answers(python, ASK) == version), None)


def answers(python: str, code: str) -> str | None:
    """What that interpreter prints; None if it cannot run the code (pyenv's stand-ins may be on the PATH)."""
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60)
    except OSError:  # there is no such program
        return None
    return done.stdout.strip() if done.returncode == 0 else None
