"""A rate limiter never exceeds its rate, keeps the order of arrival, and lets no caller wait forever."""

import asyncio
import math
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from conftest import SLOW, id_of, new_threads, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.pools import JobCancelled, RateLimiter, WorkerPool, gcra, rate
from helpers.pools.gcra import SECOND, Schedule, WaitingCaller, ticks

ROOT = Path(__file__).parents[1]


class Clock:
    """A clock that only the test moves. `reads` is the number of times that it was read."""

    def __init__(self, now=0.0):
        self.now = now
        self.reads = 0

    def __call__(self):
        now = self.now
        self.reads += 1
        return now


def waiting(limiter):
    """Return the number of callers in the queue."""
    return len(limiter._schedule._queue)


class Caller(threading.Thread):
    """A thread that calls `acquire` once. It is in the queue when the constructor returns."""

    def __init__(self, limiter, *args, **options):
        super().__init__(daemon=True)
        self.call = lambda: limiter.acquire(*args, **options)
        self.error = None
        before = waiting(limiter)
        self.start()
        wait_until(lambda: waiting(limiter) == before + 1)

    def run(self):
        try:
            self.call()
        except BaseException as error:
            self.error = error

    def ended(self):
        return not self.is_alive()


def used_up(limiter):
    limiter.acquire(timeout=0)
    return limiter


def most_above_the_rate(times, rate):
    """Return the exact maximum, over all intervals [t_i, t_j], of calls - rate * (t_j - t_i).

    There are j - i + 1 calls. With f(i) = i - rate * t_i the value is f(j) - f(i) + 1, so one pass that knows the
    smallest f is enough.
    """
    numerator, denominator = Fraction(rate).as_integer_ratio()
    one = denominator * SECOND  # all values are whole numbers of 1 / one; a reading of a float clock is one of ticks
    values = [index * one - numerator * ticks(instant) for index, instant in enumerate(times)]
    smallest = accumulate(values, min)
    largest = max((value - least for value, least in zip(values, smallest, strict=True)), default=-one)
    return Fraction(largest + one, one)


# The guarantee, in virtual time


@pytest.mark.parametrize("start", [0.0, 1e6 + 0.1])
@pytest.mark.parametrize("rate, burst", [(0.001, 1), (0.3, 7), (7, 1), (100, 20), (1e5, 3), (1e6, 1)])
@pytest.mark.parametrize("calls", [10_000, pytest.param(150_000, marks=pytest.mark.long)])
def test_no_interval_has_more_calls_than_promised_and_no_time_is_lost(rate, burst, calls, start):
    clock, draw = Clock(start), random.Random(f"{rate} {burst}")
    limiter = RateLimiter(rate, burst, clock=clock)
    times = []
    while len(times) < calls:
        if limiter.try_acquire():
            times.append(clock.now)
        else:
            clock.now += draw.random() / rate / 2
    most = most_above_the_rate(times, rate)
    assert most <= burst + Fraction(1, 10**9)
    assert most > burst - 1, "a limiter that lets too few calls through is wrong, too"
    # A caller that is never more than half an interval late loses no turn, if the burst is large enough.
    if burst > 1:
        assert float(Fraction(times[-1]) - Fraction(start)) * rate < (calls - burst) + 1


@pytest.mark.parametrize("rate", [0.001, 0.3, 3, 10, 49, 1000, 1e6])
def test_a_caller_that_keeps_to_the_rate_is_never_refused_because_of_rounding(rate):
    clock = Clock()
    limiter = RateLimiter(rate, clock=clock)
    for number in range(20_000):
        clock.now = number / rate
        assert limiter.try_acquire(), number


def test_readings_of_a_clock_that_are_fractions_are_used_exactly():
    clock = Clock(Fraction(0))
    limiter = RateLimiter(3, clock=clock)
    for number in range(1000):
        clock.now = Fraction(number, 3)
        assert limiter.try_acquire()
        clock.now += Fraction(1, 3) * (1 - Fraction(1, 10**8))
        assert not limiter.try_acquire()


