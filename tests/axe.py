"""axe-core from npm, a checker of accessibility: what it finds in a page of Chromium."""

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

BUILD = Path(__file__).parents[1] / "build"
PACKAGE = "axe-core@4.14.1"
SCRIPT = Path(PACKAGE) / "node_modules" / "axe-core" / "axe.min.js"
RUN = """async selector => (await axe.run(selector ?? document)).violations
    .filter(found => ["serious", "critical"].includes(found.impact))
    .map(found => [found.id, found.help, found.nodes[0].html])"""


@cache
def source() -> str:
    """Return the source of axe-core, which is kept in build/ for the next run. Skip the test if npm cannot fetch it."""
    if not (BUILD / SCRIPT).exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("no npm on this machine to fetch axe-core with: accessibility is not checked")
        BUILD.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as name:
            folder = Path(name) / PACKAGE
            folder.mkdir()
            command = [npm, "install", "--prefix", str(folder), "--no-save", "--no-audit", "--no-fund", PACKAGE]
            done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120)
            if done.returncode:
                pytest.skip(f"npm cannot fetch axe-core: accessibility is not checked. {done.stderr[-200:]}")
            if not (BUILD / SCRIPT).exists():  # Another process of this run can have been faster.
                shutil.rmtree(BUILD / PACKAGE, ignore_errors=True)
                shutil.move(folder, BUILD)
    return (BUILD / SCRIPT).read_text("utf-8")


def serious_faults(page: Any, selector: str | None = None) -> list[list[str]]:
    """Return the serious and critical faults of a page, or of its first element that the selector matches."""
    page.evaluate(source())
    return list(page.evaluate(RUN, selector))
