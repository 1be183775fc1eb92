"""Decisions of the tools: which Pythons exist, which outcomes of an earlier run still count, what a notebook keeps."""

import asyncio
import copy
import json
import os
import platform
import sys
from pathlib import Path

import nbformat
import pytest
import pythons
from nbformat.sign import NotebookNotary
from traitlets.config import Config

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import execute
import flakiness
import test_all

ROOT = Path(__file__).parents[1]
OWN = test_all.OWN


def test_the_python_that_runs_is_found_and_one_that_is_not_there_is_not():
    assert pythons.find(OWN) == sys.executable
    assert pythons.find("3.99") is None
    assert pythons.answers(sys.executable, "raise SystemExit(3)") is None


@pytest.mark.skipif(os.name == "nt", reason="the Pythons are shell scripts here")
def test_a_free_threaded_python_is_found_by_its_name_on_the_path_among_those_of_pyenv_and_by_its_path(
    tmp_path, monkeypatch
):
    def make(*parts, says):
        path = tmp_path.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho {says}\n")
        path.chmod(0o755)
        return str(path)

    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.delenv(pythons.NAMED, raising=False)
    make("bin", "python3.97t", says="3.97")  # it has a GIL, whatever its name says
    assert pythons.find("3.97t") is None
    on_path = make("bin", "python3.98t", says="3.98t")
    assert pythons.find("3.98t") == on_path and pythons.find("3.98") is None
    of_pyenv = make(".pyenv", "versions", "3.99.1t", "bin", "python", says="3.99t")
    assert pythons.find("3.99t") == of_pyenv and pythons.find("3.99") is None
    monkeypatch.setenv(pythons.NAMED, make("named", says="3.97t"))
    assert pythons.find("3.97t") == str(tmp_path / "named")
    monkeypatch.setenv(pythons.NAMED, str(tmp_path / "nothing is here"))
    assert pythons.find("3.97t") is None


def test_a_free_threaded_python_runs_the_tests_of_the_pools():
    (requirements,), (arguments,) = test_all.runs("3.14t")
    files = [argument for argument in arguments if argument.startswith("tests/")]
    assert len(files) > 15 and all((ROOT / file).is_file() for file in files)
    names = ("requirements.txt", "requirements-dev.txt")
    others = [line for name in names for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    mine = (ROOT / requirements).read_text(encoding="utf-8").splitlines()
    assert {line for line in mine if not line.startswith("#")} <= set(others), "the ranges are those of the series"


def test_a_python_that_is_not_installed_is_skipped_and_named(capsys):
    assert test_all.main(["3.99"]) == 0
    assert capsys.readouterr().out == "CPython 3.99: not installed: skipped\n"


def test_outcomes_of_an_earlier_run_count_only_for_unchanged_notebooks(tmp_path, monkeypatch):
    monkeypatch.setattr(flakiness, "STATE", tmp_path / "state.json")
    assert flakiness.load() == {}
    outcomes = {"1 notebooks/00_start_here.ipynb": "passed"}
    flakiness.STATE.write_text(json.dumps({"mark": flakiness.mark(), "outcomes": outcomes}))
    assert flakiness.load() == outcomes
    monkeypatch.setattr(flakiness, "mark", lambda: "another")
    assert flakiness.load() == {}


def test_every_notebook_and_every_solution_is_run():
    names = flakiness.notebooks()
    assert len(names) >= 20 and len(names) == 2 * len([name for name in names if "solutions" in name])


def test_an_executed_notebook_keeps_what_jupyterlab_writes_and_no_widget(tmp_path):
    view = {execute.WIDGET: {"model_id": "gone"}}
    bar = nbformat.v4.new_output("display_data", view | {"text/plain": "50%"})
    panel = nbformat.v4.new_output("display_data", view | {"text/plain": "Sliders.", "image/png": "iVBO"})
    cell = nbformat.v4.new_code_cell("go()", id="go", outputs=[bar, panel], metadata={"trusted": True})
    cell.metadata["tags"] = ["nbval-ignore-output"]
    language = {"name": "python", "version": "3.12.1", "file_extension": ".py"}
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"language_info": language, "widgets": {"state": {}}})
    execute.normalise(notebook)
    assert notebook.metadata == {"kernelspec": execute.KERNEL, "language_info": language}
    assert cell.metadata == {"tags": ["nbval-ignore-output"]} and cell.id == "go"
    assert [output.data for output in cell.outputs] == [{"text/plain": "Sliders.", "image/png": "iVBO"}]
    cell.metadata["tags"] = []
    cell.outputs = [nbformat.from_dict(bar | {"data": view | {"text/plain": "50%"}})]
    execute.normalise(notebook)
    assert [output.data for output in cell.outputs] == [{"text/plain": "50%"}], "nbval compares the text"


def test_jupyterlab_of_another_python_does_not_change_a_notebook(tmp_path, monkeypatch):
    monkeypatch.setattr(NotebookNotary, "sign", lambda *_: None)
    config = Config()
    path = Path(__file__).parents[1] / "tools" / "jupyter" / "jupyter_server_config.py"
    exec(compile(path.read_text(), path, "exec"), {"__file__": str(path), "get_config": lambda: config})
    notebook = nbformat.v4.new_notebook(metadata={"language_info": {"name": "python", "version": "3.99.1"}})
    nbformat.write(notebook, tmp_path / "one.ipynb")
    before = (tmp_path / "one.ipynb").read_bytes()
    files = config.ServerApp.contents_manager_class(root_dir=str(tmp_path))

    async def open_and_save() -> str:
        opened = (await files.get("one.ipynb"))["content"]
        for name in ("one.ipynb", "new.ipynb"):
            model = {"type": "notebook", "format": "json", "content": copy.deepcopy(opened)}
            await files.save(model, name)
        return opened["metadata"]["language_info"]["version"]

    assert asyncio.run(open_and_save()) == platform.python_version(), "JupyterLab finds nothing to change"
    assert (tmp_path / "one.ipynb").read_bytes() == before
    assert platform.python_version() in (tmp_path / "new.ipynb").read_text()