def test_the_burst_can_be_used_at_once_and_refills_at_the_rate():
    clock = Clock()
    limiter = RateLimiter(2, burst=3, clock=clock)
    assert [limiter.try_acquire() for _ in range(4)] == [True, True, True, False]
    clock.now = 1.0
    assert [limiter.try_acquire() for _ in range(3)] == [True, True, False]
    clock.now = 1000.0
    assert [limiter.try_acquire() for _ in range(4)] == [True, True, True, False]


class Line:
    """Callers of a `Schedule` in virtual time. Like threads, they ask at their slot and whenever they are woken.

    For comparison, it has GCRA as in textbooks, with the theoretical arrival time in seconds. The rate is 1, so an
    interval is a second.
    """

    def __init__(self, burst):
        self.now, self.tau = Fraction(0), burst - 1
        self.schedule = Schedule(1.0, burst, 0)
        self.tat = Fraction(0)
        self.waiting, self.woken, self.gone = [], [], []

    def earliest(self):
        return max(self.now, self.tat - self.tau)

    def arrive(self):
        caller = WaitingCaller(lambda: self.woken.append(caller))
        expected = not self.waiting and self.tat - self.tau <= self.now
        if self.schedule.ask(caller, ticks(self.now), None):
            assert expected
            self.tat = max(self.tat, self.now) + 1
            self.gone.append(self.now)
        else:
            assert not expected
            self.waiting.append(caller)
        self.settle()

    def settle(self):
        """Let each caller ask that was woken or whose slot is due. Only the first may get a turn, and only now."""
        while asking := [w for w in self.waiting if w in self.woken or w.slot <= ticks(self.now)]:
            self.woken = [w for w in self.woken if w is not asking[0]]
            if self.schedule.ask(asking[0], ticks(self.now), None):
                assert asking[0] is self.waiting.pop(0), "a caller was overtaken"
                assert self.earliest() == self.now, "a caller went too early"
                self.tat = max(self.tat, self.now) + 1
                self.gone.append(self.now)
        if self.waiting:
            first = min(caller.slot for caller in self.waiting)
            assert first == ticks(self.earliest()), "no caller wakes up for the next turn"

    def pass_time(self, quarters):
        end = self.now + Fraction(quarters, 4)
        while self.waiting and (first := min(caller.slot for caller in self.waiting)) <= ticks(end):
            self.now = Fraction(first, SECOND)
            self.settle()
        self.now = end

    def leave(self, index):
        if self.waiting:
            self.schedule.leave(self.waiting.pop(index % len(self.waiting)))
            self.settle()

    def pause(self, quarters):
        until = self.now + Fraction(quarters, 4)
        self.tat = max(self.tat, until + self.tau)
        self.schedule.pause(ticks(until))
        self.settle()


STEPS = st.one_of(
    st.just(("arrive",)),
    st.just(("arrive",)),
    st.tuples(st.just("pass_time"), st.integers(1, 20)),
    st.tuples(st.just("leave"), st.integers(0, 9)),
    st.tuples(st.just("pause"), st.integers(0, 12)),
)


@settings(max_examples=300)
@given(burst=st.integers(1, 3), steps=st.lists(STEPS, max_size=40))
def test_each_turn_goes_to_the_first_in_the_queue_at_the_earliest_possible_time(burst, steps):
    line = Line(burst)
    for name, *args in steps:
        getattr(line, name)(*args)
    count = len(line.waiting)
    line.pass_time(4 * (count + 100))
    assert not line.waiting, "a caller waits forever"
    assert most_above_the_rate(line.gone, 1) <= burst


