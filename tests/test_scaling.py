"""The pool that grows and shrinks: its decisions as numbers, its races in virtual time, and a little real time."""

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
        (Load(2, 0, 10, 0.0), 2, ""),  # five a worker is what they are trusted with
        (Load(2, 0, 11, 0.0), 3, "queue depth"),  # ceil(11 / 5)
        (Load(2, 0, 98, 0.0), 10, "queue depth"),  # a burst: all it needs at once, and not one a tick
        (Load(2, 0, 10_000, 0.0), 10, "queue depth"),
        (Load(2, 0, 1, 0.0999), 2, ""),
        (Load(2, 0, 1, 0.1), 3, "oldest wait"),  # a short queue that does not move
        (Load(2, 0, 10, 0.1), 10, "oldest wait"),  # the article's twelve jobs of a second
        (Load(4, 4, 3, 0.5), 4, ""),  # three have been called and are on their way
        (Load(4, 1, 3, 0.5), 6, "oldest wait"),
        (Load(10, 0, 500, 9.0), 10, ""),
        (Load(2, 2, 0, 0.0), 2, ""),
        (Load(1, 1, 0, 0.0), 2, "below the minimum"),
        (Load(0, 0, 50, 1.0), 2, "below the minimum"),
    ],
)
def test_the_crew_that_a_load_needs(load, crew, reason):
    assert wanted(load, LIMITS) == (crew, reason)


@given(
    st.integers(0, 50), st.integers(0, 50), st.integers(0, 10_000), st.floats(0, 1e6), st.integers(1, 20),
    st.integers(0, 30), st.integers(1, 9), st.floats(1e-3, 1e3),
)  # fmt: skip
def test_no_decision_leaves_the_limits_or_sends_anybody_away(workers, idle, queued, oldest, low, more, backlog, wait):
    limits = Limits(low, low + more, 1.0, backlog, wait)
    crew, reason = wanted(Load(workers, min(idle, workers), queued, oldest), limits)
    assert crew >= low and crew >= workers
    assert crew == workers or crew <= limits.max_workers
    assert bool(reason) == (crew > workers)


@pytest.mark.parametrize(
    ("workers", "idle_for", "reason"),
    [(3, 30.0, "idle"), (3, 29.9, ""), (2, 1e9, ""), (11, 0.0, "resized"), (10, 0.0, ""), (1, 31.0, "")],
)
def test_who_may_go(workers, idle_for, reason):
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


def test_a_burst_has_its_ten_workers_at_once_and_takes_as_long_as_with_ten_from_the_start(stage):
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


def test_few_long_jobs_get_their_workers_when_the_first_has_waited_too_long(stage):
    with make(stage, lambda job: stage.work(1.0)) as pool:
        for job in range(12):
            pool.submit(job)
            stage.settle()
        stage.run(stop=lambda: pool.stats().finished == 12)
        # Two from the start, ten at 0.1 s: the article's pool took 6.0 s.
        assert stage.now == pytest.approx(2.0, abs=0.101)
        assert log(pool) == [(0.0, 0, 2, "start"), (0.1, 2, 10, "oldest wait")]


def test_idle_workers_go_one_by_one_down_to_the_minimum_and_stay_there(stage):
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


def test_under_a_small_load_the_same_few_work_and_the_others_go(stage):
    with make(stage, idle_timeout=5.0) as pool:
        for job in range(100):
            pool.submit(job)
        stage.run(stop=lambda: pool.stats().finished == 100)
        for job in range(100):  # one job of 0.1 s every 0.2 s: a single worker is enough
            pool.submit(job)
            stage.advance(0.2)
        assert pool.worker_count == 2


def test_a_worker_that_times_out_as_a_job_arrives_does_it_first(stage):
    with make(stage, low=1, high=2, idle_timeout=5.0, max_wait=0.01) as pool:
        pool.submit("a")
        pool.submit("b")
        stage.advance(1.0)
        assert pool.worker_count == 2
        while stage.now < 4.0 or not stage.ready:
            assert stage.expire()
        assert pool.worker_count == 2 and pool.stats().finished == 2
        pool.submit("c")  # its time is up, it has not moved yet, and it is called
        stage.settle()
        assert pool.stats().running == 1 and pool.queue_depth == 0
        stage.advance(0.2)
        assert pool.stats().succeeded == 3


@pytest.mark.parametrize("seed", range(20))
def test_when_all_time_out_at_once_the_minimum_stays(seed):
    """The article's race: each checks that there are more than the minimum, then each goes."""
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
    """Jobs of 0.1 s that arrive evenly, and keep `load` workers busy. The crew must not flap."""
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
            at += draw.expovariate(19.0)  # on average 1.9 workers are busy, and for moments many more
            stage.run(at)
            pool.submit(number)
            number += 1
        made = len(pool.decisions()) - 1
        assert made <= 5 * 3, f"{made} decisions in 3 minutes"


