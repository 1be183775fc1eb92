"""PoolExecutor: CPython's own tests of executors, for four pools, and the promises beyond these tests."""

import asyncio
import gc
import itertools
import re
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import FIRST_COMPLETED, CancelledError, as_completed, wait
from pathlib import Path

import pytest
import pythons
from conftest import SLOW, wait_until
from inside import outlet_of, threads_ended
from test_pool_contract import AnyMails, AnyPictures, accounts_balance

from helpers.pools import (
    DynamicPool,
    DynamicRetryingPool,
    JobCancelled,
    PoolExecutor,
    RetryingPool,
    RetryPolicy,
    WorkerPool,
    current_worker,
)

ROOT = Path(__file__).parents[1]
TWICE = RetryPolicy(max_attempts=2, base=0.001, cap=0.001)
POOLS = {
    "WorkerPool": (WorkerPool, {}),
    "ImageProcessor": (AnyPictures, {}),
    "BatchEmailSender": (AnyMails, {}),
    "DynamicPool": (DynamicPool, {"backlog": 1, "max_wait": 0.001}),
    "RetryingPool": (RetryingPool, {"policy": TWICE}),
    "DynamicRetryingPool": (DynamicRetryingPool, {"policy": TWICE, "backlog": 1, "max_wait": 0.001}),
}
GENERAL = ["WorkerPool", "DynamicPool", "RetryingPool", "DynamicRetryingPool"]  # the pools that accept any handler


@pytest.fixture(params=POOLS)
def make(request):
    """Return a function that creates executors. Executors that a failed test leaves open are shut down by force."""
    kind, options = POOLS[request.param]
    made = []

    def make(workers=3, **more):
        made.append(PoolExecutor(workers, pool=kind, **options, **more))
        return made[-1]

    yield make
    for executor in made:
        executor.pool.force_shutdown()


@pytest.fixture
def gate():
    """An event on which functions wait. It is set at the end of the test."""
    gate = threading.Event()
    yield gate
    gate.set()


def full(executor, gate, queued):
    """Keep each worker busy and queue `queued` more calls. Return the futures."""
    workers = executor._max_workers
    running = []
    for _ in range(workers):
        running.append(executor.submit(gate.wait))
        wait_until(running[-1].running)  # A worker counts its job as running a moment before the future runs.
    return running, [executor.submit(gate.wait) for _ in range(queued)]


# --- CPython's own tests ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cpython_results():
    """Return what each run printed. All runs start at once, because they mostly sleep."""
    code = "import test.test_concurrent_futures.util"  # a package from 3.13 on
    found = [sys.executable, *filter(None, map(pythons.find, pythons.SUPPORTED))]
    python = next((python for python in found if pythons.answers(python, code) is not None), None)
    if python is None:
        pytest.skip("no Python 3.13 or newer that has its own tests is installed")
    script = str(ROOT / "tests" / "cpython_executor_tests.py")
    runs = {
        kind: subprocess.Popen([python, script, kind], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for kind in GENERAL
    }
    try:
        return {kind: (run.communicate(timeout=100)[0], run.returncode) for kind, run in runs.items()}
    finally:
        for run in runs.values():
            run.kill()


@pytest.mark.long
@pytest.mark.parametrize("kind", GENERAL)
def test_cpythons_own_tests_of_executors_pass(cpython_results, kind):
    output, code = cpython_results[kind]
    assert code == 0 and output.rstrip().endswith("\nOK"), output
    assert int(re.search(r"^Ran (\d+) tests", output, re.M)[1]) >= 29, "3.13 has 29 tests, and 3.14 has more"


# --- futures ---------------------------------------------------------------------------------------------------


def test_a_future_brings_the_value_or_the_error(make):
    with make() as executor:
        good, bad = executor.submit(divmod, 7, 2), executor.submit(divmod, 7, 0)
        assert good.result(SLOW) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            bad.result(SLOW)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError])
def test_any_exception_of_a_function_is_in_its_future(make, error):
    def fail():
        raise error

    with make(1) as executor:
        assert type(executor.submit(fail).exception(SLOW)) is error
        assert executor.submit(int, "7").result(SLOW) == 7, "the worker must outlive it"


def test_a_job_is_counted_before_its_future_is_done(make):
    with make() as executor:
        for done, future in enumerate([executor.submit(int) for _ in range(50)], start=1):
            future.result(SLOW)
            assert executor.pool.stats().succeeded >= done


