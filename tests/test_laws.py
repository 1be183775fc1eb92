"""The laws of capacity against closed forms, and the simulation against the laws and against pools in virtual time."""

import math
import random
import subprocess
import sys
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual import Stage

from helpers.measure import ErlangC, amdahl, fit_usl, in_system, simulate, to_frame, utilization, workers_for
from helpers.measure.usl import curve
from helpers.pools import WorkerPool

COUNTS = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64]


def noisy(rate, contention, coherency, *, counts=COUNTS, repeats=3, spread=0.02, seed=1):
    """The points of a sweep whose law is known, each off by a random share of about `spread`."""
    chance = random.Random(seed)
    workers = [count for count in counts for _ in range(repeats)]
    exact = [curve(count, rate, contention, coherency) for count in workers]
    return workers, [value * (1 + spread * chance.gauss(0, 1)) for value in exact]


def poisson(rate, jobs, seed):
    chance = random.Random(seed)
    return list(accumulate(chance.expovariate(rate) for _ in range(jobs)))


def exponential(mean, jobs, seed):
    chance = random.Random(seed)
    return [chance.expovariate(1 / mean) for _ in range(jobs)]


# --- Amdahl's law -------------------------------------------------------------------------------------------------


def test_amdahls_law_by_hand():
    assert amdahl(1, 0.3) == pytest.approx(1.0)
    assert amdahl(10, 0.0) == pytest.approx(10.0) and amdahl(10, 1.0) == 1.0
    assert amdahl(10, 0.1) == pytest.approx(1 / 0.19)
    assert amdahl(10**9, 0.05) == pytest.approx(20, rel=1e-6)


@given(st.integers(1, 40), st.integers(1, 30), st.integers(0, 60))
@settings(deadline=None, max_examples=25)
def test_workers_with_a_lock_are_between_amdahls_law_and_the_bottleneck(workers, inside, outside):
    """Constant times: each worker is outside for a while, then waits for the lock in turn, and holds it."""
    free, ready, done = 0.0, [0.0] * workers, 0
    end = 400.0 * (inside + outside) + 50 * workers * inside
    while True:
        worker = min(range(workers), key=lambda n: ready[n] + outside)
        begin = max(free, ready[worker] + outside)
        if begin + inside > end:
            break
        free = ready[worker] = begin + inside
        done += 1
    speedup = done / end * (inside + outside)
    serial = inside / (inside + outside)
    assert 0.97 * amdahl(workers, serial) <= speedup <= min(workers, 1 / serial) * 1.001


@pytest.mark.parametrize(
    ("workers", "serial", "says"),
    [
        (0, 0.1, "workers must be a number, 1 or more, not 0"),
        (2, 1.5, "serial must be a share of a job's time, from 0 to 1, not 1.5"),
        (2, -0.1, "serial must be a share of a job's time, from 0 to 1, not -0.1"),
        (2, "half", "serial must be a share of a job's time, from 0 to 1, not 'half'"),
    ],
)
def test_amdahls_law_refuses_what_is_no_share(workers, serial, says):
    with pytest.raises((TypeError, ValueError), match=says):
        amdahl(workers, serial)


# --- the Universal Scalability Law --------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [(16.0, 0.03, 0.0005), (1000.0, 0.0, 0.002), (0.2, 0.3, 0.01)])
def test_the_fit_finds_the_parameters_of_exact_points_and_their_peak(law):
    found = fit_usl(*noisy(*law, spread=0.0))
    assert [estimate.value for estimate in found[:3]] == pytest.approx(law, rel=1e-3, abs=1e-4)
    assert found.throughput(10) == pytest.approx(curve(10, *law), rel=1e-4)
    assert found.peak() == max(range(1, 200), key=lambda count: curve(count, *law))


