"""A worker that dies: its job fails with WorkerDied, a new worker replaces it, and the counts still add up.

Python injects an exception into a running thread (with PyThreadState_SetAsyncExc, or if there is no memory) after a
call or at the start of a function. The tests raise at each of these moments in turn, with a profile function.
"""

import threading
import weakref
from pathlib import Path

import pytest
from inside import threads_ended
from test_pool_contract import POOLS, accounts_balance, retries

from helpers.pools import PoolExecutor, Result, WorkerDied, basic, current_worker
from helpers.pools.crew import Crew

pytestmark = pytest.mark.timeout(60)
FOLDER = str(Path(basic.__file__).parent)


class Kill(BaseException):
    """The exception that kills a worker."""


class Killer:
    """A profile function that raises Kill at the moments with these numbers, counted in the first worker's thread."""

    def __init__(self, *moments):
        self.moments, self.count, self.thread, self.places = moments, 0, None, []

    def __call__(self, frame, event, argument):
        if event not in {"call", "c_return"} or not frame.f_code.co_filename.startswith(FOLDER):
            return
        # From Python 3.14 on, `with lock` reports that `__enter__` has returned before the block begins. An exception
        # that is raised there leaves the lock locked, and no code can prevent it.
        if event == "c_return" and argument.__name__ == "__enter__":
            return
        if frame.f_code.co_name in {"run_worker", "run"}:  # before the loop starts, and the call of the handler
            return
        me = threading.current_thread()
        if self.thread is None and "-worker-" in me.name:
            self.thread = me
        if me is self.thread:
            self.count += 1
            if self.count in self.moments:
                self.places.append(f"{event} in {frame.f_code.co_name}, line {frame.f_lineno}")
                raise Kill

    def __enter__(self):
        threading.setprofile(self)
        return self

    def __exit__(self, *_):
        threading.setprofile(None)


def handler(job):
    if job == 2:
        raise ValueError(job)
    return job


def one_run(kind, *moments):
    """Run four jobs while a worker dies at these moments. Return the killer, the results, and the pool."""
    with Killer(*moments) as killer:
        pool = POOLS[kind](handler, workers=1, queue_size=4)
        try:
            for job in range(1, 5):
                pool.submit(job)
            report = pool.shutdown(deadline=10)
        finally:
            pool.force_shutdown()
        results = list(pool.results())
    assert accounts_balance(report.stats), killer.places
    assert report.stats.finished == 4, killer.places
    assert sorted(result.job for result in results) == [1, 2, 3, 4], killer.places
    assert report.stats.workers == 0 and threads_ended(pool), killer.places
    for result in results:
        assert result.error is None or type(result.error) in {ValueError, WorkerDied}, killer.places
        assert repr(result) and result.latency >= 0 and result.wait >= 0 and result.duration >= 0
        assert len(result.attempts) == result.attempt, killer.places
    return killer, results, pool


@pytest.mark.parametrize("kind", ["WorkerPool", "DynamicPool", "RetryingPool", "DynamicRetryingPool"])
def test_a_worker_may_die_at_any_moment(kind):
    quiet, _, _ = one_run(kind)
    moment, died = 0, 0
    while True:
        moment += 1
        killer, results, _ = one_run(kind, moment)
        if not killer.places and moment > quiet.count:
            break
        died += any(type(result.error) is WorkerDied for result in results)
    assert died > 3, "at some of these moments the worker has a job"


def test_the_futures_of_a_worker_that_dies_are_done():
    moment = 0
    while True:
        moment += 1
        with Killer(moment) as killer, PoolExecutor(1) as executor:
            futures = [executor.submit(handler, job) for job in range(1, 5)]
        if not killer.places:
            break
        if any(f" in {name}," in killer.places[0] for name in ("deliver", "_call", "_resolve")):
            continue  # the callback of the executor was interrupted, and a callback is called only once
        for future in futures:  # the error is Kill if it was raised inside the handler
            assert type(future.exception(timeout=0)) in {type(None), ValueError, WorkerDied, Kill}, killer.places
    assert moment > 20


