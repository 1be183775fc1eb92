"""The dynamic pool: its decisions as numbers, its races in virtual time, and two tests in real time."""

import threading
import time
from contextlib import contextmanager

import pytest
from conftest import wait_until
from hypothesis import given
from hypothesis import strategies as st
from inside import alarms_of, crew_of, threads_ended
from virtual import Stage

from helpers.pools import DynamicPool, PoolClosed, current_worker, elastic, scaling
from helpers.pools.scaling import Limits, Load, may_retire, wanted

LIMITS = Limits(min_workers=2, max_workers=10, idle_timeout=30.0, backlog=5, max_wait=0.1)


# --- the decision alone ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "crew", "reason"),
    [
        (Load(2, 0, 10, 0.0), 2, ""),  # five queued jobs per worker are allowed
        (Load(2, 0, 11, 0.0), 3, "queue depth"),  # ceil(11 / 5)
        (Load(2, 0, 98, 0.0), 10, "queue depth"),  # a burst: all needed workers at once, not one per check
        (Load(2, 0, 10_000, 0.0), 10, "queue depth"),
        (Load(2, 0, 1, 0.0999), 2, ""),
        (Load(2, 0, 1, 0.1), 3, "oldest wait"),  # a short queue whose jobs wait too long
        (Load(2, 0, 10, 0.1), 10, "oldest wait"),  # the article's twelve jobs of 1 s
        (Load(4, 4, 3, 0.5), 4, ""),  # three workers are notified and will take the three jobs
        (Load(4, 1, 3, 0.5), 6, "oldest wait"),
        (Load(10, 0, 500, 9.0), 10, ""),
        (Load(2, 2, 0, 0.0), 2, ""),
        (Load(1, 1, 0, 0.0), 2, "below the minimum"),
        (Load(1, 0, 8, 0.0), 2, "below the minimum"),
        (Load(1, 0, 98, 0.0), 10, "below the minimum"),  # the minimum alone would be too few for these jobs
        (Load(0, 0, 50, 1.0), 10, "below the minimum"),
    ],
)
def test_the_crew_that_a_load_needs(load, crew, reason):
    assert wanted(load, LIMITS) == (crew, reason)


@given(
    st.integers(0, 50), st.integers(0, 50), st.integers(0, 10_000), st.floats(0, 1e6), st.integers(1, 20),
    st.integers(0, 30), st.integers(1, 9), st.floats(1e-3, 1e3),
)  # fmt: skip
def test_no_decision_exceeds_the_limits_or_stops_a_worker(workers, idle, queued, oldest, low, more, backlog, wait):
    limits = Limits(low, low + more, 1.0, backlog, wait)
    crew, reason = wanted(Load(workers, min(idle, workers), queued, oldest), limits)
    assert crew >= low and crew >= workers
    assert crew == workers or crew <= limits.max_workers
    assert bool(reason) == (crew > workers)


@pytest.mark.parametrize(
    ("workers", "idle_for", "reason"),
    [(3, 30.0, "idle"), (3, 29.9, ""), (2, 1e9, ""), (11, 0.0, "resized"), (10, 0.0, ""), (1, 31.0, "")],
)
def test_which_workers_may_retire(workers, idle_for, reason):
    assert may_retire(workers, idle_for, LIMITS) == reason


# --- virtual time ----------------------------------------------------------------------------------------------


@pytest.fixture
def stage():
    with Stage() as stage:
        yield stage


def make(stage, handler=None, low=2, high=10, **options):
    options = {"idle_timeout": 30.0, "queue_size": 1000} | options
    return DynamicPool(
        handler or (lambda job: stage.work(0.1)), min_workers=low, max_workers=high, clock=stage.clock, **options
    )


def log(pool):
    return [(round(d.time, 3), d.before, d.after, d.reason) for d in pool.decisions()]


def test_a_burst_gets_ten_workers_at_once_and_takes_as_long_as_with_ten_from_the_start(stage):
    with make(stage) as pool:
        stage.settle()
        for job in range(100):
            pool.submit(job)
        assert pool.worker_count == 10 and pool.queue_depth == 100
        stage.run(stop=lambda: pool.stats().finished == 100)
        assert stage.now == pytest.approx(1.0)
        assert [d.after for d in pool.decisions()] == [2, 3, 4, 5, 6, 7, 8, 9, 10]
        assert {d.reason for d in pool.decisions()} == {"start", "queue depth"}
        assert all(d.time == 0.0 for d in pool.decisions())


