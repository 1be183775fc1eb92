"""The metrics of pools: the right counts under the right names, each attempt observed once, nothing left behind."""

import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from functools import partial
from pathlib import Path
from unittest import mock

import hostile
import pytest
from conftest import new_threads, wait_until
from prometheus_client import REGISTRY, CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from helpers.measure.metrics import BUCKETS, PoolMetrics
from helpers.pools import DynamicPool, Result, RetryingPool, RetryPolicy, WorkerPool
from helpers.services import find_prometheus

PREFIX = "worker_pool_"
ROOT = Path(__file__).parents[1]


def values(metrics, **labels):
    """The samples of a scrape, as {name without the prefix: value}, of those that have these labels."""
    found = {}
    for family in text_string_to_metric_families(metrics.text()):
        for sample in family.samples:
            if labels.items() <= sample.labels.items():
                found[sample.name.removeprefix(PREFIX)] = sample.value
    return found


def made(submitted, started, finished, error=None):
    result = Result("job", submitted)
    if started is None:
        result.drop(error or ValueError("no"), finished)
    else:
        result.worker, result.attempt, result.started, result.finished = 1, 1, started, finished
        result.value, result.error = None, error
    return result


def get(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


# --- the counts ---------------------------------------------------------------------------------------------------


def test_the_gauges_show_a_pool_whose_jobs_are_held():
    gate, metrics = threading.Event(), PoolMetrics()
    with WorkerPool(lambda job: gate.wait(60), workers=2, queue_size=9) as pool:
        metrics.add("held", pool)
        for job in range(7):
            pool.submit(job)
        wait_until(lambda: pool.stats().running == 2)
        time.sleep(0.05)
        found = values(metrics, pool="held")
        gate.set()
    assert found["oldest_wait_seconds"] > 0.04
    expected = {"jobs_submitted_total": 7, "queue_jobs": 5, "queue_limit_jobs": 9, "running_jobs": 2, "workers": 2}
    assert {name: found[name] for name in expected} == expected and found["delayed_jobs"] == 0


def test_every_outcome_is_counted_under_its_name_and_they_add_up():
    gate, metrics = threading.Event(), PoolMetrics()

    def handler(job):
        gate.wait(60)
        return 1 / job

    with WorkerPool(handler, workers=1) as pool:
        metrics.add("mixed", pool)
        for job in (1, 0, 2, 3):
            pool.submit(job)
        wait_until(lambda: pool.stats().running == 1)
        gate.set()
        wait_until(lambda: pool.stats().finished == 4)
        gate.clear()
        pool.submit(4)
        wait_until(lambda: pool.stats().running == 1)
        pool.submit(5)
        pool.cancel_queued()
        gate.set()
    finished = {o: values(metrics, outcome=o)["jobs_finished_total"] for o in ("succeeded", "failed", "cancelled")}
    assert finished == {"succeeded": 4, "failed": 1, "cancelled": 1}
    assert values(metrics, outcome="unknown")["jobs_finished_total"] == 0
    assert values(metrics, pool="mixed")["jobs_submitted_total"] == 6


def test_two_pools_share_the_families_and_one_can_be_removed():
    metrics = PoolMetrics()
    with WorkerPool(str, workers=1) as one, DynamicPool(str, min_workers=3, max_workers=4) as two:
        metrics.add("one", one)
        metrics.add("two", two)
        assert values(metrics, pool="one")["workers"] == 1 and values(metrics, pool="two")["workers"] == 3
        text = metrics.text()
        assert text.count(f"# TYPE {PREFIX}workers gauge\n") == 1
        list(metrics.observed("one", one.stream("abc")))
        metrics.remove("one")
        assert values(metrics, pool="one") == {} and values(metrics, pool="two")["workers"] == 3
        metrics.add("one", two)


def test_the_global_registry_knows_nothing_of_them_and_two_objects_do_not_meet():
    before = {family.name for family in REGISTRY.collect()}
    first, second = PoolMetrics(), PoolMetrics()
    first.observer("mails")(made(0.0, 1.0, 2.0))
    assert {family.name for family in REGISTRY.collect()} == before
    assert values(first)["wait_seconds_count"] == 1 and "wait_seconds_count" not in values(second)


def test_bad_arguments_are_refused_in_words():
    metrics = PoolMetrics()
    with WorkerPool(str, workers=1) as pool:
        metrics.add("mails", pool)
        with pytest.raises(ValueError, match="'mails' names another pool already"):
            metrics.add("mails", pool)
        with pytest.raises(TypeError, match="pool must be a WorkerPool, not 7"):
            metrics.add("other", 7)
        with pytest.raises(TypeError, match="pool must be a WorkerPool"):
            metrics.add("other", hostile.Hostile())
        for name in (7, hostile.Hostile(), b"x"):
            with pytest.raises(TypeError, match="the name of a pool must be a string"):
                metrics.add(name, pool)
        for name in ("", "\ud800", "two\nlines"):
            with pytest.raises(ValueError, match="printable characters"):
                metrics.observer(name)
    with pytest.raises(KeyError):
        metrics.remove("nobody")
    for buckets in ([2.0, 1.0], [1.0, 1.0], []):
        with pytest.raises(ValueError, match="ascending order"):
            PoolMetrics(buckets=buckets)
    for buckets, error in (([0.0], ValueError), ([float("inf")], ValueError), (["1"], TypeError), (7, TypeError)):
        with pytest.raises(error):
            PoolMetrics(buckets=buckets)


def test_a_name_with_quotes_and_a_backslash_can_be_scraped():
    metrics, name = PoolMetrics(), 'a "pool" of C:\\new {x="y"}'
    with WorkerPool(str, workers=1) as pool:
        metrics.add(name, pool)
        assert values(metrics, pool=name)["workers"] == 1


# --- the histograms -----------------------------------------------------------------------------------------------


def test_wait_and_service_are_those_of_the_result():
    metrics = PoolMetrics(buckets=[0.1, 1.0, 10.0])
    observe = metrics.observer("mails")
    result = made(100.0, 102.0, 102.5)
    assert observe(result) is result
    found = values(metrics, pool="mails")
    assert found["wait_seconds_sum"] == 2.0 and found["service_seconds_sum"] == 0.5
    assert (
        values(metrics, le="1.0")["wait_seconds_bucket"] == 0
        and values(metrics, le="1.0")["service_seconds_bucket"] == 1
    )
    assert values(metrics, le="10.0")["wait_seconds_bucket"] == values(metrics, le="+Inf")["wait_seconds_bucket"] == 1
    observe(made(0.0, 1.0, 1.0))
    assert values(metrics, le="1.0")["wait_seconds_bucket"] == 1, "a bound belongs to its bucket"


def test_a_job_that_never_started_counts_in_neither_and_a_clock_set_back_counts_as_zero():
    metrics = PoolMetrics()
    observe = metrics.observer("mails")
    observe(made(5.0, None, 9.0))
    assert values(metrics)["wait_seconds_count"] == values(metrics, le="+Inf")["wait_seconds_bucket"] == 0
    observe(made(10.0, 9.0, 8.0))
    found = values(metrics)
    assert (found["wait_seconds_count"], found["wait_seconds_sum"], found["service_seconds_sum"]) == (1, 0, 0)


def test_each_attempt_of_a_retried_job_counts_once_without_its_backoff():
    metrics, seen = PoolMetrics(), []

    def fails_twice(job):
        seen.append(job)
        if len(seen) < 3:
            raise OSError

    with RetryingPool(fails_twice, workers=1, policy=RetryPolicy(max_attempts=5, base=0.1, jitter=False)) as pool:
        metrics.add("mails", pool)
        (result,) = metrics.observed("mails", pool.stream(["job"]))
    found = values(metrics, pool="mails")
    assert found["wait_seconds_count"] == found["service_seconds_count"] == 3
    assert found["wait_seconds_sum"] == pytest.approx(sum(a.started - a.due for a in result.attempts))
    assert found["service_seconds_sum"] == pytest.approx(sum(a.finished - a.started for a in result.attempts))
    assert result.latency > found["wait_seconds_sum"] + found["service_seconds_sum"] + 0.1, (
        "the backoffs are in neither"
    )


def test_a_retried_job_that_is_cancelled_keeps_its_earlier_attempts():
    metrics = PoolMetrics()
    result = made(0.0, 1.0, 2.0, OSError())
    result.record_attempt(3.0)
    result.drop(ValueError("cancelled"), 4.0)
    metrics.observer("mails")(result)
    found = values(metrics)
    assert (found["wait_seconds_sum"], found["service_seconds_sum"]) == (1.0, 1.0)


def test_results_pass_through_unchanged_and_leaving_early_closes_the_stream():
    metrics = PoolMetrics()
    with WorkerPool(str, workers=2, queue_size=5) as pool:
        results = list(metrics.observed("all", pool.stream(range(50))))
        assert sorted(result.job for result in results) == list(range(50))
        for result in metrics.observed("some", pool.stream(iter(int, 1))):
            assert result.ok
            break
        assert len(list(pool.stream(range(3)))) == 3, "the pool has no reader anymore"
    assert values(metrics, pool="all")["wait_seconds_count"] == 50
    assert values(metrics, pool="some")["wait_seconds_count"] == 1


def test_the_text_is_that_of_the_librarys_own_histogram():
    registry, metrics, rng = CollectorRegistry(), PoolMetrics(), random.Random(3)
    with mock.patch("prometheus_client.metrics._use_created", False):
        peer = Histogram("worker_pool_wait_seconds", "Words.", ["pool"], buckets=BUCKETS, registry=registry)
        observe = metrics.observer("mails")
        for wait in [0.0, *BUCKETS, *(rng.expovariate(1) for _ in range(200)), 1e6]:
            peer.labels("mails").observe(wait)
            observe(made(0.0, wait, wait))
        theirs = generate_latest(registry).decode().splitlines()[2:]
    ours = [line for line in metrics.text().splitlines() if line.startswith("worker_pool_wait_seconds")]
    assert ours == theirs and len(ours) == len(BUCKETS) + 3


def test_as_a_callback_it_may_be_called_by_many_threads():
    metrics = PoolMetrics()
    with WorkerPool(str, workers=8, on_result=metrics.observer("mails")) as pool:
        metrics.add("mails", pool)
        for job in range(2000):
            pool.submit(job)
        report = pool.shutdown()
    assert report.errors == ()
    assert values(metrics, pool="mails")["service_seconds_count"] == 2000


def test_hostile_jobs_values_and_errors_are_not_touched():
    metrics = PoolMetrics()

    def handler(job):
        if job is bad[0]:
            raise hostile.HostileError()
        return job

    bad = [hostile.Hostile(), hostile.Hostile()]
    with WorkerPool(handler, workers=1) as pool:
        metrics.add("mails", pool)
        outcomes = [result.ok for result in metrics.observed("mails", pool.stream(bad))]
    assert outcomes == [False, True]
    assert values(metrics, pool="mails")["jobs_submitted_total"] == 2


# --- the server ---------------------------------------------------------------------------------------------------


def test_a_scrape_reads_the_counts_of_that_moment_and_nothing_is_left_afterwards():
    before = threading.enumerate()
    metrics = PoolMetrics()
    with WorkerPool(str, workers=1) as pool, metrics.serve() as url:
        metrics.add("mails", pool)
        assert url.startswith("http://127.0.0.1:") and url.endswith("/metrics")
        assert 'worker_pool_jobs_submitted_total{pool="mails"} 0.0' in get(url)
        list(pool.stream(range(5)))
        assert 'worker_pool_jobs_submitted_total{pool="mails"} 5.0' in get(url)
    assert new_threads(before) == []
    with pytest.raises(OSError):
        get(url)


def test_it_ends_also_if_the_body_raises_and_can_be_served_again():
    metrics, before = PoolMetrics(), threading.enumerate()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), metrics.serve() as url:
            get(url)
            raise ZeroDivisionError
    assert new_threads(before) == []


