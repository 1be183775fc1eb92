"""Forced races: at every moment at which another thread can act, the test lets it act.

A thread must make a check and the act that depends on it in one step: "there is room, so add the job", "nobody needs
me, so I end". Each such pair in helpers/pools has a test here. The test lets another thread act at every moment that
exists (see `lying`); between a check and its act no moment may exist. The list names the pairs by the file that has
them, and what the other thread does.

intake      closed? room? -> queue the job           a shutdown, a close, a cancel, another submit
            a worker idle? -> notify it              another submit; the worker's time is up
            no room -> join the line, park           a worker that takes a job; a close; a cancel
            too many delayed? -> wait                a job that fails; delayed jobs that come back, are cancelled, or
                                                     whose stream is left; two submitters wait
            time up, or interrupted -> give up       a worker that takes a job and notifies this submitter
            who has submitted                        a thread that has the number of one that has ended
crew        nothing to do? -> become idle, or end    a submit, a shutdown, a close, a cancel
            time up -> leave the idle list           a submit that notifies this worker
            queue -> hand -> counted -> outlet       a look, at every moment; a close, a cancel
            dead -> job failed, worker replaced      an injected exception, at every point; a settlement that raises;
                                                     a forced shutdown
reading     no result? at the end? -> wait           the last result and the end
            no reader? -> become the reader          another reader
            a reader? -> wake it                     the reader leaves
            no room, but results to read -> leave    a worker that takes a job and notifies this stream
            the window is full -> wait               jobs of the stream that become delayed
            the stream is left -> cancel its jobs    a worker that takes them
closing     cancel -> tell the handlers -> report    a job that ends or fails; another shutdown
            workers there? -> wait for the last      the last worker ends
elastic     too many workers? -> retire              all other workers, equally idle, or after a resize
            too few? -> reserve -> start             another submit, a look, a resize, a shutdown, no thread left
            the old limits -> the new ones           another resize, a shutdown
            alarm set? -> no look needed             the alarm rings
retries     wanted? -> delay                         a shutdown; the stream is left
            due? -> queue                            a shutdown; the stream is left
            nothing unfinished? -> end               a retry that becomes due
            letter there? room? -> queue             another redrive, a discard, a submit, a shutdown
            letters chosen -> discard                a redrive
            failed -> dead letter                    a look, at every moment
alarm       not due? -> park                         an earlier time; a stop
            earlier? -> set                          an earlier time
            due -> ring                              another time, at each moment of the ring
connections free? -> take                            a worker that leaves and closes the connection
            not my turn -> wait                      a connection is given back
            refused -> back off                      the next in line
            an outage? -> give up                    a connection works
channel     closed? room? -> append                  a close; another send
            full? empty? closed? -> wait             a receive, a send, a close
            an item? -> take it                      another receive

Two more things can come between that are not other threads. The garbage collector closes a forgotten stream in
whatever thread it runs, even with the lock held: it is tested at every line, in the main thread and in another one.
And KeyboardInterrupt is raised in the main thread: it is tested at every line of a submit.
"""

import contextlib
import ctypes
import sys
import threading
import time
from collections import Counter, deque
from functools import partial
from heapq import heappush
from types import SimpleNamespace

import pytest
from conftest import wait_until
from inside import (
    crew_of,
    letters_of,
    locked,
    loop_of,
    outlet_of,
    ring_retries,
    ring_scaling,
    ring_time_of,
    state_of,
    threads_ended,
    workers_of,
)
from lying import LIMIT, Injected, LyingLock, at_each_moment, at_line, dying, lie_to_parkers

from helpers.pools import (
    Channel,
    ChannelClosed,
    DynamicPool,
    DynamicRetryingPool,
    JobCancelled,
    PoolClosed,
    RetryingPool,
    RetryPolicy,
    WorkerDied,
    WorkerPool,
    basic,
    channel,
    closing,
    connections,
    current_worker,
    elastic,
    executor,
    intake,
    interrupts,
    reading,
    scaling,
    state,
)
from helpers.pools.alarm import Alarm
from helpers.pools.connections import Connections, NoConnection
from helpers.pools.outlet import Outlet

NEVER = threading.Event()
LATER = RetryPolicy(max_attempts=2, base=1000.0, cap=1000.0, jitter=False)  # a retry that no test waits for


@pytest.fixture
def lying(monkeypatch):
    """Return a function that creates locks. Pools, channels, and connections that are created later use the newest."""
    # With such a long slice, no thread checks again in time without a notification, so a lost one fails the test.
    for module in (intake, reading, closing, interrupts, connections, channel):
        monkeypatch.setattr(module, "SLICE", 60.0)
    for module in (closing, basic, executor):
        monkeypatch.setattr(module, "GRACE", LIMIT)
    latest = [LyingLock()]
    monkeypatch.setattr(state, "RLock", lambda: latest[0])
    for module in (connections, channel):
        monkeypatch.setattr(module, "Lock", lambda: latest[0])
    lie_to_parkers(monkeypatch, lambda: latest[0])

    def make():
        latest[0] = LyingLock()
        return latest[0]

    return make


@pytest.fixture
def short_grace(monkeypatch):
    for module in (closing, basic, executor):
        monkeypatch.setattr(module, "GRACE", 0.01)


def watch(race, pool, *laws):
    """Check whenever the lock is released: the counts add up, the bounds hold, and each of `laws` is true."""
    most = [0]

    def look():
        s = pool.stats()
        parts = (s.queued, s.running, s.delayed, s.succeeded, s.failed, s.cancelled, s.unknown)
        in_hand = sum(worker.task is not None for worker in crew_of(pool).members)
        holds = {
            "no count is negative": min(parts) >= 0,
            "no job is lost": s.submitted == sum(parts) >= most[0],
            "each running job is in a worker's hand": s.running == in_hand <= s.workers,
            "the queue keeps its bound": s.queued <= pool.queue_size or isinstance(pool, RetryingPool),
            **{law.__name__: law() for law in laws},
        }
        most[0] = s.submitted
        race.errors += [AssertionError(f"at some moment not: {law}; {s}") for law, held in holds.items() if not held]

    race.lock.watch = look


def ends_once(pool, *read):
    """Shut the pool down and check that each job has exactly one result: read here, or `read` before."""
    pool.shutdown(LIMIT)
    results, stats = [*read, *pool.results()], pool.stats()
    assert stats.submitted == stats.finished == len(results), (stats, results)
    assert len({result.job for result in results}) == len(results), results
    assert stats.workers == 0 and threads_ended(pool)
    return {result.job: result for result in results}


def asleep(race, pool, number=1):
    return f"{state_of(pool).name}-worker-{number}" in race.lock.asleep


def running(pool):
    """The jobs that workers have in hand."""
    orders = [worker.task for worker in list(crew_of(pool).members)]
    return [order[0].job for order in orders if order is not None]


def queued(pool):
    """The jobs that are in the queue."""
    return [order[0].job for order in list(state_of(pool).queue)]


def in_thread(name, call):
    """Start a thread that makes a call. Returns the thread, and a list to which the value or the error is added."""
    outcome = []

    def run():
        try:
            outcome.append(call())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread, outcome


def gated(kind=WorkerPool, *, free=(), fails=False, **options):
    """Return a pool whose jobs wait for an event, apart from the jobs in `free`; and the event."""
    gate = threading.Event()

    def handler(job):
        if job not in free:
            assert gate.wait(3 * LIMIT)
        if fails:
            raise ValueError(job)

    return kind(handler, **options), gate


def busy(kind=WorkerPool, **options):
    """Return a gated pool that is running one job, "first"; and the event that the job waits for."""
    pool, gate = gated(kind, **options)
    pool.submit("first")
    wait_until(lambda: pool.stats().running == 1)
    return pool, gate


# --- intake: jobs come in --------------------------------------------------------------------------------------------

SUBMITS = {
    "submit": lambda pool: pool.submit("job"),
    "submit with a timeout": lambda pool: pool.submit("job", timeout=5),
    "try_submit": lambda pool: pool.try_submit("job"),
    "stream": lambda pool: list(pool.stream(["job"])),
}


@pytest.mark.parametrize("stop", ["shutdown", "force_shutdown", "close"])
@pytest.mark.parametrize("submit", SUBMITS.values(), ids=SUBMITS)
def test_a_submit_meets_a_stop(lying, submit, stop):
    def scenario(race):
        pool = WorkerPool(lambda job: job, workers=1)
        watch(race, pool)
        race.meanwhile(getattr(pool, stop))
        try:
            read, taken = submit(pool), True
        except PoolClosed:
            read, taken = (), False
        race.over()
        assert len(ends_once(pool, *(read if isinstance(read, list) else ()))) == taken

    at_each_moment(lying, scenario)


@pytest.mark.parametrize("submit", SUBMITS.values(), ids=SUBMITS)
def test_a_submit_meets_a_cancel(lying, submit):
    def scenario(race):
        pool, gate = busy(workers=1)
        watch(race, pool)
        race.meanwhile(lambda: (pool.cancel_queued(), gate.set()))
        race.otherwise(gate.set)
        read = submit(pool)
        race.over()
        result = ends_once(pool, *(read if isinstance(read, list) else ()))["job"]
        assert result.ok or (race.happened and isinstance(result.error, JobCancelled))

    at_each_moment(lying, scenario)