def test_a_few_long_jobs_get_more_workers_when_the_first_has_waited_too_long(stage):
    with make(stage, lambda job: stage.work(1.0)) as pool:
        for job in range(12):
            pool.submit(job)
            stage.settle()
        stage.run(stop=lambda: pool.stats().finished == 12)
        # Two workers at the start and ten from 0.1 s on. The article's pool took 6.0 s.
        assert stage.now == pytest.approx(2.0, abs=0.101)
        assert log(pool) == [(0.0, 0, 2, "start"), (0.1, 2, 10, "oldest wait")]


def test_idle_workers_retire_one_by_one_down_to_the_minimum(stage):
    with make(stage) as pool:
        for job in range(100):
            pool.submit(job)
        stage.run(stop=lambda: pool.stats().finished == 100)
        stage.advance(29.999)
        assert pool.worker_count == 10
        stage.advance(0.002)
        assert pool.worker_count == pool.stats().workers == 2
        assert [(d.before, d.after) for d in pool.decisions() if d.reason == "idle"] == [
            (n, n - 1) for n in range(10, 2, -1)
        ]
        stage.advance(10_000)
        assert pool.worker_count == 2


def test_under_a_small_load_the_same_few_workers_work_and_the_others_retire(stage):
    with make(stage, idle_timeout=5.0) as pool:
        for job in range(100):
            pool.submit(job)
        stage.run(stop=lambda: pool.stats().finished == 100)
        for job in range(100):  # one job of 0.1 s every 0.2 s: a single worker is enough
            pool.submit(job)
            stage.advance(0.2)
        assert pool.worker_count == 2


def test_a_worker_whose_idle_time_ends_as_a_job_arrives_runs_the_job_first(stage):
    with make(stage, low=1, high=2, idle_timeout=5.0, max_wait=0.01) as pool:
        pool.submit("a")
        pool.submit("b")
        stage.advance(1.0)
        assert pool.worker_count == 2
        while stage.now < 4.0 or not stage.ready:
            assert stage.expire()
        assert pool.worker_count == 2 and pool.stats().finished == 2
        pool.submit("c")  # its time is up, its thread has not run yet, and it is notified
        stage.settle()
        assert pool.stats().running == 1 and pool.queue_depth == 0
        stage.advance(0.2)
        assert pool.stats().succeeded == 3


@pytest.mark.parametrize("seed", range(20))
def test_if_all_workers_are_idle_too_long_at_once_the_minimum_stays(seed):
    """The race of the article: each worker finds that there are more than the minimum, and then each retires."""
    with Stage(seed) as stage, make(stage, low=2, high=10, idle_timeout=5.0) as pool:
        for job in range(100):
            pool.submit(job)
        stage.run(stop=lambda: pool.stats().finished == 100)
        while len(stage.ready) < 5:
            assert stage.expire()
        stage.run(stage.now + 60)
        assert pool.worker_count == 2
        assert min(d.after for d in pool.decisions()) == 2


@pytest.mark.parametrize("load", [0.5, 0.9, 1.0, 1.1, 1.9, 2.0, 2.1, 3.0])
def test_a_steady_load_at_the_edge_makes_few_decisions(stage, load):
    """Jobs of 0.1 s arrive at equal intervals and keep `load` workers busy. The number of workers must be stable."""
    with make(stage) as pool:
        minutes, every = 2, 0.1 / load
        for number in range(int(minutes * 60 / every)):
            pool.submit(number)
            stage.run((number + 1) * every)
        made = len(pool.decisions()) - 1
        assert made <= 3 * minutes, log(pool)
        assert pool.queue_depth < 10


def test_a_random_load_at_the_edge_makes_few_decisions(stage):
    import random

    draw = random.Random(7)
    with make(stage) as pool:
        at, number = 0.0, 0
        while at < 180:
            at += draw.expovariate(19.0)  # on average 1.9 workers are busy, and at times many more
            stage.run(at)
            pool.submit(number)
            number += 1
        made = len(pool.decisions()) - 1
        assert made <= 5 * 3, f"{made} decisions in 3 minutes"


