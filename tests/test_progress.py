"""Progress: a line of text in a script, a bar in a notebook; the results pass through unchanged."""

import io
import re
import subprocess
import sys
from types import SimpleNamespace

import hostile
import pytest

from helpers.pools import OutcomeUnknown, PoolClosed, WorkerPool
from helpers.progress import in_notebook, outcome_counts, progress


def handler(job):
    if job == 3:
        raise ValueError("bad")
    if job == 4:
        raise OutcomeUnknown("no answer")
    return job


def test_in_a_script_the_last_line_has_the_outcomes_of_all_jobs():
    out = io.StringIO()
    with WorkerPool(handler, workers=2) as pool:
        results = list(progress(pool.stream(range(10)), pool, total=10, file=out))
    assert sorted(r.job for r in results) == list(range(10))
    assert out.getvalue().splitlines()[-1] == "10 of 10 jobs: 8 succeeded, 1 failed, 1 unknown"


def test_there_is_at_most_one_line_per_half_second(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr("helpers.progress.time", SimpleNamespace(monotonic=lambda: next(clock) * 0.1))
    out = io.StringIO()
    with WorkerPool(lambda job: job, workers=1, queue_size=1) as pool:
        list(progress(pool.stream(range(30)), pool, file=out))
    lines = out.getvalue().splitlines()
    assert 3 <= len(lines) <= 8 and all(re.fullmatch(r"\d+ jobs: \d+ succeeded, 0 failed", line) for line in lines)


def test_leaving_early_leaves_the_stream_too():
    with WorkerPool(lambda job: job, workers=1, queue_size=5) as pool:
        watched = progress(pool.stream(range(1000)), pool, file=io.StringIO())
        next(watched)
        watched.close()
        assert [r.job for r in pool.stream([1, 2])] == [1, 2], "the pool is free for the next stream"


def test_an_error_of_the_stream_is_passed_on():
    pool = WorkerPool(lambda job: job, workers=1)
    pool.shutdown()
    with pytest.raises(PoolClosed):
        list(progress(pool.stream([1]), pool, file=io.StringIO()))


def test_in_a_notebook_it_is_a_bar_that_leaves_a_line(monkeypatch, capsys):
    shell = SimpleNamespace(config={"IPKernelApp": {}})
    assert not in_notebook()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert in_notebook()
    bars = []

    class Bar:
        def __init__(self, total):
            self.n, self.total, self.closed, self.postfix = 0, total, False, {}
            bars.append(self)

        def update(self):
            self.n += 1

        def set_postfix(self, counts):
            self.postfix = counts

        def close(self):
            self.closed = True

    monkeypatch.setattr("helpers.progress._bar", Bar)
    monkeypatch.setattr("helpers.progress.EVERY", 0)
    with WorkerPool(handler, workers=2) as pool:
        list(progress(pool.stream(range(10)), pool, total=10))
    [bar] = bars
    assert (bar.n, bar.total, bar.closed) == (10, 10, True)
    assert bar.postfix == {"succeeded": 8, "failed": 1, "unknown": 1} == outcome_counts(pool.stats())
    assert capsys.readouterr().out == "10 of 10 jobs: 8 succeeded, 1 failed, 1 unknown\n"


A_BAR = """
import multiprocessing
multiprocessing.set_start_method("spawn")  # as on macOS and Windows: there a lock between processes costs a process
from helpers.leftovers import leftovers
from helpers.progress import _bar
bar = _bar(3)
bar.update()
bar.close()
print(leftovers())
"""


def test_a_bar_leaves_no_process_behind():
    run = subprocess.run([sys.executable, "-c", A_BAR], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_hostile_arguments_are_named_in_bounded_text():
    with WorkerPool(str, workers=1) as pool:
        with pytest.raises(TypeError, match="results must be a generator, .* not <Hostile whose repr"):
            progress(hostile.Hostile(), pool)
        stream = pool.stream([1])
        with pytest.raises(TypeError, match="pool must be the pool .* not <Hostile whose repr"):
            progress(stream, hostile.Hostile())
        stream.close()