@pytest.mark.parametrize("call", ["close", "cancel_queued"])
@pytest.mark.parametrize("submit", ["submit", "submit with a timeout", "stream"])
def test_a_submitter_that_waits_for_room_meets_a_close_or_a_cancel(lying, submit, call):
    """A close refuses the job and a cancel makes room for it, both at once: the only worker is busy all the time."""

    def scenario(race):
        pool, gate = busy(workers=1, queue_size=1)
        pool.submit("queued")
        watch(race, pool)
        race.meanwhile(getattr(pool, call), victim="mine")
        race.otherwise(getattr(pool, call))
        mine, outcome = in_thread("mine", lambda: SUBMITS[submit](pool))
        wait_until(lambda: outcome or "job" in queued(pool), LIMIT)
        race.over()
        gate.set()
        mine.join(LIMIT)
        if call == "close":
            assert isinstance(outcome[0], PoolClosed)
        results = ends_once(pool, *(outcome[0] if isinstance(outcome[0], list) else ()))
        assert results["queued"].ok == (call == "close")
        assert call == "close" or results["job"].ok

    at_each_moment(lying, scenario)


@pytest.mark.parametrize("submit", SUBMITS.values(), ids=SUBMITS)
def test_two_submits_want_the_last_place(lying, submit):
    def scenario(race):
        pool, gate = busy(workers=1, queue_size=1)
        watch(race, pool)  # the bound
        race.meanwhile(lambda: (pool.try_submit("other"), gate.set()))
        race.otherwise(gate.set)
        read = submit(pool)
        race.over()
        ends_once(pool, *(read if isinstance(read, list) else ()))

    at_each_moment(lying, scenario)


def test_two_submits_notify_the_last_idle_worker(lying):
    def scenario(race):
        pool = WorkerPool(lambda job: job, workers=1)
        wait_until(lambda: asleep(race, pool))
        watch(race, pool)
        race.meanwhile(lambda: pool.submit("other"))
        pool.submit("job")
        race.over()
        wait_until(lambda: pool.stats().finished == 1 + race.happened, LIMIT)
        ends_once(pool)

    at_each_moment(lying, scenario)


def test_a_worker_makes_room_as_a_submitter_is_about_to_wait(lying):
    def scenario(race):
        pool, gate = busy(workers=1, queue_size=1)
        pool.submit("second")
        race.meanwhile(lambda: (gate.set(), wait_until(lambda: pool.stats().queued == 0)))
        race.otherwise(gate.set)
        pool.submit("third")
        race.over()
        assert len(ends_once(pool)) == 3

    at_each_moment(lying, scenario)


def inject(thread):
    """Make Python raise Injected in a thread when the thread next runs Python code."""
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Injected)) == 1


ENTRIES = {
    "submit": lambda pool: pool.submit("mine", timeout=1000.0),
    "redrive": lambda pool: pool.redrive(timeout=1000.0),
    "stream": lambda pool: list(pool.stream(["mine"])),
}
GIVE_UPS = [("submit", "timeout"), ("redrive", "timeout"), *((entry, "interrupt") for entry in ENTRIES)]


@pytest.mark.parametrize(("entry", "why"), GIVE_UPS)
def test_a_submitter_that_gives_up_as_it_is_notified_passes_the_notification_on(lying, monkeypatch, entry, why):
    late = [0.0]
    monkeypatch.setattr(intake, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + late[0]))

    def scenario(race):
        late[0] = 0.0
        gates = {job: threading.Event() for job in ("first", "second", "letter", "mine", "theirs")}

        def handler(job):
            if job == "letter":
                raise ValueError(job)
            assert gates[job].wait(3 * LIMIT)

        pool = RetryingPool(handler, workers=1, queue_size=1, policy=RetryPolicy(max_attempts=1))
        pool.submit("letter")
        wait_until(lambda: len(pool.dead_letters()) == 1)
        pool.submit("first")
        wait_until(lambda: pool.stats().running == 1)
        pool.submit("second")
        mine, _ = in_thread("mine", lambda: ENTRIES[entry](pool))
        wait_until(lambda: "mine" in race.lock.asleep)
        in_thread("theirs", lambda: pool.submit("theirs"))
        wait_until(lambda: "theirs" in race.lock.asleep)

        def make_room():
            gates["first"].set()
            wait_until(lambda: "second" in running(pool))

        race.meanwhile(make_room, victim="mine")
        late[0] = 2000.0 if why == "timeout" else 0.0
        if why == "interrupt":
            inject(mine)
        with locked(pool):
            state_of(pool).blocked[0].unpark()  # it wakes without a notification, as it does when its time is up
        mine.join(LIMIT)
        race.over()
        if race.happened:
            wait_until(lambda: len(queued(pool)) == 1, LIMIT)  # one of the two uses the room
        for gate in gates.values():
            gate.set()
        wait_until(lambda: not mine.is_alive() and not state_of(pool).blocked)
        pool.shutdown(LIMIT)

    at_each_moment(lying, scenario)


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_submitter_that_finds_room_without_a_notification_leaves_the_line(entry):
    # Otherwise the next notification would go to this submitter, which no longer waits, and not to one that does.
    gate = threading.Event()

    def handler(job):
        if job == "letter":
            raise ValueError(job)
        assert gate.wait(3 * LIMIT)

    with RetryingPool(handler, workers=1, queue_size=1, policy=RetryPolicy(max_attempts=1)) as pool:
        pool.submit("letter")
        wait_until(lambda: len(pool.dead_letters()) == 1)
        pool.submit("first")
        wait_until(lambda: pool.stats().running == 1)
        pool.submit("second")
        thread, _ = in_thread("mine", lambda: ENTRIES[entry](pool))
        wait_until(lambda: len(state_of(pool).blocked) == 1)
        with locked(pool):
            state_of(pool).queue_size = 2
            state_of(pool).blocked[0].unpark()  # it wakes without a notification, as it does when its time is up
        wait_until(lambda: len(queued(pool)) == 2)
        assert not state_of(pool).blocked
        gate.set()
        thread.join(LIMIT)


def test_a_stream_that_is_notified_and_reads_first_passes_the_notification_on(lying):
    def scenario(race):
        gates = {job: threading.Event() for job in ("first", "other", "second", "theirs")}
        pool = WorkerPool(lambda job: gates[job].wait(3 * LIMIT), workers=1, queue_size=1)

        def another_submitter_waits_and_room_is_made():
            in_thread("theirs", lambda: pool.submit("theirs"))
            wait_until(lambda: "theirs" in race.lock.asleep)
            gates["first"].set()
            wait_until(lambda: "other" in running(pool))

        def jobs():
            yield "first"
            wait_until(lambda: pool.stats().running == 1)
            pool.submit("other")  # now the queue is full, and the stream has a result to wait for
            race.meanwhile(another_submitter_waits_and_room_is_made)
            race.otherwise(another_submitter_waits_and_room_is_made)
            yield "second"

        stream = pool.stream(jobs())
        assert next(stream).job == "first"
        race.over()
        wait_until(lambda: len(queued(pool)) == 1, LIMIT)  # the reader does not go on, so it must be the other one
        for gate in gates.values():
            gate.set()
        list(stream)
        pool.shutdown(LIMIT)

    at_each_moment(lying, scenario)


@pytest.mark.parametrize("stop", ["shutdown", "force_shutdown"])
def test_a_shutdown_refuses_hundreds_of_submitters_that_wait(lying, stop):
    lock = lying()
    pool, gate = gated(workers=2, queue_size=10)
    ends = []  # `append` is one step, and `+= 1` is not

    def submitter(number):
        try:
            pool.submit(number)
            ends.append("accepted")
        except PoolClosed:
            ends.append("refused")

    threads = [threading.Thread(target=submitter, args=(number,), daemon=True) for number in range(300)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(state_of(pool).blocked) == 300 - 12 and len(lock.asleep) >= 300 - 12)
    stopper = threading.Thread(target=getattr(pool, stop), daemon=True)
    stopper.start()
    for thread in threads:
        thread.join(LIMIT)
    assert not any(thread.is_alive() for thread in threads), "they wait although the pool accepts no more jobs"
    assert pool.stats().running == 2, "they were refused while jobs still ran"
    gate.set()
    stopper.join(LIMIT)
    assert Counter(ends) == {"accepted": 12, "refused": 288} and len(ends_once(pool)) == 12


