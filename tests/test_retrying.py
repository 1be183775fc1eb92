"""The retrying pool: its policy as numbers, the times of its retries in virtual time, dead letters, and real mails."""

import copy
import random
import smtplib
import threading

import pytest
from conftest import wait_until
from hypothesis import given
from hypothesis import strategies as st
from inside import alarms_of, state_of, threads_ended
from virtual import Stage

from helpers.pools import (
    BatchEmailSender,
    DynamicRetryingPool,
    EmailJob,
    ImageJob,
    ImageProcessor,
    JobCancelled,
    OutcomeUnknown,
    PoolClosed,
    Result,
    RetryBudget,
    RetryingPool,
    RetryLater,
    RetryPolicy,
    current_worker,
)
from helpers.services import MailServer

PLAIN = RetryPolicy(max_attempts=3, base=0.1, cap=5.0, jitter=False)


class Permanent(Exception):
    permanent = True


# --- the policy alone ------------------------------------------------------------------------------------------


def test_the_backoff_doubles_up_to_the_cap_and_stays_there():
    policy = RetryPolicy(max_attempts=10**9, base=0.1, cap=5.0, jitter=False)
    waits = [policy.wait(n, ValueError()) for n in range(1, 9)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
    # The article's version overflows at attempt 38. From then on, most of its waits are negative.
    assert all(policy.wait(n, ValueError()) == 5.0 for n in (38, 64, 65, 1000, 1024, 10**8))


@given(st.integers(1, 10**6), st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.integers(0, 99))
def test_full_jitter_is_between_zero_and_the_ceiling(attempt, base, cap, seed):
    policy = RetryPolicy(10**7, base, cap, seed=seed)
    wait = policy.wait(attempt, ValueError(), "job")
    assert 0 <= wait <= policy.ceiling(attempt) <= cap
    assert wait == RetryPolicy(10**7, base, cap, seed=seed).wait(attempt, ValueError(), "job")


def test_full_jitter_is_spread_evenly():
    policy = RetryPolicy(3, 1.0, 1.0, seed=1)
    waits = sorted(policy.wait(1, ValueError(), job) for job in range(1000))
    assert all(abs(wait - rank / 1000) < 0.06 for rank, wait in enumerate(waits))


@pytest.mark.parametrize(
    ("options", "error", "again"),
    [
        ({}, ValueError(), True),
        ({}, Permanent(), False),
        ({}, JobCancelled(), False),
        ({}, OutcomeUnknown(), False),
        ({}, SystemExit(), False),
        ({}, KeyboardInterrupt(), False),
        ({"retry_on": BaseException}, SystemExit(), True),
        ({"retry_on": BaseException}, OutcomeUnknown(), False),
        ({"retry_on": (OSError, OutcomeUnknown)}, OutcomeUnknown(), True),
        ({"retry_on": OutcomeUnknown}, OutcomeUnknown(), True),
        ({"retry_on": OSError}, ValueError(), False),
        ({"retry_on": OSError}, ConnectionResetError(), True),
        ({"retry_on": OSError, "give_up_on": ConnectionResetError}, ConnectionResetError(), False),
        ({"give_up_on": (KeyError, ValueError)}, ValueError(), False),
        ({"retry_on": lambda error: "again" in str(error)}, ValueError("try again"), True),
        ({"retry_on": lambda error: "again" in str(error)}, ValueError("never"), False),
        ({"give_up_on": lambda error: error.args == (7,)}, ValueError(7), False),
    ],
)
def test_which_errors_are_retried(options, error, again):
    policy = RetryPolicy(**options)
    assert policy.retryable(error) is again
    assert (policy.wait(1, error) is not None) is again
    assert policy.wait(3, error) is None, "three attempts in all"


@pytest.mark.parametrize("asked", [7.5, 0, 100])
def test_a_retry_after_is_waited_for_in_full_and_the_jitter_is_added(asked):
    error = RetryLater("busy", asked)
    assert PLAIN.wait(1, error) == pytest.approx(asked + 0.1)
    spread = {RetryPolicy(base=1.0, seed=1).wait(1, error, job) for job in range(50)}
    assert len(spread) == 50 and asked <= min(spread) and max(spread) <= asked + 1.0


# --- virtual time ----------------------------------------------------------------------------------------------


@pytest.fixture
def stage():
    with Stage() as stage:
        yield stage


def failing(stage, times, service=0.05):
    """Return a handler whose jobs fail `times` times before they succeed. times: a number, or a function of the job."""
    tries = {}

    def handler(job):
        tries[job] = tries.get(job, 0) + 1
        stage.work(service)
        if tries[job] <= (times(job) if callable(times) else times):
            raise ValueError(f"attempt {tries[job]} of {job}")
        return tries[job]

    handler.tries = tries
    return handler


def make(stage, handler, workers=3, policy=PLAIN, **options):
    return RetryingPool(handler, workers=workers, queue_size=1000, policy=policy, clock=stage.clock, **options)


def test_every_attempt_is_recorded_and_starts_exactly_when_it_is_due(stage):
    with make(stage, failing(stage, 2)) as pool:
        pool.submit("a")
        stage.run(0.06)
        assert pool.stats().delayed == 1 and pool.stats().running == pool.stats().queued == 0
        stage.run(stop=lambda: pool.stats().finished == 1)
    [result] = pool.results()
    assert result.ok and result.value == 3 and result.attempt == 3
    record = [(a.number, round(a.due, 6), round(a.started, 6), round(a.finished, 6)) for a in result.attempts]
    assert record == [(1, 0.0, 0.0, 0.05), (2, 0.15, 0.15, 0.2), (3, 0.4, 0.4, 0.45)]
    assert [str(a.error) for a in result.attempts] == ["attempt 1 of a", "attempt 2 of a", "None"]
    assert result.latency == pytest.approx(0.45)


def test_results_are_equal_if_their_earlier_attempts_are_equal_too():
    def result_after(*errors):
        result = Result("job", submitted=0.0)
        for error in errors:
            result.run(lambda job, error=error: fail(error), worker=1, clock=lambda: 1.0)
            result.record_attempt(due=2.0)
        result.run(len, worker=1, clock=lambda: 3.0)
        return result

    def fail(error):
        raise error

    first, second = ValueError("first"), ValueError("second")
    for errors in ([], [first], [first, second]):
        assert result_after(*errors) == result_after(*errors)
        assert copy.copy(result_after(*errors)) == result_after(*errors)
    assert result_after(first) != result_after(second), "only the error of an earlier attempt differs"
    assert result_after(first, second) != result_after(second, first)


def test_each_job_that_succeeds_refills_the_retry_budget_of_its_pool(stage):
    budget = RetryBudget(tokens=20, retry_cost=5, refill=1)
    policy = RetryPolicy(max_attempts=2, base=0.1, cap=0.1, jitter=False, budget=budget)
    failures = {"fails": 2, "good": 0, "retried": 1}
    available = []
    with make(stage, failing(stage, failures.get), policy=policy) as pool:
        for finished, job in enumerate(["fails", "good", "retried"], 1):
            pool.submit(job)
            stage.run(stop=lambda finished=finished: pool.stats().finished == finished)
            available.append(budget.available)
    # The retry of "fails" took 5 tokens. "good" has put back 1. "retried" has put back the 5 that its retry took.
    assert available == [15, 16, 16]


def test_no_job_waits_for_the_backoff_of_another_job(stage):
    """A hundred jobs fail once. In the article's version, a job with a backoff of 0.1 s waited 8.3 s."""
    with make(stage, failing(stage, 1), workers=100) as pool:
        for job in range(100):
            pool.submit(job)
        stage.run(stop=lambda: pool.stats().finished == 100)
    late = [a.started - a.due for r in pool.results() for a in r.attempts if a.number == 2]
    assert len(late) == 100 and max(late) == pytest.approx(0.0, abs=1e-9)


def test_a_handler_can_ask_which_attempt_it_is_on(stage):
    asked = []

    def handler(job):
        asked.append(current_worker().attempt)
        raise ValueError

    with make(stage, handler, workers=1) as pool:
        pool.submit("a")
    assert asked == [1, 2, 3]


def test_an_earlier_retry_wakes_the_alarm_that_sleeps_for_a_later_one(stage):
    def handler(job):
        raise RetryLater("later", 10.0 if job == "slow" else 0.5)

    with make(stage, handler, policy=RetryPolicy(2, 0.1, 0.1, jitter=False)) as pool:
        pool.submit("slow")
        stage.run(1.0)
        pool.submit("quick")
        stage.run(1.7)
        assert [r.job for r in [next(pool.results())]] == ["quick"]
        stage.run(11.0)
        assert pool.stats().failed == 2
    assert [a.due for a in pool.dead_letters()[1].attempts] == [0.0, pytest.approx(10.1)]


def test_retries_bypass_the_bound_of_the_queue(stage):
    """The article's version deadlocks with 1,000 jobs: all queues are full, and all threads wait for room."""
    pool = RetryingPool(failing(stage, 2), workers=3, queue_size=10, policy=PLAIN, clock=stage.clock)
    with pool:
        for job in range(1000):
            pool.submit(job)  # waits for room in virtual time
        stage.run(stop=lambda: pool.stats().finished == 1000)
    assert pool.stats().succeeded == 1000 and sum(r.attempt for r in pool.results()) == 3000


def test_there_are_never_more_than_max_delayed_and_queue_size_and_workers_delayed_jobs(stage):
    """Jobs that were accepted before the bound was reached can still fail. Here a full queue of them does."""
    policy = RetryPolicy(2, 100.0, 100.0, jitter=False)
    options = {"workers": 2, "queue_size": 3, "max_delayed": 4, "policy": policy, "clock": stage.clock}
    with RetryingPool(failing(stage, 1), **options) as pool:
        accepted = 0
        for _ in range(200):
            accepted += pool.try_submit(accepted)
            stage.run(stage.now + 0.01)
        assert accepted == pool.stats().delayed
        assert 4 + 3 <= accepted <= 4 + 3 + 2
        stage.run(stop=lambda: pool.stats().finished == accepted)
    assert pool.stats().succeeded == accepted


def test_without_room_for_delayed_jobs_nothing_is_accepted(stage):
    options = {"workers": 1, "queue_size": 1, "max_delayed": 1, "policy": PLAIN, "clock": stage.clock}
    pool = RetryingPool(failing(stage, 1), **options)
    pool.submit("a")
    stage.run(0.06)  # from now on "a" waits for its retry
    assert (pool.stats().delayed, pool.stats().queued) == (1, 0)
    assert not pool.try_submit("b")
    with pytest.raises(TimeoutError):
        pool.submit("b", timeout=0.01)
    pool.submit("b")  # accepted as soon as "a" is no longer delayed
    pool.shutdown()
    assert pool.stats().succeeded == pool.stats().submitted == 2


def test_delayed_jobs_do_not_block_the_other_jobs_of_their_stream():
    """The window of the stream is 5 + 2 jobs. If the five delayed jobs counted, all would wait for an hour."""

    def handler(job):
        if job < 5:
            raise RetryLater("busy", 3600.0)
        return job

    policy = RetryPolicy(2, max_retry_after=3600.0)
    with RetryingPool(handler, workers=2, queue_size=5, policy=policy) as pool:
        stream = pool.stream(range(20))
        assert sorted(next(stream).value for _ in range(15)) == list(range(5, 20))
        stream.close()
    assert pool.stats().succeeded == 15 and pool.stats().cancelled == 5


def test_a_thousand_jobs_of_which_four_in_ten_attempts_fail(stage):
    def handler(job):
        tries[job] = tries.get(job, 0) + 1
        stage.work(0.05)
        if random.Random(f"6 {job} {tries[job]}").random() < 0.4:
            raise ValueError(job)

    tries = {}
    with make(stage, handler, policy=RetryPolicy(3, 0.1, 5.0, seed=1)) as pool:
        for job in range(1000):
            pool.submit(job)
    # 0.4 ** 3 of them: 64, give or take 7.7 (the standard deviation)
    assert len(pool.dead_letters()) == pool.stats().failed == sum(n == 3 for n in tries.values()) - pool_ok_at_3(pool)
    assert 41 <= pool.stats().failed <= 87


def pool_ok_at_3(pool):
    return sum(r.ok and r.attempt == 3 for r in pool.results())


def test_a_graceful_shutdown_waits_for_the_retries(stage):
    """The article's version panics here in 49 of 50 runs."""
    handler = failing(stage, 2)
    pool = make(stage, handler)
    for job in range(10):
        pool.submit(job)
    report = pool.shutdown()
    assert report.complete and sorted(report.finished) == list(range(10))
    assert pool.stats().succeeded == 10 and set(handler.tries.values()) == {3}
    assert threads_ended(pool)


@pytest.mark.parametrize("at", [0.0, 0.06, 0.2, 0.5, 1.0, 2.0])
def test_a_deadline_cancels_and_reports_the_delayed_jobs(stage, at):
    """The same moments as in the measurement of the article's version."""
    pool = make(stage, failing(stage, lambda job: job % 4), workers=3, policy=RetryPolicy(4, 0.5, 5.0, jitter=False))
    for job in range(10):
        pool.submit(job)
    stage.run(at)
    report = pool.shutdown(deadline=0.3)
    stage.advance(1.0)  # running jobs finish and are not retried
    stats, results = pool.stats(), list(pool.results())
    assert stats.submitted == stats.finished == 10 and stats.delayed == stats.queued == stats.running == 0
    assert sorted(r.job for r in results) == list(range(10)), "each exactly once"
    before = {r.job for r in results} - {*report.finished, *report.cancelled, *report.still_running}
    assert len(before) + len(report.finished) + len(report.cancelled) + len(report.still_running) == 10
    for r in results:
        if isinstance(r.error, JobCancelled) and r.attempt:
            assert f"cancelled in {pool.name} after attempt {r.attempt} had failed" in str(r.error)
            assert isinstance(r.error.__cause__, ValueError) and len(r.attempts) == r.attempt


def test_a_forced_shutdown_cancels_delayed_jobs_and_later_failures_are_not_retried(stage):
    handler = failing(stage, 2, service=1.0)
    pool = make(stage, handler, workers=2)
    for job in range(4):
        pool.submit(job)
    stage.run(1.05)  # two have failed and are delayed, two are running
    assert pool.stats().delayed == 2
    report = pool.force_shutdown()
    assert sorted(report.cancelled) == [0, 1] and sorted(report.still_running) == [2, 3]
    stage.advance(5.0)
    assert pool.stats().cancelled == 4 and set(handler.tries.values()) == {1}
    assert not pool.dead_letters(), "cancelled jobs are not dead letters"
    late = [r for r in pool.results() if r.job in (2, 3)]
    assert [r.waiting_since for r in late] == pytest.approx([2.0, 2.0]), "cancelled jobs are not retried"


def test_the_defaults_are_those_of_the_docs():
    with RetryingPool(len) as pool:
        assert (pool.stats().workers, pool.queue_size) == (5, 100)
        assert repr(pool.policy) == "RetryPolicy(max_attempts=3, base=0.1, cap=5)"
        assert [alarm.thread.name for alarm in alarms_of(pool)] == [f"{pool.name}-retries"]


def test_each_job_has_a_jitter_of_its_own_by_the_seed(stage):
    policy = RetryPolicy(max_attempts=2, base=1.0, cap=1.0, seed=7)
    with make(stage, failing(stage, 1), workers=8, policy=policy) as pool:
        for job in range(8):
            pool.submit(job)
        stage.run(stop=lambda: pool.stats().finished == 8)
    for r in pool.results():
        first, second = r.attempts
        assert second.due - first.finished == pytest.approx(policy.wait(1, ValueError(), r.job))


@pytest.mark.parametrize("seed", range(30))
def test_a_retry_that_becomes_due_at_the_moment_of_the_shutdown_ends_once(seed):
    with Stage(seed) as stage:
        pool = make(stage, failing(stage, 1))
        for job in range(5):
            pool.submit(job)
        stage.run(0.14)
        assert stage.expire(), "the time of the alarm has come, and its thread has not run yet"
        report = pool.shutdown(0.0) if seed % 2 else pool.force_shutdown()
        stage.advance(1.0)
        assert sorted(r.job for r in pool.results()) == list(range(5))
        assert pool.stats().finished == 5 and threads_ended(pool)
        assert len(report.finished + report.cancelled + report.still_running) <= 5


def test_leaving_a_stream_cancels_its_retries(stage):
    handler = failing(stage, lambda job: 0 if job == 0 else 2)
    with make(stage, handler) as pool:
        stream = pool.stream(range(6))
        stage.run(0.06)
    stream.close()
    assert pool.stats().delayed == 0
    assert pool.stats().finished == pool.stats().submitted


def test_results_does_not_end_while_a_job_is_delayed():
    with RetryingPool(fail_once(), workers=2, policy=RetryPolicy(2, 0.05, 0.05, jitter=False)) as pool:
        for job in range(4):
            pool.submit(job)
        assert sorted(r.job for r in pool.results()) == [0, 1, 2, 3]


def fail_once():
    seen, lock = set(), threading.Lock()

    def handler(job):
        with lock:
            first = job not in seen
            seen.add(job)
        if first:
            raise ValueError(job)

    return handler


@pytest.mark.parametrize("kind", [ZeroDivisionError, SystemExit])
def test_a_decision_that_raises_loses_neither_the_job_nor_the_worker(stage, kind):
    def broken(error):
        raise kind("in retry_on")

    with make(stage, failing(stage, 9), workers=1, policy=RetryPolicy(retry_on=broken)) as pool:
        pool.submit("a")
        pool.submit("b")
    results = list(pool.results())
    assert [r.attempt for r in results] == [1, 1] and pool.stats().failed == 2
    assert [letter.job for letter in pool.dead_letters()] == ["a", "b"]


def test_an_error_whose_methods_raise_loses_neither_the_job_nor_the_worker(stage):
    class Broken(Exception):
        __notes__ = "no list"

        @property
        def permanent(self):
            raise SystemExit("in permanent")

    def handler(job):
        if job == "a":
            raise Broken

    with make(stage, handler, workers=1) as pool:
        pool.submit("a")
        pool.submit("b")
    assert [(r.job, r.ok) for r in pool.results()] == [("a", False), ("b", True)]
    assert [letter.job for letter in pool.dead_letters()] == ["a"]


def test_without_a_policy_no_job_is_retried_and_no_letter_is_kept(stage):
    with make(stage, failing(stage, 9), policy=None) as pool:
        pool.submit("a")
    assert pool.stats().failed == 1 and pool.dead_letters() == [] and alarms_of(pool) == []


def test_unknown_outcomes_are_not_retried_and_do_not_become_dead_letters(stage):
    def handler(job):
        raise OutcomeUnknown("no answer")

    with make(stage, handler) as pool:
        pool.submit("pay")
    assert pool.stats().unknown == 1 and not pool.dead_letters()
    [result] = pool.results()
    assert result.attempt == 1


# --- dead letters ----------------------------------------------------------------------------------------------


def test_a_dead_letter_keeps_every_attempts_error_and_time(stage):
    with make(stage, failing(stage, 9)) as pool:
        pool.submit("a")
    [letter] = pool.dead_letters()
    assert (letter.job, letter.reason, letter.redriven_from) == ("a", "attempts used up", None)
    assert [str(a.error) for a in letter.attempts] == [f"attempt {n} of a" for n in (1, 2, 3)]
    assert [round(a.started, 6) for a in letter.attempts] == [0.0, 0.15, 0.4]
    assert letter.error is next(pool.results()).error


def test_permanent_errors_are_letters_after_one_attempt(stage):
    def handler(job):
        raise Permanent(job)

    with make(stage, handler) as pool:
        pool.submit("a")
    [letter] = pool.dead_letters()
    assert letter.reason == "not to be retried" and len(letter.attempts) == 1


def test_the_dead_letter_exists_when_its_failed_result_is_read():
    def handler(job):
        raise ValueError(job)

    with RetryingPool(handler, workers=4, policy=RetryPolicy(1)) as pool:
        for read, _ in enumerate(pool.stream(range(2000)), 1):
            assert len(pool.dead_letters()) >= read


def test_redrive_is_a_new_submission_with_fresh_attempts_that_names_its_letter(stage):
    fixed = []

    def handler(job):
        if job not in fixed:
            raise ValueError(job)

    with make(stage, handler) as pool:
        for job in "abc":
            pool.submit(job)
        stage.run(stop=lambda: pool.stats().failed == 3)
        letters = pool.dead_letters()
        fixed += "ab"
        assert pool.redrive(where=lambda letter: letter.job in "ac") == 2
        assert [letter.job for letter in pool.dead_letters()] == ["b"]
        stage.run(stop=lambda: pool.stats().finished == 5)
    results = list(pool.results())
    again = {r.job: r for r in results[3:]}
    assert again["a"].ok and again["a"].attempt == 1 and again["a"].redriven_from is letters[0]
    assert again["a"].submitted == pytest.approx(letters[2].attempts[-1].finished), "when it was redriven, not before"
    assert not again["c"].ok and again["c"].attempt == 3
    newest = pool.dead_letters()[-1]
    assert newest.job == "c" and newest.redriven_from is letters[2]
    assert (pool.stats().submitted, pool.stats().succeeded, pool.stats().failed) == (5, 1, 4)


def test_redrive_waits_for_room_and_loses_nothing_when_there_is_none():
    gate = threading.Event()
    broken = True

    def handler(job):
        if broken:
            raise ValueError(job)
        gate.wait(20)

    with RetryingPool(handler, workers=1, queue_size=2, policy=RetryPolicy(1)) as pool:
        for job in range(6):
            pool.submit(job)
        wait_until(lambda: len(pool.dead_letters()) == 6)
        broken = False
        pool.submit("blocker")
        wait_until(lambda: pool.stats().running == 1)
        with pytest.raises(TimeoutError, match="no room in the queue of 2 within 0.02 s for 2"):
            pool.redrive(timeout=0.02)
        assert [letter.job for letter in pool.dead_letters()] == [2, 3, 4, 5] and pool.stats().queued == 2
        gate.set()
        assert pool.redrive() == 4
    assert pool.stats().succeeded == 7 and not pool.dead_letters()


def test_redrive_is_refused_after_a_shutdown_and_inside_a_handler_and_the_letters_stay(stage):
    refused = []

    def handler(job):
        try:
            pool.redrive()
        except RuntimeError as error:
            refused.append(str(error))
        raise ValueError(job)

    with make(stage, handler, policy=RetryPolicy(1)) as pool:
        pool.submit("a")
    assert refused[0].endswith(": redrive() could wait forever")
    with pytest.raises(PoolClosed):
        pool.redrive()
    assert len(pool.dead_letters()) == 1
    assert pool.redrive(where=lambda letter: False) == 0


def test_a_where_that_raises_moves_nothing(stage):
    with make(stage, failing(stage, 9), policy=RetryPolicy(1)) as pool:
        pool.submit("a")
        pool.submit("b")
        stage.advance(1)
        with pytest.raises(ZeroDivisionError):
            pool.redrive(where=lambda letter: letter.job == "a" or 1 / 0)
        assert len(pool.dead_letters()) == 2 and pool.stats().submitted == 2


def test_two_redrives_at_once_take_each_letter_once():
    broken = True

    def handler(job):
        if broken:
            raise ValueError(job)

    with RetryingPool(handler, workers=4, queue_size=10, policy=RetryPolicy(1)) as pool:
        list(pool.stream(range(500)))
        broken = False
        moved = []
        threads = [threading.Thread(target=lambda: moved.append(pool.redrive())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(moved) == 500 and pool.stats().succeeded == 500
    assert sorted(r.job for r in pool.results()) == list(range(500))


def test_discarded_letters_are_returned(stage):
    with make(stage, failing(stage, 9), policy=RetryPolicy(1)) as pool:
        for job in range(4):
            pool.submit(job)
    assert [letter.job for letter in pool.discard_letters(lambda letter: letter.job % 2)] == [1, 3]
    assert [letter.job for letter in pool.dead_letters()] == [0, 2]


# --- dynamic and retrying, mails, and pictures -----------------------------------------------------------------


def test_a_pool_can_be_dynamic_and_retrying(stage):
    pool = DynamicRetryingPool(
        failing(stage, 1, service=0.1), min_workers=2, max_workers=10, queue_size=1000, idle_timeout=5.0,
        policy=PLAIN, clock=stage.clock,
    )  # fmt: skip
    with pool:
        for job in range(100):
            pool.submit(job)
        assert pool.worker_count == 10
        stage.run(stop=lambda: pool.stats().finished == 100)
        assert stage.now == pytest.approx(2.0, abs=0.15), "two hundred attempts of 0.1 s on ten workers"
        stage.advance(60)
        assert pool.worker_count == 2
        assert len([t for t in threading.enumerate() if "-retries" in t.name]) == 1
    assert pool.stats().succeeded == 100


def test_retries_that_become_due_at_once_start_the_workers_that_they_need(stage):
    def handler(job):
        if tries.setdefault(job, 0) == 0:
            tries[job] = 1
            raise RetryLater("all at once", 10.0 - stage.now)
        stage.work(0.5)

    tries = {}
    options = {"min_workers": 1, "max_workers": 20, "queue_size": 100, "idle_timeout": 1.0, "clock": stage.clock}
    with DynamicRetryingPool(handler, policy=RetryPolicy(2, 1e-9, 1e-9, jitter=False), **options) as pool:
        for job in range(100):
            pool.submit(job)
            stage.advance(0.05)
        stage.run(9.9)
        assert pool.worker_count == 1 and pool.stats().delayed == 100
        stage.run(10.05)
        assert pool.worker_count == 20


def test_temporarily_refused_mails_are_retried_and_permanently_refused_ones_are_not():
    jobs = [EmailJob(n, f"user{n}@example.com", f"User {n}", "Hello", "Hi") for n in range(60)]
    with MailServer(transient=0.3, permanent=0.1, seed=4, latency=(0, 0)) as server:
        with BatchEmailSender(
            workers=5, host=server.host, port=server.port, policy=RetryPolicy(6, 0.005, 0.02, seed=1)
        ) as sender:
            results = {r.job.user_id: r for r in sender.stream(jobs)}
        arrived = sorted(m.recipient for m in server.mailbox())
    codes = {r.error.code for r in results.values() if not r.ok}
    assert codes == {554}, "every mail with a 451 was sent in the end"
    assert all(r.attempt == 1 for r in results.values() if not r.ok)
    assert max(r.attempt for r in results.values()) >= 2
    assert arrived == sorted(r.job.address for r in results.values() if r.ok), "each exactly once"
    assert [letter.error.code for letter in sender.dead_letters()] == [554] * (60 - len(arrived))


def test_mails_without_a_server_are_retried_until_it_is_up():
    with MailServer(latency=(0, 0)) as server:
        up = threading.Event()

        def connect():
            if not up.is_set():
                raise ConnectionRefusedError("not yet")
            return smtplib.SMTP(server.host, server.port, local_hostname="localhost")

        policy = RetryPolicy(100, 0.02, 0.02, jitter=False)
        with BatchEmailSender(
            workers=2, host=server.host, port=server.port, patience=0.02, connect=connect, policy=policy
        ) as sender:
            sender.submit(EmailJob(1, "a@example.com", "A", "Hello", "Hi"))
            wait_until(lambda: sender.stats().delayed == 1)
            up.set()
            [result] = sender.results()
    assert result.ok and result.attempt > 1 and sender.stats().sent == 1


def test_a_missing_picture_is_retried_and_a_picture_that_is_too_wide_is_not(tmp_path):
    from PIL import Image

    late = tmp_path / "late.png"
    policy = RetryPolicy(1000, 0.01, 0.01, jitter=False)
    with ImageProcessor(workers=2, output=tmp_path, policy=policy) as service:
        service.submit(ImageJob("wide", late, 5000, 100))
        service.submit(ImageJob("late", late, 50, 50))
        wait_until(lambda: service.stats().delayed == 1)
        Image.new("RGB", (80, 80)).save(tmp_path / "ready.png")
        (tmp_path / "ready.png").rename(late)
        results = {r.job.image_id: r for r in service.results()}
    assert results["late"].ok and results["late"].attempt > 1
    assert results["wide"].attempt == 1 and "max width" in str(results["wide"].error)


# --- real time and stress --------------------------------------------------------------------------------------


def test_real_retries_are_never_early_and_the_alarm_ends_with_the_pool():
    with RetryingPool(fail_once(), workers=8, policy=RetryPolicy(2, 0.02, 0.02, seed=3)) as pool:
        results = list(pool.stream(range(100)))
    late = [r.attempts[1].started - r.attempts[1].due for r in results]
    assert len(late) == 100 and min(late) >= 0
    assert not [t for t in threading.enumerate() if pool.name in t.name]


def storm(seed, jobs):
    """Run many jobs with random faults while the pool is resized all the time. Every job must end exactly once."""
    draw = random.Random(seed)
    weights, tries = [0.9, 0.05, 0.02, 0.01, 0.01, 0.01], [0] * jobs

    def handler(job):
        tries[job] += 1
        fault = random.Random(f"{seed} {job} {tries[job]}").choices(range(6), weights)[0]
        if fault:
            raise (ValueError, RetryLater("busy", 0.001), Permanent, SystemExit, MemoryError)[fault - 1]

    over = threading.Event()
    options = {"min_workers": 1, "max_workers": 8, "queue_size": 50, "idle_timeout": 0.001, "max_wait": 0.001}
    with DynamicRetryingPool(handler, policy=RetryPolicy(4, 0.0005, 0.002), **options) as pool:

        def resize():
            while not over.wait(0.001):
                low = draw.randint(1, 6)
                pool.resize(low, draw.randint(low, 9))

        resizer = threading.Thread(target=resize)
        resizer.start()
        seen = [0] * jobs
        for result in pool.stream(range(jobs)):
            seen[result.job] += 1
        over.set()
        resizer.join()
    stats = pool.stats()
    assert set(seen) == {1}
    assert stats.submitted == stats.finished == jobs and stats.succeeded + stats.failed == jobs
    assert len(pool.dead_letters()) == stats.failed > 0


@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_lost_in_a_storm(seed):
    storm(seed, 5_000)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_in_a_storm_of_a_hundred_thousand(seed):
    storm(seed, 100_000)


def test_a_redrive_whose_letter_is_discarded_meanwhile_leaves_the_line():
    """Otherwise a notification about room would go to it, and not to a submitter that waits for room."""
    gate = threading.Event()

    def handler(job):
        if job == "bad":
            raise ValueError(job)
        gate.wait(20)

    with RetryingPool(handler, workers=1, queue_size=1, policy=RetryPolicy(1)) as pool:
        pool.submit("bad")
        wait_until(lambda: pool.stats().failed == 1)
        pool.submit("runs")
        wait_until(lambda: pool.stats().running == 1)
        pool.submit("waits")
        moved = []
        redriver = threading.Thread(target=lambda: moved.append(pool.redrive()), daemon=True)
        redriver.start()
        wait_until(lambda: len(state_of(pool).blocked) == 1)
        assert len(pool.discard_letters()) == 1
        redriver.join(20)  # it checks again after at most half a second
        assert moved == [0] and not state_of(pool).blocked
        gate.set()