def test_a_future_cancelled_in_the_queue_is_never_run_and_its_waiters_are_notified(make, gate):
    ran = []
    with make(1, queue_size=5) as executor:
        full(executor, gate, 0)
        future = executor.submit(ran.append, "ran")
        assert future.cancel()
        gate.set()
        assert wait([future], timeout=SLOW).done == {future}
    assert not ran and executor.pool.stats().cancelled == 1 and accounts_balance(executor.pool.stats())


def test_a_future_that_runs_cannot_be_cancelled(make, gate):
    with make(1) as executor:
        [future], _ = full(executor, gate, 0)
        assert not future.cancel()
        gate.set()
        assert future.result(SLOW) is True


def test_a_done_callback_may_use_the_executor_and_its_pool(make):
    seen = []

    def callback(future):
        seen.append((executor.pool.stats().succeeded, executor.submit(int, "7")))

    with make(2, queue_size=4) as executor:
        executor.submit(int).add_done_callback(callback)
        wait_until(lambda: seen)
        [(counted, second)] = seen
        assert counted == 1 and second.result(SLOW) == 7


def test_a_done_callback_that_raises_costs_neither_the_worker_nor_another_future(make, caplog):
    def callback(future):
        raise SystemExit("from a callback")

    with make(1) as executor:
        release = threading.Event()
        future = executor.submit(release.wait)
        future.add_done_callback(callback)  # while it runs, so that a worker calls the callback
        release.set()
        assert future.result(SLOW) is True and executor.submit(int, "7").result(SLOW) == 7
    assert "exception calling callback" in caplog.text


def test_nothing_of_a_job_is_kept(make):
    class Big:
        pass

    with make(1) as executor:
        big = Big()
        gone = weakref.ref(big)
        executor.submit(id, big).result(SLOW)
        del big
        wait_until(lambda: gone() is None)
        assert outlet_of(executor.pool).empty(), "results are passed to the futures and not kept"


# --- backpressure ----------------------------------------------------------------------------------------------


def test_submit_waits_while_the_queue_is_full(make, gate):
    with make(1, queue_size=2) as executor:
        full(executor, gate, 2)
        late = []
        thread = threading.Thread(target=lambda: late.append(executor.submit(int, "7")))
        thread.start()
        thread.join(0.05)
        assert thread.is_alive() and executor.pool.stats().submitted == 3
        gate.set()
        thread.join(SLOW)
        assert late[0].result(SLOW) == 7


def test_a_submit_from_a_handler_is_accepted_if_there_is_room_and_refused_if_not(make, gate):
    with make(1, queue_size=1) as executor:

        def inside():
            taken = executor.submit(int, "7")
            with pytest.raises(RuntimeError, match=r"queue of 1 is full, and int\(...\) of a worker cannot wait"):
                executor.submit(int, "8")
            return taken

        assert executor.submit(inside).result(SLOW).result(SLOW) == 7
    assert executor.pool.stats().submitted == 2, "the refused call was not queued"


def test_map_with_a_buffersize_reads_an_endless_iterable_in_constant_memory_and_in_order(make):
    drawn = itertools.count()
    with make(3, queue_size=2) as executor:
        values = executor.map(lambda n: n * n, drawn, buffersize=4)
        assert list(itertools.islice(values, 500)) == [n * n for n in range(500)]
        assert next(drawn) <= 500 + 4 + 1
        values.close()


def test_map_raises_the_error_in_order_and_cancels_the_remaining_calls(make, gate):
    class Broken(Exception):
        permanent = True

    def work(n):
        if n == 1:
            raise Broken(n)
        return gate.wait() if n > 1 else n

    with make(2, queue_size=9) as executor:
        values = executor.map(work, range(9), buffersize=9)
        assert next(values) == 0
        with pytest.raises(Broken):
            next(values)
        gate.set()
    stats = executor.pool.stats()
    assert stats.cancelled >= 1 and accounts_balance(stats)


def test_map_keeps_to_its_timeout(make, gate):
    with make(2) as executor:
        with pytest.raises(TimeoutError):
            list(executor.map(lambda n: n and gate.wait(), range(2), timeout=0.05, buffersize=2))
        gate.set()


# --- the end ---------------------------------------------------------------------------------------------------


def test_cancelling_at_the_end_notifies_all_waiting_threads(make, gate):
    executor = make(2, queue_size=20)
    running, queued = full(executor, gate, 20)
    seen = []
    reader = threading.Thread(target=lambda: seen.extend(as_completed(queued)))
    reader.start()
    executor.shutdown(wait=False, cancel_futures=True)
    reader.join(SLOW)  # with ThreadPoolExecutor it would wait forever
    assert not reader.is_alive() and len(seen) == 20 and all(f.cancelled() for f in queued)
    gate.set()
    executor.shutdown()
    assert [f.result(0) for f in running] == [True, True]


