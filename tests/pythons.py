"""Find the Python interpreters of this machine by version, for tests that run on all or on some of them."""

import shutil
import subprocess
import sys
from pathlib import Path

SUPPORTED = ("3.11", "3.12", "3.13", "3.14", "3.15")
ASK = "import sys; print('%d.%d' % sys.version_info[:2])"


def find(version: str) -> str | None:
    """Return an interpreter of this version: the current one, one on PATH, or one of pyenv. None if there is none."""
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"), reverse=True)
    on_path = shutil.which(f"python{version}")
    candidates = [sys.executable, *([on_path] if on_path else []), *map(str, pyenv)]
    return next((python for python in candidates if answers(python, ASK) == version), None)


def answers(python: str, code: str) -> str | None:
    """Return what the interpreter prints, or None if it cannot run the code, as a shim of pyenv on PATH may not."""
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60)
    return done.stdout.strip() if done.returncode == 0 else None
