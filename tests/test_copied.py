"""The folder helpers/pools works under another name: copied to acme/pools, it passes the tests of the contract there.

In the copy no module named `helpers` can be imported, so a test there also fails if the pools need one.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# This pool uses every module of the core. The other pools are left out to save time, and so are the tests that need
# half a second or more each.
SUBSET = (
    "(DynamicRetryingPool and not under_load and not longer_than)"
    " or (every_job_comes_out_once and WorkerPool and processes)"
)

# None in place of a module makes every later import of that name fail.
BLOCK = 'import sys\n\nsys.modules["helpers"] = None\n\n'

IMPORT_ALL = """
import sys
sys.modules["helpers"] = None
import pkgutil, acme.pools
from importlib import import_module
for module in pkgutil.iter_modules(acme.pools.__path__):
    import_module(f"acme.pools.{module.name}")
for name in acme.pools.__all__:
    assert getattr(acme.pools, name).__module__.startswith("acme.pools."), name
print(sorted(name for name in sys.modules if name.startswith("helpers.")))
"""


def renamed(text: str) -> str:
    return re.sub(r"\bhelpers\b", "acme", text)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with the package `acme`, which has the pools, and with the tests, which import `acme`."""
    acme, tests = tmp_path / "acme", tmp_path / "tests"
    shutil.copytree(ROOT / "helpers" / "pools", acme / "pools", ignore=shutil.ignore_patterns("__pycache__"))
    (acme / "__init__.py").touch()
    for name in ("leftovers.py", "services/environment.py"):  # the tests use them, the pools do not
        target = acme / name
        target.parent.mkdir(exist_ok=True)
        target.write_text(renamed((ROOT / "helpers" / name).read_text(encoding="utf-8")), encoding="utf-8")
    tests.mkdir()
    support = [path for path in (ROOT / "tests").glob("*.py") if not path.name.startswith("test_")]
    for path in [*support, ROOT / "tests" / "test_pool_contract.py"]:
        (tests / path.name).write_text(renamed(path.read_text(encoding="utf-8")), encoding="utf-8")
    conftest = tests / "conftest.py"
    conftest.write_text(BLOCK + conftest.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = long\ntimeout = 60\n", encoding="utf-8")
    return tmp_path


def run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run this Python in the copy, which is also the only folder on its PYTHONPATH."""
    env = os.environ | {"PYTHONPATH": str(copy)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, timeout=280)


@pytest.mark.timeout(300)  # it takes about six seconds on an idle machine
def test_the_contract_holds_in_a_copy_under_another_name(copy):
    done = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not long", "-k", SUBSET, "tests")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) > 60, done.stdout[-1000:]


def test_a_copy_can_import_everything_without_the_package_it_came_from(copy):
    done = run(copy, "-c", IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
