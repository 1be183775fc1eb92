"""What a pool that runs for months survives: failing memory, broken resources, forks, odd clocks, and lost turns."""

import ctypes
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from conftest import SLOW, wait_until
from inside import alarms_of, state_of
from test_pool_contract import accounts_balance

from helpers.pools import RetryingPool, RetryLater, RetryPolicy, WorkerPool, current_worker
from helpers.pools.alarm import Alarm


@contextmanager
def resource(opened, closed):
    opened.append(current_worker().number)
    yield opened
    closed.append(current_worker().number)


def fails_once(error=ValueError, before=lambda: None):
    """Return a handler whose jobs fail at their first attempt."""

    def handler(job):
        assert current_worker().resource is not None
        if current_worker().attempt == 1:
            before()
            raise error(job)
        return job

    return handler


SOON = RetryPolicy(max_attempts=2, base=1e-6, cap=1e-6, retry_on=(ValueError, OSError))


# --- resources ---------------------------------------------------------------------------------------------------


def two_workers_one_retry(error, before, broken=()):
    """Return how many resources two workers opened until a job that failed in one was retried by the other."""
    opened, closed, gate = [], [], threading.Event()
    both = threading.Barrier(2, timeout=SLOW)
    fails = fails_once(error, before)

    def handler(job):
        assert current_worker().resource is not None
        if job == "meet":
            both.wait()
        elif job == "hold":
            gate.wait(SLOW)
        else:
            fails(job)
        return current_worker().number

    policy = RetryPolicy(max_attempts=2, base=0.2, cap=0.2, jitter=False, retry_on=(ValueError, OSError))
    options = {"resource": lambda: resource(opened, closed), "broken": broken, "policy": policy}
    with RetryingPool(handler, workers=2, **options) as pool:
        assert all(result.ok for result in pool.stream(["meet", "meet"]))
        pool.submit("fails")
        wait_until(lambda: pool.stats().delayed == 1 and len(state_of(pool).idle) == 2)
        pool.submit("hold")  # it goes to the worker that became idle last, which is the worker whose job has failed
        results = pool.results()
        retried = next(results)
        gate.set()
        (held,) = results
    assert retried.ok and retried.job == "fails" and retried.attempt == 2 and held.worker != retried.worker
    assert len(opened) == len(closed)
    return len(opened)


def test_a_retry_after_the_handler_has_discarded_its_resource_gets_a_new_one_on_any_worker():
    # One per worker, one for the job that holds the first worker, and one for the retry in the second worker.
    assert two_workers_one_retry(ValueError, lambda: current_worker().discard()) == 4


def test_a_retry_after_a_broken_resource_gets_a_new_one_on_any_worker():
    assert two_workers_one_retry(OSError, lambda: None, broken=(OSError,)) == 4


def test_a_retry_after_another_error_keeps_the_resources():
    assert two_workers_one_retry(ValueError, lambda: None, broken=(OSError,)) == 2


def test_an_old_mark_does_not_discard_the_resource_of_a_later_attempt():
    opened, closed = [], []

    def handler(job):
        worker = current_worker()
        assert worker.resource is not None
        if worker.attempt == 1:
            worker.discard()
        if worker.attempt < 4:
            raise ValueError(job)

    policy = RetryPolicy(max_attempts=4, base=1e-6, cap=1e-6, retry_on=ValueError)
    with RetryingPool(handler, workers=1, resource=lambda: resource(opened, closed), policy=policy) as pool:
        assert all(result.ok for result in pool.stream([1]))
    assert len(opened) == 2


def test_the_errors_of_a_year_are_not_all_kept():
    @contextmanager
    def cannot_close():
        yield 1
        raise OSError("no")

    def handler(job):
        assert current_worker().resource == 1
        current_worker().discard()
        raise ConnectionError(job)

    def closes_badly(result):
        raise OSError(result.job)

    with WorkerPool(handler, workers=1, resource=cannot_close, on_result=closes_badly) as pool:
        for job in range(1500):
            pool.submit(job)
        report = pool.shutdown()
    assert report.stats.failed == 1500 and len(report.errors) == 1000
    assert str(report.errors[-1]) == "1499"


# --- no free memory ------------------------------------------------------------------------------------------------


def test_a_job_that_becomes_due_stays_delayed_if_there_is_no_memory_for_the_queue(monkeypatch):
    with RetryingPool(fails_once(), workers=1, policy=SOON, resource=lambda: resource([], [])) as pool:
        state = state_of(pool)
        enqueue, failed = state.enqueue, []

        def no_memory(task):
            if task[0].attempt and not failed:
                failed.append(accounts_balance(state.count()))
                raise MemoryError
            enqueue(task)

        monkeypatch.setattr(state, "enqueue", no_memory)
        monkeypatch.setattr("helpers.pools.alarm.RETRY_WAIT", 0.01)
        assert [result.ok for result in pool.stream(["a"])] == [True]
    assert failed == [True] and accounts_balance(pool.stats())