def test_an_exception_in_the_block_forces_the_shutdown_and_is_raised_again(make, gate):
    def look():
        # It waits for the gate too, because a worker that is done delivers results, and maybe a cancelled one.
        return current_worker().cancelled.wait(SLOW) and gate.wait(SLOW)

    with pytest.raises(KeyboardInterrupt), make(1, queue_size=9) as executor:
        first = executor.submit(look)
        wait_until(first.running)
        queued = [executor.submit(gate.wait) for _ in range(9)]
        raise KeyboardInterrupt
    assert all(f.cancelled() for f in queued) and wait(queued, timeout=0).not_done == set()
    gate.set()
    assert first.result(SLOW) is True, "the handler has seen `cancelled`"


@pytest.mark.parametrize("stop", ["force_shutdown", "shutdown"])
def test_futures_are_done_also_if_the_pool_itself_is_stopped(make, gate, stop):
    executor = make(1, queue_size=5)
    [running], queued = full(executor, gate, 5)
    getattr(executor.pool, stop)(*([0.0] if stop == "shutdown" else []))
    assert wait(queued, timeout=0).not_done == set() and all(f.cancelled() for f in queued)
    gate.set()
    assert running.result(SLOW) is True


def test_no_call_is_accepted_after_the_shutdown(make):
    executor = make()
    executor.shutdown()
    executor.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(int)
    assert executor.pool.stats().submitted == 0


def test_a_function_cannot_wait_for_its_own_executors_end(make):
    with make() as executor:
        assert "would wait for itself" in str(executor.submit(executor.shutdown).exception(SLOW))
        executor.submit(executor.shutdown, wait=False).result(SLOW)


def test_an_executor_without_references_finishes_its_jobs_and_ends_its_threads(make):
    executor = PoolExecutor(2, pool=WorkerPool)
    pool, futures = executor.pool, [executor.submit(time.sleep, 0.005) for _ in range(10)]
    del executor
    gc.collect()
    assert [f.result(SLOW) for f in futures] == [None] * 10
    wait_until(lambda: pool.stats().workers == 0 and threads_ended(pool))


def run_script(code):
    program = [sys.executable, "-c", code]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_program_that_ends_without_a_shutdown_still_does_what_it_has_submitted():
    done = run_script(
        "import os, time; from helpers.pools import PoolExecutor; e = PoolExecutor(2)\n"
        "for n in range(6): e.submit(lambda n: (time.sleep(0.05), os.write(1, b'%d ' % n)), n)"
    )
    assert sorted(done.stdout.split()) == list("012345") and (done.returncode, done.stderr) == (0, "")


def test_a_program_ends_although_a_function_still_runs_after_a_shutdown_without_waiting():
    done = run_script(
        "import threading; from helpers.pools import PoolExecutor; e = PoolExecutor(1)\n"
        "f = e.submit(threading.Event().wait)\n"
        "while not f.running(): pass\n"
        "print(e.pool.force_shutdown().still_running)"
    )
    assert done.stdout == "(Event.wait(...),)\n" and (done.returncode, done.stderr) == (0, "")


# --- use by other packages -------------------------------------------------------------------------------------


def test_asyncio_runs_functions_on_it(make):
    async def main(executor):
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(executor, pow, 2, n) for n in range(30)]
        return await asyncio.gather(*calls)

    with make(3, queue_size=4) as executor:
        assert asyncio.run(main(executor)) == [2**n for n in range(30)]


def test_asyncio_receives_an_error_and_a_cancelled_call(make, gate):
    async def main(executor):
        loop = asyncio.get_running_loop()
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(executor, divmod, 1, 0)
        full(executor, gate, 0)
        waiting = loop.run_in_executor(executor, int)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0)  # the loop passes it to the future in its next round
        gate.set()

    with make(1) as executor:
        asyncio.run(main(executor))
    assert executor.pool.stats().cancelled == 1


def test_dask_computes_on_it(make):
    dask = pytest.importorskip("dask")
    names = set()

    @dask.delayed
    def square(n):
        names.add(threading.current_thread().name)
        return n * n

    with make(3, queue_size=2) as executor:
        total = dask.delayed(sum)([square(n) for n in range(40)])
        assert total.compute(scheduler="threads", pool=executor) == sum(n * n for n in range(40))
        assert names and all(name.startswith(executor.pool.name) for name in names), "it ran in the workers of the pool"