def test_a_port_that_is_in_use_is_refused():
    metrics = PoolMetrics()
    with metrics.serve() as url:
        port = int(url.split(":")[2].split("/")[0])
        with pytest.raises(OSError), PoolMetrics().serve(port):
            pass


def test_a_client_that_says_nothing_or_goes_away_holds_up_nobody(capfd):
    metrics, before = PoolMetrics(), threading.enumerate()
    with metrics.serve() as url:
        port = int(url.split(":")[2].split("/")[0])
        with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)) as rude:
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close() sends a reset
            rude.sendall(b"GET /metrics HTTP/1.1\r\n")
            rude.close()
            assert "worker_pool_workers" in get(url), "the others are answered"
    assert new_threads(before) == [], "the silent client's thread, too, has ended"
    assert capfd.readouterr().err == ""


# --- the package --------------------------------------------------------------------------------------------------


def test_helpers_measure_does_not_import_prometheus_client():
    code = "import sys, helpers.measure; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stdout == "False\n", done.stderr


def test_promtool_finds_nothing_wrong_with_the_names():
    folder = find_prometheus()
    if folder is None:
        pytest.skip("promtool is not installed here")
    metrics = PoolMetrics()
    with WorkerPool(partial(int), workers=1) as pool:
        metrics.add("mails", pool)
        list(metrics.observed("mails", pool.stream(["1", "x"])))
        text = metrics.text()
    command = [str(folder / "promtool"), "check", "metrics"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
