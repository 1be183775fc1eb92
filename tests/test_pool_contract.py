"""The contract that every pool keeps on every engine. A new pool joins by one line in POOLS.

The image and the mail pool do one kind of work. Here theirs is replaced by the test's handler, and nothing else of
them: `process` and `deliver` are the only methods overridden.

A test runs on every engine, unless its handler shares memory with the test (`in_this_process`) or asks for its worker
(`with_workers`). The handlers that a child process can import are in process_handlers.py.
"""

import gc
import itertools
import sysconfig
import tempfile
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

import process_handlers as handlers
import pytest
from conftest import SLOW, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st
from inside import SLICE, interrupted_wait, set_slice, state_of

from helpers.pools import (
    BatchEmailSender,
    DynamicPool,
    DynamicRetryingPool,
    ImageProcessor,
    JobCancelled,
    PoolClosed,
    Processes,
    RetryingPool,
    RetryPolicy,
    WorkerPool,
    current_worker,
)
from helpers.pools.connections import Connections
from helpers.pools.intake import Intake


class AnyPictures(ImageProcessor):
    def __init__(self, handler, **options):
        self.process = handler
        super().__init__(output=tempfile.gettempdir(), **options)


class AnyMails(BatchEmailSender):
    def __init__(self, handler, **options):
        self.deliver = handler
        super().__init__(host="127.0.0.1", port=9, **options)


def dynamic(handler, *, workers=5, kind=DynamicPool, **options):
    """Return a pool that grows from one worker to `workers` as soon as a job waits, and does not shrink in a test."""
    low = 1 if type(workers) is int and workers > 1 else workers
    limits = {"min_workers": low, "max_workers": workers, "backlog": 1, "max_wait": 0.001}
    return kind(handler, **limits, **options)


def retrying(handler, **options):
    """Return a pool that retries each failed job once."""
    return RetryingPool(handler, policy=TWICE, **options)


def both(handler, **options):
    return dynamic(handler, kind=DynamicRetryingPool, policy=TWICE, **options)


def retries(pool) -> bool:
    return getattr(pool, "policy", None) is not None


TWICE = RetryPolicy(max_attempts=2, base=0.001, cap=0.001)
POOLS = {
    "WorkerPool": WorkerPool,
    "ImageProcessor": AnyPictures,
    "BatchEmailSender": AnyMails,
    "DynamicPool": dynamic,
    "RetryingPool": retrying,
    "DynamicRetryingPool": both,
}


# The four pools that take any handler run it on any engine. The default run has the simplest of them.
ENGINES = [
    pytest.param(f"{name} on {engine}", marks=() if name == "WorkerPool" else pytest.mark.long)
    for engine in ("processes", "an executor")
    for name in ("WorkerPool", "DynamicPool", "RetryingPool", "DynamicRetryingPool")
]
in_this_process = pytest.mark.parametrize("make_pool", POOLS, indirect=True)
with_workers = pytest.mark.parametrize("make_pool", [*POOLS, *ENGINES[:4]], indirect=True)