def test_resize_starts_workers_and_retires_workers_after_their_current_job(stage):
    with make(stage, lambda job: stage.work(1.0)) as pool:
        pool.resize(min_workers=4)
        assert pool.worker_count == 4
        for job in range(50):
            pool.submit(job)
        stage.advance(0.5)
        assert pool.worker_count == 10 and pool.stats().running == 10
        pool.resize(min_workers=1, max_workers=3)
        stage.advance(0.25)
        assert pool.worker_count == 10, "no worker is stopped during a job"
        stage.advance(0.5)
        assert pool.worker_count == 3 and pool.stats().running == 3 and pool.stats().finished == 10
        pool.resize(max_workers=5)
        stage.advance(0.2)
        assert pool.worker_count == 5, "jobs are queued, and more workers are allowed now"
        stage.run(stop=lambda: pool.stats().finished == 50)
    assert pool.stats().succeeded == 50


def test_workers_that_a_resize_starts_have_the_reason_resize(stage):
    with make(stage, low=2) as pool:
        pool.resize(min_workers=4)
        assert log(pool)[1:] == [(0.0, 2, 4, "resized")]


def test_a_decision_has_the_load_at_its_time(stage):
    with make(stage, lambda job: stage.work(10.0), low=1, high=3, max_wait=0.1) as pool:
        for job in range(3):
            pool.submit(job)
        stage.advance(0.15)
        [_, decision] = pool.decisions()
        assert (decision.after, decision.reason, decision.queued) == (3, "oldest wait", 2)
        assert decision.oldest_wait == pytest.approx(0.1)


def test_an_idle_worker_retires_exactly_when_its_time_is_up(stage):
    with make(stage, low=1, high=5, idle_timeout=0.3) as pool:
        pool.resize(min_workers=4)
        stage.settle()
        pool.resize(min_workers=1)
        stage.advance(0.29)
        assert pool.worker_count == 4
        stage.advance(0.02)
        assert pool.worker_count == 1


def test_the_defaults_are_those_of_the_docs(stage):
    with DynamicPool(len, min_workers=1, max_workers=2, clock=stage.clock) as pool:
        limits = crew_of(pool).limits
        assert (pool.queue_size, limits.idle_timeout, limits.backlog, limits.max_wait) == (100, 30.0, 5, 0.1)
        assert [a.thread.thread.name for a in alarms_of(pool)] == [f"{pool.name}-scaling"]


def test_a_timeout_of_submit_is_exact(stage):
    """No thread waits a slice longer than its timeout, or less than its timeout."""
    with make(stage, lambda job: stage.work(60.0), low=1, high=1, queue_size=1) as pool:
        pool.submit("runs")
        stage.settle()
        pool.submit("waits")
        for timeout in (0.05, 0.75, 3.0):
            begun = stage.now
            with pytest.raises(TimeoutError, match="no room"):
                pool.submit("late", timeout=timeout)
            assert stage.now - begun == pytest.approx(timeout, abs=1e-6)


def test_resize_retires_idle_workers_at_once(stage):
    with make(stage, low=5, high=10) as pool:
        stage.settle()
        pool.resize(min_workers=1, max_workers=3)
        stage.settle()
        assert pool.worker_count == 3
        assert log(pool)[1:] == [(0.0, 5, 4, "resized"), (0.0, 4, 3, "resized")]
        stage.advance(31)
        assert pool.worker_count == 1


def test_if_no_thread_can_start_no_job_is_lost_and_the_pool_tries_again(stage, monkeypatch):
    from helpers.pools import crew

    class NoMore(crew.Thread):
        def start(self):
            raise RuntimeError("can't start new thread")

    with make(stage, lambda job: stage.work(10.0)) as pool:
        threads, crew.Thread = crew.Thread, NoMore
        for job in range(30):
            pool.submit(job)
        stage.advance(0.5)
        assert pool.worker_count == 2 and pool.stats().submitted == 30
        assert {d.reason for d in pool.decisions()} == {"start", "no thread available"}
        assert len(pool.decisions()) == 2, "it tries once, and then not again for a second"
        crew.Thread = threads
        stage.advance(0.6)
        assert pool.worker_count == 10
        stage.run(stop=lambda: pool.stats().finished == 30)