def test_resize_up_hires_and_resize_down_lets_go_after_the_job_in_hand(stage):
    with make(stage, lambda job: stage.work(1.0)) as pool:
        pool.resize(min_workers=4)
        assert pool.worker_count == 4
        for job in range(50):
            pool.submit(job)
        stage.advance(0.5)
        assert pool.worker_count == 10 and pool.stats().running == 10
        pool.resize(min_workers=1, max_workers=3)
        stage.advance(0.25)
        assert pool.worker_count == 10, "nobody is torn from a job"
        stage.advance(0.5)
        assert pool.worker_count == 3 and pool.stats().running == 3 and pool.stats().finished == 10
        pool.resize(max_workers=5)
        stage.advance(0.2)
        assert pool.worker_count == 5, "there is a backlog, and now they are allowed"
        stage.run(stop=lambda: pool.stats().finished == 50)
    assert pool.stats().succeeded == 50


def test_what_a_resize_hires_is_hired_because_of_it(stage):
    with make(stage, low=2) as pool:
        pool.resize(min_workers=4)
        assert log(pool)[1:] == [(0.0, 2, 4, "resized")]


def test_a_decision_says_what_there_was_to_do(stage):
    with make(stage, lambda job: stage.work(10.0), low=1, high=3, max_wait=0.1) as pool:
        for job in range(3):
            pool.submit(job)
        stage.advance(0.15)
        [_, hired] = pool.decisions()
        assert (hired.after, hired.reason, hired.queued) == (3, "oldest wait", 2)
        assert hired.oldest_wait == pytest.approx(0.1)


def test_an_idle_worker_goes_when_its_time_is_over_and_no_later(stage):
    with make(stage, low=1, high=5, idle_timeout=0.3) as pool:
        pool.resize(min_workers=4)
        stage.settle()
        pool.resize(min_workers=1)
        stage.advance(0.29)
        assert pool.worker_count == 4
        stage.advance(0.02)
        assert pool.worker_count == 1


def test_what_is_not_given_is_what_the_docs_say(stage):
    with DynamicPool(len, min_workers=1, max_workers=2, clock=stage.clock) as pool:
        limits = crew_of(pool).limits
        assert (pool.queue_size, limits.idle_timeout, limits.backlog, limits.max_wait) == (100, 30.0, 5, 0.1)
        assert [a.thread.thread.name for a in alarms_of(pool)] == [f"{pool.name}-scaling"]


def test_a_time_out_of_submit_is_kept_to_the_moment(stage):
    """Nobody waits a slice longer than was asked for, and nobody less."""
    with make(stage, lambda job: stage.work(60.0), low=1, high=1, queue_size=1) as pool:
        pool.submit("runs")
        stage.settle()
        pool.submit("waits")
        for timeout in (0.05, 0.75, 3.0):
            begun = stage.now
            with pytest.raises(TimeoutError, match="no room"):
                pool.submit("late", timeout=timeout)
            assert stage.now - begun == pytest.approx(timeout, abs=1e-6)


def test_resize_down_sends_idle_workers_home_at_once(stage):
    with make(stage, low=5, high=10) as pool:
        stage.settle()
        pool.resize(min_workers=1, max_workers=3)
        stage.settle()
        assert pool.worker_count == 3
        assert log(pool)[1:] == [(0.0, 5, 4, "resized"), (0.0, 4, 3, "resized")]
        stage.advance(31)
        assert pool.worker_count == 1


def test_a_machine_without_threads_loses_no_job_and_is_asked_again(stage, monkeypatch):
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
        assert len(pool.decisions()) == 2, "asked once, then not again for a second"
        crew.Thread = threads
        stage.advance(0.6)
        assert pool.worker_count == 10
        stage.run(stop=lambda: pool.stats().finished == 30)


def test_a_pool_below_its_minimum_is_topped_up(stage, monkeypatch):
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


def test_a_shutdown_in_the_middle_of_a_burst_does_all_of_it(stage):
    with make(stage) as pool:
        for job in range(100):
            pool.submit(job)
        report = pool.shutdown()
    assert report.complete and report.stats.succeeded == 100
    assert stage.now == pytest.approx(1.0, abs=0.01), "the crew that was hired does it, not two"


def test_a_shutdown_at_the_moment_of_a_scaling_look_leaves_no_worker(stage):
    pool = make(stage, lambda job: stage.work(1.0))
    for job in range(12):
        pool.submit(job)
    stage.run(0.09)
    while stage.now < 0.1:
        stage.expire()  # the alarm's time has come, and it has not moved yet
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


def test_the_crew_grows_and_shrinks_with_real_threads():
    gate = threading.Event()
    with DynamicPool(
        lambda job: gate.wait(20), min_workers=1, max_workers=4, idle_timeout=0.02, backlog=1, max_wait=0.005
    ) as pool:
        for job in range(8):
            pool.submit(job)
        wait_until(lambda: pool.worker_count == 4 and pool.stats().running == 4)
        gate.set()
        wait_until(lambda: pool.stats().succeeded == 8 and pool.worker_count == 1)
        time.sleep(0.05)
        assert pool.worker_count == 1
    assert [d.after for d in pool.decisions()] == [1, 2, 3, 4, 3, 2, 1]


def test_those_who_leave_keep_their_places_until_their_connections_are_closed():
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
        wait_until(lambda: pool.worker_count == 1)  # and two wait for their connections to be closed
        work.clear()
        for job in range(9):
            pool.submit(job)
        for here in (1, 2, 3):
            wait_until(lambda here=here: pool.worker_count == here and len(opened) == 3)
            crew_of(pool).start_needed_workers()
            assert pool.worker_count == here
            close.release()  # a place is free, and somebody is needed
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
