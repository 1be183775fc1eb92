"""The functions that notebooks run in other processes."""

import multiprocessing
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from helpers import tasks
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
