"""Run all tests, including the long ones, and check all notebooks, on each supported Python that is installed.

    python tools/test_all.py               all but the Python that runs this script, which `make test-all` tests before
    python tools/test_all.py 3.12 3.13     these

Each Python has a virtual environment of its own, such as .venv-3.12, which the first run creates. A Python that is not
installed is skipped, and the last lines of the output say so.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from pythons import SUPPORTED, find  # noqa: E402

OWN = ".".join(map(str, sys.version_info[:2]))


def test(version: str) -> str:
    """Install the packages and run the tests. Return the outcome in words."""
    python = find(version)
    if python is None:
        return "not installed: skipped"
    venv = f".venv-{version}"
    install = {**os.environ, "PYTHON": python, "VENV": venv}
    for requirements in ("requirements.txt", "requirements-dev.txt"):
        subprocess.run(["sh", "tools/install.sh", requirements], cwd=ROOT, env=install, check=True)
    for arguments in (["-m", "long or not long"], ["--nbval", "notebooks"]):
        if subprocess.run([f"{venv}/bin/python", "-m", "pytest", *arguments], cwd=ROOT).returncode:
            return f"FAILED: {venv}/bin/python -m pytest {' '.join(arguments)}"
    return "passed"


def main(versions: list[str]) -> int:
    said = {version: test(version) for version in versions or SUPPORTED if versions or version != OWN}
    print("\n".join(f"CPython {version}: {outcome}" for version, outcome in said.items()))
    return 1 if any(outcome.startswith("FAILED") for outcome in said.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