@pytest.fixture
def cleanup():
    """What must be closed after a test; the last thing that was added is closed first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=[*POOLS, *ENGINES])
def make_pool(request, cleanup):
    """A maker of pools; what a failed test leaves open is forced shut."""
    name, _, engine = request.param.partition(" on ")
    options = {}
    if engine == "processes":  # a long grace, so that it is the contract that ends a handler, as with threads
        options = {"engine": Processes(grace=60.0)}
    elif engine:
        options = {"engine": cleanup.enter_context(ThreadPoolExecutor(8))}

    def make(handler, **more):
        pool = POOLS[name](handler, **options, **more)
        cleanup.callback(pool.force_shutdown)
        return pool

    make.engine = engine
    make.many = 1000 if engine == "processes" else 5000  # jobs, for tests under load
    return make


@pytest.fixture
def gate(cleanup, tmp_path):
    """Jobs wait at it; opened for certain when the test ends, before its pools are forced shut."""
    gate = handlers.Gate(tmp_path / "gate")
    yield gate
    gate.set()


def when_closed(pool, action):
    """Call action() in another thread as soon as a shutdown has started."""
    threading.Thread(target=lambda: (wait_until(lambda: state_of(pool).closed), action()), daemon=True).start()


def stop(pool):
    """Force the shutdown. Return the jobs that were cancelled, and those that have finished.

    A child process may need longer to stop than a forced shutdown waits, and then the second call waits for it.
    """
    reports = [pool.force_shutdown(), pool.shutdown()]
    assert not reports[1].still_running
    cancelled = {job for report in reports for job in report.cancelled}
    finished = {job for report in reports for job in report.finished}
    return sorted(cancelled), sorted(finished)


def accounts_balance(stats) -> bool:
    """Assert that the counts add up, and that every count is within its bounds."""
    parts = (stats.queued, stats.running, stats.delayed, stats.succeeded, stats.failed, stats.cancelled, stats.unknown)
    return stats.submitted == sum(parts) and min(parts) >= 0


# --- jobs and results ------------------------------------------------------------------------------------------


def test_every_job_comes_out_once(make_pool):
    with make_pool(handlers.square, workers=4, queue_size=3) as pool:
        results = list(pool.stream(range(200)))
    assert sorted((r.job, r.value) for r in results) == [(n, n * n) for n in range(200)]
    assert all(r.ok and r.attempt == 1 and r.worker in range(1, 5) for r in results)


def test_results_stamp_submitted_started_finished_in_order(make_pool):
    with make_pool(handlers.nap, workers=2, queue_size=4) as pool:
        for r in pool.stream(range(20)):
            assert r.submitted <= r.started <= r.finished
            assert r.wait + r.duration == pytest.approx(r.latency)


def test_time_stamps_come_from_the_clock_given(make_pool):
    ticks = itertools.count(100)
    with make_pool(handlers.echo, workers=1, queue_size=1, clock=lambda: float(next(ticks))) as pool:
        pool.submit("a")
        [r] = pool.results()
    # Some pools also read the clock for their own purposes.
    assert 100.0 <= r.submitted < r.started < r.finished < next(ticks)
    assert (r.wait, r.duration) == (r.started - r.submitted, r.finished - r.started)


@pytest.mark.parametrize(
    "error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(3), GeneratorExit(), StopIteration()]
)
def test_whatever_a_handler_raises_is_in_its_result(make_pool, error):
    with make_pool(partial(handlers.raise_for_one, error), workers=1, queue_size=5) as pool:
        results = {r.job: r for r in pool.stream(range(3))}
    assert repr(results[1].error) == repr(error) and not results[1].ok and results[1].value is None
    assert results[1].error is error or make_pool.engine == "processes"
    assert results[0].ok and results[2].value == 2, "the worker must outlive a bad job"
    assert (pool.stats().succeeded, pool.stats().failed) == (2, 1)


def test_a_job_whose_handler_returns_a_coroutine_has_failed(make_pool, recwarn):
    for handler in (handlers.return_coroutine, handlers.return_async_generator):
        # The check of the constructor sees a plain function, so only the value that it returns can tell.
        with make_pool(handler, workers=1) as pool:
            [result] = pool.stream([1])
        assert type(result.error) is TypeError and result.value is None
        assert "of which nothing has run, because no worker awaits it" in str(result.error)
        assert (pool.stats().succeeded, pool.stats().failed) == (0, 1)
    gc.collect()
    assert [str(warning.message) for warning in recwarn if "never awaited" in str(warning.message)] == []


def test_a_job_whose_outcome_is_unknown_has_neither_succeeded_nor_failed(make_pool):
    with make_pool(handlers.end_in_three_ways, workers=2) as pool:
        results = list(pool.stream(range(30)))
    stats = pool.stats()
    assert (stats.succeeded, stats.failed, stats.unknown, stats.finished) == (10, 10, 10, 30)
    assert accounts_balance(stats) and len(results) == 30


@with_workers
def test_a_handler_that_stops_because_the_pool_does_is_cancelled_and_not_failed(make_pool):
    pool = make_pool(handlers.stop_half_way, workers=2, queue_size=5)
    for job in range(4):
        pool.submit(job)
    wait_until(lambda: pool.stats().running == 2)
    assert stop(pool) == ([0, 1, 2, 3], [])
    assert (pool.stats().cancelled, pool.stats().failed) == (4, 0)
    assert sorted((r.job, r.attempt) for r in pool.results()) == [(0, 1), (1, 1), (2, 0), (3, 0)]


@in_this_process
def test_an_error_keeps_its_lines_but_not_the_data_of_its_frames(make_pool):
    class Big:
        pass

    seen = []

    def handler(job):
        big = Big()
        seen.append(weakref.ref(big))
        try:
            raise KeyError("first")
        except KeyError as cause:
            raise ValueError("second") from cause

    with make_pool(handler, workers=1) as pool:
        [result] = pool.stream([1])
    gc.disable()
    try:
        assert seen[0]() is None, "a kept error must not keep the handler's locals"
    finally:
        gc.enable()
    assert result.error.__traceback__.tb_frame.f_code.co_name == "handler"
    assert result.error.__cause__.args == ("first",)


def test_failing_jobs_are_freed_without_the_garbage_collector(make_pool):
    with make_pool(handlers.fail, workers=1) as pool:
        gc.disable()
        try:
            job = handlers.AnyJob()
            ref = weakref.ref(job)
            pool.submit(job)
            del job
            for result in pool.results():
                assert not result.ok
            del result
            getattr(pool, "discard_letters", list)()  # dead letters are kept, and each refers to its job
            if sysconfig.get_config_var("Py_GIL_DISABLED"):
                gc.collect()  # without it, a failed job may be freed late there: see docs/promises.md
            wait_until(lambda: ref() is None, 5)
        finally:
            gc.enable()


# --- backpressure ----------------------------------------------------------------------------------------------


def test_a_waiting_thread_is_notified_and_does_not_only_check_again_after_a_time(make_pool, monkeypatch):
    set_slice(monkeypatch, 1000.0)
    with make_pool(handlers.nap, workers=1, queue_size=1) as pool:
        for job in range(6):
            pool.submit(job)
        assert sorted(r.job for r in pool.results()) == list(range(6))
        assert sorted(r.job for r in pool.stream(range(6))) == list(range(6))


def test_submit_blocks_while_the_queue_is_full_and_goes_on_when_a_worker_takes_a_job(make_pool, gate):
    with make_pool(gate.hold, workers=1, queue_size=2) as pool:
        pool.submit(0)
        wait_until(lambda: pool.stats().running == 1)
        pool.submit(1)
        pool.submit(2)
        blocked = threading.Thread(target=pool.submit, args=(3,))
        blocked.start()
        with pytest.raises(TimeoutError, match="queue of 2 within 0.05 s"):
            pool.submit(4, timeout=0.05)
        assert blocked.is_alive() and pool.stats().submitted == 3
        gate.set()
        blocked.join(20)
        assert not blocked.is_alive()
    assert pool.stats().succeeded == 4


def test_try_submit_says_whether_there_was_room(make_pool, gate):
    with make_pool(gate.hold, workers=1, queue_size=1) as pool:
        assert pool.try_submit(0)
        wait_until(lambda: pool.stats().running == 1)
        assert pool.try_submit(1)
        assert not pool.try_submit(2)
        assert pool.stats().submitted == 2
        gate.set()


def test_results_that_nobody_reads_block_nobody_and_are_kept(make_pool):
    pool = make_pool(handlers.echo, workers=2, queue_size=1)
    for n in range(500):
        pool.submit(n, timeout=20)
    report = pool.shutdown(20)
    assert report.complete and report.stats.succeeded == 500
    assert sorted(r.job for r in pool.results()) == list(range(500))
    assert list(pool.results()) == []


@in_this_process
def test_the_queue_and_the_crew_stay_in_their_bounds(make_pool):
    running = [0]
    most = [0]
    lock = threading.Lock()
    three = threading.Barrier(3)

    def handler(job):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        if job < 3:
            three.wait(SLOW)  # so that all three workers run a job at the same time, however slow the machine is
        time.sleep(0.0005)
        with lock:
            running[0] -= 1

    with make_pool(handler, workers=3, queue_size=4) as pool:
        for _ in pool.stream(range(150)):
            stats = pool.stats()
            assert accounts_balance(stats) and stats.queued <= 4 and stats.running <= 3
    assert most[0] == 3


# --- stream ----------------------------------------------------------------------------------------------------


def test_stream_reads_an_endless_source_in_constant_memory(make_pool):
    drawn = itertools.count()
    read = 0
    with make_pool(handlers.echo, workers=3, queue_size=5) as pool:
        for _ in itertools.islice(pool.stream(drawn), 1000):
            read += 1
            taken = pool.stats().submitted
            assert taken - (read - 1) <= 5 + 3, (
                "at most queue_size + workers jobs in the pool, including unread results"
            )
        assert pool.stats().queued == 0, "leaving the loop cancels its jobs"


@in_this_process
@pytest.mark.parametrize("queue_size", [1, 2, 3])
def test_a_short_queue_keeps_no_worker_of_a_stream_idle(make_pool, queue_size):
    together = threading.Barrier(4)  # passed by four workers at a time, or broken
    with make_pool(lambda job: together.wait(10), workers=4, queue_size=queue_size) as pool:
        if pool.stats().workers < 4:
            pytest.skip("this crew grows as results come, and here none comes before it has grown")
        assert all(r.ok for r in pool.stream(range(40)))


def test_a_slow_reader_holds_the_feeding_back(make_pool):
    with make_pool(handlers.echo, workers=2, queue_size=3) as pool:
        stream = pool.stream(itertools.count())
        next(stream)
        wait_until(lambda: pool.stats().succeeded == pool.stats().submitted)
        assert pool.stats().submitted <= 1 + 3 + 2
        stream.close()


def test_an_error_of_a_source_is_raised_after_the_results_of_its_jobs(make_pool):
    def source():
        yield from range(7)
        raise LookupError("the source broke")

    done = []
    with make_pool(handlers.echo, workers=2, queue_size=50) as pool:
        with pytest.raises(LookupError, match="the source broke"):
            for result in pool.stream(source()):
                done.append(result.job)
        assert sorted(done) == list(range(7))
        assert [r.job for r in pool.stream(["next"])] == ["next"]


@in_this_process
def test_break_cancels_what_is_queued_and_the_next_stream_waits_for_what_runs(make_pool, gate):
    def handler(job):
        if job == 0:
            # So that some are still queued, and the other worker holds one, when the result of this job is read.
            wait_until(lambda: pool.stats().submitted == 20 and pool.stats().running == 2)
        elif job < 100:
            gate.wait(20)
        return job

    with make_pool(handler, workers=2, queue_size=20) as pool:
        for result in pool.stream(range(20)):
            assert result.job == 0
            break
        stats = pool.stats()
        assert stats.queued == 0 and stats.cancelled >= 1 and accounts_balance(stats)
        threading.Timer(0.02, gate.set).start()
        clean = pool.stream(range(100, 105))
        assert gate.is_set() and pool.stats().running == 0
        assert sorted(r.value for r in clean) == list(range(100, 105))


def test_break_cancels_nothing_that_was_submitted(make_pool, gate):
    with make_pool(gate.hold, workers=1, queue_size=10) as pool:
        stream = pool.stream(["first", "second", "third"])
        next(stream)
        pool.submit("mine")
        stream.close()
        gate.set()
        assert [(r.job, r.ok) for r in pool.results()] == [("mine", True)]


@in_this_process  # or the start of a child may last longer than the job
def test_the_next_stream_waits_longer_than_the_longest_single_wait(make_pool, monkeypatch):
    set_slice(monkeypatch, 0.005)
    with make_pool(handlers.sleep, workers=2) as pool:
        stream = pool.stream([0.2, 0])
        next(stream)
        wait_until(lambda: pool.stats().running == 1)
        stream.close()
        assert [r.job for r in pool.stream([0])] == [0]
        assert pool.stats().succeeded == 3


def test_a_stream_that_waits_for_the_last_one_hears_of_a_shutdown(make_pool, gate):
    pool = make_pool(gate.hold, workers=2)
    stream = pool.stream(["long", "quick"])  # in this order, "long" is in the pool for certain when "quick" is read
    next(stream)
    wait_until(lambda: pool.stats().running == 1)
    stream.close()
    closer = threading.Thread(
        target=lambda: (wait_until(lambda: state_of(pool).reader is not None), pool.force_shutdown())
    )
    closer.start()
    with pytest.raises(PoolClosed, match="'late' was not taken"):
        list(pool.stream(["late"]))
    assert pool.stats().running == 1
    closer.join(20)


def test_stream_yields_its_own_jobs_and_leaves_submitted_ones_to_results(make_pool):
    with make_pool(handlers.echo, workers=1, queue_size=10) as pool:
        pool.submit("submitted")
        assert [r.job for r in pool.stream(["streamed"])] == ["streamed"]
        assert [r.job for r in pool.results()] == ["submitted"]


def test_stream_makes_its_way_while_others_fill_the_queue(make_pool):
    with make_pool(handlers.nap, workers=1, queue_size=1) as pool:
        other = threading.Thread(target=lambda: [pool.submit("other") for _ in range(30)])
        other.start()
        assert sorted(r.job for r in pool.stream(range(30))) == list(range(30))
        other.join()
    assert pool.stats().succeeded == 60


def test_a_shutdown_under_a_stream_gives_the_taken_jobs_and_then_says_so(make_pool):
    with make_pool(handlers.echo, workers=2, queue_size=4) as pool:
        read = []
        stream = pool.stream(itertools.count())
        read.append(next(stream).job)
        report = pool.shutdown(20)
        with pytest.raises(PoolClosed, match=f": {report.stats.submitted} was not taken"):
            for result in stream:
                read.append(result.job)
    assert sorted(read) == list(range(report.stats.submitted))


def test_stream_refuses_what_cannot_be_iterated_at_the_call(make_pool):
    with make_pool(handlers.echo) as pool, pytest.raises(TypeError, match="jobs must be iterable, not 5"):
        pool.stream(5)


# --- one reader ------------------------------------------------------------------------------------------------


def reader_of(pool, kind):
    return pool.results() if kind == "results" else pool.stream([1, 2, 3])


@pytest.mark.parametrize("first", ["results", "stream"])
@pytest.mark.parametrize("second", ["results", "stream"])
def test_a_second_reader_is_refused_at_once_and_allowed_when_the_first_has_left(make_pool, first, second):
    with make_pool(handlers.echo) as pool:
        reading = reader_of(pool, first)
        with pytest.raises(RuntimeError, match="has a reader"):
            reader_of(pool, second)
        reading.close()
        reader_of(pool, second).close()


@pytest.mark.parametrize("first", ["results", "stream"])
@pytest.mark.parametrize("second", ["results", "stream"])
def test_a_reader_that_was_refused_makes_no_room_for_a_third(make_pool, first, second):
    with make_pool(handlers.echo) as pool:
        reading = reader_of(pool, first)
        for _ in range(3):
            with pytest.raises(RuntimeError, match="has a reader"):
                reader_of(pool, second)
        reading.close()


def test_an_exception_of_a_signal_handler_in_the_middle_of_a_step_does_not_let_a_stream_wait_forever(
    make_pool, monkeypatch
):
    """The exception does not come from the source, so the stream must not wait for jobs that may not be queued."""
    admit, calls = Intake.admit, itertools.count()

    def interrupted(intake, job, outlet, parker=None):
        if next(calls) == 2:
            outlet.unread += 1  # as if the signal had arrived just before the job was queued
            raise TimeoutError("of a handler of SIGALRM")
        return admit(intake, job, outlet, parker)

    with make_pool(handlers.echo, workers=1, queue_size=3) as pool:
        with monkeypatch.context() as patch, pytest.raises(TimeoutError, match="SIGALRM"):
            patch.setattr(Intake, "admit", interrupted)
            list(pool.stream(range(5)))
        assert sorted(result.job for result in pool.stream(range(5))) == list(range(5))


def test_results_ends_for_the_thread_that_submitted_all(make_pool):
    with make_pool(handlers.echo, workers=3) as pool:
        for n in range(20):
            pool.submit(n)
        assert sorted(r.job for r in pool.results()) == list(range(20))
        pool.submit("more")
        assert [r.job for r in pool.results()] == ["more"]


def test_a_reader_in_a_thread_of_its_own_reads_until_the_shutdown(make_pool):
    pool = make_pool(handlers.echo, workers=3, queue_size=2)
    read = []
    reader = threading.Thread(target=lambda: read.extend(r.job for r in pool.results()))
    reader.start()
    for n in range(50):
        pool.submit(n)
        if n == 25:
            wait_until(lambda: len(read) == 26)  # the pool is idle for a moment, which must not end the reader
    pool.shutdown()
    reader.join(20)
    assert not reader.is_alive() and sorted(read) == list(range(50))


# --- inside a handler ------------------------------------------------------------------------------------------


@in_this_process
@pytest.mark.parametrize(
    ("call", "why"),
    [
        ("submit", "submit() could wait forever; try_submit() does not wait"),
        ("shutdown", "shutdown() would wait for itself"),
        ("force_shutdown", "force_shutdown() would wait for itself"),
        ("results", "results() would wait for itself"),
        ("stream", "stream() would wait for itself"),
    ],
)
def test_calls_that_could_deadlock_are_refused_inside_a_handler_of_the_pool(make_pool, call, why):
    def handler(job):
        args = {"submit": (1,), "stream": ([1],)}.get(call, ())
        return getattr(pool, call)(*args)

    with make_pool(handler) as pool:
        [result] = pool.stream(["job"])
    assert isinstance(result.error, RuntimeError)
    assert str(result.error) == f"called by a handler of {pool.name} itself: {why}"


@in_this_process
def test_a_handler_may_try_submit(make_pool):
    def handler(depth):
        if depth:
            assert pool.try_submit(depth - 1)
        return depth

    with make_pool(handler, workers=2) as pool:
        pool.submit(5)
        assert sorted(r.job for r in pool.results()) == [0, 1, 2, 3, 4, 5]


@in_this_process
def test_a_handler_may_submit_to_another_pool(make_pool):
    with make_pool(lambda job: -job) as second, make_pool(second.submit) as first:
        assert all(r.ok for r in first.stream(range(1, 6)))
        second.shutdown()
        assert sorted(r.value for r in second.results()) == [-5, -4, -3, -2, -1]


@with_workers
def test_current_worker_is_only_there_inside_a_handler(make_pool):
    with make_pool(handlers.number_of, workers=1) as pool:
        assert [r.value for r in pool.stream([0])] == [1]
    with pytest.raises(RuntimeError, match="not a worker of a pool"):
        current_worker()


# --- resources -------------------------------------------------------------------------------------------------


class Tools:
    """A resource that counts its openings and closings. It can fail to open and to close."""

    def __init__(self, refuse=0, broken=False):
        self.opened = self.closed = 0
        self.refuse, self.broken = refuse, broken
        self.lock = threading.Lock()

    @contextmanager
    def __call__(self):
        with self.lock:
            if self.refuse:
                self.refuse -= 1
                raise ConnectionError("nobody answers")
            self.opened += 1
            mine = self.opened
        try:
            yield mine
        finally:
            with self.lock:
                self.closed += 1
            if self.broken:
                raise OSError("close failed")


@in_this_process
def test_each_worker_opens_its_resource_once_and_closes_it_once(make_pool):
    tools = Tools()
    barrier = threading.Barrier(3)

    def handler(job):
        if job < 3:
            barrier.wait(20)  # so that each of the three workers gets a job
        return current_worker().number, current_worker().resource

    with make_pool(handler, workers=3, resource=tools) as pool:
        pairs = {r.value for r in pool.stream(range(50))}
    assert len(pairs) == 3 and len({number for number, _ in pairs}) == 3
    assert (tools.opened, tools.closed) == (3, 3)


@in_this_process
def test_a_worker_that_never_asks_opens_nothing(make_pool):
    tools = Tools()
    with make_pool(handlers.echo, resource=tools) as pool:
        assert all(r.ok for r in pool.stream(range(9)))
    assert tools.opened == 0


@in_this_process
def test_a_resource_that_cannot_be_opened_is_the_error_of_the_job_and_the_next_job_tries_again(make_pool):
    tools = Tools(refuse=2)
    with make_pool(lambda job: current_worker().resource, workers=1, resource=tools) as pool:
        results = list(pool.stream(range(5)))
    refused = [r for r in results if not r.ok]
    assert [type(r.error).__name__ for r in refused] == ["ConnectionError"] * (0 if retries(pool) else 2)
    assert all(r.value == 1 for r in results if r.ok) and tools.closed == 1


@in_this_process
def test_a_resource_that_cannot_be_closed_is_reported(make_pool):
    tools = Tools(broken=True)
    pool = make_pool(lambda job: current_worker().resource, workers=1, resource=tools)
    assert [r.ok for r in pool.stream([1])] == [True]
    [error] = pool.shutdown(20).errors
    assert str(error) == "close failed"


@in_this_process
@pytest.mark.parametrize(
    ("options", "error", "breaks"),
    [
        ({}, ConnectionResetError("gone"), True),  # an OSError, which the default of `broken` names
        ({}, EOFError("gone"), True),
        ({}, ValueError("bad job"), False),
        ({"broken": ValueError}, ValueError("gone"), True),
        ({"broken": lambda error: "gone" in str(error)}, ValueError("gone"), True),
        ({"broken": ()}, ConnectionResetError("gone"), False),
    ],
)
def test_a_broken_resource_is_closed_and_the_next_job_opens_another(make_pool, options, error, breaks):
    tools = Tools()
    seen = []

    def handler(job):
        seen.append(current_worker().resource)
        if job == "breaks":
            raise error

    with make_pool(handler, workers=1, resource=tools, **options) as pool:
        results = [result for jobs in (["works", "breaks"], ["works again"]) for result in pool.stream(jobs)]
    if isinstance(pool, BatchEmailSender) and not options:
        breaks = False  # the mailer replaces broken connections itself
    attempts = 2 if retries(pool) else 1
    assert len(seen) == 2 + attempts and sum(result.ok for result in results) == 2
    assert tools.opened == tools.closed == len(set(seen)) == (1 + attempts if breaks else 1)


@in_this_process
def test_a_resource_that_the_handler_discards_is_closed_and_the_next_job_opens_another(make_pool):
    tools = Tools()

    def handler(job):
        worker = current_worker()
        number = worker.resource
        assert worker.discard() is None and tools.closed == number
        return number

    with make_pool(handler, workers=1, resource=tools) as pool:
        assert [result.value for result in pool.stream("abc")] == [1, 2, 3]
    assert tools.opened == tools.closed == 3


@with_workers
def test_asking_for_a_resource_that_was_not_given_is_a_clear_error(make_pool):
    with make_pool(handlers.use_resource) as pool:
        [result] = pool.stream([1])
    if isinstance(pool, BatchEmailSender):
        assert isinstance(result.value, Connections), "the mailer has a resource of its own"
    else:
        assert "this pool has no resource" in str(result.error)


# --- the end ---------------------------------------------------------------------------------------------------


def test_shutdown_drains_and_names_what_it_finished(make_pool, gate):
    pool = make_pool(gate.hold, workers=2, queue_size=10)
    for name in "abcde":
        pool.submit(name)
    wait_until(lambda: pool.stats().running == 2)
    when_closed(pool, gate.set)
    report = pool.shutdown()
    assert sorted(report.finished) == list("abcde")
    assert report.complete and report.cancelled == report.still_running == report.errors == ()
    assert report.stats.workers == 0 and report.stats.succeeded == 5


def test_at_the_deadline_the_rest_is_cancelled_and_what_runs_is_named(make_pool, gate):
    pool = make_pool(gate.hold, workers=2, queue_size=10)
    for name in "abcde":
        pool.submit(name)
    wait_until(lambda: pool.stats().running == 2)
    begun = time.monotonic()
    report = pool.shutdown(deadline=0.05)
    assert time.monotonic() - begun >= 0.05
    assert sorted(report.still_running) == ["a", "b"] and report.cancelled == ("c", "d", "e")
    assert not report.complete and accounts_balance(report.stats)
    results = list(pool.results())
    assert [(r.job, type(r.error)) for r in results] == [(job, JobCancelled) for job in "cde"]
    assert all(r.started is None and r.worker is None and r.attempt == 0 for r in results)
    gate.set()
    again = pool.shutdown()
    assert sorted(again.finished) == ["a", "b"] and again.still_running == ()
    assert sorted(r.job for r in pool.results()) == ["a", "b"], "late results are kept as well"


@with_workers
def test_force_cancels_the_queue_and_lets_handlers_that_look_stop(make_pool):
    pool = make_pool(handlers.wait_for_cancelled, workers=2, queue_size=10)
    for n in range(6):
        pool.submit(n)
    wait_until(lambda: pool.stats().running == 2)
    assert stop(pool) == ([2, 3, 4, 5], [0, 1])
    outcomes = {r.job: r.value or type(r.error) for r in pool.results()}
    assert outcomes == {0: "stopped", 1: "stopped"} | dict.fromkeys(range(2, 6), JobCancelled)


def test_force_names_handlers_that_do_not_look_and_does_not_wait_for_them(make_pool, gate):
    pool = make_pool(gate.hold, workers=1, queue_size=3)
    for n in range(3):
        pool.submit(n)
    wait_until(lambda: pool.stats().running == 1)
    report = pool.force_shutdown()
    assert report.still_running == (0,) and report.cancelled == (1, 2)
    taken_back = list(pool.results())
    assert [r.job for r in taken_back] == [1, 2], "reading ends although a job still runs"
    assert {str(r.error) for r in taken_back} == {f"cancelled in the queue of {pool.name} before any worker took it"}
    assert all(r.latency >= 0 for r in taken_back)


def test_results_come_to_their_end_although_the_shutdown_has_begun(make_pool, gate):
    pool = make_pool(gate.hold, workers=1, queue_size=3)
    for n in range(3):
        pool.submit(n)
    closer = threading.Thread(target=pool.shutdown)
    closer.start()
    wait_until(lambda: state_of(pool).closed)
    read = []
    reader = threading.Thread(target=lambda: read.extend(r.job for r in pool.results()))
    reader.start()
    time.sleep(0.02)
    gate.set()
    for thread in (reader, closer):
        thread.join(20)
    assert read == [0, 1, 2]


def test_a_stream_that_a_deadline_gives_up_says_so(make_pool, gate):
    pool = make_pool(gate.hold, workers=2, queue_size=5)
    stream = pool.stream(["long", "quick"])
    assert next(stream).job == "quick"
    wait_until(lambda: pool.stats().running == 1)
    pool.shutdown(0.0)
    with pytest.raises(PoolClosed, match="was shut down while jobs of this stream were still running"):
        list(stream)


def test_a_result_is_waited_for_longer_than_any_single_wait(make_pool):
    with make_pool(handlers.sleep, workers=1) as pool:
        assert [r.job for r in pool.stream([1.2 * SLICE])] == [1.2 * SLICE]


def test_both_shutdowns_may_be_called_twice_and_after_each_other(make_pool):
    for order in itertools.product(["shutdown", "force_shutdown"], repeat=2):
        pool = make_pool(handlers.echo)
        pool.submit(1)
        wait_until(lambda p=pool: p.stats().succeeded == 1)
        reports = [getattr(pool, name)() for name in order]
        assert all(r.stats.succeeded == 1 and r.complete for r in reports)


def test_shutdown_from_many_threads_at_once(make_pool):
    pool = make_pool(handlers.nap, workers=4, queue_size=100)
    for n in range(50):
        pool.submit(n)
    reports = []
    threads = [threading.Thread(target=lambda: reports.append(pool.shutdown(20))) for _ in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(20)
    assert [r.stats.succeeded for r in reports] == [50] * 5


def test_nothing_is_taken_after_the_shutdown(make_pool):
    pool = make_pool(handlers.echo)
    pool.shutdown()
    for call in (pool.submit, pool.try_submit):
        with pytest.raises(PoolClosed, match="is shut down and takes no more jobs: 'late' was not taken"):
            call("late")
    with pytest.raises(PoolClosed, match="is shut down and takes no more jobs: the stream was not started"):
        pool.stream(["late"])
    assert pool.stats().submitted == 0


@pytest.mark.parametrize("how", ["shutdown", "force_shutdown"])
def test_whoever_is_blocked_in_submit_is_released_at_once(make_pool, gate, how):
    pool = make_pool(gate.hold, workers=1, queue_size=1)
    pool.submit(0)
    wait_until(lambda: pool.stats().running == 1)
    pool.submit(1)
    errors = []

    def submitter():
        try:
            pool.submit(2)
        except PoolClosed as error:
            errors.append(error)

    threads = [threading.Thread(target=submitter) for _ in range(3)]
    for t in threads:
        t.start()
    time.sleep(0.02)
    closer = threading.Thread(target=getattr(pool, how))
    closer.start()
    wait_until(lambda: len(errors) == 3)  # although a job still runs
    assert pool.stats().running == 1
    gate.set()
    for t in [*threads, closer]:
        t.join(20)
    assert pool.stats().submitted == 2


def test_with_drains_on_a_clean_exit(make_pool):
    with make_pool(handlers.nap, workers=2, queue_size=50) as pool:
        for n in range(30):
            pool.submit(n)
    assert pool.stats().succeeded == 30


def test_a_pool_that_is_drained_tells_nobody_to_stop(make_pool):
    with make_pool(handlers.echo) as pool:
        pool.submit(1)
    assert not pool.cancelled.is_set()


def test_stop_in_a_forced_shutdown_keeps_no_reader_waiting(make_pool, monkeypatch, gate):
    pool = make_pool(gate.hold, workers=1)
    pool.submit(1)
    wait_until(lambda: pool.stats().running == 1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupted_wait(patch)
        pool.force_shutdown()
    assert list(pool.results()) == [] and pool.stats().running == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_with_forces_when_the_body_raises_and_the_exception_goes_on(make_pool, error, gate):
    with pytest.raises(error), make_pool(gate.hold, workers=1, queue_size=50) as pool:
        for n in range(30):
            pool.submit(n)
        wait_until(lambda: pool.stats().running == 1)
        begun = time.monotonic()
        raise error
    assert time.monotonic() - begun < 10, "the handler itself would never end"
    stats = pool.stats()
    assert (stats.running, stats.cancelled, stats.queued) == (1, 29, 0)


@with_workers
def test_with_forces_when_a_stream_is_interrupted(make_pool):
    def source():
        yield from range(5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), make_pool(handlers.wait_for_cancelled) as pool:
        for _ in pool.stream(source()):
            pass
    wait_until(lambda: pool.stats().workers == 0)
    assert accounts_balance(pool.stats())


def test_with_does_not_wait_again_for_what_a_deadline_gave_up(make_pool, gate):
    with make_pool(gate.hold, workers=1) as pool:
        pool.submit(1)
        wait_until(lambda: pool.stats().running == 1)
        assert pool.shutdown(deadline=0.01).still_running == (1,)
    assert pool.stats().running == 1


def test_workers_are_named_daemons(make_pool, gate):
    pool = make_pool(gate.hold, workers=2)
    for job in range(4):
        pool.submit(job)
    wait_until(lambda: pool.stats().running == 2)
    mine = [t for t in threading.enumerate() if t.name.startswith(f"{type(pool).__name__}-") and "-worker-" in t.name]
    assert len(mine) == 2 and all(t.daemon for t in mine)


def test_a_pool_that_cannot_start_all_its_threads_leaves_none(make_pool, monkeypatch):
    start = threading.Thread.start
    started = itertools.count(1)

    def limited(thread):
        if next(started) > 1:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        make_pool(handlers.echo, workers=5)
    wait_until(lambda: not [t for t in threading.enumerate() if "Pool-" in t.name])


def test_by_default_a_pool_has_five_workers_and_a_queue_of_a_hundred():
    with WorkerPool(lambda job: job) as pool:
        assert (pool.stats().workers, pool.queue_size) == (5, 100)


# --- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["workers", "queue_size"])
@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), (-1, ValueError), (2.5, TypeError), (True, TypeError), ("5", TypeError), (None, TypeError)],
)
def test_bad_sizes_are_refused_with_value_and_rule(make_pool, name, value, error):
    with pytest.raises(error, match=f"{name} must be a whole number of at least 1, not {value!r}"):
        make_pool(handlers.echo, **{name: value})


async def coroutine(job):
    return job


@pytest.mark.parametrize("handler", [None, "print", 5, coroutine])
def test_bad_handlers_are_refused(make_pool, handler):
    with pytest.raises(TypeError, match="handler must be"):
        make_pool(handler)


@pytest.mark.parametrize(
    ("value", "error"),
    [(-1, ValueError), (float("nan"), ValueError), ("5", TypeError), (True, TypeError), ([], TypeError)],
)
def test_times_that_are_none_are_refused_and_change_nothing(make_pool, value, error):
    with make_pool(handlers.echo) as pool:
        with pytest.raises(error, match="deadline must be"):
            pool.shutdown(value)
        with pytest.raises(error, match="timeout must be"):
            pool.submit(1, timeout=value)
        assert [r.value for r in pool.stream([7])] == [7], "the pool is still open"
        assert pool.stats().submitted == 1


# --- under load ------------------------------------------------------------------------------------------------


class Source:
    """An iterable of jobs that counts how many were taken from it, for a comparison with the pool's counts."""

    def __init__(self, jobs):
        self.jobs, self.taken = jobs, 0

    def __iter__(self):
        for job in self.jobs:
            self.taken += 1
            yield job

    def look(self, pool):
        """Return the pool's stats, after checking that they add up and agree with the source.

        The last job that was taken from the source may not be in the pool yet.
        """
        least = self.taken - 1
        stats = pool.stats()
        return stats, accounts_balance(stats) and least <= stats.submitted <= self.taken


