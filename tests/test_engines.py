"""`engine=`: any `concurrent.futures.Executor` runs the handler of a pool, bounded, and with one result per job."""

import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from textwrap import indent

import process_handlers as handlers
import pytest
from conftest import wait_until

from helpers.pools import (
    BatchEmailSender,
    DynamicPool,
    JobCancelled,
    PoolExecutor,
    Processes,
    RetryingPool,
    RetryPolicy,
    WorkerPool,
)

pytestmark = pytest.mark.usefixtures("resource_tracker")
spawned = partial(ProcessPoolExecutor, mp_context=get_context("spawn"))


@pytest.fixture
def threads():
    with ThreadPoolExecutor(2) as executor:
        yield executor


def test_the_handler_runs_in_the_executor(threads):
    def name_of(job):
        return threading.current_thread().name

    with WorkerPool(name_of, workers=2, engine=threads) as pool:
        names = {result.value for result in pool.stream(range(10))}
    assert all(name.startswith("ThreadPoolExecutor") for name in names)


def test_no_more_jobs_are_in_the_executor_than_the_pool_has_workers(threads):
    most, now, lock = 0, 0, threading.Lock()
    submit = threads.submit

    def counted(*args):
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        future = submit(*args)
        future.add_done_callback(done)
        return future

    def done(future):
        nonlocal now
        with lock:
            now -= 1

    threads.submit = counted
    with WorkerPool(handlers.double, workers=3, engine=threads) as pool:
        assert len(list(pool.stream(range(200)))) == 200
    assert 1 <= most <= 3


@pytest.mark.parametrize("make", [WorkerPool, RetryingPool, partial(DynamicPool, min_workers=1, max_workers=2)])
def test_every_pool_takes_a_process_pool(make):
    with spawned(1) as executor, make(handlers.double, engine=executor) as pool:
        assert sorted(result.value for result in pool.stream(range(5))) == [0, 2, 4, 6, 8]


def test_an_error_of_the_handler_is_the_error_of_its_job(threads):
    with WorkerPool(handlers.raise_named, workers=1, engine=threads) as pool:
        [result] = pool.stream(["plain"])
    assert type(result.error) is ValueError


def test_a_timeout_error_of_the_handler_is_the_error_of_its_job(threads):
    def too_slow(job):
        raise TimeoutError("the service did not answer")

    with WorkerPool(too_slow, workers=1, engine=threads) as pool:
        [result] = pool.stream([1])
    assert str(result.error) == "the service did not answer"


def test_the_jobs_of_a_broken_executor_fail_and_nothing_hangs():
    with spawned(2) as executor, WorkerPool(handlers.die, workers=2, engine=executor) as pool:
        results = list(pool.stream(["exit", *range(10)]))
    assert len(results) == 11
    assert {type(result.error).__name__ for result in results if not result.ok} == {"BrokenProcessPool"}


def test_an_executor_that_is_shut_down_fails_the_jobs(threads):
    threads.shutdown()
    with WorkerPool(handlers.double, workers=1, engine=threads) as pool:
        [result] = pool.stream([1])
    assert type(result.error) is RuntimeError


def test_a_retry_is_another_call(threads):
    calls = []

    def fail_once(job):
        calls.append(job)
        if len(calls) == 1:
            raise OSError("gone")
        return job

    policy = RetryPolicy(max_attempts=2, base=0.001, cap=0.001)
    with RetryingPool(fail_once, workers=1, policy=policy, engine=threads) as pool:
        [result] = pool.stream([7])
    assert (result.value, len(calls)) == (7, 2)


def test_a_forced_shutdown_cancels_what_the_executor_has_not_started():
    gate = threading.Event()
    results = []
    with ThreadPoolExecutor(1) as executor:
        pool = WorkerPool(lambda job: gate.wait(20), workers=2, engine=executor, on_result=results.append)
        pool.submit("first")
        pool.submit("second")
        wait_until(lambda: pool.stats().running == 2)
        pool.force_shutdown()
        wait_until(lambda: results)
        gate.set()
        wait_until(lambda: len(results) == 2)
    assert [type(result.error) for result in results] == [JobCancelled, type(None)]


def test_an_executor_on_an_executor(threads):
    with PoolExecutor(2, engine=threads) as executor:
        assert list(executor.map(handlers.double, range(5))) == [0, 2, 4, 6, 8]


def test_a_resource_cannot_be_combined_with_an_executor(threads):
    with pytest.raises(TypeError, match="an executor does not know the workers of the pool"):
        WorkerPool(handlers.double, engine=threads, resource=handlers.notebook_of)


def test_the_mailer_runs_on_threads_only(threads):
    for engine in (threads, Processes()):
        with pytest.raises(TypeError, match="its workers share their connections"):
            BatchEmailSender(host="127.0.0.1", port=25, engine=engine)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="InterpreterPoolExecutor is new in Python 3.14")
def test_sub_interpreters():
    from concurrent.futures import InterpreterPoolExecutor

    with InterpreterPoolExecutor(2) as executor, WorkerPool(pow_of_two, workers=2, engine=executor) as pool:
        assert sorted(result.value for result in pool.stream(range(5))) == [1, 2, 4, 8, 16]


def pow_of_two(job):
    return 2**job


LOKY = """
from loky import ProcessPoolExecutor
executor = ProcessPoolExecutor(1)
"""
DASK = """
from distributed import Client, LocalCluster
options = {"processes": False, "protocol": "tcp", "host": "127.0.0.1", "dashboard_address": None}
cluster = LocalCluster(n_workers=1, threads_per_worker=2, **options)
executor = Client(cluster).get_executor(pure=False)
"""


@pytest.mark.parametrize(("package", "make"), [("loky", LOKY), ("distributed", DASK)])
def test_executors_of_other_packages(package, make):
    """It runs in its own process, because these packages start child processes that end with their parent."""
    pytest.importorskip(package)
    code = (
        f"if __name__ == '__main__':\n{indent(make, '    ')}"
        "    import math\n    from helpers.pools import WorkerPool\n"
        "    with WorkerPool(math.factorial, workers=2, engine=executor) as pool:\n"
        "        print(sorted(result.value for result in pool.stream(range(5))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stdout == "[1, 1, 2, 6, 24]\n", done.stderr
