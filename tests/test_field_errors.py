"""Errors whose methods raise, errors that refer to frames of other code, and shared errors: field cases 1 to 3.

The tests give a pool the objects that a user's code may raise, return, or submit. Each job must have one result, the
workers must survive, all other jobs must finish, and objects that belong to other code must not be changed.
"""

import gc
import sys
import threading
import time
import weakref
from collections import deque
from functools import partial
from typing import NamedTuple

import pytest
from hostile import Hostile
from resisting import MAKERS, PLACES, placed
from test_pool_contract import POOLS, accounts_balance

from helpers.pools import (
    DynamicPool,
    DynamicRetryingPool,
    PoolExecutor,
    RetryingPool,
    RetryPolicy,
    current_worker,
    run_bounded,
    run_unbounded,
)
from helpers.pools.interrupts import may_be_interrupted

pytestmark = pytest.mark.timeout(60)
WORKERS = 3


@pytest.fixture(scope="module", autouse=True)
def errors_in_del_are_expected():
    """Ignore errors in `__del__`. pytest would format them, and their context has methods that raise."""
    before, sys.unraisablehook = sys.unraisablehook, lambda unraisable: None
    yield
    gc.collect()
    sys.unraisablehook = before


class Outcome(NamedTuple):
    """The outcome of a job, for every way to submit jobs and to read results."""

    job: object
    value: object
    error: BaseException | None


def by_stream(kind, handler, jobs):
    with POOLS[kind](handler, workers=WORKERS, queue_size=4) as pool:
        results = list(pool.stream(jobs))
    assert accounts_balance(pool.stats()) and pool.stats().finished == len(results)
    assert all(result.worker in range(1, WORKERS + 1) for result in results), "no worker was replaced"
    return [Outcome(result.job, result.value, result.error) for result in results]


def by_submit(kind, handler, jobs):
    outcomes = []
    with POOLS[kind](handler, workers=WORKERS, on_result=outcomes.append) as pool:
        for job in jobs:
            pool.submit(job)
    assert accounts_balance(pool.stats()) and pool.stats().finished == len(outcomes)
    return [Outcome(result.job, result.value, result.error) for result in outcomes]


def by_future(kind, handler, jobs):
    options = {"policy": RetryPolicy(1)} if issubclass(kind, RetryingPool) else {}
    with PoolExecutor(WORKERS, pool=kind, **options) as executor:
        futures = [(job, executor.submit(handler, job)) for job in jobs]
    done = [(job, future, future.exception()) for job, future in futures]
    return [Outcome(job, future.result() if error is None else None, error) for job, future, error in done]


def by_thread(run, handler, jobs):
    return [Outcome(result.job, result.value, result.error) for result in run(handler, jobs)]


WAYS = {
    **{f"{kind}, stream": partial(by_stream, kind) for kind in POOLS},
    **{f"{kind}, submit": partial(by_submit, kind) for kind in ("WorkerPool", "DynamicRetryingPool")},
    "PoolExecutor": partial(by_future, DynamicPool),
    "PoolExecutor, retrying": partial(by_future, DynamicRetryingPool),
    "run_bounded": partial(by_thread, run_bounded),
    "run_unbounded": partial(by_thread, run_unbounded),
}


@pytest.fixture(params=WAYS)
def way(request):
    """Return a function that runs jobs with a handler and returns an Outcome per job."""
    return WAYS[request.param]


def fail(error):
    raise error


def raised(error):
    """Return what an `except` catches when `error` is raised. Python cannot raise instances of every class."""
    try:
        raise error
    except BaseException as caught:
        return caught


# --- case 1: errors that cannot be changed, and whose methods raise ------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_any_error_is_one_failed_result_and_all_other_jobs_finish(way, place):
    def handler(name):
        if name in MAKERS:
            raise placed(MAKERS[name](), place)
        return name

    jobs = [job for name in MAKERS for job in (name, f"{name}, followed by a good job")]
    outcomes = {outcome.job: outcome for outcome in way(handler, jobs)}
    assert set(outcomes) == set(jobs)
    for name, make in MAKERS.items():
        expected = type(raised(placed(make(), place)))
        assert type(outcomes[name].error) is expected, name
        good = outcomes[f"{name}, followed by a good job"]
        assert good.error is None and good.value == good.job