@pytest.fixture
def deadly(monkeypatch):
    """Make the job "deadly" kill its worker, with any handler."""
    run = Result.run

    def run_or_die(self, *arguments):
        if self.job == "deadly":
            raise MemoryError("no memory left, outside of the handler")
        run(self, *arguments)

    monkeypatch.setattr(Result, "run", run_or_die)


@pytest.mark.parametrize("kind", POOLS)
def test_the_job_of_a_dead_worker_fails_with_the_reason_and_another_worker_takes_its_place(kind, deadly):
    jobs = [job for n in range(20) for job in (n, "deadly")]
    with POOLS[kind](lambda job: current_worker().number, workers=2, queue_size=5) as pool:
        results = list(pool.stream(jobs))
        stats = pool.stats()
        assert stats.workers == (1 if kind.startswith("Dynamic") and stats.workers == 1 else 2)
    dead = [result for result in results if result.job == "deadly"]
    assert len(results) == 40 and len(dead) == 20 and sum(result.ok for result in results) == 20
    for result in dead:
        assert type(result.error) is WorkerDied and type(result.error.__cause__) is MemoryError
        assert str(result.error).endswith("died: MemoryError: no memory left, outside of the handler")
    assert accounts_balance(pool.stats()) and (pool.stats().failed, pool.stats().succeeded) == (20, 20)
    assert len(getattr(pool, "dead_letters", list)()) == (20 if retries(pool) else 0)


@pytest.mark.parametrize("kind", POOLS)
def test_the_error_of_a_dead_worker_does_not_keep_the_data_of_its_frames_in_memory(kind, monkeypatch):
    class Data:
        pass

    seen = []

    def run_and_die(self, *arguments):
        data = Data()
        seen.append(weakref.ref(data))
        raise MemoryError("no memory left, outside of the handler")

    monkeypatch.setattr(Result, "run", run_and_die)
    with POOLS[kind](lambda job: job, workers=1) as pool:
        (result,) = pool.stream(["job"])
    assert type(result.error.__cause__) is MemoryError
    assert seen and all(data() is None for data in seen)


@pytest.mark.parametrize("kind", POOLS)
def test_a_dead_worker_closes_its_resource_and_the_next_one_opens_another(kind, deadly):
    opened, closed = [], []

    class Resource:
        def __enter__(self):
            opened.append(self)
            return self

        def __exit__(self, *_):
            closed.append(self)

    with POOLS[kind](lambda job: current_worker().resource, workers=1, resource=Resource) as pool:
        results = {result.job: result for result in pool.stream(["before", "deadly", "after"])}
    assert results["before"].value is opened[0] and results["after"].value is opened[1]
    assert opened == closed and type(results["deadly"].error) is WorkerDied


@pytest.mark.parametrize("kind", POOLS)
def test_a_pool_ends_although_all_of_its_workers_have_died(kind, deadly):
    pool = POOLS[kind](lambda job: job, workers=3)
    for _ in range(30):
        pool.submit("deadly")
    report = pool.shutdown()
    assert report.stats.failed == 30 and accounts_balance(report.stats) and report.stats.workers == 0
    assert len(list(pool.results())) == 30 and threads_ended(pool)


@pytest.mark.parametrize("kind", POOLS)
def test_a_thread_may_die_again_while_a_dead_worker_is_being_replaced(kind, deadly, monkeypatch):
    pool = POOLS[kind](lambda job: job, workers=1)
    named, deaths = Crew.thread_name, iter(range(3))

    def thread_name(self, worker):
        if next(deaths, None) is not None:
            raise Kill
        return named(self, worker)

    monkeypatch.setattr(Crew, "thread_name", thread_name)
    for job in (1, "deadly", 2, "deadly", 3):
        pool.submit(job)
    report = pool.shutdown(deadline=10)
    assert (report.stats.succeeded, report.stats.failed, report.stats.workers) == (3, 2, 0)
    assert accounts_balance(report.stats) and len(list(pool.results())) == 5 and threads_ended(pool)