def test_the_intervals_hold_the_true_parameters_about_as_often_as_they_say():
    law, held = (50.0, 0.05, 0.001), [0, 0, 0]
    runs = 60
    for seed in range(runs):
        found = fit_usl(*noisy(*law, seed=seed, spread=0.01), confidence=0.8)
        for place, (estimate, true) in enumerate(zip(found[:3], law, strict=True)):
            held[place] += estimate.low <= true <= estimate.high
    assert all(0.6 * runs <= count <= 0.98 * runs for count in held), held


def test_more_confidence_means_wider_intervals_that_stay_within_the_bounds():
    points = noisy(50.0, 0.01, 0.0, spread=0.05)
    narrow, wide = fit_usl(*points, confidence=0.5), fit_usl(*points, confidence=0.99)
    for one, other in zip(narrow[:3], wide[:3], strict=True):
        assert other.low <= one.low <= one.value <= one.high <= other.high
        assert other.low >= 0
    assert wide.contention.high <= 1 and wide.confidence == 0.99


def test_a_peak_is_only_named_if_the_points_show_that_the_throughput_falls():
    """Chance alone may show a fall in one of forty cases: the lower end of a 95% interval is above 0."""
    refusals = []
    for seed in range(20):
        try:
            fit_usl(*noisy(50.0, 0.05, 0.0, seed=seed)).peak()
        except ValueError as error:
            refusals.append(str(error))
    assert len(refusals) >= 17
    assert "the coherency must be above 0 in all of its interval" in refusals[0] and "from 0 to" in refusals[0]


@pytest.mark.parametrize(
    ("workers", "throughput", "says"),
    [
        ([1, 2, 3], [10, 20, 30], r"at least 4 different numbers of workers, .* not \[1, 2, 3\]"),
        ([1, 2, 3] * 9, [10, 20, 30] * 9, "at least 4 different numbers of workers"),
        ([], [], r"at least 4 different numbers of workers, .* not \[\]"),
        ([1, 2, 3, 4], [10, 20, 30], "each point needs both numbers, not 4 of workers and 3 of throughput"),
        ([1, 2, 3, 0], [10, 20, 30, 40], "workers must be a whole number of at least 1, not 0"),
        ([1, 2, 3, 4], [10, 20, 30, 0], "throughput must be a number of jobs/s, more than 0, in every point, not 0"),
        ([1, 2, 3, 4], [10, 20, 30, math.nan], "throughput must be a number of jobs/s, more than 0"),
        (7, [1], "workers must be iterable, not 7"),
    ],
)
def test_the_fit_refuses_points_that_are_too_few_or_wrong(workers, throughput, says):
    with pytest.raises((TypeError, ValueError), match=says):
        fit_usl(workers, throughput)


@pytest.mark.parametrize("seed", range(5))
def test_the_fit_refuses_points_that_cannot_tell_the_parameters(seed):
    """Four large numbers of workers, close to each other, say nothing about a single worker."""
    points = noisy(50.0, 0.05, 0.0005, counts=[40, 41, 42, 43], repeats=2, spread=0.03, seed=seed)
    with pytest.raises(ValueError, match=r"the points must tell the .*interval is .*: measure"):
        fit_usl(*points)


def test_a_fit_that_does_not_end_is_a_refusal(monkeypatch):
    def never(*args, **options):
        raise RuntimeError("too many steps")

    monkeypatch.setattr("scipy.optimize.curve_fit", never)
    with pytest.raises(ValueError, match="about the form of the law, and the fit found none: too many steps"):
        fit_usl(*noisy(50.0, 0.05, 0.001))


def test_a_sharp_limit_makes_the_fit_name_a_peak_far_above_it():
    workers = [1, 5, 10, 15, 20, 25, 30, 40, 60, 100]
    found = fit_usl(workers, [min(count, 25) * 20.0 for count in workers])
    assert found.peak() > 35


@pytest.mark.parametrize("confidence", [0, 1, -0.5, 95])
def test_the_confidence_is_a_share(confidence):
    with pytest.raises(ValueError, match=f"confidence must be a number more than 0 and less than 1, not {confidence}"):
        fit_usl(*noisy(50.0, 0.05, 0.001), confidence=confidence)


