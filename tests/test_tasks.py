"""The functions, and the service, that notebooks run in other processes."""

import json
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import pytest

from helpers import tasks
from helpers.pools import WorkerPool
from helpers.tasks import count_primes


def test_primes_below_a_limit_are_counted():
    assert [count_primes(limit) for limit in (0, 2, 3, 10, 100, 1000)] == [0, 0, 1, 4, 25, 168]


def test_a_new_process_can_import_the_function():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        assert list(executor.map(count_primes, [10, 100])) == [4, 25]


def test_count_primes_aloud_prints_and_counts_the_same(capfd):
    assert tasks.count_primes_aloud(100) == 25
    assert capfd.readouterr().out == "Working\n"


def test_only_the_number_7_ends_its_process():
    code = "from helpers.tasks import crash_at_7; print(crash_at_7(6), flush=True); crash_at_7(7); print('alive')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.stdout, run.returncode) == ("6\n", 3)


def test_only_the_number_7_takes_long(monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    assert [tasks.hang_at_7(number) for number in (6, 7)] == [6, 7]
    assert slept == [0.02, 3]


def test_lengths_and_what_a_process_remembers(monkeypatch):
    monkeypatch.setattr(tasks, "seen", [])
    assert tasks.length_of(b"abc") == 3
    assert [tasks.remember(5), tasks.remember(5)] == [1, 2]


def test_a_connection_knows_the_process_that_opened_it():
    with WorkerPool(tasks.who_opened, workers=1, resource=tasks.connection) as pool:
        assert [result.value for result in pool.stream([1])] == [(os.getpid(), os.getpid())]


@pytest.mark.skipif(os.name == "nt", reason="terminate() sends no SIGTERM on Windows")
@pytest.mark.parametrize(("word", "status", "lost"), [("default", -15, True), ("handle-sigterm", 0, False)])
def test_the_service_saves_its_jobs_if_it_handles_sigterm(tmp_path, word, status, lost):
    command = [sys.executable, "-m", "helpers.stoppable", str(tmp_path), word]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"ready\n"
        child.terminate()
        assert child.wait(timeout=60) == status
    assert (tmp_path / "finally").exists() is not lost
    kept = [file.name for file in tmp_path.glob("job-*")]
    if not lost:
        kept += json.loads((tmp_path / "saved.json").read_text())
        assert "job-9" in kept
    assert (len(kept) < 10) is lost


@pytest.mark.skipif(os.name == "nt", reason="terminate() sends no SIGTERM on Windows")
def test_the_service_begins_with_the_jobs_that_it_has_saved(tmp_path):
    (tmp_path / "saved.json").write_text('["job-3", "job-5"]')
    command = [sys.executable, "-m", "helpers.stoppable", str(tmp_path), "handle-sigterm"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"ready\n"
        child.terminate()
        assert child.wait(timeout=60) == 0
    assert sorted(file.name for file in tmp_path.glob("job-*")) == ["job-3", "job-5"]
    assert json.loads((tmp_path / "saved.json").read_text()) == []
