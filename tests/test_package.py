"""The package for its users: the wheel, its extras and metadata, a typed program, and the page of signatures.

The wheel is built from a copy of the repository, without a network. The tests do not install it with pip, which is not
in every environment, but unpack it. For a wheel in pure Python, pip does the same.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from email.parser import BytesParser
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from pythons import SUPPORTED

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import api  # noqa: E402

from helpers.services import PHOTOS, postgres  # noqa: E402

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
NEEDED_TO_BUILD = ("pyproject.toml", "setup.py", "MANIFEST.in", "LICENSE", "helpers", "data", "docs")


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    """Return what the command prints. Fail the test with this output if the exit status is not 0."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=clean | env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def copied(folder: Path) -> Path:
    """Copy the files from which a wheel is built, without the results of earlier builds. Return the folder."""
    folder.mkdir()
    for name in NEEDED_TO_BUILD:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    base = tmp_path_factory.mktemp("wheel")
    out = run(sys.executable, "-c", BUILD, base, cwd=copied(base / "source"))
    return base / out.splitlines()[-1]


@pytest.fixture(scope="module")
def user(wheel, tmp_path_factory) -> Path:
    """Return the project of a user: an environment with the wheel and the other packages of this environment."""
    project = tmp_path_factory.mktemp("user")
    venv.create(project / ".venv", with_pip=False, symlinks=os.name != "nt")
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(python_of(project), "-c", code, cwd=project).strip())
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (site / "others.pth").write_text(str(Path(pytest.__file__).parents[1]), encoding="utf-8")
    return project


def python_of(project: Path) -> Path:
    return project / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


# --- the wheel ----------------------------------------------------------------------------------------------------


def test_the_wheel_holds_the_package_its_data_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"helpers", wheel.name.split("-py3")[0] + ".dist-info"}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "helpers").rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}
    others = {name for name in names if name.startswith("helpers/") and not name.endswith(".py")}
    data = {f"helpers/services/data/photos/photo{number}.jpg" for number in range(1, 9)}
    data |= {"helpers/services/data/users.csv", "helpers/control_room/control_room.js"}
    assert others == data | {"helpers/py.typed", "helpers/charts/series.mplstyle"}


def test_the_metadata_is_complete_and_the_links_of_the_description_work_anywhere(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = BytesParser().parsebytes(archive.read(name))
    assert metadata["License-Expression"] == "MIT" and metadata["License-File"] == "LICENSE"
    assert metadata["Author"] and metadata["Summary"] and metadata["Keywords"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    assert metadata.get_all("Provides-Extra") == ["image", "services", "notebooks"]
    plain = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert not plain, "helpers.pools needs the standard library only"
    description = metadata.get_payload()
    targets = re.findall(r"\]\(([^)]+)\)", description)
    assert targets and all(target.startswith("https://") for target in targets)
    assert description.replace("\r\n", "\n").strip() == (ROOT / "docs" / "package.md").read_text("utf-8").strip()


def test_the_versions_that_the_metadata_names_are_those_that_are_tested():
    named = re.findall(r"Python :: (3\.\d+)", " ".join(SETTINGS["project"]["classifiers"]))
    assert tuple(named) == SUPPORTED


def test_the_program_of_the_description_runs_with_the_wheel_alone(user):
    text = (ROOT / "docs" / "package.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    code = f"import helpers\nassert '.venv' in helpers.__file__, helpers.__file__\n{program}"
    # -S: without site-packages, so that only the folder of the wheel and the standard library can be imported.
    site = next((user / ".venv").rglob("helpers/__init__.py")).parents[1]
    out = run(python_of(user), "-S", "-c", code, cwd=user, PYTHONPATH=str(site))
    assert sorted(out.split("\n")) == ["", "eleven 6", "one 3", "three 5"]


def test_the_services_of_the_wheel_find_their_files(user):
    code = (
        "from helpers import charts\nfrom helpers.services import PHOTOS, Database\n"
        "assert '.venv' in charts.__file__\n"
        "with Database(3) as database, database.connect() as connection:\n"
        "    print(connection.execute('select count(*) from users').fetchone()[0])\n"
        "print(len(list(PHOTOS.glob('*.jpg'))))\n"
    )
    assert run(python_of(user), "-c", code, cwd=user) == "10000\n8\n"


def test_a_checkout_reads_the_files_in_its_data_folder():
    assert ROOT / "data" / "photos" == PHOTOS
    assert ROOT / "data" / "users.csv" == postgres.USERS


# --- the requirements ---------------------------------------------------------------------------------------------


def extra(name: str) -> set[str]:
    """Return the requirements of an extra, including those of the extras in it, with normalized names."""
    found = set()
    for line in SETTINGS["project"]["optional-dependencies"][name]:
        requirement = Requirement(line)
        if requirement.name == SETTINGS["project"]["name"]:
            found |= {one for included in requirement.extras for one in extra(included)}
        else:
            found.add(str(requirement))
    return found


def requirements(name: str) -> set[str]:
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines())
    return {str(Requirement(line)) for line in lines if line and not line.startswith("-")}


def test_the_extra_for_the_notebooks_is_requirements_txt():
    assert extra("notebooks") == requirements("requirements.txt")


def test_each_extra_names_the_packages_that_its_modules_import():
    """The mapping has the import names that differ from the names of their packages."""
    packages = {"PIL": "pillow"}
    installed = set(packages_distributions()) - {"helpers"}
    for name, folder in (("image", "pools"), ("services", "services")):
        text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "helpers" / folder).glob("*.py"))
        imported = set(re.findall(r"^\s*(?:import|from) (\w+)", text, flags=re.M)) & installed
        named = {Requirement(line).name for line in extra(name)}
        assert {packages.get(one, one) for one in imported} <= named | {"httpcore"}, "httpcore belongs to httpx"