def test_the_fitted_curve_begins_at_one_worker():
    with pytest.raises(ValueError, match=r"workers must be a number, 1 or more, not 0\.5"):
        fit_usl(*noisy(50.0, 0.05, 0.001)).throughput(0.5)


def test_scipy_is_only_imported_by_a_fit():
    code = "import sys, helpers.measure; print([name for name in sys.modules if name.startswith('scipy')])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert out.strip() == "[]"


# --- Erlang C -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("busy", [0.01, 0.5, 0.9, 0.999])
def test_with_one_worker_erlang_c_is_the_mm1_queue(busy):
    queue = ErlangC(workers=1, rate=busy / 0.2, service_time=0.2)
    assert queue.utilization == pytest.approx(busy) and queue.load == pytest.approx(busy)
    assert queue.waiting == pytest.approx(busy)
    assert queue.mean_wait == pytest.approx(0.2 * busy / (1 - busy))
    assert queue.longer_than(0.3) == pytest.approx(busy * math.exp(-0.3 * (1 - busy) / 0.2))


@pytest.mark.parametrize(("workers", "load"), [(2, 1.5), (5, 4.75), (20, 12.0), (60, 59.5)])
def test_the_recursion_gives_the_textbook_formula(workers, load):
    last = load**workers / math.factorial(workers) * workers / (workers - load)
    textbook = last / (sum(load**k / math.factorial(k) for k in range(workers)) + last)
    queue = ErlangC(workers, rate=load / 0.5, service_time=0.5)
    assert queue.waiting == pytest.approx(textbook)
    assert queue.mean_wait == pytest.approx(textbook * 0.5 / (workers - load))


def test_the_textbook_formula_would_overflow_where_the_recursion_does_not():
    queue = ErlangC(workers=10_000, rate=99_000, service_time=0.1)
    assert 0.15 < queue.waiting < 0.3  # with square-root staffing, beta = 1.005: 0.22 (Halfin and Whitt, 1981)


@given(st.integers(1, 50), st.floats(0.01, 0.99), st.floats(1e-3, 10), st.floats(0.01, 0.999))
@settings(deadline=None)
def test_the_quantile_is_where_the_share_that_waits_longer_is_left(workers, busy, service, share):
    queue = ErlangC(workers, rate=workers * busy / service, service_time=service)
    wait = queue.wait_quantile(share)
    if wait == 0:
        assert queue.waiting <= 1 - share
    else:
        assert queue.longer_than(wait) == pytest.approx(1 - share, rel=1e-6)


@given(st.floats(0.1, 300), st.floats(0.01, 1), st.floats(0, 2), st.floats(0.5, 0.999))
@settings(deadline=None)
def test_one_worker_fewer_would_be_late(rate, service, wait, share):
    count = workers_for(rate, service, wait=wait, share=share)
    assert ErlangC(count, rate, service).longer_than(wait) <= 1 - share
    if count - 1 > rate * service:
        assert ErlangC(count - 1, rate, service).longer_than(wait) > 1 - share


