"""Throughput, latency, and sweeps: exact numbers for results made by hand, and the structure of measured tables."""

import math
import threading
import time

import hostile
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.measure import cores, in_system, list_schedule, littles_law, sweep, to_frame, utilization
from helpers.pools import Result, WorkerPool


def made(job, submitted, started, finished, worker=1, error=None):
    result = Result(job, submitted)
    if started is None:
        result.drop(error, finished)
        return result
    result.worker, result.attempt, result.started, result.finished = worker, 1, started, finished
    result.value, result.error = None, error
    return result


def test_to_frame_has_a_row_per_job_in_the_order_of_finishing_with_times_since_the_first_submit():
    frame = to_frame(
        [
            made("b", 11.0, 14.0, 15.0, worker=2),
            made("a", 10.0, 10.5, 12.0),
            made("c", 10.0, None, 13.0, error=ValueError("no")),
        ]
    )
    assert list(frame["job"]) == ["a", "c", "b"]
    assert list(frame["finished"]) == [2.0, 3.0, 5.0] and list(frame["submitted"]) == [0.0, 0.0, 1.0]
    assert frame["worker"].to_list() == [1, pd.NA, 2] and math.isnan(frame["started"][1])
    assert list(frame["ok"]) == [True, False, True] and frame["error"][1] == "ValueError: no"
    assert list(frame["wait"]) == [0.5, 3.0, 3.0] and list(frame["duration"]) == [1.5, 0.0, 1.0]
    assert list(frame["latency"]) == [2.0, 3.0, 4.0]


def test_an_empty_frame_has_all_columns_and_their_types():
    frame = to_frame([])
    assert len(frame) == 0 and frame.dtypes["latency"] == "float64" and str(frame.dtypes["worker"]) == "Int64"
    assert list(frame.columns) == list(to_frame([made("a", 0.0, 0.0, 1.0)]).columns)


def test_littles_law_by_hand():
    # Two jobs of latency 2 and 4 in a span of 4 seconds: 6 job-seconds / 4 s = 1.5 in the system.
    frame = to_frame([made("a", 0.0, 0.0, 2.0), made("b", 0.0, 2.0, 4.0)])
    assert in_system(frame) == 1.5
    assert littles_law(2 / 4, 3.0) == 1.5
    assert utilization(frame, workers=1) == 1.0 and utilization(frame, workers=2) == 0.5


times = st.tuples(st.integers(0, 50), st.integers(0, 20), st.integers(1, 20))


@given(st.lists(times, min_size=1, max_size=12))
def test_the_number_in_the_system_over_time_sums_to_the_latencies(spans):
    frame = to_frame([made(n, a, a + w, a + w + d) for n, (a, w, d) in enumerate(spans)])
    first, last = int(frame["submitted"].min()), int(frame["finished"].max())
    counted = sum(((frame["submitted"] <= t) & (t < frame["finished"])).sum() for t in range(first, last))
    assert in_system(frame) * (last - first) == pytest.approx(counted)


class Watched:
    """Creates pools, and records its arguments and the number of jobs that ran at the same time."""

    def __init__(self, seconds=0.0005, bad=()):
        self.seconds, self.bad = seconds, bad
        self.asked, self.pools = [], []
        self.most_waiting = 0
        self.lock = threading.Lock()

    def __call__(self, workers, queue_size):
        def handler(job):
            stats = pool.stats()
            with self.lock:
                self.most_waiting = max(self.most_waiting, stats.queued)
            time.sleep(self.seconds)
            if job in self.bad:
                raise ValueError(job)

        pool = WorkerPool(handler, workers=workers, queue_size=queue_size)
        self.asked.append((workers, queue_size))
        self.pools.append(pool)
        return pool


class DeliversLate(WorkerPool):
    """A pool whose third result finished before the second, but is delivered after it."""

    def results(self):
        for number, result in enumerate(super().results(), start=1):
            if number == 3:
                result.finished -= 10
            yield result


def test_a_sweep_leaves_out_a_job_that_finished_before_the_measured_time_and_was_delivered_in_it():
    table = sweep(
        lambda workers, queue_size: DeliversLate(str, workers=workers, queue_size=queue_size),
        range(9),
        workers=[2],
        repeats=1,
        seconds=1e-9,
    )
    assert table["throughput"].iloc[0] > 0 and table["seconds"].iloc[0] > 0


def test_a_sweep_whose_time_is_up_before_anything_was_measured_waits_for_one_result():
    table = sweep(Watched(seconds=0.02), [1, 2, 3], workers=[3], repeats=1, seconds=0.000001)
    assert table["jobs"].tolist() == [1] and table["throughput"][0] > 0


