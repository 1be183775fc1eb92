import asyncio
import itertools
import threading

import pytest

from helpers.pools import run_unbounded, run_unbounded_async


def test_every_job_has_a_thread_and_a_result():
    def handler(job):
        if job == 3:
            raise ValueError(job)
        return threading.current_thread().name

    results = run_unbounded(handler, range(10), burst=True)
    assert sorted(r.job for r in results) == list(range(10))
    assert len({r.value for r in results if r.ok}) == 9
    assert [str(r.error) for r in results if not r.ok] == ["3"]
    assert all(r.submitted <= r.started <= r.finished for r in results)


def test_a_burst_starts_only_when_all_are_there():
    starts = run_unbounded(lambda job: threading.active_count(), range(50), burst=True)
    last_submitted = max(r.submitted for r in starts)
    assert all(r.started >= last_submitted for r in starts)


def test_a_thread_that_cannot_start_is_the_error_of_its_job(monkeypatch):
    start = threading.Thread.start
    tries = itertools.count(1)

    def limited(thread):
        if next(tries) > 4:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    results = run_unbounded(lambda job: job, range(10), burst=True)
    assert sorted(r.job for r in results) == list(range(10))
    refused = [r for r in results if not r.ok]
    assert [r.job for r in refused] == list(range(4, 10))
    assert {str(r.error) for r in refused} == {"can't start new thread"} and refused[0].started is None


def test_a_source_that_raises_leaves_no_thread_at_the_door():
    def source():
        yield from range(5)
        raise LookupError("broken")

    with pytest.raises(LookupError):
        run_unbounded(lambda job: job, source(), burst=True)


def test_tasks_run_on_a_loop_of_their_own_all_at_once():
    alive = most = 0

    async def handler(job):
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        await asyncio.sleep(0.01)
        alive -= 1
        if job % 2:
            raise KeyError(job)
        return job

    async def from_a_running_loop():
        return run_unbounded_async(handler, range(100))

    results = asyncio.run(from_a_running_loop())
    assert most == 100
    assert sorted(r.job for r in results if r.ok) == list(range(0, 100, 2))
    assert sorted(r.error.args[0] for r in results if not r.ok) == list(range(1, 100, 2))