def test_a_late_caller_keeps_its_slot_but_a_suspended_program_does_not_catch_up():
    schedule, first, second, third = Schedule(100.0, 1, 0), *(WaitingCaller(list) for _ in range(3))
    assert schedule.take(0)
    assert not any(schedule.ask(caller, 0, None) for caller in (first, second, third))
    late = ticks(0.0201)  # the slots are 0.01, 0.02 and 0.03; the first thread has not woken up yet
    assert schedule.ask(second, late, None) and first.granted and not third.granted
    assert schedule.ask(third, ticks(0.03) + 2, None), "the lateness of other callers delayed it"
    callers = [WaitingCaller(list) for _ in range(20)]
    for caller in callers:
        assert not schedule.ask(caller, ticks(0.03) + 2, None)
    schedule.ask(callers[0], ticks(3600), None)
    assert sum(caller.granted for caller in callers) == 6, "0.05 s make five calls at this rate, and one is due"


# Threads that wait


def test_callers_go_in_the_order_in_which_they_came():
    clock = Clock()
    limiter = used_up(RateLimiter(1, clock=clock))
    callers = [Caller(limiter) for _ in range(5)]
    for number, caller in enumerate(callers, 1):
        assert not limiter.try_acquire(), "it overtakes waiting callers"
        clock.now = float(number)
        wait_until(caller.ended)
        assert caller.error is None
        assert all(later.is_alive() for later in callers[number:])


@pytest.mark.parametrize("leaver", range(4))
def test_those_behind_a_caller_that_is_cancelled_move_up(leaver):
    clock, cancelled = Clock(), threading.Event()
    limiter = used_up(RateLimiter(1, clock=clock))
    callers = [Caller(limiter, cancelled if number == leaver else None) for number in range(4)]
    cancelled.set()
    wait_until(callers[leaver].ended)
    assert isinstance(callers.pop(leaver).error, JobCancelled)
    for number, caller in enumerate(callers, 1):
        clock.now = float(number)
        wait_until(caller.ended)
        assert caller.error is None
        assert all(later.is_alive() for later in callers[number:])
    clock.now = 4.0
    assert limiter.try_acquire()


def test_a_caller_that_is_already_cancelled_uses_no_turn():
    cancelled = threading.Event()
    cancelled.set()
    limiter = RateLimiter(0.001, clock=Clock())
    with pytest.raises(JobCancelled):
        limiter.acquire(cancelled)
    assert limiter.try_acquire()


def test_a_turn_that_would_be_too_late_is_refused_at_once_and_not_used():
    clock = Clock()
    limiter = used_up(RateLimiter(1, clock=clock))
    caller = Caller(limiter)  # it has the slot 1.0, so the next one is 2.0
    for timeout in (0, 1.9, Fraction(19, 10), Decimal("1.9"), np.float32(1.9), timedelta(seconds=1.9)):
        with pytest.raises(TimeoutError, match="comes in 2 s"):  # the clock stands still: it does not wait
            limiter.acquire(timeout=timeout)
    patient = Caller(limiter, timeout=2)
    for now, one in ((1.0, caller), (2.0, patient)):
        clock.now = now
        wait_until(one.ended)
        assert one.error is None


