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
from helpers.pools import Processes, WorkerPool
from helpers.tasks import count_primes


def test_primes_below_a_limit_are_counted():
    assert [count_primes(limit) for limit in (0, 2, 3, 10, 100, 1000)] == [0, 0, 1, 4, 25, 168]


def test_squares_are_added_up():
    assert [tasks.sum_of_squares(count) for count in (0, 1, 4)] == [0, 0, 14]


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


def test_only_the_number_7_raises_an_error_and_it_cannot_be_unpickled():
    assert tasks.fail_at_7(6) == 6
    with pytest.raises(tasks.PageError, match="^page 7: not found$"):
        tasks.fail_at_7(7)
    # In a new process, because Dask, once imported, changes how exceptions are pickled.
    code = "import pickle; from helpers import tasks; pickle.loads(pickle.dumps(tasks.PageError(7, 'not found')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "TypeError: PageError.__init__() missing 1 required positional argument: 'reason'" in done.stderr


def test_lengths_and_what_a_process_remembers(monkeypatch):
    monkeypatch.setattr(tasks, "seen", [])
    assert tasks.length_of(b"abc") == 3
    assert [tasks.remember(5), tasks.remember(5)] == [1, 2]


@pytest.mark.parametrize("engine", [None, Processes()], ids=["thread", "process"])
def test_a_worker_opens_one_connection_in_the_process_of_its_handler(engine):
    with WorkerPool(tasks.get_connection, workers=1, engine=engine, resource=tasks.open_connection) as pool:
        connections = {result.value for result in pool.stream(range(5))}
    [(opened_by, _)] = connections
    assert (opened_by == os.getpid()) == (engine is None)


def stopped_service(folder, word, *jobs):
    """Start the service, send SIGTERM when its first jobs run, and return its exit status."""
    command = [sys.executable, "-m", "helpers.stoppable", str(folder), word, *jobs]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"ready\n"
        time.sleep(0.3)
        child.terminate()
        return child.wait(timeout=60)


def done_by(folder):
    return {file.name for file in folder.glob("job-*")}


@pytest.mark.skipif(os.name == "nt", reason="terminate() sends no SIGTERM on Windows")
def test_the_service_loses_its_jobs_without_a_signal_handler(tmp_path):
    jobs = [f"job-{number}" for number in range(20)]
    assert stopped_service(tmp_path, "default", *jobs) == -15
    assert done_by(tmp_path) < set(jobs) and not (tmp_path / "saved.json").exists()


@pytest.mark.skipif(os.name == "nt", reason="terminate() sends no SIGTERM on Windows")
def test_the_service_saves_each_job_that_did_not_succeed_and_the_next_start_does_it(tmp_path):
    jobs = [f"job-{number}" for number in range(20)]
    (tmp_path / "server-down").touch()  # job 0 hangs
    assert stopped_service(tmp_path, "handle-sigterm", *jobs) == 0
    saved = json.loads((tmp_path / "saved.json").read_text())
    assert "job-0" in saved and "job-19" in saved, "one job was running, and one not yet submitted"
    assert done_by(tmp_path) | set(saved) == set(jobs)
    (tmp_path / "server-down").unlink()
    for _ in range(10):  # on a busy machine, one start may be too short for all the jobs
        if saved:
            assert stopped_service(tmp_path, "handle-sigterm") == 0
            saved = json.loads((tmp_path / "saved.json").read_text())
    assert done_by(tmp_path) == set(jobs) and saved == []