class Data:
    """Large data of a job, such as a picture. A weak reference shows whether it is still kept."""


@pytest.mark.parametrize("place", PLACES)
def test_no_error_keeps_the_data_of_its_handler(way, place):
    seen = {}

    def handler(name):
        data = Data()
        seen[name] = weakref.ref(data)
        error = MAKERS[name]()
        try:
            raise error
        except BaseException as caught:
            again = placed(caught, place)
        raise again

    outcomes = way(handler, list(MAKERS))
    gc.collect()
    assert len(outcomes) == len(seen) == len(MAKERS)
    assert [name for name, data in seen.items() if data() is not None] == []


def test_jobs_and_values_that_resist_pass_through(way):
    values = [Hostile() for _ in range(10)]
    jobs = [Hostile() for _ in range(10)]
    names = {id(job): n for n, job in enumerate(jobs)}
    outcomes = way(lambda job: values[names[id(job)]], jobs)
    assert sorted(names[id(outcome.job)] for outcome in outcomes) == list(range(10))
    assert all(outcome.error is None for outcome in outcomes)
    assert all(outcome.value is values[names[id(outcome.job)]] for outcome in outcomes)


@pytest.mark.parametrize("kind", POOLS)
def test_jobs_that_resist_are_counted_cancelled_and_reported(kind):
    gate, jobs = threading.Event(), [Hostile() for _ in range(6)]
    pool = POOLS[kind](lambda job: gate.wait(20), workers=1)
    for job in jobs:
        pool.submit(job)
    while not pool.stats().running:
        pass
    report = pool.shutdown(deadline=0.0)
    gate.set()
    assert [id(job) for job in report.still_running] == [id(jobs[0])]
    assert [id(job) for job in report.cancelled] == [id(job) for job in jobs[1:]]
    assert len(repr(report)) < 2000
    assert pool.shutdown().stats.finished == 6


@pytest.mark.parametrize("kind", ["RetryingPool", "DynamicRetryingPool"])
def test_jobs_and_errors_that_resist_become_dead_letters_and_are_redriven(kind):
    fixed, jobs = threading.Event(), [Hostile() for _ in range(len(MAKERS))]
    makers = {id(job): make for job, make in zip(jobs, MAKERS.values(), strict=True)}

    def handler(job):
        if not fixed.is_set():
            raise makers[id(job)]()

    with POOLS[kind](handler, workers=WORKERS) as pool:
        failed = [result for result in pool.stream(jobs) if not issubclass(type(result.error), type(None))]
        letters = pool.dead_letters()
        assert len(failed) == len(jobs) and len(letters) == pool.stats().failed
        assert all(len(repr(letter)) < 2000 and len(repr(letter.attempts[-1])) < 1000 for letter in letters)
        fixed.set()
        assert pool.redrive() == len(letters)
        assert sum(result.ok for result in pool.results()) == len(letters)
    assert accounts_balance(pool.stats())


@pytest.mark.parametrize("kind", ["RetryingPool", "DynamicRetryingPool"])
@pytest.mark.parametrize("attribute", ["permanent", "retry_after"])
def test_any_error_of_an_attribute_ends_the_retries_of_that_job(kind, attribute):
    class Failing(Exception):
        pass

    def handler(name):
        if name in MAKERS:
            get = property(lambda self: fail(MAKERS[name]()))
            raise type("FailingOnce", (Failing,), {attribute: get})
        return name

    with POOLS[kind](handler, workers=1) as pool:
        results = {result.job: result for result in pool.stream([*MAKERS, "good"])}
    assert results.pop("good").ok and set(results) == set(MAKERS)
    assert all(issubclass(type(result.error), Failing) and result.attempt == 1 for result in results.values())
    reasons = {letter.job: letter.reason for letter in pool.dead_letters()}
    assert set(reasons) == set(MAKERS)
    for name, reason in reasons.items():
        assert reason.startswith(f"{attribute} raised ") and len(reason) < 300, name


# --- errors from other code of the user ----------------------------------------------------------------------------