def test_variation_changes_the_mean_wait_as_pollaczek_and_khinchine_say():
    exponential_times = ErlangC(1, 9.0, 0.1)
    assert ErlangC(1, 9.0, 0.1, variation=0).mean_wait == pytest.approx(exponential_times.mean_wait / 2)
    assert ErlangC(1, 9.0, 0.1, variation=3).mean_wait == pytest.approx(exponential_times.mean_wait * 5)
    for question in (lambda queue: queue.wait_quantile(0.9), lambda queue: queue.longer_than(1)):
        with pytest.raises(ValueError, match="variation must be 1 for the share .* not 0"):
            question(ErlangC(1, 9.0, 0.1, variation=0))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((4, 100, 0.05), "fewer jobs must arrive .*: 4 workers do at most 80 jobs/s, and 100 jobs/s arrive"),
        ((4, 80, 0.05), "fewer jobs must arrive than the workers can do"),
        ((0, 1, 1), "workers must be a whole number of at least 1, not 0"),
        ((1, 0, 1), "rate must be a number of jobs/s, more than 0, not 0"),
        ((1, 1, -1), "service_time must be a number of seconds, more than 0, not -1"),
        ((2, 1, 1, -1), "variation must be a number, 0 or more, not -1"),
    ],
)
def test_erlang_c_refuses_what_has_no_steady_state(arguments, says):
    with pytest.raises((TypeError, ValueError), match=says):
        ErlangC(*arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"wait": -1}, "wait must be a number of seconds, 0 or more, not -1"),
        ({"wait": 1, "share": 1}, "share must be a number more than 0 and less than 1, not 1"),
        ({"wait": 1, "share": 95}, "share must be a number more than 0 and less than 1, not 95"),
        ({"rate": 1e9, "wait": 1}, r"the load must be less than 10,000,000 workers, not 1e\+09"),
    ],
)
def test_the_worker_count_refuses_bad_arguments(arguments, says):
    with pytest.raises(ValueError, match=says):
        workers_for(**{"rate": 10, "service_time": 1.0} | arguments)


# --- the simulation -----------------------------------------------------------------------------------------------


def test_the_simulation_by_hand():
    frame = simulate([0, 1, 1, 2, 20], [5, 2, 4, 1, 3], workers=2)
    assert frame["started"].tolist() == [0, 1, 3, 5, 20]
    assert frame["finished"].tolist() == [5, 3, 7, 6, 23]
    assert frame["wait"].tolist() == [0, 0, 2, 3, 0] and frame["latency"].tolist() == [5, 2, 6, 4, 3]
    assert frame["job"].tolist() == [0, 1, 2, 3, 4] and frame["duration"].tolist() == [5, 2, 4, 1, 3]
    assert utilization(frame, workers=2) == 15 / 46 and in_system(frame) == 20 / 23


def test_a_full_queue_refuses_jobs_which_have_no_row():
    frame = simulate([0, 1, 2, 3, 11], [10, 10, 10, 10, 10], workers=1, queue_size=1)
    assert frame["job"].tolist() == [0, 1, 4] and frame["started"].tolist() == [0, 10, 20]
    assert simulate([0, 1, 10], [10, 1, 1], workers=1, queue_size=0)["job"].tolist() == [0, 2]


def test_no_jobs_make_an_empty_table():
    for queue_size in (None, 3):
        frame = simulate([], [], workers=2, queue_size=queue_size)
        assert len(frame) == 0 and list(frame.columns) == list(simulate([0], [1], workers=1).columns)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), max_size=40), st.integers(1, 5))
@settings(deadline=None, max_examples=25)
def test_a_queue_that_never_fills_changes_nothing_and_the_jobs_start_in_order(jobs, workers):
    arrivals, services = list(accumulate(gap for gap, _ in jobs)), [service for _, service in jobs]
    frame = simulate(arrivals, services, workers=workers)
    assert frame.equals(simulate(arrivals, services, workers=workers, queue_size=len(jobs)))
    assert frame["started"].is_monotonic_increasing and (frame["wait"] >= 0).all()
    for instant in frame["started"]:
        assert ((frame["started"] <= instant) & (instant < frame["finished"])).sum() <= workers


JOBS = 200_000


@pytest.mark.parametrize(("workers", "busy"), [(1, 0.5), (1, 0.8), (4, 0.8), (20, 0.9)])
def test_a_long_simulation_agrees_with_erlang_c(workers, busy):
    queue = ErlangC(workers, rate=workers * busy, service_time=1.0)
    frame = simulate(poisson(workers * busy, JOBS, 11), exponential(1.0, JOBS, 12), workers=workers)
    assert frame["wait"].mean() == pytest.approx(queue.mean_wait, rel=0.1)
    assert (frame["wait"] > 0).mean() == pytest.approx(queue.waiting, rel=0.05)
    assert frame["wait"].quantile(0.95) == pytest.approx(queue.wait_quantile(0.95), rel=0.1)