@pytest.mark.parametrize("stop", ["shutdown", "force_shutdown"])
def test_hundreds_of_threads_submit_during_a_shutdown(lying, stop):
    """From before the shutdown until after it: each accepted job has one result, each other submitter gets an error."""
    lying()
    pool = WorkerPool(lambda job: job, workers=2, queue_size=5)
    taken, refused = [], []

    def submitter(number):
        if number == 150:
            getattr(pool, stop)()
        try:
            pool.submit(number)
            taken.append(number)
        except PoolClosed:
            refused.append(number)

    threads = [threading.Thread(target=submitter, args=(number,), daemon=True) for number in range(300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert len(taken) + len(refused) == 300 and taken and 150 in refused
    assert sorted(ends_once(pool)) == sorted(taken)


def same_number(first, second):
    """Make two calls in two threads, one after the other, to which the system gives the same number."""
    for _ in range(50):
        ended = threading.Thread(target=first, daemon=True)
        ended.start()
        ended.join(LIMIT)
        thread = threading.Thread(target=second, daemon=True)
        thread.start()
        if thread.ident == ended.ident:
            return thread
    pytest.skip("this system does not reuse the numbers of threads that have ended")


def test_a_reader_is_not_mistaken_for_a_thread_that_has_ended(lying):
    """Only a thread that has itself submitted everything may stop reading when nothing is left."""
    lying()
    pool, read = WorkerPool(lambda job: job, workers=1), []

    def reader():
        with contextlib.suppress(RuntimeError):  # there is a reader already
            read.extend(result.job for result in pool.results())

    reading = same_number(lambda: pool.submit("first"), reader)
    wait_until(lambda: outlet_of(pool).empty() and pool.stats().finished)
    reading.join(0.05)
    pool.submit("last")
    pool.shutdown()
    wait_until(lambda: "last" in read, LIMIT)  # the reader has waited for more jobs until the shutdown


# --- crew: workers work ----------------------------------------------------------------------------------------------


def test_a_job_comes_as_a_worker_is_about_to_become_idle(lying):
    def scenario(race):
        pool, gate = busy(workers=1)
        watch(race, pool)
        race.meanwhile(lambda: pool.submit("second"), victim="worker-1")
        gate.set()
        wait_until(lambda: asleep(race, pool) and pool.stats().finished == 1 + race.happened, LIMIT)
        race.over()
        ends_once(pool)

    at_each_moment(lying, scenario)


@pytest.mark.parametrize("call", ["close", "cancel_queued"])
def test_a_close_or_a_cancel_comes_as_a_worker_takes_jobs(lying, call):
    def scenario(race):
        handled, gate = Counter(), threading.Event()

        def handler(job):
            handled.update([job])
            assert gate.wait(3 * LIMIT)

        pool = WorkerPool(handler, workers=1)
        for job in range(3):
            pool.submit(job)
        wait_until(lambda: pool.stats().running == 1)
        watch(race, pool)
        race.meanwhile(getattr(pool, call), victim="worker-1")
        gate.set()
        wait_until(lambda: pool.stats().finished == 3, LIMIT)
        wait_until(lambda: race.happened or asleep(race, pool), LIMIT)
        race.over()
        results = ends_once(pool)
        assert {job for job, result in results.items() if result.ok} == set(handled)
        assert handled.total() == len(handled) and (call == "cancel_queued" or len(handled) == 3)

    at_each_moment(lying, scenario)


@pytest.mark.parametrize("kind", [WorkerPool, partial(RetryingPool, policy=LATER)], ids=["WorkerPool", "RetryingPool"])
def test_a_close_comes_as_a_worker_is_about_to_become_idle(lying, kind):
    def scenario(race):
        pool, gate = busy(kind, workers=1)
        watch(race, pool)
        race.meanwhile(lambda: (pool.submit("second"), pool.close()), victim="worker-1")
        gate.set()
        wait_until(lambda: race.happened or asleep(race, pool))
        race.over()
        assert len(ends_once(pool)) == 1 + race.happened

    at_each_moment(lying, scenario)


def wake(pool, *numbers):
    """Wake these idle workers without a notification, as if their time were up."""
    with locked(pool):
        for number in numbers:
            workers_of(pool)[number].parker.unpark()


@pytest.mark.parametrize("kind", ["WorkerPool", "DynamicPool"])
def test_the_time_of_a_worker_is_up_as_it_is_notified(lying, kind):
    def scenario(race):
        now = [0.0]
        options = {"clock": lambda: now[0]}
        if kind == "WorkerPool":
            pool, number = WorkerPool(lambda job: job, workers=1, **options), 1
        else:
            pool = DynamicPool(lambda job: job, min_workers=2, max_workers=2, idle_timeout=1000.0, **options)
            wait_until(lambda: asleep(race, pool, 1) and asleep(race, pool, 2))
            pool.resize(min_workers=1)
            wait_until(lambda: len(state_of(pool).idle) == 2 and asleep(race, pool, 1) and asleep(race, pool, 2))
            number = state_of(pool).idle[-1].number  # the one that is notified first
        wait_until(lambda: asleep(race, pool, number))
        now[0] = 5000.0  # the worker has been idle long enough to retire
        watch(race, pool)
        race.meanwhile(lambda: pool.submit("job"), victim=f"worker-{number}")
        wake(pool, number)
        gone = workers_of(pool)[number].thread
        wait_until(lambda: race.happened or asleep(race, pool, number) or not gone.is_alive(), LIMIT)
        wait_until(lambda: pool.stats().finished == race.happened, LIMIT)
        race.over()
        ends_once(pool)

    at_each_moment(lying, scenario)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("kind", ["WorkerPool", "RetryingPool", "DynamicRetryingPool"])
def test_at_every_moment_each_job_is_in_exactly_one_place(lying, kind, fails):
    def scenario(race):
        policy = RetryPolicy(max_attempts=2, base=1e-6, cap=1e-6)
        make = {
            "WorkerPool": partial(WorkerPool, workers=2),
            "RetryingPool": partial(RetryingPool, workers=2, policy=policy),
            "DynamicRetryingPool": partial(DynamicRetryingPool, min_workers=1, max_workers=3, policy=policy),
        }
        pool, gate = gated(make[kind], fails=fails, free=range(10))

        delivered = []
        outlet_of(pool).__class__ = class_that_tells(delivered)

        def the_results_are_there():
            return sum(result is not None for result in delivered) == pool.stats().finished

        def every_failure_has_its_letter():
            return kind == "WorkerPool" or len(letters_of(pool)) == pool.stats().failed

        watch(race, pool, the_results_are_there, every_failure_has_its_letter)
        race.meanwhile(pool.stats)
        for job in range(14):
            wait_until(lambda job=job: job < 10 or pool.stats().finished == 10)
            pool.submit(job)
        pool.cancel_queued()
        gate.set()
        pool.shutdown(LIMIT)
        race.over()
        race.lock.watch = None
        ends_once(pool)
        race.happened = race.moment == 0  # one run is enough, because the look is at every moment anyway

    at_each_moment(lying, scenario)


# --- crew: workers die -----------------------------------------------------------------------------------------------

AT_ONCE = RetryPolicy(max_attempts=2, base=1e-6, cap=1e-6, retry_on=(ValueError, WorkerDied, Injected))
MORTAL = {
    "WorkerPool": partial(WorkerPool, workers=1),
    "DynamicPool": partial(DynamicPool, min_workers=1, max_workers=1),
    "RetryingPool": partial(RetryingPool, workers=1, policy=AT_ONCE),
    "DynamicRetryingPool": partial(DynamicRetryingPool, min_workers=1, max_workers=1, policy=AT_ONCE),
}


def noting(handled):
    """A handler that counts its calls and fails for the job "bad"."""

    def handler(job):
        handled[job] += 1
        if job == "bad":
            raise ValueError(job)

    return handler


def check_attempts(results, handled):
    """Each job has succeeded or failed for a known reason, and no handler call is missing from its attempts."""
    for job, result in results.items():
        assert result.ok or isinstance(result.error, ValueError | WorkerDied | Injected), result
        numbers = [attempt.number for attempt in result.attempts]
        assert numbers == list(range(1, result.attempt + 1)), "each attempt is recorded once"
        assert handled[job] <= result.attempt <= 2, "no attempt is made twice"
        assert handled[job] or not result.ok


# CPython 3.12.1 crashes when the instructions of another thread are traced; test_field_deaths raises at calls instead.
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="needs the tracing of single instructions of CPython 3.11")
@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.long)], ids=["some points", "every point"])
@pytest.mark.parametrize("kind", MORTAL.values(), ids=MORTAL)
def test_a_worker_dies_at_any_point(lying, kind, every):
    """An exception is injected into its thread. A shutdown that waits for this worker must end."""

    def scenario(race):
        handled = Counter()
        # `run_worker` is where a worker's death is caught. Nothing can catch what comes before its `try`.
        with dying(race.moment, "-worker-1", but=["run_worker"]) as happened:
            pool = kind(noting(handled), resource=contextlib.nullcontext)

            def there_is_one_worker():
                return state_of(pool).closed or pool.stats().workers == len(crew_of(pool).members) == 1

            watch(race, pool, there_is_one_worker)
            for job in ("good", "bad", "last"):
                pool.submit(job)
            if race.moment % 2:  # it closes an idle pool or a busy one
                wait_until(lambda: pool.stats().finished == 3, LIMIT)
            try:
                assert pool.shutdown(LIMIT).still_running == ()
                race.lock.watch = None
                check_attempts(ends_once(pool), handled)
                race.over()
            except AssertionError as error:
                error.add_note(f"the worker died in {happened}")
                raise
        race.happened = bool(happened)

    at_each_moment(lying, scenario, every=every)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", MORTAL.values(), ids=MORTAL)