def test_the_accounts_balance_at_every_instant_under_load(make_pool):
    over = threading.Event()
    wrong = []
    source = Source(range(make_pool.many))

    def watch():
        while not over.is_set():
            stats, right = source.look(pool)
            # A retry that is due enters the queue even if the queue is full, and up to 1,000 jobs may be delayed.
            if not right or stats.running > 4 or stats.queued > (1014 if retries(pool) else 10):
                wrong.append((source.taken, stats))

    with make_pool(handlers.fail_for_thirds, workers=4, queue_size=10) as pool:
        watcher = threading.Thread(target=watch)
        watcher.start()
        for result in pool.stream(source):
            stats = pool.stats()
            assert stats.finished <= stats.submitted
            assert result.finished is not None
        over.set()
        watcher.join()
    assert not wrong
    failed = len(range(0, make_pool.many, 3))
    assert (pool.stats().succeeded, pool.stats().failed) == (make_pool.many - failed, failed)


def test_a_result_is_counted_before_it_can_be_read(make_pool):
    with make_pool(handlers.echo, workers=4, queue_size=10) as pool:
        for read, _ in enumerate(pool.stream(range(make_pool.many)), start=1):
            assert pool.stats().succeeded >= read


@settings(max_examples=30)
@given(
    jobs=st.integers(0, 60),
    workers=st.integers(1, 5),
    queue_size=st.integers(1, 8),
    bad=st.sets(st.integers(0, 59)),
    leave_after=st.one_of(st.none(), st.integers(0, 60)),
    force=st.booleans(),
)
def test_no_job_is_ever_lost(jobs, workers, queue_size, bad, leave_after, force):
    ran = []

    def handler(job):
        ran.append(job)
        if job in bad:
            raise ValueError(job)

    pool = WorkerPool(handler, workers=workers, queue_size=queue_size)
    with pool:
        read = list(itertools.islice(pool.stream(range(jobs)), leave_after))
        if force:
            pool.force_shutdown()
    stats = pool.stats()
    assert accounts_balance(stats) and stats.queued == stats.running == stats.workers == 0
    assert len(ran) == len(set(ran)) == stats.succeeded + stats.failed
    assert stats.failed == len(bad.intersection(ran))
    if leave_after is None or leave_after >= jobs:
        assert sorted(r.job for r in read) == list(range(jobs)) and stats.cancelled == 0


@in_this_process
@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_accounts_balance_at_every_instant_of_a_million_jobs(make_pool):
    over = threading.Event()
    looks, wrong = [0], []
    source = Source(range(1_000_000))

    def watch():
        while not over.is_set():
            stats, right = source.look(pool)
            looks[0] += 1
            if not right or stats.running > 5 or stats.queued > 1000:
                wrong.append((source.taken, stats))

    with make_pool(handlers.echo, workers=5, queue_size=1000) as pool:
        watcher = threading.Thread(target=watch)
        watcher.start()
        assert sum(1 for _ in pool.stream(source)) == 1_000_000
        over.set()
        watcher.join()
    assert looks[0] > 100 and not wrong