@pytest.mark.parametrize("timeout", [None, math.inf, 1e300, 10**400 // 10**100])
def test_a_timeout_can_have_any_length(timeout):
    clock = Clock()
    limiter = used_up(RateLimiter(1e-300, clock=clock))
    caller = Caller(limiter, timeout=timeout)
    clock.now = 2e300
    wait_until(caller.ended)
    assert caller.error is None


def test_a_pause_delays_all_callers_and_is_never_shortened():
    clock = Clock()
    limiter = used_up(RateLimiter(1, burst=2, clock=clock))
    limiter.acquire()
    callers = [Caller(limiter), Caller(limiter)]
    limiter.penalize(5)
    limiter.penalize(timedelta(seconds=0.5))
    limiter.penalize(0)
    clock.now = 4.999
    time.sleep(0.2)  # a thread that did not wait for the pause would go within this time
    assert waiting(limiter) == 2 and not limiter.try_acquire()
    for now, caller in zip((5.0, 6.0), callers, strict=True):
        clock.now = now
        wait_until(caller.ended)
        assert caller.error is None
    assert not limiter.try_acquire(), "no burst after a pause"


def test_a_pause_ends_the_wait_of_a_caller_whose_turn_is_then_too_late():
    limiter = used_up(RateLimiter(0.01, clock=Clock()))
    hasty = Caller(limiter, timeout=150)
    limiter.penalize(1000)
    wait_until(hasty.ended)
    assert isinstance(hasty.error, TimeoutError)


def test_a_forced_shutdown_of_the_pool_ends_the_wait_of_its_handlers():
    limiter = used_up(RateLimiter(0.001))
    pool = WorkerPool(lambda job: limiter.acquire(), workers=3)
    for job in range(3):
        pool.submit(job)
    wait_until(lambda: waiting(limiter) == 3)
    pool.force_shutdown()
    results = list(pool.results())
    assert len(results) == 3 and all(isinstance(result.error, JobCancelled) for result in results)
    assert waiting(limiter) == 0


def test_two_pools_share_one_rate():
    limiter, times = RateLimiter(200), []

    def handler(job):
        limiter.acquire()
        times.append(time.monotonic())

    with WorkerPool(handler, workers=5) as one, WorkerPool(handler, workers=5) as other:
        for job in range(30):
            one.submit(job)
            other.submit(job)
    assert len(times) == 60
    # Slots are 1/200 s apart, and no caller goes before its slot, however slow this machine is.
    assert max(times) - min(times) >= 58 / 200


# KeyboardInterrupt


@pytest.mark.skipif(os.name == "nt", reason="a signal cannot be sent to one thread")
def test_the_stop_button_ends_a_wait_and_leaves_the_limiter_usable():
    clock = Clock()
    limiter = used_up(RateLimiter(1, clock=clock))
    behind = []

    def interrupt():
        wait_until(lambda: waiting(limiter) == 1)
        behind.append(Caller(limiter))
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        limiter.acquire()
    thread.join()
    clock.now = 1.0  # the slot of the interrupted caller
    wait_until(behind[0].ended)
    assert behind[0].error is None


def interrupted_at(number, call):
    """Call with a KeyboardInterrupt at the `number`-th point at which Python checks for signals.

    These points are the entry of a Python function and the return of a C function. Returns False if there is no such
    point.
    """
    left = number

    def profile(frame, event, argument):
        nonlocal left
        # Not the frames of this file: an interrupt right after `sys.setprofile` would get past the `try`.
        if event in ("call", "c_return") and frame.f_code.co_filename in (rate.__file__, gcra.__file__):
            left -= 1
            if left == 0:
                sys.setprofile(None)
                raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        call()
    except KeyboardInterrupt:
        pass
    finally:
        sys.setprofile(None)
    return left <= 0


@pytest.mark.parametrize("what", ["try_acquire", "acquire", "wait", "penalize"])
def test_an_interrupt_at_any_point_does_not_block_other_callers(what):
    number, before = 1, threading.enumerate()
    while True:
        clock = Clock()
        limiter = used_up(RateLimiter(100, clock=clock))
        caller = Caller(limiter)
        clock.now = 0.02
        calls = {
            "try_acquire": limiter.try_acquire,
            "acquire": limiter.acquire,
            "wait": partial(limiter.acquire, timeout=100),
            "penalize": partial(limiter.penalize, 1),
        }
        if what == "wait":
            wait_until(caller.ended)
            limiter.penalize(0.01)
            threading.Timer(0.005, setattr, (clock, "now", 0.1)).start()
        hit = interrupted_at(number, calls[what])
        clock.now = 1000.0
        wait_until(caller.ended)
        assert caller.error is None
        done = threading.Thread(target=limiter.acquire, daemon=True)
        done.start()
        wait_until(lambda: not done.is_alive())  # noqa: B023
        wait_until(lambda: not new_threads(before))
        if not hit:
            break
        number += 1
    assert number > 10, "no interrupt had an effect"


# asyncio


def test_tasks_and_threads_wait_in_one_queue_and_the_loop_goes_on():
    clock = Clock()
    limiter = used_up(RateLimiter(1, clock=clock))
    order, beats = [], []

    async def call(name):
        await limiter.acquire_async()
        order.append(name)

    async def until(condition):
        async with asyncio.timeout(SLOW):
            while not condition():
                beats.append(1)
                await asyncio.sleep(0.001)

    async def main():
        tasks = [asyncio.create_task(call("task 1"))]
        await until(lambda: waiting(limiter) == 1)
        thread = threading.Thread(target=lambda: (limiter.acquire(), order.append("thread 2")))
        thread.start()
        await until(lambda: waiting(limiter) == 2)
        tasks.append(asyncio.create_task(call("task 3")))
        await until(lambda: waiting(limiter) == 3)
        for now in (1.0, 2.0, 3.0):
            clock.now = now
            await until(lambda: len(order) == now)  # noqa: B023
        await asyncio.gather(*tasks)
        thread.join()

    asyncio.run(main())
    assert order == ["task 1", "thread 2", "task 3"]
    assert len(beats) > 3


def test_a_cancelled_task_returns_its_turn():
    clock = Clock()
    limiter = used_up(RateLimiter(1, clock=clock))

    async def main():
        tasks = []
        for number in range(3):
            tasks.append(asyncio.create_task(limiter.acquire_async()))
            while waiting(limiter) <= number:
                await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[1].cancel()
        await asyncio.wait(tasks[:2])
        assert waiting(limiter) == 1 and all(task.cancelled() for task in tasks[:2])
        clock.now = 1.0
        async with asyncio.timeout(SLOW):
            await tasks[2]
        with pytest.raises(TimeoutError):
            await limiter.acquire_async(timeout=0.5)
        clock.now = 2.0
        await limiter.acquire_async(timeout=0)

    asyncio.run(main())


def test_a_task_whose_loop_is_closed_does_not_block_other_callers():
    clock = Clock()
    limiter = used_up(RateLimiter(1, clock=clock))
    loop = asyncio.new_event_loop()
    task = loop.create_task(limiter.acquire_async())
    loop.run_until_complete(asyncio.sleep(0))
    assert waiting(limiter) == 1
    behind = Caller(limiter)
    loop.close()
    task._log_destroy_pending = False
    for now in (1.0, 2.0, 3.0):
        clock.now, before = now, clock.reads
        # The first of three reads may have begun earlier, and the second may end the thread's sleep. The third asks.
        wait_until(lambda before=before: behind.ended() or clock.reads > before + 2)
    wait_until(behind.ended)
    assert behind.error is None


# Bad input


NO_NUMBERS = [None, True, "5", b"5", 1j, np.complex64(1), np.bool_(True), [1], np.array([1.0]), object]
NOT_FINITE = [math.nan, math.inf, -math.inf, Decimal("NaN"), np.float32("inf"), 10**400]


class Broken(Fraction):
    def __float__(self):
        raise ZeroDivisionError("broken")

    def __repr__(self):
        raise ZeroDivisionError("broken")


@pytest.mark.parametrize("value", [*NO_NUMBERS, *NOT_FINITE, 0, -1, 0.0, Decimal("sNaN"), Broken(1)], ids=type)
def test_a_rate_that_is_not_a_positive_number_is_refused(value):
    with pytest.raises((TypeError, ValueError), match="rate must be a finite number of calls per second, more"):
        RateLimiter(value)


@pytest.mark.parametrize("value", [None, True, "5", 2.5, 1.0, Decimal(2), 0, -1, math.nan, math.inf], ids=repr)
def test_a_burst_that_is_not_a_whole_number_from_1_is_refused(value):
    with pytest.raises((TypeError, ValueError), match="burst must be a whole number of at least 1, not "):
        RateLimiter(1, value)


@pytest.mark.parametrize("value", [*NO_NUMBERS, *NOT_FINITE, -1, -1e-9, timedelta(seconds=-1)], ids=type)
def test_a_bad_pause_is_refused(value):
    limiter = RateLimiter(1, clock=Clock())
    with pytest.raises((TypeError, ValueError), match="seconds must be a finite number, 0 or more, not "):
        limiter.penalize(value)
    assert limiter.try_acquire()


@pytest.mark.parametrize("value", [*NO_NUMBERS[1:], math.nan, -1, -math.inf, timedelta(seconds=-1)], ids=type)
def test_a_bad_timeout_is_refused(value):
    limiter = RateLimiter(1, clock=Clock())
    with pytest.raises((TypeError, ValueError), match="timeout must be None or a number of seconds, 0 or more, not "):
        limiter.acquire(timeout=value)
    with pytest.raises((TypeError, ValueError), match="timeout must be None or a number of seconds, 0 or more, not "):
        asyncio.run(limiter.acquire_async(timeout=value))
    assert limiter.try_acquire()


@pytest.mark.parametrize("value", [5, True, "event", object()], ids=id_of)
def test_an_object_that_is_not_an_event_is_refused(value):
    with pytest.raises(TypeError, match="cancelled must be a threading.Event or None, not "):
        RateLimiter(1).acquire(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, "noon", None], ids=repr)
def test_a_clock_that_does_not_return_a_number_is_refused(value):
    with pytest.raises(TypeError, match="clock must return a finite number of seconds, not "):
        RateLimiter(1, clock=lambda: value)


def test_a_clock_that_breaks_during_a_wait_ends_only_that_wait():
    clock = Clock()
    limiter = used_up(RateLimiter(1, clock=clock))
    caller = Caller(limiter)
    clock.now = "broken"
    wait_until(caller.ended)
    assert isinstance(caller.error, TypeError)
    clock.now = 1.0
    assert limiter.try_acquire()


@pytest.mark.parametrize("rate", [2, 2.0, Fraction(2), Decimal(2), np.int64(2), np.float32(2), np.float64(2)], ids=type)
def test_a_rate_may_be_a_number_of_any_real_type(rate):
    clock = Clock()
    limiter = used_up(RateLimiter(rate, np.int64(1), clock=clock))
    clock.now = 0.49
    assert not limiter.try_acquire()
    clock.now = 0.5
    assert limiter.try_acquire()
    assert repr(limiter) == "RateLimiter(rate=2, burst=1)"


@pytest.mark.parametrize("rate", [5e-324, 1e308])
def test_extreme_rates_work(rate):
    clock = Clock()
    limiter = RateLimiter(rate, burst=10**100, clock=clock)
    assert all(limiter.try_acquire() for _ in range(1000))
    limiter.penalize(1e308)
    assert not limiter.try_acquire()
    with pytest.raises(TimeoutError):
        limiter.acquire(timeout=1e300)


# The examples of the README


def example(title):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split(f"## {title}\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, flags=re.S)
    return code


def run_example(code, folder):
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "HTTP_PROXY": "http://127.0.0.1:9"},
        timeout=100,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout.splitlines()


def test_the_first_example_of_the_readme_has_a_result_for_each_job(tmp_path):
    printed = run_example(example("The pool in a hurry"), tmp_path)
    assert sorted(printed) == ["0 failed: division by zero", "1 gives 100.0", "2 gives 50.0", "5 gives 20.0"]


def test_the_rate_limit_example_of_the_readme_fetches_all_200(tmp_path):
    code = example("A rate limit and retries")
    assert len([line for line in code.splitlines() if line]) <= 20
    assert run_example(code, tmp_path) == ["200 of 200", "0 jobs given up"]