def test_a_worker_dies_as_it_settles_a_job(lying, kind, when):
    lying()
    handled, deaths = Counter(), []
    pool = kind(noting(handled))
    settle = loop_of(pool).settle

    def dies(worker, order):
        if when == "after":
            settle(worker, order)
        deaths.append(worker.number)
        raise MemoryError

    loop_of(pool).settle = dies
    for job in ("good", "bad", "last"):
        pool.submit(job)
    wait_until(lambda: pool.stats().finished == 3, LIMIT)
    wait_until(lambda: len(state_of(pool).idle) == 1)
    assert pool.stats().workers == 1 and len(deaths) >= 3
    results = ends_once(pool)
    if when == "before":  # the settlement that has died is replaced by the plain one, so nothing is retried
        assert all(isinstance(result.error, WorkerDied) for result in results.values())
        assert handled == {"good": 1, "bad": 1, "last": 1}
    else:
        assert results["good"].ok and results["last"].ok and isinstance(results["bad"].error, ValueError)
        assert handled["good"] == handled["last"] == 1 and handled["bad"] == results["bad"].attempt


@pytest.mark.parametrize("kind", ["WorkerPool", "RetryingPool"])
def test_a_worker_dies_as_another_thread_stops_the_pool(lying, short_grace, kind):
    """A forced stop at each moment in which the dying worker gives up its job and its place."""

    def scenario(race):
        handled = Counter()
        pool = MORTAL[kind](noting(handled))
        settle, died = loop_of(pool).settle, []

        def dies(worker, order):
            if not died:
                died.append(worker.number)
                raise MemoryError
            settle(worker, order)

        loop_of(pool).settle = dies
        watch(race, pool)
        race.meanwhile(pool.force_shutdown, victim="worker-1")
        with contextlib.suppress(PoolClosed):
            pool.submit("job")
        wait_until(lambda: pool.stats().running == pool.stats().queued == 0, LIMIT)
        wait_until(lambda: race.happened or asleep(race, pool) or asleep(race, pool, 2), LIMIT)
        race.over()
        for result in ends_once(pool).values():
            assert result.ok or isinstance(result.error, WorkerDied | JobCancelled)
        assert handled["job"] <= 2

    at_each_moment(lying, scenario)


# --- reading: results go out -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("feeder", ["the reader", "another"])
def test_the_last_result_and_the_end_come_as_a_reader_finds_nothing(lying, feeder):
    def scenario(race):
        pool, gate = gated(workers=1)
        if feeder == "the reader":
            pool.submit("job")
        else:
            race.start(lambda: pool.submit("job"))
        wait_until(lambda: pool.stats().running == 1)
        race.meanwhile(lambda: (gate.set(), pool.shutdown()))
        race.otherwise(lambda: (gate.set(), pool.shutdown()))
        assert [result.job for result in pool.results()] == ["job"]
        race.over()

    at_each_moment(lying, scenario)


@pytest.mark.parametrize("kind", ["results", "stream"])
def test_two_threads_start_to_read(lying, kind):
    def scenario(race):
        pool = WorkerPool(lambda job: job, workers=1)
        readers = []

        def read():
            with contextlib.suppress(RuntimeError):
                readers.append(pool.results() if kind == "results" else pool.stream([]))

        race.meanwhile(read)
        read()
        race.over()
        assert len(readers) == 1
        readers[0].close()
        ends_once(pool)

    at_each_moment(lying, scenario)


def test_the_reader_leaves_as_the_last_worker_wakes_it(lying):
    """A reader leaves without the lock, so the check whether there is one and the wake-up must read it once."""
    lying()

    class LeavingReader(state.PoolState):
        reads = 0

        @property
        def reader(self):
            reader, self.reads = self.__dict__["reader"], self.reads + 1
            if self.closed:
                self.__dict__["reader"] = None  # the reader has left just after this look
            return reader

        @reader.setter
        def reader(self, reader):
            self.__dict__["reader"] = reader

    pool = WorkerPool(lambda job: job, workers=1)
    outlet, state_of(pool).__class__ = outlet_of(pool), LeavingReader
    reading_of_pool = pool.results()
    reads = state_of(pool).reads
    pool.shutdown()
    assert state_of(pool).reads > reads, "the last worker checks whether there is a reader"
    assert outlet.get(timeout=LIMIT) is None, "it wakes the reader that it has found"
    reading_of_pool.close()
    ends_once(pool)


def test_a_worker_takes_jobs_as_their_stream_is_left(lying):
    def scenario(race):
        handled = Counter()
        gate = threading.Event()

        def handle(job):
            handled.update([job])
            if job == 0:  # so that all the other jobs are in the pool when its result is read
                wait_until(lambda: pool.stats().submitted == 5)
            else:
                assert gate.wait(3 * LIMIT)

        pool = WorkerPool(handle, workers=1, queue_size=5)
        stream = pool.stream(range(5))
        assert next(stream).job == 0
        wait_until(lambda: pool.stats().running == 1 and pool.stats().queued == 3)
        watch(race, pool)

        def finish():
            gate.set()
            wait_until(lambda: pool.stats().queued == pool.stats().running == 0)

        race.meanwhile(finish)
        race.otherwise(gate.set)
        stream.close()
        race.over()
        stats = pool.shutdown().stats
        assert stats.submitted == stats.finished and stats.running == 0
        assert handled.total() == len(handled) == stats.succeeded, "each job was done or cancelled, never both"

    at_each_moment(lying, scenario)


# --- closing: the pool ends ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["WorkerPool", "DynamicPool", "RetryingPool"])
def test_the_last_worker_ends_as_a_shutdown_is_about_to_wait_for_it(lying, kind):
    def scenario(race):
        make = {
            "WorkerPool": partial(WorkerPool, workers=1),
            "DynamicPool": partial(DynamicPool, min_workers=1, max_workers=2),
            "RetryingPool": partial(RetryingPool, workers=1),
        }
        pool, gate = busy(make[kind])

        def end():
            gate.set()
            wait_until(lambda: pool.stats().finished == 1)
            wait_until(lambda: asleep(race, pool) or not crew_of(pool).members)

        race.meanwhile(end)
        race.otherwise(end)
        assert pool.shutdown().still_running == ()
        race.over()
        ends_once(pool)

    at_each_moment(lying, scenario)


def test_the_last_worker_ends_as_two_shutdowns_and_a_reader_wait_for_it(lying):
    """It wakes them when it retires, and the shutdowns again once its resource is closed."""
    lock = lying()
    gate, closed = threading.Event(), threading.Event()

    @contextlib.contextmanager
    def resource():
        yield
        assert closed.wait(3 * LIMIT)

    pool = WorkerPool(lambda job: (current_worker().resource, gate.wait(3 * LIMIT)), workers=1, resource=resource)
    pool.submit("first")
    wait_until(lambda: pool.stats().running == 1)
    shutdowns = [in_thread(name, pool.shutdown) for name in ("shutdown-1", "shutdown-2")]
    reader, read = in_thread("reader", lambda: [result.job for result in pool.results()])
    wait_until(lambda: {"shutdown-1", "shutdown-2"} <= lock.asleep and state_of(pool).reader is not None)
    gate.set()
    reader.join(LIMIT)
    assert read == [["first"]], "the reader does not wait for the resource"
    wait_until(lambda: {"shutdown-1", "shutdown-2"} <= lock.asleep)
    closed.set()
    for thread, reports in shutdowns:
        thread.join(LIMIT)
        assert not thread.is_alive(), "the last worker wakes all threads that wait for the end"
        assert reports[0].finished == ("first",)
    assert not state_of(pool).watchers


STOPS = {"deadline": lambda pool: pool.shutdown(0.0), "force": lambda pool: pool.force_shutdown()}


@pytest.mark.parametrize("second", STOPS.values(), ids=STOPS)
@pytest.mark.parametrize("first", STOPS.values(), ids=STOPS)
def test_two_stops_at_once(lying, short_grace, first, second):
    def scenario(race):
        pool, gate = gated(partial(RetryingPool, policy=LATER), workers=1)
        for job in range(4):
            pool.submit(job)
        wait_until(lambda: pool.stats().running == 1)
        watch(race, pool)
        reports = []
        race.meanwhile(lambda: reports.append(second(pool)))
        reports.append(first(pool))
        race.over()
        for report in reports:
            assert sorted(report.cancelled) == [1, 2, 3] and report.still_running == (0,) and not report.finished
        assert sorted(result.job for result in pool.results()) == [1, 2, 3]
        gate.set()
        pool.shutdown(LIMIT)
        assert [result.job for result in pool.results()] == [0] and pool.stats().cancelled == 3

    at_each_moment(lying, scenario)


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_a_job_ends_while_the_report_is_made(lying, short_grace, stop):
    def scenario(race):
        pool, gate = gated(workers=1)
        for job in range(3):
            pool.submit(job)
        wait_until(lambda: pool.stats().running == 1)
        begun = []

        def finish():
            begun.append(state_of(pool).closed)
            gate.set()
            wait_until(lambda: pool.stats().running == pool.stats().queued == 0)

        race.meanwhile(finish)
        report = stop(pool)
        race.over()
        named = sorted(report.finished + report.cancelled + report.still_running)
        assert named == ([] if begun == [False] else [0, 1, 2]), (
            "each job in one list, if it was there when the stop began"
        )
        gate.set()
        ends_once(pool)

    at_each_moment(lying, scenario)


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_a_job_that_would_be_retried_fails_as_the_pool_stops(lying, short_grace, stop):
    def scenario(race):
        pool, gate = busy(partial(RetryingPool, policy=LATER), workers=1, fails=True)
        watch(race, pool)
        race.meanwhile(lambda: (gate.set(), wait_until(lambda: pool.stats().running == 0)))
        stop(pool)
        race.over()
        gate.set()
        assert isinstance(ends_once(pool)["first"].error, JobCancelled)

    at_each_moment(lying, scenario)