class Resource:
    """A context manager that raises `entering` when it is opened and `leaving` when it is closed."""

    def __init__(self, entering=None, leaving=None):
        self.entering, self.leaving = entering, leaving

    def __enter__(self):
        if self.entering is not None:
            raise self.entering
        return self

    def __exit__(self, *_):
        if self.leaving is not None:
            raise self.leaving


def use_resource(job):
    return current_worker().resource is not None and job


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("where", ["opening", "entering"])
def test_any_error_of_opening_a_resource_is_the_error_of_the_job_that_asked(kind, where):
    makers = iter(MAKERS.values())

    def resource():
        if (make := next(makers, None)) is None:
            return Resource()
        return fail(make()) if where == "opening" else Resource(entering=make())

    jobs = list(range(len(MAKERS) + 5))
    with POOLS[kind](use_resource, workers=1, resource=resource) as pool:
        results = list(pool.stream(jobs))
    assert sorted(result.job for result in results) == jobs
    assert sum(result.error is None for result in results) == pool.stats().succeeded >= 5
    assert all(result.worker == 1 for result in results) and accounts_balance(pool.stats())


@pytest.mark.parametrize("kind", POOLS)
def test_a_resource_that_is_not_a_context_manager_is_the_error_of_the_job_that_asked(kind):
    bad = iter([None, 5, "text", Hostile(), Resource, object, type, lambda: None])
    with POOLS[kind](use_resource, workers=1, resource=lambda: next(bad, Resource())) as pool:
        results = list(pool.stream(range(30)))
    assert len(results) == 30 and results[-1].error is None
    kinds = {type(result.error) for result in results if result.error is not None}
    assert kinds <= {TypeError, AttributeError, ZeroDivisionError} and kinds
    assert accounts_balance(pool.stats())


@pytest.mark.parametrize("kind", [kind for kind in POOLS if kind != "BatchEmailSender"])  # it closes its own
def test_any_error_of_closing_a_resource_is_reported_and_loses_no_job(kind):
    makers = iter(MAKERS.values())

    def handler(job):
        assert current_worker().resource is not None
        raise EOFError("broken") if current_worker().attempt == 1 else KeyError

    def resource():
        return Resource(leaving=next(makers, ValueError)())

    count = len(MAKERS) + 1
    with POOLS[kind](handler, workers=1, resource=resource) as pool:
        results = list(pool.stream(range(count)))
    assert len(results) == count == pool.stats().failed and {result.worker for result in results} == {1}
    assert len(pool.shutdown().errors) >= len(MAKERS), "one resource per job, closed"


@pytest.mark.parametrize("kind", POOLS)
def test_any_error_of_the_function_broken_means_that_the_resource_is_broken(kind):
    opened, names = [], iter(MAKERS.values())

    def broken(error):
        raise next(names, KeyError)()

    def resource():
        opened.append(1)
        return Resource()

    def handler(job):
        assert current_worker().resource is not None
        raise KeyError

    with POOLS[kind](handler, workers=1, resource=resource, broken=broken) as pool:
        results = list(pool.stream(range(len(MAKERS))))
    attempts = sum(result.attempt for result in results)
    assert len(results) == len(MAKERS) and len(opened) == attempts


@pytest.mark.parametrize("kind", POOLS)
def test_any_error_of_a_callback_is_reported_and_loses_no_job(kind):
    def callback(result):
        raise MAKERS[result.job]()

    with POOLS[kind](lambda job: job, workers=WORKERS, on_result=callback) as pool:
        for name in MAKERS:
            pool.submit(name)
    report = pool.shutdown()
    assert len(report.errors) == report.stats.succeeded == len(MAKERS)


