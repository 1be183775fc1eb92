"""Portable code: it works without names that Windows does not have, and in folders with long or unusual names."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
# All test files are imported, and these tests are run. The tests of the other pools take longer and are `long`.
SOME = (
    "test_sizing or test_channel or (test_pool_contract and DynamicRetryingPool and not under_load and not longer_than)"
)
POOLS = "test_sizing or test_channel or test_pool_contract or test_scaling or test_retrying or test_policy or test_rate"

IMPORT_ALL = """
import without_posix, pkgutil, helpers
from importlib import import_module
names = [module.name for module in pkgutil.walk_packages(helpers.__path__, "helpers.")]
for name in names:
    import_module(name)
print(len(names))
"""
TAKEN_AWAY = """
import without_posix, os, signal
print([name for name in ("fork", "sched_getaffinity") if hasattr(os, name)], hasattr(signal, "SIGKILL"))
import of_ours
"""


def run(*command: str | Path, cwd: Path, seconds: float = 280, **env: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)])} | env
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=seconds
    )


def run_tests_without_posix(expression: str) -> str:
    options = ("-q", "-p", "without_posix", "-p", "no:cacheprovider", "-m", "not long", "-k", expression)
    done = run("-m", "pytest", *options, TESTS, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    return done.stdout


def test_the_plugin_removes_the_names_that_windows_does_not_have(tmp_path, monkeypatch):
    done = run("-c", TAKEN_AWAY, cwd=tmp_path)
    assert done.stdout == "[] False\n"
    package = tmp_path / "repository" / "tests"
    package.mkdir(parents=True)
    shutil.copy(TESTS / "without_posix.py", package)
    for module in ("resource", "fcntl"):
        (package / "of_ours.py").write_text(f"import {module}\n", encoding="utf-8")
        done = run("-c", TAKEN_AWAY, cwd=tmp_path, PYTHONPATH=str(package))
        *_, last = done.stderr.splitlines()  # CPython 3.15 replaces the text of the error
        assert last.startswith("ModuleNotFoundError: ") and f"'{module}'" in last


def test_every_module_of_the_package_can_be_imported_without_posix():
    done = run("-c", IMPORT_ALL, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(list((ROOT / "helpers").rglob("*.py"))) - 1  # helpers itself


@pytest.mark.timeout(300)
def test_the_suite_can_be_imported_and_the_contract_holds_without_posix():
    passed = re.search(r"(\d+) passed", run_tests_without_posix(SOME))
    assert passed and int(passed[1]) > 100


@pytest.mark.long
@pytest.mark.timeout(300)
def test_all_tests_of_the_pools_pass_without_posix():
    passed = re.search(r"(\d+) passed", run_tests_without_posix(POOLS))
    assert passed and int(passed[1]) > 500


# --- unusual folders ----------------------------------------------------------------------------------------------

USE_EVERYTHING = """
import sys
from pathlib import Path
from helpers.pools import ImageJob, ImageProcessor, WorkerPool, run_unbounded
from helpers.services import PHOTOS, Api, Database, FetchUser, MailServer, ReadUser, run_in_sandbox
here = Path(sys.argv[1])
assert str(here) in str(PHOTOS), PHOTOS
with Database(max_connections=5) as database, WorkerPool(ReadUser(database.url), workers=3) as pool:
    print("users", sum(result.ok for result in pool.stream(range(1, 11))))
with Api() as api:
    print("api", FetchUser(api.url)(7)["id"])
with MailServer() as mail:
    print("mail", len(mail.mailbox()))
print("sandbox", run_in_sandbox(run_unbounded, len, ["abc"]).succeeded)
with ImageProcessor(workers=1, output=here / "small pictures") as images:
    (result,) = images.stream([ImageJob("one", PHOTOS / "photo2.jpg", 80, 60)])
print("picture", result.error or result.value.path.exists())
"""
ANSWERS = "users 10\napi 7\nmail 0\nsandbox 1\npicture True\n"


def long_path(base: Path) -> Path:
    """Return a folder inside `base` whose path has 200 characters or a few more."""
    missing = max(200 - len(str(base)), 20)
    return base.joinpath(*["long folder name 20"] * (missing // 20 + 1))


@pytest.mark.parametrize("name", ["Übungen für Köche", "long"])
def test_everything_works_in_an_unusual_folder(name, tmp_path):
    if name == "long" and os.name == "nt":
        pytest.skip("Windows allows 260 characters, and files below the folder have to fit, too")
    folder = long_path(tmp_path) if name == "long" else tmp_path / name
    for part in ("helpers", "data"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "temporary files").mkdir()
    (folder / "small pictures").mkdir()
    temporary = {variable: str(folder / "temporary files") for variable in ("TMPDIR", "TEMP", "TMP")}
    done = run("-c", USE_EVERYTHING, folder, cwd=folder, PYTHONPATH=str(folder), **temporary)
    assert done.stdout == ANSWERS, done.stderr