# --- elastic ---------------------------------------------------------------------------------------------------------


def test_all_workers_are_idle_too_long_at_the_same_moment(lying):
    """The race of the article: each worker finds that there are more than the minimum, and ends."""

    def scenario(race):
        now = [0.0]
        options = {"min_workers": 3, "max_workers": 3, "idle_timeout": 1000.0, "clock": lambda: now[0]}
        pool = DynamicPool(lambda job: job, **options)
        pool.resize(min_workers=1)
        wait_until(lambda: len(state_of(pool).idle) == 3 and all(asleep(race, pool, number) for number in (1, 2, 3)))
        now[0] = 5000.0

        def there_are_enough():
            return state_of(pool).closed or pool.worker_count >= 1

        watch(race, pool, there_are_enough)
        race.meanwhile(lambda: (wake(pool, 1, 3), wait_until(lambda: pool.worker_count == 1)), victim="worker-2")
        wake(pool, 2)
        wait_until(lambda: pool.worker_count == (1 if race.happened else 2), LIMIT)
        thread = next((worker.thread for worker in crew_of(pool).members if worker.number == 2), None)
        wait_until(lambda: thread is None or not thread.is_alive() or asleep(race, pool, 2))
        race.over()
        assert pool.worker_count == 1 or not race.happened
        ends_once(pool)

    at_each_moment(lying, scenario)


def test_all_workers_are_above_the_maximum_after_a_resize(lying):
    def scenario(race):
        gates = [threading.Event() for _ in range(3)]
        pool = DynamicPool(lambda job: gates[job].wait(LIMIT), min_workers=3, max_workers=3)
        for job in range(3):
            pool.submit(job)
        wait_until(lambda: pool.stats().running == 3)
        pool.resize(2, 2)
        at = {worker.task[0].job: worker for worker in crew_of(pool).members}

        def there_are_enough():
            return state_of(pool).closed or pool.worker_count >= 2

        def finish():
            gates[1].set()
            gates[2].set()
            wait_until(lambda: pool.stats().finished >= 2 and pool.worker_count == 2)

        watch(race, pool, there_are_enough)
        race.meanwhile(finish, victim=f"worker-{at[0].number}")
        gates[0].set()
        wait_until(lambda: race.happened or not at[0].thread.is_alive())
        race.over()
        for gate in gates:
            gate.set()
        wait_until(lambda: pool.stats().finished == 3)
        assert pool.worker_count == 2
        ends_once(pool)

    at_each_moment(lying, scenario)


def watch_reservations(pool):
    """Return a list to which each reservation of a worker is added that the crew must not make."""
    crew, wrong = crew_of(pool), []
    reserve = crew.reserve

    def reserve_and_check():
        if crew.state.present >= crew.limits.max_workers:
            wrong.append("more workers than the maximum")
        if state_of(pool).closed and not state_of(pool).queue:
            wrong.append("a worker for a closed pool that has nothing to do")
        return reserve()

    crew.reserve = reserve_and_check
    return wrong


MEANWHILE = {
    "another submit": lambda pool: pool.try_submit("other"),
    "a resize": lambda pool: pool.resize(1, 1),
    "a deadline": lambda pool: pool.shutdown(0.0),
    "a forced stop": lambda pool: pool.force_shutdown(),
    "another look": lambda pool: crew_of(pool).start_needed_workers(),
}


GROW = {
    "submit": lambda pool: pool.submit("fourth"),
    "look": lambda pool: crew_of(pool).start_needed_workers(),
    "resize": lambda pool: pool.resize(2, 3),
}


def needs_three(**options):
    """A pool that has one worker and, from now on, needs three; and the event that its jobs wait for."""
    pool, gate = busy(partial(DynamicPool, min_workers=1, max_workers=3, backlog=2, max_wait=1000.0, **options))
    pool.submit("second")
    pool.submit("third")
    crew_of(pool).limits = crew_of(pool).limits._replace(backlog=1)
    return pool, gate


@pytest.mark.parametrize("action", MEANWHILE.values(), ids=MEANWHILE)
@pytest.mark.parametrize("call", GROW.values(), ids=GROW)
def test_the_need_for_workers_changes_while_workers_are_started(lying, short_grace, call, action):
    def scenario(race):
        pool, gate = needs_three()
        wrong = watch_reservations(pool)
        watch(race, pool)
        race.meanwhile(lambda: action(pool))
        with contextlib.suppress(PoolClosed):
            call(pool)
        race.over()
        assert not wrong
        gate.set()
        ends_once(pool)

    at_each_moment(lying, scenario)


def refuse_threads(pool, refused):
    """Let the machine have no thread for workers of a pool while `refused` has an element."""
    crew = crew_of(pool)
    reserve = crew.reserve

    def reserve_one():
        worker = reserve()
        start = worker.thread.start

        def start_or_refuse():
            if refused:
                raise RuntimeError("can't start new thread")
            start()

        worker.thread.start = start_or_refuse
        return worker

    crew.reserve = reserve_one


@pytest.mark.parametrize("action", MEANWHILE.values(), ids=MEANWHILE)
@pytest.mark.parametrize("call", GROW.values(), ids=GROW)
def test_a_call_comes_as_the_threads_of_reserved_workers_cannot_start(lying, short_grace, call, action):
    def scenario(race):
        now = [0.0]
        pool, gate = needs_three(clock=lambda: now[0])
        wrong, refused = watch_reservations(pool), [True]
        refuse_threads(pool, refused)
        watch(race, pool)
        race.meanwhile(lambda: action(pool))
        with contextlib.suppress(PoolClosed):
            call(pool)
        race.over()
        assert not wrong
        assert list(workers_of(pool)) == [1] and pool.worker_count == 1, "a worker without a thread does not count"
        refused.clear()
        if not state_of(pool).closed and crew_of(pool).limits.max_workers > 1:
            assert pool.decisions()[-1].reason == scaling.NO_THREAD
            below_the_minimum = pool.worker_count < crew_of(pool).limits.min_workers
            again = elastic.RETRY_WAIT if below_the_minimum else 1000.0  # the second one is max_wait
            assert ring_time_of(crew_of(pool).alarm) <= now[0] + again, "the crew tries again by itself"
            now[0] += 10.0
            ring_scaling(pool)
            assert pool.worker_count in (2, 3), "it has found the threads that it needs"
        gate.set()
        ends_once(pool)

    at_each_moment(lying, scenario)


def test_two_resizes_at_once_both_count(lying):
    def scenario(race):
        pool = DynamicPool(lambda job: job, min_workers=1, max_workers=3)
        race.meanwhile(lambda: pool.resize(max_workers=5))
        pool.resize(min_workers=2)
        race.over()
        assert crew_of(pool).limits[:2] == ((2, 5) if race.happened else (2, 3))
        assert pool.worker_count == 2
        ends_once(pool)

    at_each_moment(lying, scenario)


def test_a_resize_meets_a_shutdown(lying):
    def scenario(race):
        pool = DynamicPool(lambda job: job, min_workers=1, max_workers=3)
        at_the_end = []
        # The shutdown waits also for a worker whose thread this call is about to start.
        shut_down = lambda: (pool.shutdown(), at_the_end.append(crew_of(pool).limits))  # noqa: E731
        race.meanwhile(shut_down, until=lambda: "meanwhile" in race.lock.asleep)
        with contextlib.suppress(PoolClosed):
            pool.resize(min_workers=2)
        race.over()
        assert at_the_end in ([], [crew_of(pool).limits]), "a pool that is shut down is not resized"
        ends_once(pool)

    at_each_moment(lying, scenario)


def test_the_alarm_fires_as_a_job_finds_it_set(lying):
    def scenario(race):
        pool, gate = busy(partial(DynamicPool, min_workers=1, max_workers=3, max_wait=1000.0))
        crew_of(pool).alarm.at(time.monotonic() + 1000.0)
        race.meanwhile(lambda: ring_scaling(pool))
        pool.submit("second")
        race.over()
        assert crew_of(pool).alarm.is_set, "the need for workers can change with time alone, so there is a later check"
        gate.set()
        ends_once(pool)

    at_each_moment(lying, scenario)