@pytest.mark.parametrize("kind", POOLS)
def test_every_job_has_a_result_with_any_error_or_value_of_a_clock(kind):
    readings = [None, "noon", float("nan"), float("inf"), -float("inf"), 10**400, Hostile(), 1j, b""]
    moments = iter(range(10**9))
    makers = list(MAKERS.values())

    def clock():
        moment = next(moments)
        if moment % 2:
            error = makers[moment // 2 % len(makers)]()
            # In the main thread a KeyboardInterrupt counts as a press of the Stop button: see test_long_service.
            if not (issubclass(type(error), KeyboardInterrupt) and may_be_interrupted()):
                raise error
        return moment / 100 if moment % 4 else readings[moment // 4 % len(readings)]

    def handler(job):
        if job % 2:
            raise ValueError(job)

    with POOLS[kind](handler, workers=WORKERS, clock=clock) as pool:
        results = list(pool.stream(range(100)))
    assert sorted(result.job for result in results) == list(range(100))
    assert {result.worker for result in results} <= set(range(1, WORKERS + 1)), "no worker was replaced"
    assert accounts_balance(pool.stats())


@pytest.mark.parametrize("clock", ["print", "time.ctime", "[].clear", "deque.popleft"])
def test_a_clock_that_is_a_c_function_is_checked_like_any_other(clock):
    functions = {"print": print, "time.ctime": time.ctime, "[].clear": [].clear, "deque.popleft": deque([1.0]).popleft}
    with POOLS["DynamicRetryingPool"](lambda job: 1 / job, workers=2, clock=functions[clock]) as pool:
        results = list(pool.stream(range(20)))
    assert len(results) == 20 and {result.worker for result in results} <= {1, 2}


@pytest.mark.parametrize("kind", ["RetryingPool", "DynamicRetryingPool"])
def test_every_job_has_a_result_with_any_error_or_value_of_a_users_policy(kind):
    answers = [None, 5, "xy", (None,), (1, 2, 3), ("soon", "r"), (float("nan"), "r"), (float("inf"), "r"), (-1.0, "r")]
    answers += [(1j, "r"), (Hostile(), "r"), (10**400, "r"), (None, Hostile()), Hostile()]
    makers = list(MAKERS.values())

    class Policy(RetryPolicy):
        def decide(self, attempt, error, job=None, *, elapsed=0.0):
            if attempt > 1:
                return super().decide(3, error, job, elapsed=elapsed)
            if job < len(answers):
                return answers[job]
            raise makers[job - len(answers)]()

    def handler(job):
        raise ValueError(job)

    pools = {"RetryingPool": RetryingPool, "DynamicRetryingPool": partial(DynamicRetryingPool, min_workers=1)}
    options = {"max_workers": 2} if kind == "DynamicRetryingPool" else {"workers": 2}
    count = len(answers) + len(makers)
    with pools[kind](handler, policy=Policy(), **options) as pool:
        results = list(pool.stream(range(count)))
    assert sorted(result.job for result in results) == list(range(count))
    assert all(type(result.error) is ValueError for result in results), "the error is the handler's"
    assert len(pool.dead_letters()) == count and all(len(repr(letter)) < 2000 for letter in pool.dead_letters())


@pytest.mark.parametrize("kind", ["RetryingPool", "DynamicRetryingPool"])
def test_an_error_of_where_is_raised_and_no_letter_is_moved(kind):
    def handler(job):
        raise ValueError(job)

    with POOLS[kind](handler, workers=1) as pool:
        list(pool.stream(range(3)))
        for name, make in MAKERS.items():
            for call in (pool.redrive, pool.discard_letters):
                with pytest.raises(BaseException) as caught:
                    call(lambda letter, make=make: fail(make()))
                assert caught.type is type(raised(make())), name
        assert len(pool.dead_letters()) == 3 and pool.stats().submitted == 3


@pytest.mark.parametrize("kind", POOLS)
def test_an_error_of_a_source_is_raised_after_the_results_and_the_next_stream_works(kind):
    class Source:
        def __init__(self, error):
            self.count, self.error = 5, error

        def __iter__(self):
            return self

        def __next__(self):
            self.count -= 1
            if self.count < 0:
                raise self.error
            return self.count

    with POOLS[kind](lambda job: job, workers=WORKERS, queue_size=20) as pool:
        for name, make in MAKERS.items():
            if name == "StopIteration":  # it means that the source has ended
                continue
            read = []
            with pytest.raises(BaseException) as caught:
                for result in pool.stream(Source(make())):
                    read.append(result.job)
            assert caught.type is type(raised(make())), name
            assert len(set(read)) == len(read)
            assert not issubclass(caught.type, Exception) or sorted(read) == list(range(5)), name
        assert sorted(result.job for result in pool.stream(range(10))) == list(range(10))
    assert accounts_balance(pool.stats())