@pytest.mark.parametrize("variation", [0.0, 2.0])
def test_a_long_simulation_agrees_with_pollaczek_and_khinchine(variation):
    """Constant service times (M/D/1), and a mix of short and long jobs with the same mean."""
    chance, services = random.Random(5), [1.0] * JOBS
    if variation:  # a share p of the jobs takes 1 / p, the others take no time: v * v = 1 / p - 1
        share = 1 / (1 + variation**2)
        services = [1 / share if chance.random() < share else 0.0 for _ in range(JOBS)]
    frame = simulate(poisson(0.7, JOBS, 21), services, workers=1)
    assert frame["wait"].mean() == pytest.approx(ErlangC(1, 0.7, 1.0, variation=variation).mean_wait, rel=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_a_simulation_gives_the_starts_of_a_pool_in_virtual_time(seed):
    workers = 1 + seed
    arrivals = poisson(0.9 * workers / 0.05, 150, seed)
    services = exponential(0.05, 150, seed + 100)
    with Stage() as stage:
        pool = WorkerPool(lambda job: stage.work(services[job]), workers=workers, queue_size=1000, clock=stage.clock)
        with pool:
            stage.settle()
            for job, arrival in enumerate(arrivals):
                stage.run(until=arrival)
                assert pool.try_submit(job)
            stage.run(stop=lambda: pool.stats().finished == len(arrivals))
            pool.shutdown()
            results = sorted(pool.results(), key=lambda result: result.job)
    frame = simulate(arrivals, services, workers=workers)
    measured = to_frame(results, zero=0.0).sort_values("job")
    for column in ("submitted", "started", "finished", "wait", "duration", "latency"):
        assert np.allclose(frame[column], measured[column], atol=1e-6), column


@pytest.mark.parametrize("queue_size", [1, 5])
def test_a_pool_in_virtual_time_refuses_the_jobs_that_the_simulation_refuses(queue_size):
    arrivals, services = poisson(60.0, 200, 3), exponential(0.05, 200, 4)
    with Stage() as stage:
        pool = WorkerPool(lambda job: stage.work(services[job]), workers=2, queue_size=queue_size, clock=stage.clock)
        with pool:
            stage.settle()
            accepted = []
            for job, arrival in enumerate(arrivals):
                stage.run(until=arrival)
                if pool.try_submit(job):
                    accepted.append(job)
            stage.run(stop=lambda: pool.stats().finished == len(accepted))
    expected = simulate(arrivals, services, workers=2, queue_size=queue_size)["job"].tolist()
    assert accepted == expected


@pytest.mark.parametrize(
    ("arrivals", "services", "says"),
    [
        ([0, 2, 1], [1, 1, 1], r"arrivals must be in ascending order, and 1\.0 follows 2\.0"),
        ([0, 1], [1], "each job needs one service time: there are 2 arrivals and 1 times"),
        ([0, 1], [1, -1], r"service_times must be 0 or more, not -1\.0"),
        ([0, math.nan], [1, 1], "arrivals must be finite numbers of seconds"),
        ([0, 1], [1, math.inf], "service_times must be finite numbers of seconds"),
        ([[0, 1]], [[1, 1]], "arrivals must be finite numbers of seconds"),
        (3, [1], "arrivals must be iterable, not 3"),
    ],
)
def test_the_simulation_refuses_what_are_no_times(arrivals, services, says):
    with pytest.raises((TypeError, ValueError), match=says):
        simulate(arrivals, services, workers=2)


def test_the_simulation_refuses_bad_numbers():
    with pytest.raises(ValueError, match="workers must be a whole number of at least 1, not 0"):
        simulate([0], [1], workers=0)
    with pytest.raises(ValueError, match="queue_size must be a whole number of at least 0, not -1"):
        simulate([0], [1], workers=1, queue_size=-1)