# --- retries ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_a_stop_comes_as_a_job_fails_that_would_be_retried(lying, short_grace, stop):
    def scenario(race):
        pool, gate = busy(partial(RetryingPool, policy=LATER), workers=1, fails=True)
        watch(race, pool)
        race.meanwhile(lambda: stop(pool), victim="worker-1")
        gate.set()
        wait_until(lambda: race.happened or asleep(race, pool))
        race.over()
        assert race.happened or pool.force_shutdown()
        wait_until(lambda: pool.stats().cancelled == 1, LIMIT)
        assert isinstance(ends_once(pool)["first"].error, JobCancelled)

    at_each_moment(lying, scenario)


def test_a_stream_is_left_as_its_job_fails_that_would_be_retried(lying):
    def scenario(race):
        gate = threading.Event()

        def handler(job):
            if job == "good":
                wait_until(lambda: pool.stats().submitted == 2)  # A stream that yields its result submits no more.
            else:
                assert gate.wait(3 * LIMIT)
                raise ValueError(job)

        pool = RetryingPool(handler, workers=1, policy=LATER)
        stream = pool.stream(["good", "bad"])
        next(stream)
        wait_until(lambda: pool.stats().running == 1)
        watch(race, pool)
        race.meanwhile(stream.close, victim="worker-1")
        gate.set()
        wait_until(lambda: race.happened or asleep(race, pool))
        race.over()
        stream.close()
        wait_until(lambda: pool.stats().cancelled == 1, LIMIT)
        assert pool.stats().delayed == 0
        pool.shutdown(LIMIT)
        assert pool.stats().finished == pool.stats().submitted == 2

    at_each_moment(lying, scenario)


def delayed_job(kind, race, **options):
    """Return a pool whose first attempt fails and is then delayed, the time of its clock, and the attempts so far."""
    now, tries = [0.0], []

    def handler(job):
        tries.append(job)
        if len(tries) == 1:
            raise ValueError(job)

    pool = kind(handler, policy=LATER, clock=lambda: now[0], **options)
    return pool, now, tries


LEAVE = {
    "a deadline": lambda pool, stream: pool.shutdown(0.0),
    "a forced stop": lambda pool, stream: pool.force_shutdown(),
    "its stream is left": lambda pool, stream: stream.close(),
}


@pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)
def test_a_retry_becomes_due_as_it_is_cancelled(lying, leave):
    def scenario(race):
        pool, now, tries = delayed_job(RetryingPool, race, workers=1)
        stream = pool.stream(iter(["bad", "good"]))
        next(stream)
        wait_until(lambda: pool.stats().delayed == 1 and asleep(race, pool))
        now[0] = 5000.0
        watch(race, pool)
        made = []  # how many attempts there were once the job had been cancelled

        def cancel():
            leave(pool, stream)
            wait_until(lambda: pool.stats().running == 0)
            made.append(len(tries))

        race.meanwhile(cancel)
        ring_retries(pool)
        race.over()
        pool.shutdown(LIMIT)
        stats = pool.stats()
        assert stats.submitted == stats.finished == 2 and stats.workers == 0
        assert made in ([], [len(tries)]), "it is not attempted after that"
        assert len(tries) == 1 + stats.succeeded and stats.cancelled == 2 - stats.succeeded
        stream.close()

    at_each_moment(lying, scenario)


def at_the_bound():
    """A pool at its bound of one delayed job, with the stream of that job, its clock, and the event of its busy worker.

    Its queue is empty and has room for nine jobs, and its only worker is busy until the event is set.
    """
    now, gate, tries = [0.0], threading.Event(), Counter()

    def handler(job):
        tries[job] += 1
        if job == "good":
            wait_until(lambda: pool.stats().submitted == 3)  # A stream that yields its result submits no more.
        elif job != "bad" or tries[job] > 1:
            assert gate.wait(3 * LIMIT)
        else:
            raise ValueError(job)

    pool = RetryingPool(handler, workers=1, queue_size=9, max_delayed=1, policy=LATER, clock=lambda: now[0])
    stream = pool.stream(["good", "bad", "busy"])
    assert next(stream).job == "good"
    wait_until(lambda: pool.stats().delayed == 1 and "busy" in running(pool))
    return pool, stream, now, gate


def comes_back(pool, stream, now):
    now[0] = 5000.0
    ring_retries(pool)


BELOW_THE_BOUND = {
    "the delayed job comes back": comes_back,
    "it is cancelled": lambda pool, stream, now: pool.cancel_queued(),
    "its stream is left": lambda pool, stream, now: stream.close(),
}


@pytest.mark.parametrize("event", BELOW_THE_BOUND.values(), ids=BELOW_THE_BOUND)
def test_there_are_fewer_delayed_jobs_as_two_submitters_wait_for_that(lying, event):
    def scenario(race):
        pool, stream, now, gate = at_the_bound()
        assert not pool.try_submit("refused"), "at the bound nothing is accepted, although the queue has room"
        in_thread("theirs", lambda: pool.submit("theirs"))
        wait_until(lambda: "theirs" in race.lock.asleep)
        watch(race, pool)

        def happen():
            event(pool, stream, now)

        race.meanwhile(happen, victim="mine")
        race.otherwise(happen)
        in_thread("mine", lambda: pool.submit("mine"))
        wait_until(lambda: {"mine", "theirs"} <= set(queued(pool)), LIMIT)  # the worker is still busy
        race.over()
        gate.set()
        stream.close()
        pool.shutdown(LIMIT)
        assert pool.stats().submitted == pool.stats().finished == 5

    at_each_moment(lying, scenario)


def test_jobs_of_a_stream_are_delayed_as_it_waits_with_its_window_full(lying):
    def scenario(race):
        gate = threading.Event()

        def handler(job):
            if job != "good":
                assert gate.wait(3 * LIMIT)
                raise ValueError(job)

        pool = RetryingPool(handler, workers=1, queue_size=1, policy=LATER)

        def fail():
            gate.set()
            wait_until(lambda: pool.stats().running == pool.stats().queued == 0)

        watch(race, pool)
        race.meanwhile(fail)
        race.otherwise(fail)
        stream = pool.stream(["bad", "bad too", "good"])
        assert next(stream).job == "good", "its window of two jobs was full until these were delayed"
        race.over()
        stream.close()
        pool.shutdown(LIMIT)
        assert pool.stats().submitted == pool.stats().finished == 3

    at_each_moment(lying, scenario)


def test_a_job_fails_as_a_submit_looks_whether_there_are_too_many_delayed(lying):
    """The check and the append are one step, so a job is accepted before the bound is reached, or it waits."""

    def scenario(race):
        pool, gate = busy(partial(RetryingPool, policy=LATER, max_delayed=1), workers=1, fails=True)
        length = len(state_of(pool).queue)

        def nothing_is_accepted_at_the_bound():
            nonlocal length
            grown, length = len(queued(pool)) > length, len(queued(pool))
            return not (grown and pool.stats().delayed >= 1)

        watch(race, pool, nothing_is_accepted_at_the_bound)
        race.meanwhile(lambda: (gate.set(), wait_until(lambda: pool.stats().running == 0)))
        accepted = pool.try_submit("second")
        race.over()
        assert accepted or race.happened
        gate.set()
        pool.force_shutdown()
        ends_once(pool)

    at_each_moment(lying, scenario)


def test_a_retry_becomes_due_as_a_worker_looks_whether_it_may_end(lying):
    def scenario(race):
        pool, now, tries = delayed_job(RetryingPool, race, workers=1)
        pool.submit("job")
        wait_until(lambda: pool.stats().delayed == 1 and asleep(race, pool))
        now[0] = 5000.0

        def come_due():
            ring_retries(pool)

        race.meanwhile(come_due, victim="worker-1")
        race.lock.asleep.clear()
        pool.close()
        wait_until(lambda: race.happened or asleep(race, pool))
        race.over()
        come_due()
        assert ends_once(pool)["job"].ok and len(tries) == 2

    at_each_moment(lying, scenario)


def test_a_retry_becomes_due_as_a_reader_looks_for_the_end(lying):
    def scenario(race):
        pool, now, _ = delayed_job(RetryingPool, race, workers=1)
        pool.submit("job")
        wait_until(lambda: pool.stats().delayed == 1 and asleep(race, pool))
        now[0] = 5000.0

        def come_due():
            ring_retries(pool)

        race.meanwhile(come_due)
        race.otherwise(come_due)
        assert [result.job for result in pool.results()] == ["job"]
        race.over()
        pool.shutdown()

    at_each_moment(lying, scenario)


def letters(race, count=1, **options):
    """Return a pool with `count` dead letters, and an event that its jobs wait for from now on."""
    gate, broken = threading.Event(), [True]

    def handler(job):
        if broken[0]:
            raise ValueError(job)
        gate.wait(LIMIT)

    pool = RetryingPool(handler, workers=1, policy=RetryPolicy(1), **options)
    for job in range(count):
        pool.submit(job)
    wait_until(lambda: len(pool.dead_letters()) == count and asleep(race, pool))
    broken[0] = False
    return pool, gate


