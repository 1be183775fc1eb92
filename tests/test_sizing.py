"""The number of workers follows from the bottleneck, for all sizes of jobs, and bad input is refused."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.pools import WorkerPool, measured_needs, recommended_workers, size_up
from helpers.pools.sizing import usable_cores


@pytest.mark.parametrize(
    ("kind", "needs", "workers"),
    [
        ("cpu", {"native": 0.05, "cores": 4}, 4),
        ("cpu", {"python": 0.05, "cores": 4}, 1),
        ("cpu", {"python": 0.01, "native": 0.03, "cores": 8}, 4),  # a quarter of each job needs the interpreter
        ("io", {"wait": 0.099, "python": 0.001, "cores": 2}, 104),
        ("io", {"wait": 0.03, "native": 0.01, "cores": 2}, 11),  # Goetz without collisions: 2 x (1 + 3)
        ("mixed", {"wait": 0.01, "native": 0.008, "python": 0.002, "cores": 2}, 7),
        ("mixed", {"wait": 0.01, "native": 0.008, "python": 0.002, "cores": 2, "limit": 3}, 3),
        ("limited", {"limit": 25}, 25),
        ("limited", {"limit": 25, "wait": 0.0605}, 25),
        ("limited", {"rate": 300, "wait": 0.0605}, 19),  # Little: 18.15 in service
        ("limited", {"rate": 1, "wait": 0.01}, 1),
        ("limited", {"limit": 100, "wait": 0.01, "native": 0.01, "cores": 2}, 7),  # the cores come first
    ],
)
def test_the_number_of_workers_for_each_kind_of_work(kind, needs, workers):
    assert recommended_workers(kind, **needs) == workers


SECONDS = st.floats(1e-4, 10)


@given(SECONDS, SECONDS, SECONDS, st.integers(1, 64), st.integers(1, 500), st.floats(0.1, 1e4))
def test_the_workers_are_enough_for_the_bottleneck_and_never_more_than_the_limit(
    wait, native, python, cores, limit, rate
):
    needs = {"wait": wait, "native": native, "python": python}
    whole = sum(needs.values())
    workers, throughput, narrowest = size_up(**needs, cores=cores, limit=limit, rate=rate)
    assert throughput == pytest.approx(min(1 / python, cores / (native + python), limit / whole, rate))
    assert workers <= limit
    assert workers == limit or workers / whole >= throughput * (1 - 1e-6)
    if narrowest.startswith("the service"):
        assert workers == 1 or (workers - 1) / whole < throughput


@given(SECONDS, SECONDS)
def test_collisions_at_the_bottleneck_need_more_workers_but_not_many(wait, python):
    knee = 1 + wait / python
    workers = recommended_workers("io", wait=wait, python=python, cores=1)
    assert knee <= workers + 1e-6
    assert workers <= knee + 20 * knee**0.5 + 20  # the queue at the bottleneck grows as a root


@pytest.mark.parametrize(("wait", "python"), [(0.02, 0.001), (0.001, 0.001), (0.5, 0.01)])
def test_a_birth_death_chain_of_the_queue_at_the_bottleneck_gives_the_same_number(wait, python):
    def busy(workers):
        weights = [1.0]
        for there in range(workers):  # the rate of arrivals comes from the jobs that are elsewhere
            weights.append(weights[-1] * (workers - there) * python / wait)
        return 1 - weights[0] / sum(weights)

    advised = recommended_workers("io", wait=wait, python=python, cores=1)
    assert busy(advised) >= 0.95 > busy(advised - 1)


def test_the_clocks_distinguish_waiting_from_computing():
    def handler(job):
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass
        time.sleep(0.02)

    needs = measured_needs(handler, range(3))
    assert needs.wait >= 0.019
    assert needs.compute >= 0.02


def test_the_usable_cores_are_a_plausible_number():
    assert 1 <= usable_cores() <= 4096


def test_the_oldest_wait_is_that_of_the_head_of_the_queue():
    now, gate, begun = [100.0], threading.Event(), threading.Event()

    def handler(job):
        begun.set()
        gate.wait(20)

    with WorkerPool(handler, workers=1, queue_size=5, clock=lambda: now[0]) as pool:
        assert pool.oldest_wait() == 0.0
        pool.submit("runs")
        assert begun.wait(20)
        assert pool.oldest_wait() == 0.0
        pool.submit("first")
        now[0] += 2.5
        pool.submit("second")
        now[0] += 1.0
        assert pool.oldest_wait() == 3.5
        gate.set()


HUGE = 10**400  # an int that no float can hold


@pytest.mark.parametrize(
    ("needs", "says"),
    [
        ({"wait": 1, "limit": HUGE}, "limit must be a whole number of at most 9007199254740992, not 1000"),
        ({"python": 1, "cores": HUGE}, "cores must be a whole number of at most 9007199254740992, not 1000"),
        ({"wait": 10, "rate": 1e308}, r"must be the times of one job, not 10.0, 0.0, 0.0 s at 1e\+308 jobs/s"),
        ({"native": 1.7e308, "python": 1.7e308}, r"must be the times of one job, not 0.0, 1.7e\+308, 1.7e\+308 s"),
        ({"wait": 1.7e308, "native": 1.7e308, "limit": 3}, "must be the times of one job"),
        ({"wait": 1e-320, "limit": 5}, "must be the times of one job"),
    ],
)
def test_numbers_too_large_or_too_small_to_calculate_with_are_refused_by_name(needs, says):
    with pytest.raises(ValueError, match=says) as refusal:
        size_up(**needs)
    assert len(str(refusal.value)) < 400


def test_a_kind_that_is_hard_to_describe_is_refused_by_a_short_message():
    class Kind:
        def __repr__(self):
            raise RuntimeError

    for kind in (Kind(), "x" * 10**7):
        with pytest.raises(ValueError, match="kind must be one of .*'limited'") as refusal:
            recommended_workers(kind, python=1)
        assert len(str(refusal.value)) < 400


def test_a_generator_function_is_not_measured():
    def handler(job):
        yield job

    with pytest.raises(TypeError, match="handler must return its value, not yield"):
        measured_needs(handler, [1])
