"""What decides in the tools: which Pythons there are, and what of an earlier run still counts."""

import json
import sys
from pathlib import Path

import pythons

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import flakiness
import test_all

OWN = ".".join(map(str, sys.version_info[:2]))


def test_the_python_that_runs_is_found_and_one_that_is_not_there_is_not():
    assert pythons.find(OWN) == sys.executable
    assert pythons.find("3.99") is None
    assert pythons.answers(sys.executable, "raise SystemExit(3)") is None


def test_a_python_that_is_not_installed_is_skipped_and_named(capsys):
    assert test_all.main(["3.99"]) == 0
    assert capsys.readouterr().out == "CPython 3.99: not installed: skipped\n"


def test_of_an_earlier_run_only_counts_what_was_run_on_the_same_notebooks(tmp_path, monkeypatch):
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