@pytest.mark.parametrize("call", ["redrive", "discard_letters"])
@pytest.mark.parametrize("other", ["redrive", "discard_letters"])
def test_two_calls_want_the_same_dead_letter(lying, call, other):
    def scenario(race):
        pool, gate = letters(race)
        taken = []

        def take(how):
            gone = getattr(pool, how)()
            taken.append(gone if isinstance(gone, int) else len(gone))

        race.meanwhile(lambda: take(other))
        take(call)
        race.over()
        assert sum(taken) == 1 and not pool.dead_letters()
        gate.set()
        pool.shutdown(LIMIT)
        assert pool.stats().submitted == pool.stats().finished == 1 + (pool.stats().succeeded == 1)

    at_each_moment(lying, scenario)


def test_a_redrive_and_a_submit_want_the_last_place(lying):
    def scenario(race):
        pool, gate = letters(race, count=1, queue_size=1)
        pool.submit("blocks")
        wait_until(lambda: pool.stats().running == 1)

        def the_bound_holds():
            return len(state_of(pool).queue) <= 1

        watch(race, pool, the_bound_holds)
        race.meanwhile(lambda: (pool.try_submit("other"), gate.set()))
        race.otherwise(gate.set)
        assert pool.redrive() == 1
        race.over()
        pool.shutdown(LIMIT)
        assert pool.stats().submitted == pool.stats().finished

    at_each_moment(lying, scenario)


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_a_redrive_meets_a_stop(lying, stop):
    def scenario(race):
        pool, gate = letters(race)
        gate.set()
        watch(race, pool)
        race.meanwhile(lambda: stop(pool))
        try:
            moved = pool.redrive()
        except PoolClosed:
            moved = 0
        race.over()
        pool.shutdown(LIMIT)
        assert len(pool.dead_letters()) + moved == 1, "the job is in one of the two places"
        assert pool.stats().submitted == pool.stats().finished == 1 + moved

    at_each_moment(lying, scenario)


# --- alarm -----------------------------------------------------------------------------------------------------------


def alarm(race, ring=lambda: None):
    rung = threading.Event()
    one = Alarm(race.lock, lambda: (rung.set(), ring()), time.monotonic, "the-alarm")
    one.start()
    wait_until(lambda: "the-alarm" in race.lock.asleep)
    return one, rung


@pytest.mark.parametrize("call", ["at", "stop"])
def test_a_call_comes_as_the_alarm_is_about_to_park(lying, call):
    def scenario(race):
        one, rung = alarm(race)
        race.meanwhile(lambda: one.at(0.0) if call == "at" else one.stop(), victim="the-alarm")
        race.lock.asleep.clear()
        one.at(time.monotonic() + 1000.0)  # it wakes up and parks again
        wait_until(lambda: race.happened or "the-alarm" in race.lock.asleep)
        race.over()
        if race.happened and call == "at":
            assert rung.wait(LIMIT)
        one.stop() if call == "at" or not race.happened else None
        one.thread.join(LIMIT)
        assert not one.thread.is_alive()

    at_each_moment(lying, scenario)


@pytest.mark.parametrize("delay", [0.0, 1000.0])
def test_a_time_is_set_as_the_alarm_fires(lying, delay):
    """At each moment from the time that is due to the end of the ring: the new time is not lost."""

    def scenario(race):
        rings = []

        def ring():
            rings.append(one.is_set)
            with race.lock:  # two moments inside the ring, as in that of a pool
                pass

        one = Alarm(race.lock, ring, time.monotonic, "the-alarm")
        asked = []

        def ask():
            asked.append((time.monotonic() + delay, len(rings)))
            one.at(asked[0][0])

        one.start()
        wait_until(lambda: "the-alarm" in race.lock.asleep)
        race.meanwhile(ask, victim="the-alarm")
        one.at(0.0)
        wait_until(lambda: rings and "the-alarm" in race.lock.asleep, LIMIT)
        race.over()
        if race.happened and delay:
            assert one.is_set or asked[0][1] == 0, "a later time may be dropped only before the alarm fires"
        elif race.happened:
            assert len(rings) > asked[0][1], "it fires after that time"
        one.stop()
        one.thread.join(LIMIT)
        assert not one.thread.is_alive()

    at_each_moment(lying, scenario)


def test_the_earlier_of_two_times_counts(lying):
    def scenario(race):
        one, _ = alarm(race)
        late, early = time.monotonic() + 2000.0, time.monotonic() + 1000.0
        race.meanwhile(lambda: one.at(early))
        one.at(late)
        race.over()
        assert ring_time_of(one) == (early if race.happened else late)
        one.stop()
        one.thread.join(LIMIT)

    at_each_moment(lying, scenario)


def test_a_time_that_the_alarm_sets_while_it_fires_is_kept(lying):
    lock = lying()
    rings = []

    def ring():
        rings.append(1)
        if len(rings) == 1:
            one.at(0.0)

    one = Alarm(lock, ring, time.monotonic, "the-alarm")
    one.start()
    one.at(0.0)
    wait_until(lambda: len(rings) == 2, LIMIT)
    one.stop()
    one.thread.join(LIMIT)


# --- connections -----------------------------------------------------------------------------------------------------


def shared(connect=object, **options):
    closed = []
    return Connections(connect, closed.append, **{"random": lambda: 1e9} | options), closed


def members(stack, line, count):
    """Let `count` workers share the connections. Returns a function for each worker that makes it leave."""
    shares = [contextlib.ExitStack() for _ in range(count)]
    for share in shares:
        share.enter_context(line.member())
        stack.callback(share.close)
    return [share.close for share in shares]


@pytest.mark.parametrize("first", ["take", "leave"])
def test_a_worker_that_leaves_closes_what_another_is_about_to_take(lying, first):
    def scenario(race):
        line, closed = shared()
        with contextlib.ExitStack() as stack:
            leave, _ = members(stack, line, 2)
            kept = line.take(NEVER)
            line.give_back(kept)
            got = []
            calls = [lambda: got.append(line.take(NEVER)), leave]
            if first == "leave":
                calls.reverse()
            race.meanwhile(calls[1])
            calls[0]()
            race.over()
            if not race.happened:
                calls[1]()
            assert len(got) == 1 and got[0] not in closed, "a connection that was taken is open"
            assert closed in ([], [kept]) and not line._free
            line.give_back(got[0])
        assert len(closed) == len(set(map(id, closed))) == len({id(kept), id(got[0])}), "each connection is closed once"

    at_each_moment(lying, scenario)


@pytest.mark.parametrize("free", [True, False])
def test_two_workers_take_at_once_and_get_different_connections(lying, free):
    def scenario(race):
        line, _ = shared()
        if free:
            line.give_back(line.take(NEVER))
        got = []
        # The thread that came first may have to be served first. Then it is enough that the other one is in the line.
        race.meanwhile(lambda: got.append(line.take(NEVER)), until=lambda: len(line._line) == 2)
        got.append(line.take(NEVER))
        race.over()
        assert len(got) == len(set(map(id, got))) == 1 + race.happened

    at_each_moment(lying, scenario)


def refusing(asked):
    def connect():
        asked.append(1)
        raise ConnectionRefusedError("421")

    return connect


def test_a_connection_is_given_back_as_the_next_in_line_is_about_to_wait(lying):
    def scenario(race):
        asked = []
        line, _ = shared()
        mine = line.take(NEVER)
        line._connect = refusing(asked)
        race.meanwhile(lambda: line.give_back(mine))
        race.otherwise(lambda: line.give_back(mine))
        assert line.take(NEVER) is mine
        race.over()
        assert len(asked) <= 1

    at_each_moment(lying, scenario)


def test_after_a_refusal_the_next_in_line_does_not_ask_before_the_backoff(lying):
    def scenario(race):
        asked, stop = [], threading.Event()
        line, _ = shared()
        line._connect = refusing(asked)
        line._careful = True  # the server has refused before, so only one worker at a time asks

        def take():
            with pytest.raises(JobCancelled):
                line.take(stop)

        race.meanwhile(take, until=lambda: len(line._line) >= 1 and "meanwhile" in race.lock.asleep)
        mine = threading.Thread(target=take, name="mine", daemon=True)
        race.lock.victim = lambda: threading.current_thread() is mine
        mine.start()
        wait_until(lambda: "mine" in race.lock.asleep, LIMIT)
        assert len(asked) == line._refusals == 1, "the first refusal starts a long backoff"
        stop.set()
        with race.lock:
            for bell in line._line:
                bell.notify()
        mine.join(LIMIT)
        race.over()

    at_each_moment(lying, scenario)


def test_a_connection_works_as_another_worker_is_about_to_give_up(lying):
    def scenario(race):
        line, _ = shared(patience=1e-9)
        mine = line.take(NEVER)
        line._connect = refusing([])
        with race.lock:
            line._refused(ConnectionRefusedError("421"))
        time.sleep(0.001)
        assert line._outage is not None
        race.meanwhile(lambda: line.give_back(mine))
        try:
            got = line.take(NEVER)
        except NoConnection:
            got = None
        race.over()
        assert got in (None, mine)

    at_each_moment(lying, scenario)


