"""Run all tests, including the long ones, and check all notebooks, on each supported Python that is installed.

    python tools/test_all.py               all of them but the one that runs this (`make test-all` has just tested it)
    python tools/test_all.py 3.12 3.13t    these

Each gets an environment of its own, .venv-3.12 and so on, made at the first run. What is not installed is skipped, and
the last lines say so.

3.13t is the free-threaded build of 3.13, found as `python3.13t` on the PATH, among the versions of pyenv, or under the
path in the environment variable FREE_THREADED_PYTHON. It runs the tests of the pools only, because not every package of
requirements.txt has a wheel for it.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from pythons import ASK, FREE_THREADED, SUPPORTED, answers, find  # noqa: E402

OWN = answers(sys.executable, ASK)
POOL_TESTS = [
    *("any_history", "channel", "chaos", "engines", "executor", "field_cases", "field_deaths", "field_errors"),
    *("field_frames", "field_words", "long_service", "parker", "pool_contract", "process_chaos", "processes"),
    *("races", "rate", "retrying", "scaling", "sizing"),
]

FOR_FREE_THREADED = {
    "PYTHONPATH": str(ROOT),
    "PYTHON_GIL": "0",  # a package in C that was not made for it would turn the GIL on
    "PIP_ONLY_BINARY": ":all:",  # the newest version that has a wheel, and not one that must be compiled
    "UV_NO_BUILD": "1",
}


def runs(version: str) -> tuple[list[str], list[list[str]]]:
    """What must be installed for that version, and the arguments of pytest for each run."""
    if version.endswith("t"):
        files = [f"tests/test_{name}.py" for name in POOL_TESTS]
        # The options of pyproject.toml need nbval.
        return ["requirements-pools.txt"], [["-o", "addopts=-ra --strict-markers", "-m", "long or not long", *files]]
    return ["requirements.txt", "requirements-dev.txt"], [["-m", "long or not long"], ["--nbval", "notebooks"]]


def test(version: str) -> str:
    """Install the packages and run the tests. Return the outcome in words."""
    python = find(version)
    if python is None:
        return "not installed: skipped"
    venv = f".venv-{version}"
    env = os.environ | (FOR_FREE_THREADED if version.endswith("t") else {})
    needed, all_arguments = runs(version)
    for requirements in needed:
        install = env | {"PYTHON": python, "VENV": venv}
        subprocess.run(["sh", "tools/install.sh", requirements], cwd=ROOT, env=install, check=True)
    for arguments in all_arguments:
        if subprocess.run([f"{venv}/bin/python", "-m", "pytest", *arguments], cwd=ROOT, env=env).returncode:
            return f"FAILED: {venv}/bin/python -m pytest {' '.join(arguments)}"
    return "passed"


def main(versions: list[str]) -> int:
    others = [version for version in (*SUPPORTED, *FREE_THREADED) if version != OWN]
    said = {version: test(version) for version in versions or others}
    print("\n".join(f"CPython {version}: {outcome}" for version, outcome in said.items()))
    return 1 if any(outcome.startswith("FAILED") for outcome in said.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