def test_a_pool_below_its_minimum_starts_workers(stage, monkeypatch):
    from helpers.pools import crew

    class NoMore(crew.Thread):
        def start(self):
            raise RuntimeError("can't start new thread")

    with make(stage) as pool:
        threads, crew.Thread = crew.Thread, NoMore
        pool.resize(min_workers=6)
        assert pool.worker_count == 2
        crew.Thread = threads
        stage.advance(1.1)
        assert pool.worker_count == 6 and pool.decisions()[-1].reason == "below the minimum"


def test_a_shutdown_in_the_middle_of_a_burst_finishes_all_jobs(stage):
    with make(stage) as pool:
        for job in range(100):
            pool.submit(job)
        report = pool.shutdown()
    assert report.complete and report.stats.succeeded == 100
    assert stage.now == pytest.approx(1.0, abs=0.01), "all started workers do it, and not only two"


def test_a_shutdown_at_the_moment_of_a_scaling_check_leaves_no_worker(stage):
    pool = make(stage, lambda job: stage.work(1.0))
    for job in range(12):
        pool.submit(job)
    stage.run(0.09)
    while stage.now < 0.1:
        stage.expire()  # the time of the alarm has come, and its thread has not run yet
    report = pool.shutdown(0.0)
    assert len(report.cancelled) + len(report.still_running) + len(report.finished) == 12
    stage.advance(2.0)
    assert pool.worker_count == 0 and threads_ended(pool)


def test_resize_after_a_shutdown_is_refused(stage):
    with make(stage) as pool:
        pass
    with pytest.raises(PoolClosed, match="cannot be resized to 3 to 10"):
        pool.resize(min_workers=3)


# --- real time -------------------------------------------------------------------------------------------------


def test_the_number_of_workers_grows_and_shrinks_with_real_threads():
    gate = threading.Event()
    with DynamicPool(
        lambda job: gate.wait(20), min_workers=1, max_workers=4, idle_timeout=0.02, backlog=1, max_wait=20
    ) as pool:
        for job in range(8):
            pool.submit(job)
        wait_until(lambda: pool.worker_count == 4 and pool.stats().running == 4)
        gate.set()
        wait_until(lambda: pool.stats().succeeded == 8 and pool.worker_count == 1)
        time.sleep(0.05)
        assert pool.worker_count == 1
    workers = [decision.after for decision in pool.decisions()]
    top = workers.index(4)  # on a busy machine, one decision may start two workers
    assert workers[: top + 1] == sorted({1, *workers[: top + 1]}) and workers[top:] == [4, 3, 2, 1]


def test_retiring_workers_count_until_their_connections_are_closed():
    close, work, lock, opened = threading.Semaphore(0), threading.Event(), threading.Lock(), []

    @contextmanager
    def connection():
        with lock:
            opened.append(1)
        yield
        assert close.acquire(timeout=20)
        with lock:
            opened.pop()

    def handler(job):
        assert current_worker().resource is None and work.wait(20)

    options = {"backlog": 1, "max_wait": 0.001, "idle_timeout": 0.05, "resource": connection}
    with DynamicPool(handler, min_workers=1, max_workers=3, **options) as pool:
        for job in range(3):
            pool.submit(job)
        wait_until(lambda: len(opened) == 3)
        work.set()
        wait_until(lambda: pool.worker_count == 1)  # and two workers wait until their connections are closed
        work.clear()
        for job in range(9):
            pool.submit(job)
        for here in (1, 2, 3):
            wait_until(lambda here=here: pool.worker_count == here and len(opened) == 3)
            crew_of(pool).start_needed_workers()
            assert pool.worker_count == here
            close.release()  # now there is room for a worker, and one is needed
        close.release(9)
        work.set()
    assert pool.stats().succeeded == 12 and not opened


def test_the_log_is_bounded(stage, monkeypatch):
    assert elastic.LOG_SIZE == 10_000, "what `decisions()` promises"
    monkeypatch.setattr(elastic, "LOG_SIZE", 100)
    with make(stage, low=1, high=1) as pool:
        for _ in range(60):
            pool.resize(min_workers=2, max_workers=2)
            pool.resize(min_workers=1, max_workers=1)
            stage.settle()
        assert pool.decisions()[-1].after == 1
    assert len(pool.decisions()) == 100


def test_reasons_are_the_ones_the_docs_name():
    reasons = {scaling.START, scaling.DEPTH, scaling.WAIT, scaling.IDLE, scaling.BELOW, scaling.RESIZED}
    assert reasons == {"start", "queue depth", "oldest wait", "idle", "below the minimum", "resized"}