# --- features of the pool behind it ----------------------------------------------------------------------------


def test_a_future_is_done_when_the_last_attempt_is():
    tries = itertools.count(1)

    def third_time():
        if (number := next(tries)) < 3:
            raise ConnectionError(number)
        return number

    policy = RetryPolicy(max_attempts=3, base=0.001, cap=0.001)
    with PoolExecutor(1, pool=RetryingPool, policy=policy) as executor:
        assert executor.submit(third_time).result(SLOW) == 3


@pytest.mark.parametrize("how", ["cancel_futures", "force"])
def test_a_future_whose_retry_is_delayed_ends_with_the_pool_and_has_the_reason(how):
    def fail():
        raise ConnectionError("nobody there")

    policy = RetryPolicy(max_attempts=3, base=1e6, cap=1e6, jitter=False)
    executor = PoolExecutor(1, pool=RetryingPool, policy=policy)
    future = executor.submit(fail)
    wait_until(lambda: executor.pool.stats().delayed == 1)
    assert not future.cancel(), "it has started"
    executor.shutdown(cancel_futures=True) if how == "cancel_futures" else executor.pool.force_shutdown()
    error = future.exception(SLOW)
    assert isinstance(error, JobCancelled) and str(error.__cause__) == "nobody there"


def test_a_redriven_job_runs_again_and_does_not_change_its_future(caplog):
    tries = itertools.count(1)

    def second_time():
        if next(tries) == 1:
            raise ConnectionError("nobody there")

    with PoolExecutor(1, pool=RetryingPool, policy=RetryPolicy(max_attempts=1)) as executor:
        future = executor.submit(second_time)
        assert isinstance(future.exception(SLOW), ConnectionError)
        assert executor.pool.redrive() == 1
        wait_until(lambda: executor.pool.stats().succeeded == 1)
    assert isinstance(future.exception(0), ConnectionError) and not caplog.text


def test_a_dynamic_crew_grows_behind_it(gate):
    with PoolExecutor(4, pool=DynamicPool, min_workers=2, backlog=1) as executor:
        assert executor.pool.stats().workers == 2
        futures = [executor.submit(gate.wait) for _ in range(8)]
        wait_until(lambda: executor.pool.stats().running == 4)
        gate.set()
        assert wait(futures, timeout=SLOW, return_when=FIRST_COMPLETED).done


def test_only_the_executor_can_read_the_results(make):
    with make() as executor, pytest.raises(RuntimeError, match="gives its results to on_result"):
        executor.pool.results()


# --- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"max_workers": 0}, ValueError, "max_workers must be greater than 0, not 0"),
        ({"max_workers": "5"}, TypeError, "max_workers must be a whole number of at least 1, not '5'"),
        ({"max_workers": True}, TypeError, "max_workers must be a whole number of at least 1, not True"),
        ({"queue_size": 0}, ValueError, "queue_size must be a whole number of at least 1, not 0"),
        ({"pool": dict}, TypeError, "pool must be WorkerPool or a class made from it, not <class 'dict'>"),
        ({"pool": None}, TypeError, "pool must be WorkerPool or a class made from it, not None"),
        ({"workers": 7}, TypeError, "workers"),
        ({"pool": DynamicPool, "min_workers": 9}, ValueError, "min_workers must be at most max_workers, not 9 to 5"),
    ],
)
def test_bad_arguments_of_an_executor_are_refused_with_value_and_rule(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        PoolExecutor(**arguments)


def test_what_cannot_be_called_is_refused_and_not_queued(make):
    async def coroutine():
        pass

    with make() as executor:
        for function in (None, 5, coroutine):
            with pytest.raises(TypeError, match="fn must be"):
                executor.submit(function)
        with pytest.raises(ValueError, match="buffersize must be None or > 0, not 0"):
            executor.map(int, "7", buffersize=0)
        with pytest.raises(ValueError, match="timeout must be None or a number of seconds"):
            executor.map(int, "7", timeout=-1, buffersize=1)
        assert executor.pool.stats().submitted == 0


def test_cancelled_error_is_the_class_of_concurrent_futures(make, gate):
    executor = make(1, queue_size=2)
    full(executor, gate, 0)
    future = executor.submit(int)
    executor.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(CancelledError):
        future.result(SLOW)
    gate.set()
    executor.shutdown()