def test_an_alarm_survives_an_exception_that_is_injected_into_its_thread():
    policy = RetryPolicy(max_attempts=2, base=0.3, cap=0.3, jitter=False, retry_on=ValueError)
    with RetryingPool(fails_once(), workers=1, policy=policy, resource=lambda: resource([], [])) as pool:
        pool.submit("a")
        wait_until(lambda: pool.stats().delayed == 1)
        (alarm,) = alarms_of(pool)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(alarm.thread.ident), ctypes.py_object(SystemExit))
        assert [result.ok for result in pool.results()] == [True]
        assert alarm.thread.is_alive()
    assert not alarm.thread.is_alive()


@pytest.mark.parametrize("error", [MemoryError, SystemExit])
def test_an_alarm_whose_action_was_interrupted_fires_again(monkeypatch, error):
    """The exception is injected after the time was reset and before the action has started."""
    monkeypatch.setattr("helpers.pools.alarm.RETRY_WAIT", 0.01)
    calls = []

    def action():
        calls.append(error)
        if len(calls) == 1:
            raise error

    alarm = Alarm(threading.RLock(), action, time.monotonic, "alarm of a test")
    alarm.start()
    alarm.at(time.monotonic())
    wait_until(lambda: len(calls) == 2)
    alarm.stop()
    alarm.thread.join(SLOW)
    assert not alarm.thread.is_alive()


# --- clocks, turns, messages ---------------------------------------------------------------------------------------


def test_a_stop_in_the_clock_of_the_user_stops_the_caller_and_takes_no_job():
    stop = False

    def clock():
        if stop and threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return time.monotonic()

    with WorkerPool(str, workers=1, clock=clock) as pool:
        stop = True
        with pytest.raises(KeyboardInterrupt):
            pool.submit(1)
        stop = False
        assert pool.stats().submitted == 0


def test_an_interrupt_that_a_clock_raises_in_a_worker_is_an_error_of_the_clock():
    def clock():
        if threading.current_thread() is not threading.main_thread():
            raise KeyboardInterrupt
        return time.monotonic()

    with WorkerPool(str, workers=1, clock=clock) as pool:
        assert [result.value for result in pool.stream([1])] == ["1"]


def test_a_submitter_that_finds_no_room_after_a_notification_keeps_its_turn():
    gate, order = threading.Event(), []
    with WorkerPool(lambda job: gate.wait(SLOW), workers=1, queue_size=1) as pool:
        state = state_of(pool)
        pool.submit("runs")
        wait_until(lambda: pool.stats().running == 1)
        pool.submit("waits")

        def submit(job):
            pool.submit(job)
            order.append(job)

        threads = [threading.Thread(target=submit, args=(job,), daemon=True) for job in ("first", "second")]
        for number, thread in enumerate(threads, 1):
            thread.start()
            wait_until(lambda: len(state.blocked) == number)  # noqa: B023
        first = state.blocked[0]
        for _ in range(3):  # each time another submitter was faster, so the queue is still full
            with state.lock:
                state.wake_blocked()
            wait_until(lambda: len(state.blocked) == 2)
            assert state.blocked[0] is first
        gate.set()
        for thread in threads:
            thread.join(SLOW)
    assert sorted(order) == ["first", "second"] and pool.stats().succeeded == 4


def test_a_timeout_at_the_bound_of_delayed_jobs_names_that_bound():
    def handler(job):
        raise RetryLater("busy", retry_after=60)

    with RetryingPool(handler, workers=1, max_delayed=1, policy=RetryPolicy(max_attempts=2)) as pool:
        pool.submit(1)
        wait_until(lambda: pool.stats().delayed == 1)
        with pytest.raises(TimeoutError, match=r"\(max_delayed=1 jobs were waiting for a retry\) within 0.01 s for 2"):
            pool.submit(2, timeout=0.01)
        assert pool.stats().submitted == 1
        pool.force_shutdown()


# --- forks ---------------------------------------------------------------------------------------------------------

FORKS = """
import os, sys, time
from helpers.pools import PoolExecutor
executor = PoolExecutor(2)
executor.submit(time.sleep, 0.2)
if os.fork() == 0:
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_ends_without_waiting_for_the_executor_of_its_parent():
    run = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=SLOW)
    assert (run.stdout, run.returncode) == ("7\n", 0), run.stderr


# --- callbacks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["cancel_queued", "force_shutdown"])
def test_a_callback_may_ask_for_its_thread_and_leaves_no_record_of_it(end):
    """`logging` reads the name of the current thread. Python then keeps a record for a thread that it did not start."""
    gate, names = threading.Event(), []
    pool = WorkerPool(
        lambda job: gate.wait(SLOW), workers=1, on_result=lambda result: names.append(threading.current_thread().name)
    )
    for job in range(3):
        pool.submit(job)
    wait_until(lambda: pool.stats().running == 1)
    before = set(threading.enumerate())
    getattr(pool, end)()
    assert names == [f"{pool.name}-callbacks"] * 2
    gate.set()
    pool.shutdown()
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread not in before])
    assert len(names) == 3
