"""The files for installing, forking, citing, and teaching the series: scripts, the lock file, and files for hosts."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement

import helpers

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import rehearse  # noqa: E402

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no sh; the README has commands for it")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# --- the install script -------------------------------------------------------------------------------------------


def fake_python(folder: Path, name: str, version: str) -> None:
    """Write a command that claims to be a Python of this version and records how it creates an environment."""
    major, minor = version.split(".")
    code = f"""#!{sys.executable}
import sys, types
if sys.argv[1] == "-m":
    open({str(folder / "made-by")!r}, "w").write({name!r})
    sys.exit(9)
sys.version_info = ({major}, {minor}, 0)
exec(sys.argv[2])
"""
    (folder / name).write_text(code, encoding="utf-8")
    (folder / name).chmod(0o755)


def install(folder: Path, **env: str) -> tuple[str, str]:
    """Run the script without uv on PATH. Return the Python that creates the environment ("" for none), and stderr."""
    (folder / "sh").symlink_to(shutil.which("sh") or "/bin/sh")
    environment = {"PATH": str(folder), "VENV": str(folder / "venv")} | env
    command = [str(folder / "sh"), str(ROOT / "tools" / "install.sh"), "requirements.txt"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0  # a fake Python cannot install anything
    made = folder / "made-by"
    return made.read_text() if made.exists() else "", done.stderr


@posix
@pytest.mark.parametrize(
    ("installed", "chosen"),
    [
        ({"python3": "3.12", "python3.14": "3.14"}, "python3"),
        ({"python3": "3.16", "python3.13": "3.13", "python3.11": "3.11"}, "python3.13"),
        ({"python3": "3.10", "python3.15": "3.15"}, "python3.15"),
    ],
)
def test_a_python_that_is_too_new_or_too_old_is_not_chosen(installed, chosen, tmp_path):
    for name, version in installed.items():
        fake_python(tmp_path, name, version)
    assert install(tmp_path)[0] == chosen


@posix
@pytest.mark.parametrize(("name", "version"), [("python3", "3.16"), ("python3.10", "3.10")])
def test_if_no_python_fits_the_script_says_what_to_do(name, version, tmp_path):
    fake_python(tmp_path, name, version)
    made, said = install(tmp_path, PYTHON=name)
    assert made == ""
    assert f"Python 3.11 to 3.15 is needed, and {name} is {version}. Install one" in said
    assert "make PYTHON=python3.13" in said


# --- the lock file ------------------------------------------------------------------------------------------------


def pinned() -> dict[str, str]:
    lines = [line for line in text_of("requirements.lock").splitlines() if line and not line.startswith("#")]
    return {Requirement(line).name.lower(): str(Requirement(line).specifier) for line in lines}


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_the_lock_file_has_a_version_in_range_of_each_requirement(name):
    lines = [line.split("#")[0].strip() for line in text_of(name).splitlines()]
    for requirement in (Requirement(line) for line in lines if line and not line.startswith("-")):
        version = pinned()[requirement.name.lower()].removeprefix("==")
        assert requirement.specifier.contains(version), f"{requirement.name}: {version} is not in the range"


# --- the files for hosts ------------------------------------------------------------------------------------------


def test_the_workflows_call_the_commands_of_the_readme_on_every_platform():
    workflow, readme = text_of(".github/workflows/test.yml"), text_of("README.md")
    for command in ("-m pip install -r requirements.txt", "make test"):
        assert command in workflow and command in readme
    assert "os: [ubuntu-latest, macos-latest, windows-latest]" in workflow
    assert 'python: ["3.11", "3.15"]' in workflow and "cron:" in workflow
    pages = text_of(".github/workflows/pages.yml")
    assert "run: make pages" in pages and "path: pages\n" in pages and "actions/deploy-pages" in pages
    assert re.search(r"^pages: ", text_of("Makefile"), flags=re.M)


@pytest.mark.skipif(not shutil.which("actionlint"), reason="actionlint is not installed")
def test_actionlint_finds_no_error():
    done = subprocess.run(["actionlint"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_the_container_and_the_citation_are_current():
    container = json.loads(text_of(".devcontainer/devcontainer.json"))
    target = container["postCreateCommand"].removeprefix("make ")
    assert re.search(rf"^{re.escape(target)}:", text_of("Makefile"), flags=re.M)
    assert re.search(r"^version: (.*)$", text_of("CITATION.cff"), flags=re.M)[1] == helpers.__version__
    assert f"## {helpers.__version__}\n" in text_of("CHANGELOG.md")
    assert text_of("runtime.txt").startswith("python-3.")
    assert len(text_of("CONTRIBUTING.md").splitlines()) <= 30


# --- the rehearsal ------------------------------------------------------------------------------------------------


def notebook_of(folder: Path, source: str) -> Path:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbformat.write(notebook, folder / "some.ipynb")
    return folder / "some.ipynb"


@pytest.mark.parametrize(
    ("source", "outcome"),
    [
        ("import httpx; httpx.get('http://example.com', trust_env=False)", "no network in a rehearsal"),
        ("from helpers.services import Api, FetchUser\nwith Api() as api: FetchUser(api.url)(7)", ""),
    ],
)
def test_a_rehearsal_has_no_network_except_to_its_own_machine(source, outcome, tmp_path, capfd):
    path = notebook_of(tmp_path, source)
    before = path.read_bytes()
    found = rehearse.rehearse(path, rehearse.offline(tmp_path))
    assert (outcome in found) if outcome else not found, found
    assert path.read_bytes() == before
    assert "WARNING" not in capfd.readouterr().err, "a teacher sees no warning of the kernel"


def test_the_report_counts_failures_and_names_them(capsys):
    outcomes = {"one.ipynb": "", "two.ipynb": "OSError: lost"}
    assert rehearse.report([Path(name) for name in outcomes], lambda path: outcomes[path.name]) == 1
    first, second, total = capsys.readouterr().out.splitlines()
    assert first.endswith("ready") and second.endswith("OSError: lost")
    assert total.startswith("2 notebooks, 1 failed")
