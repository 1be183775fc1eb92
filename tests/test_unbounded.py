import asyncio
import functools
import gc
import itertools
import threading

import hostile
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


def test_a_source_that_raises_leaves_no_waiting_thread():
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


# Callables that return a coroutine, although they are not coroutine functions


async def coroutine(job):
    return job


async def async_generator(job):
    yield job


class CallsACoroutine:
    async def __call__(self, job):
        return job


def decorated(function):
    @functools.wraps(function)
    def inner(job):
        return function(job)

    return inner


def generator(job):
    yield job


KNOWN = [
    coroutine,
    async_generator,
    functools.partial(coroutine),
    CallsACoroutine(),
    CallsACoroutine().__call__,
    generator,
]


@pytest.mark.parametrize("handler", KNOWN, ids=lambda handler: type(handler).__name__)
def test_a_handler_whose_call_runs_nothing_is_refused_where_that_is_known(handler):
    with pytest.raises(TypeError, match=r"^handler must"):
        run_unbounded(handler, [1])


def not_awaitable(job):
    return job


NOT_AWAITABLE = [
    not_awaitable,
    async_generator,
    functools.partial(async_generator),
    generator,
    lambda job: hostile.Hostile(),
    lambda job: "x" * 10**7,
]


@pytest.mark.parametrize("number", range(len(NOT_AWAITABLE)))
def test_a_handler_that_returns_nothing_to_await_fails_each_job_with_the_reason(number):
    results = run_unbounded_async(NOT_AWAITABLE[number], range(3))
    assert sorted(r.job for r in results) == [0, 1, 2]
    for result in results:
        assert type(result.error) in (TypeError, ZeroDivisionError) and len(str(result.error)) < 400
    if number != 4:  # the check of the hostile object raises, which is the error of its job too
        assert "must return an awaitable" in str(results[0].error)


@pytest.mark.parametrize(
    "handler",
    [coroutine, functools.partial(coroutine), CallsACoroutine(), lambda job: coroutine([job][0]), decorated(coroutine)],
)
def test_any_handler_that_returns_a_coroutine_is_awaited(handler):
    assert sorted(r.value for r in run_unbounded_async(handler, [1, 2])) == [1, 2]


def test_an_object_that_cannot_be_called_is_named_in_bounded_text():
    for run in (run_unbounded, run_unbounded_async):
        with pytest.raises(TypeError, match="handler must be callable, not <Hostile whose repr"):
            run(hostile.Hostile(), [1])
        with pytest.raises(TypeError, match="handler must be callable, not 'xxx") as raised:
            run("x" * 10**7, [1])
        assert len(str(raised.value)) < 400


def test_a_loop_whose_thread_cannot_start_leaves_no_coroutine_behind(monkeypatch, recwarn):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start"):
        run_unbounded_async(coroutine, [1])
    gc.collect()
    assert [str(warning.message) for warning in recwarn if "never awaited" in str(warning.message)] == []