# --- types --------------------------------------------------------------------------------------------------------

TYPED = """
from helpers import __version__
from helpers.pools import RateLimiter, Result, RetryPolicy, RetryingPool, WorkerPool, run_bounded

def measure(word: str) -> int:
    return len(word)

with WorkerPool(measure, workers=2) as pool:
    for result in pool.stream(["one", "three"]):
        reveal_type(result)
        length: int = result.value if result.value is not None else 0
results: list[Result[str, int]] = run_bounded(measure, ["one"])
retrying = RetryingPool(measure, policy=RetryPolicy(max_attempts=2))
RateLimiter(10).acquire()
"""
TYPED_SERVICES = """
from helpers import charts, measure
from helpers.pools import ImageJob, ImageProcessor, WorkerPool
from helpers.services import Api, Database, FetchUser, MailServer, ReadUser

with Database(max_connections=5) as database, WorkerPool(ReadUser(database.url)) as pool:
    frame = measure.to_frame(pool.stream(range(1, 3)))
    charts.show(charts.admission(frame), "two jobs")
"""


def mypy(user: Path, program: str) -> str:
    (user / "program.py").write_text(program, encoding="utf-8")
    options = ("--strict", "--python-executable", python_of(user), "--cache-dir", user / "cache")
    return run(sys.executable, "-m", "mypy", *options, "program.py", cwd=user)


@pytest.mark.long
@pytest.mark.timeout(300)  # it takes ten seconds on an idle machine
def test_a_program_that_uses_the_pools_passes_the_strict_type_check(user):
    said = mypy(user, TYPED)
    assert "Success: no issues found in 1 source file" in said
    assert 'Revealed type is "helpers.pools.result.Result[str, int]"' in said


@pytest.mark.long
def test_a_program_that_uses_the_other_layers_passes_the_strict_type_check(user):
    assert "Success: no issues found in 1 source file" in mypy(user, TYPED_SERVICES)


@pytest.mark.long
def test_a_wrong_call_does_not_pass_the_type_check(user):
    with pytest.raises(AssertionError, match=r'incompatible type "str"; expected "int"'):
        mypy(user, 'from helpers.pools import WorkerPool\nWorkerPool(len, workers="two")\n')


# --- the page of signatures ---------------------------------------------------------------------------------------


def test_the_page_of_signatures_is_current():
    assert api.PAGE.read_text(encoding="utf-8") == api.page(), "run: .venv/bin/python tools/api.py"


@pytest.mark.parametrize("package", api.PACKAGES)
def test_the_page_of_signatures_names_every_public_name(package):
    page = api.PAGE.read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {re.escape(package)}\n(.*?)(?=^## |\Z)", page, flags=re.S | re.M)
    named = re.findall(r"^- `(?:class |async )?(\w+)", section, flags=re.M)
    assert named == sys.modules[package].__all__


def test_every_public_function_and_class_has_a_summary():
    lines = api.PAGE.read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if line.endswith("`: ") or line == "  "]