def test_a_sweep_has_a_row_per_measurement_and_closes_its_pools():
    make = Watched()
    table = sweep(make, range(60), workers=[1, 3], repeats=2)
    assert list(zip(table["workers"], table["repeat"], strict=True)) == [(1, 1), (3, 1), (1, 2), (3, 2)]
    assert list(table["load"].unique()) == ["batch"]
    assert (table["throughput"] > 0).all() and (table["p50"] <= table["p95"]).all()
    assert ((table["throughput"] - table["jobs"] / table["seconds"]).abs() < 1e-6).all()
    assert all(pool.stats().workers == 0 for pool in make.pools)


def test_batch_keeps_as_many_jobs_inside_as_workers_and_stream_three_times_as_many():
    for load, inside in (("batch", 2), ("stream", 6)):
        make = Watched()
        sweep(make, range(100), workers=[2], repeats=1, load=load)
        assert make.asked == [(2, inside)]
        assert make.most_waiting <= inside - 1  # the job that counts is running
        if load == "stream":
            assert make.most_waiting >= 3, "two jobs wait per running job"


def test_only_the_steady_state_is_measured():
    table = sweep(Watched(), range(50), workers=[5], repeats=1)
    # 50 jobs: the first 5 fill the pool, and 4 or 5 are still in the pool after the last submit.
    assert 40 <= table["jobs"][0] <= 41


def test_with_seconds_the_jobs_are_repeated():
    table = sweep(Watched(), [1, 2, 3], workers=[2], repeats=1, seconds={2: 0.1})
    assert table["jobs"][0] > 3 and table["seconds"][0] <= 0.1


def test_efficiency_compares_with_the_ideal_given():
    [row] = sweep(Watched(), range(40), workers=[2], repeats=1, ideal=0.01).to_dict("records")
    assert row["efficiency"] == pytest.approx(row["throughput"] * 0.01 / 2)
    [row] = sweep(Watched(), range(40), workers=[2], repeats=1).to_dict("records")
    assert row["efficiency"] == pytest.approx(row["throughput"] * row["service_mean"] / 2)


def test_jobs_that_fail_are_measured_like_others():
    assert sweep(Watched(bad=range(100)), range(40), workers=[2], repeats=1)["jobs"][0] >= 36


def test_list_schedule_gives_each_job_to_the_worker_that_is_free_first():
    assert list_schedule([3, 2, 2, 1], 2) == 4  # 3 + 1 on one worker, 2 + 2 on the other
    assert list_schedule([1] * 8, 3) == 3
    assert list_schedule([5], 9) == 5
    assert list_schedule([], 2) == 0


@given(st.lists(st.floats(0, 100), max_size=40), st.integers(1, 9))
def test_list_schedule_stays_within_grahams_bounds(durations, workers):
    least = max(sum(durations) / workers, max(durations, default=0.0))
    assert least <= list_schedule(durations, workers) * (1 + 1e-9) + 1e-9
    assert list_schedule(durations, workers) <= least * (2 - 1 / workers) * (1 + 1e-9) + 1e-9


def test_a_bad_table_pool_or_load_is_named_even_if_it_is_hostile():
    for call, text in (
        (lambda: in_system(hostile.Hostile()), "the table must be a DataFrame, not <Hostile"),
        (lambda: sweep(lambda workers, size: hostile.Hostile(), [1]), "make_pool must return a pool, not <Hostile"),
        (
            lambda: sweep(lambda workers, size: None, [1], load=hostile.Hostile()),
            r"load must be one of .* not <Hostile",
        ),
    ):
        with pytest.raises((TypeError, ValueError), match=text):
            call()


def test_a_message_about_a_long_column_is_short():
    frame = pd.DataFrame({"submitted": ["x"] * 10_000, "finished": 1.0})
    with pytest.raises(ValueError, match="submitted must hold seconds in each row") as raised:
        in_system(frame)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("usable", "alone", "together", "free"),
    [(1, 100, [100, 100], False), (2, 100, [79, 100], False), (2, 100, [55, 50], False), (2, 100, [80, 95], True)],
)
def test_two_cores_are_free_if_two_processes_count_nearly_as_far_as_one(monkeypatch, usable, alone, together, free):
    monkeypatch.setattr(cores, "usable_cores", lambda: usable)
    monkeypatch.setattr(cores, "counts", lambda processes, seconds: [alone] if processes == 1 else together)
    assert cores.two_free_cores(0.1) is free


def test_each_of_two_processes_counts():
    assert len(found := cores.counts(2, 0.05)) == 2 and min(found) > 0
