"""What the package promises about itself: who imports whom, and what an import costs."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STOREYS = ["services", "pools", "measure", "charts"]  # from the ground up
MAY_IMPORT = {"services": set(), "pools": set(), "measure": {"pools"}, "charts": {"measure"}}


def imported_storeys(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("helpers.")} & set(STOREYS)


@pytest.mark.parametrize("storey", STOREYS)
def test_imports_only_go_down(storey):
    files = list((ROOT / "helpers" / storey).glob("*.py"))
    assert files
    for path in files:
        assert imported_storeys(path) <= MAY_IMPORT[storey] | {storey}, path


def test_importing_the_pools_imports_no_other_package():
    code = (
        "import json, sys; before = set(sys.modules); import helpers.pools; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    packages = {name.split(".")[0] for name in json.loads(out)}
    strangers = packages - set(sys.stdlib_module_names) - {"helpers"}
    assert not strangers
    assert not packages & {"asyncio", "smtplib", "ssl", "logging"}, "they cost more than all the rest"


def run_sh(script: str, *args: str, **env: str) -> subprocess.CompletedProcess:
    command = ["sh", str(ROOT / "tools" / script), *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | env, timeout=60)


@pytest.mark.skipif(sys.platform == "win32", reason="make and sh are for the others; the README has Windows' own lines")
def test_what_is_no_platform_and_what_is_no_folder_is_named(tmp_path):
    refused = run_sh("wheelhouse.sh", str(tmp_path / "wheels"), "amiga")
    assert refused.returncode == 2
    assert "no platform amiga: it is one of linux, macos, macos-intel, windows" in refused.stderr
    refused = run_sh("install.sh", "requirements.txt", WHEELS=str(tmp_path / "nowhere"))
    assert refused.returncode == 2
    assert "nowhere to install from: make wheelhouse fills one" in refused.stderr