# --- channel ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [None, 1])
def test_a_send_meets_a_close(lying, capacity):
    def scenario(race):
        line, sent, received = Channel(capacity), [], []
        race.meanwhile(lambda: (line.close(), received.extend(line)))
        with contextlib.suppress(ChannelClosed):
            line.send("item")
            sent.append("item")
        race.over()
        line.close()
        assert received + list(line) == sent
        assert not race.happened or received == sent, "the thread that read to the end has missed no item"

    at_each_moment(lying, scenario)


def test_two_sends_want_the_last_place_of_a_channel(lying):
    def scenario(race):
        line = Channel(1)

        def other():
            with contextlib.suppress(TimeoutError):
                line.send("other", timeout=0.0)

        race.lock.watch = lambda: race.errors.extend([AssertionError("over capacity")] * (len(line._items) > 1))
        race.meanwhile(other)
        with contextlib.suppress(TimeoutError):
            line.send("mine", timeout=0.0)
        race.over()
        assert len(line) == 1

    at_each_moment(lying, scenario)


def test_two_receives_want_the_last_item(lying):
    def scenario(race):
        line, got = Channel(1), []
        line.send("item")

        def receive():
            with contextlib.suppress(TimeoutError):
                got.append(line.receive(timeout=0.0))

        race.meanwhile(receive)
        receive()
        race.over()
        assert got == ["item"]

    at_each_moment(lying, scenario)


@pytest.mark.parametrize("come", ["send", "send and close", "close"])
def test_a_call_comes_as_a_receive_is_about_to_wait(lying, come):
    def scenario(race):
        line = Channel(1)

        def happen():
            if "send" in come:
                line.send("item")
            if "close" in come:
                line.close()

        race.meanwhile(happen)
        race.otherwise(happen)
        try:
            got = [line.receive()]
        except ChannelClosed:
            got = []
        race.over()
        assert got == (["item"] if "send" in come else [])

    at_each_moment(lying, scenario)


@pytest.mark.parametrize("come", ["receive", "close"])
def test_a_call_comes_as_a_send_is_about_to_wait(lying, come):
    def scenario(race):
        line = Channel(1)
        line.send("first")
        happen = line.receive if come == "receive" else line.close
        race.meanwhile(happen)
        race.otherwise(happen)
        try:
            line.send("second")
            sent = True
        except ChannelClosed:
            sent = False
        race.over()
        assert sent == (come == "receive") and len(line) == 1

    at_each_moment(lying, scenario)


# --- the garbage collector and KeyboardInterrupt, which act in the thread itself -------------------------------------

CALLS = {
    "submit": lambda pool: pool.submit("mine"),
    "try_submit": lambda pool: pool.try_submit("mine"),
    "redrive": lambda pool: pool.redrive(),
    "stats": lambda pool: pool.stats(),
    "oldest_wait": lambda pool: pool.oldest_wait(),
    "resize": lambda pool: pool.resize(2, 3),
    "a look": lambda pool: crew_of(pool).start_needed_workers(),
    "a deadline": lambda pool: pool.shutdown(0.0),
    "a forced stop": lambda pool: pool.force_shutdown(),
}

OF_A_CREW = ("resize", "a look")
KINDS_AND_CALLS = [(DynamicRetryingPool, name) for name in CALLS]
KINDS_AND_CALLS += [(RetryingPool, name) for name in CALLS if name not in OF_A_CREW]


def class_that_tells(ended):
    """Return a class of outlets that also add each result to the list `ended`."""

    class NotingOutlet(Outlet):
        __slots__ = ()

        def put(self, result):
            super().put(result)
            ended.append(result)

    return NotingOutlet


def forgotten(kind):
    """Make a pool with a stream that is not read any more. Of its jobs one is delayed, one runs, two are queued.

    Returns the pool, the stream, and a list to which all results of the stream are added. The running job ends when
    the stream is closed.
    """

    def handler(job):
        if job == "good":
            wait_until(lambda: pool.stats().submitted == 5)
        if job == "bad":
            raise ValueError(job)
        if job == "blocks":
            wait_until(lambda: not outlet.is_open or state_of(pool).closed)

    crew = {"workers": 1} if kind is RetryingPool else {"min_workers": 1, "max_workers": 1}
    pool = kind(handler, policy=LATER, queue_size=10, **crew)
    stream = pool.stream(["good", "bad", "blocks", "queued", "queued too"])
    [outlet] = state_of(pool).reader
    ended = [next(stream)]
    outlet.__class__ = class_that_tells(ended)
    wait_until(lambda: pool.stats().running == pool.stats().delayed == 1 and pool.stats().queued == 2)
    pool.submit("other")
    return pool, stream, ended


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.long)], ids=["some lines", "every line"])
@pytest.mark.parametrize("main", [True, False], ids=["main thread", "another thread"])
@pytest.mark.parametrize(
    ("kind", "call"),
    [pytest.param(kind, CALLS[name], id=f"{kind.__name__}-{name}") for kind, name in KINDS_AND_CALLS],
)
def test_the_garbage_collector_closes_a_forgotten_stream_at_any_line(lying, kind, call, main, every):
    """In another thread the act that is interrupted runs in place; in the main thread acts run in threads of their own.

    If the lock is held, the stream is left by a thread of its own, which must not change what is half done.
    """

    def scenario(race):
        pool, stream, ended = forgotten(kind)
        with at_line(race.moment, stream.close) as happened, contextlib.suppress(PoolClosed):
            call(pool)
        race.happened = bool(happened)
        stream.close()
        pool.shutdown(LIMIT)
        ends_once(pool, *(result for result in ended if result is not None))

    at_each_moment(lying, scenario, in_this_thread=main, every=every)


def test_the_garbage_collector_closes_a_forgotten_stream_as_a_new_queue_is_made(lying, monkeypatch):
    """A forced stop cancels every job, and a job that the stream cancels meanwhile is not cancelled twice."""
    lying()
    pool, stream, ended = forgotten(RetryingPool)

    def made(orders):
        monkeypatch.setattr(state, "deque", deque)
        stream.close()
        return deque(orders)

    monkeypatch.setattr(state, "deque", made)
    pool.force_shutdown()
    ends_once(pool, *(result for result in ended if result is not None))


def test_the_garbage_collector_closes_a_forgotten_stream_as_another_job_is_delayed(lying, monkeypatch):
    """An entry of the heap is a new object, and the collector runs when objects are made."""
    lying()

    def handler(job):
        if job != "good":
            raise ValueError(job)
        wait_until(lambda: pool.stats().submitted == 2)  # A stream that yields its result submits no more.

    def push(heap, item):
        stream.close()
        heappush(heap, item)

    pool = RetryingPool(handler, workers=1, policy=LATER)
    stream = pool.stream(["good", "bad"])
    next(stream)
    wait_until(lambda: pool.stats().delayed == 1)
    monkeypatch.setattr(state, "heappush", push)
    pool.submit("other")
    wait_until(lambda: pool.stats().cancelled == 1 and pool.stats().running == pool.stats().queued == 0, LIMIT)
    assert (pool.stats().submitted, pool.stats().delayed) == (3, 1), "only the stream's job is cancelled"
    pool.shutdown(0.0)
    assert [result.job for result in pool.results()] == ["other"]


def test_the_garbage_collector_closes_a_forgotten_stream_as_the_clock_is_read(lying):
    lying()
    gate, action = threading.Event(), []
    pool = WorkerPool(
        lambda job: job == 0 or gate.wait(LIMIT), workers=1, clock=lambda: (action and action.pop()()) or 0.0
    )
    stream = pool.stream(range(5))
    next(stream)
    wait_until(lambda: pool.stats().running == 1 and pool.stats().queued)
    action.append(lambda: threading.Timer(0.05, gate.set).start() or stream.close())
    assert pool.oldest_wait() == 0.0
    pool.shutdown(LIMIT)
    assert pool.stats().submitted == pool.stats().finished


@pytest.mark.parametrize("call", ["submit", "try_submit"])
@pytest.mark.parametrize("kind", ["WorkerPool", "DynamicPool", "RetryingPool"])
def test_keyboard_interrupt_comes_at_any_line_of_a_submit(lying, kind, call):
    """In the main thread, the only one that Python interrupts. Acts run in threads of their own there."""

    def interrupt():
        raise KeyboardInterrupt

    def scenario(race):
        make = {
            "WorkerPool": partial(WorkerPool, workers=1),
            "DynamicPool": partial(DynamicPool, min_workers=1, max_workers=4, backlog=1),
            "RetryingPool": partial(RetryingPool, workers=1),
        }
        pool, gate = gated(make[kind], free=["first"])
        wait_until(lambda: asleep(race, pool))
        if kind == "DynamicPool":  # so that the submit must start workers
            pool.submit("blocks")
            wait_until(lambda: pool.stats().running == 1)
            pool.submit("waits")
        with at_line(race.moment, interrupt) as happened, contextlib.suppress(KeyboardInterrupt):
            getattr(pool, call)("first")
        race.happened = bool(happened)
        gate.set()
        try:
            wait_until(lambda: pool.stats().finished == pool.stats().submitted, LIMIT)
            ends_once(pool)
        except AssertionError as error:
            error.add_note(f"the interrupt came in {happened}")
            raise

    at_each_moment(lying, scenario, in_this_thread=True)
