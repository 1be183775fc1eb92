"""Broken resources, streams whose jobs are delayed, and a bound on delayed jobs: field cases 12, 15, and 16.

The other cases about the core: test_field_errors.py (1), test_field_frames.py (2, 3), test_field_words.py (5, 6, 7,
10), and test_field_deaths.py (workers that die).
"""

import smtplib
import socket
import threading
from collections import Counter
from contextlib import closing, contextmanager
from functools import partial

import pytest
from conftest import SLOW, wait_until
from test_pool_contract import POOLS, accounts_balance
from virtual import Stage

from helpers.pools import (
    DynamicPool,
    DynamicRetryingPool,
    JobCancelled,
    PoolClosed,
    RetryingPool,
    RetryLater,
    RetryPolicy,
    WorkerPool,
    current_worker,
)

pytestmark = pytest.mark.timeout(60)
SOON = RetryPolicy(3, 1e-6, 1e-6)  # three attempts, without a wait


def retrying(workers, handler, **options):
    return RetryingPool(handler, workers=workers, **options)


def dynamic(workers, handler, **options):
    return DynamicRetryingPool(handler, min_workers=1, max_workers=workers, backlog=1, max_wait=0.001, **options)


KINDS = {"RetryingPool": retrying, "DynamicRetryingPool": dynamic}


@pytest.fixture(params=KINDS)
def make(request):
    """Return a function that creates a retrying pool with a number of workers and a handler."""
    return KINDS[request.param]


# --- case 12: a resource that breaks -------------------------------------------------------------------------------


class ThreeMailServer:
    """A mail server that closes each connection after three mails. `how`: with or without a reply."""

    def __init__(self, how):
        self.how, self.mails, self.connections = how, [], 0
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.port = self.listening.getsockname()[1]
        self.thread = threading.Thread(target=self.listen)
        self.thread.start()

    def listen(self):
        with closing(self.listening):
            while True:
                connection = self.listening.accept()[0]
                if self.connections is None:
                    connection.close()
                    return
                self.connections += 1
                threading.Thread(target=self.serve, args=(connection,)).start()

    def serve(self, connection):
        count = 0
        with connection, connection.makefile("rwb") as lines:

            def say(text):
                lines.write(text.encode() + b"\r\n")
                lines.flush()

            say("220 ready")
            for line in lines:
                word = line[:4].upper()
                if word == b"QUIT":
                    return say("221 bye")
                if count == 3:  # the fourth mail on this connection
                    return say("421 enough") if self.how == "421" else None
                if word == b"DATA":
                    say("354 go on")
                    mail = b"".join(iter(lines.readline, b".\r\n"))
                    self.mails.append(mail.split(b"\r\n\r\n")[1].strip())
                    count += 1
                say("250 ok")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connections = None
        socket.create_connection(("127.0.0.1", self.port)).close()
        self.thread.join()


@pytest.mark.parametrize("workers", [1, 3, 10])
@pytest.mark.parametrize("how", ["hangs up", "421"])
def test_all_mails_are_sent_over_connections_that_last_for_three(make, how, workers):
    def send(mail):
        smtp = current_worker().resource
        smtp.sendmail("a@example.com", ["b@example.com"], f"Subject: hi\r\n\r\n{mail}")

    with ThreeMailServer(how) as server:
        resource = partial(smtplib.SMTP, "127.0.0.1", server.port, local_hostname="localhost", timeout=SLOW)
        with make(workers, send, resource=resource, policy=SOON) as pool:
            results = list(pool.stream(range(40)))
        assert sum(result.ok for result in results) == 40, [r.error for r in results if not r.ok]
        assert sorted(int(mail) for mail in server.mails) == list(range(40)), "each exactly once"
        assert max(result.attempt for result in results) <= 2, "a retry gets a new connection"


class Connections:
    """Creates connections that break after some uses, and counts the open ones."""

    def __init__(self, uses=3, closing_fails=False):
        self.uses, self.closing_fails = uses, closing_fails
        self.lock = threading.Lock()
        self.open = self.most = self.opened = 0
        self.down = False

    @contextmanager
    def __call__(self):
        if self.down:
            raise ConnectionRefusedError("the server is down")
        with self.lock:
            self.open, self.opened = self.open + 1, self.opened + 1
            self.most = max(self.most, self.open)
        left = iter(range(self.uses))
        try:
            yield partial(next, left, None)
        finally:
            with self.lock:
                self.open -= 1
            if self.closing_fails:
                raise OSError("cannot be closed in order")


class Broken(Exception):
    """The exception class of a client library, which is not an OSError."""


def use(error, discard=False):
    """Return a handler that raises `error` once its connection is used up."""

    def handler(job):
        if current_worker().resource() is None:
            if discard:
                current_worker().discard()
            raise error("connection lost")
        return job

    return handler


def says_broken(error):
    return type(error) is Broken


def raises(error):
    raise Broken


BROKEN = {"class": Broken, "tuple": (Broken, KeyError), "function": says_broken, "function that raises": raises}


@pytest.mark.parametrize("broken", BROKEN)
def test_after_an_error_that_broken_names_the_next_job_gets_a_new_resource(make, broken):
    connections = Connections()
    with make(4, use(Broken), resource=connections, broken=BROKEN[broken], policy=SOON) as pool:
        assert all(result.ok for result in pool.stream(range(60)))
    assert connections.open == 0 and connections.opened >= 20


@pytest.mark.parametrize(
    "error", [OSError, EOFError, ConnectionResetError, TimeoutError, smtplib.SMTPServerDisconnected]
)
def test_errors_of_connections_are_broken_unless_said_otherwise(make, error):
    connections = Connections()
    with make(4, use(error), resource=connections, policy=SOON) as pool:
        assert all(result.ok for result in pool.stream(range(60)))
    assert connections.open == 0 and connections.opened >= 20


@pytest.mark.parametrize("kind", [kind for kind in POOLS if "Retrying" not in kind])
def test_without_retries_one_job_fails_per_broken_resource(kind):
    connections = Connections()
    options = {"resource": connections, "broken": (OSError,)}
    with POOLS[kind](use(OSError), workers=1, **options) as pool:
        results = list(pool.stream(range(40)))
    attempts = sum(result.attempt for result in results)
    failed_attempts = sum(attempt.error is not None for result in results for attempt in result.attempts)
    assert connections.open == 0 and connections.opened - 1 <= failed_attempts <= connections.opened
    assert attempts - failed_attempts == sum(result.ok for result in results) >= 29


def test_another_error_keeps_the_resource(make):
    connections = Connections(uses=1000)

    def handler(job):
        assert current_worker().resource() is not None
        raise ValueError(job)

    with make(1, handler, resource=connections, policy=SOON) as pool:
        assert len(list(pool.stream(range(20)))) == 20
    assert connections.opened == 1


def test_a_handler_may_discard_its_resource(make):
    connections = Connections()
    with make(
        4, use(ValueError, discard=True), resource=connections, broken=(), policy=RetryPolicy(50, 1e-6, 1e-6)
    ) as pool:
        assert all(result.ok for result in pool.stream(range(60)))
    assert connections.open == 0 and connections.opened >= 20


def test_discarding_twice_or_without_a_resource_or_and_going_on_is_harmless(make):
    connections = Connections(uses=1)

    def handler(job):
        worker = current_worker()
        assert worker.discard() is None
        assert worker.resource() == 0
        assert worker.discard() is None and worker.discard() is None
        assert worker.resource() == 0, "a new resource within the same job"
        return job

    with make(2, handler, resource=connections, policy=SOON) as pool:
        assert all(result.ok for result in pool.stream(range(20)))
    assert connections.open == 0 and connections.opened == 40


def test_a_resource_that_cannot_be_opened_for_a_while_fails_attempts_and_no_worker(make):
    connections, tries = Connections(), Counter()

    def handler(job):
        tries[job] += 1
        connections.down = tries.total() % 7 < 4
        if current_worker().resource() is None:
            raise OSError("connection lost")
        return job

    policy = RetryPolicy(1000, 1e-6, 1e-6)
    with make(3, handler, resource=connections, policy=policy) as pool:
        results = list(pool.stream(range(50)))
    assert all(result.ok for result in results) and {result.worker for result in results} <= {1, 2, 3}
    assert connections.open == 0


def test_errors_of_closing_are_reported_and_fail_no_job(make):
    connections = Connections(closing_fails=True)
    with make(2, use(OSError), resource=connections, policy=SOON) as pool:
        assert all(result.ok for result in pool.stream(range(30)))
    errors = pool.shutdown().errors
    assert len(errors) == connections.opened and {str(error) for error in errors} == {"cannot be closed in order"}


@pytest.mark.parametrize("kind", [DynamicPool, DynamicRetryingPool])
def test_a_dynamic_pool_never_has_more_resources_open_than_its_maximum(kind):
    connections = Connections(uses=2)
    options = {"min_workers": 1, "max_workers": 4, "idle_timeout": 0.001, "backlog": 1, "max_wait": 0.001}
    with kind(use(OSError), resource=connections, **options) as pool:
        for round_ in range(10):
            list(pool.stream(range(20)))
            pool.resize(1, 2 + round_ % 3)
    assert connections.open == 0 and 0 < connections.most <= 4


# --- case 15: delayed jobs do not block other jobs -----------------------------------------------------------------

LONG = RetryPolicy(2, 1e-6, 1e-6, max_retry_after=2000.0)


def delays(jobs, seconds=1000.0, released=None):
    """Return a handler that raises RetryLater at the first attempt of these jobs."""

    def handler(job):
        if job in jobs and current_worker().attempt == 1:
            raise RetryLater("busy", seconds)
        return job

    return handler


@pytest.mark.parametrize("queue_size", [1, 2, 5])
def test_delayed_jobs_of_a_stream_do_not_block_the_others(make, queue_size):
    read = []
    pool = make(2, delays(range(5)), queue_size=queue_size, policy=LONG)
    stream = pool.stream(range(20))
    for _ in range(15):  # each result arrives while the five are still delayed for a quarter of an hour
        read.append(next(stream).job)
    assert sorted(read) == list(range(5, 20)) and pool.stats().succeeded == 15
    wait_until(lambda: pool.stats().delayed == 5)  # the other worker may still run the last of the five
    pool.cancel_queued()
    assert sorted((result.job, type(result.error)) for result in stream) == [(n, JobCancelled) for n in range(5)]
    pool.shutdown()


def test_a_stream_goes_on_although_all_jobs_of_its_window_are_delayed(make):
    pool = make(2, delays(range(0, 60)), queue_size=3, policy=LONG)
    stream = pool.stream(range(70))
    assert sorted(next(stream).job for _ in range(10)) == list(range(60, 70))
    wait_until(lambda: pool.stats().delayed == 60)  # the other worker may still run the last of the sixty
    pool.force_shutdown()
    assert len(list(stream)) == 60


def test_the_delayed_jobs_of_a_stream_come_back_and_are_its_last_results(make):
    with make(2, delays(range(5), seconds=0.01), queue_size=5, policy=LONG) as pool:
        results = list(pool.stream(range(20)))
    assert sorted(result.job for result in results) == list(range(20)) and all(result.ok for result in results)
    assert [result.attempt for result in sorted(results, key=lambda r: r.job)] == [2] * 5 + [1] * 15


def test_the_window_counts_again_once_delayed_jobs_come_back(make):
    drawn = 0

    def source():
        nonlocal drawn
        for job in range(200):
            drawn += 1
            yield job

    with make(2, delays(range(0, 200, 2), seconds=0), queue_size=4, policy=LONG) as pool:
        for read, _ in enumerate(pool.stream(source()), 1):
            assert drawn - read <= 4 + 2 + pool.max_delayed + 1
    assert pool.stats().succeeded == 200


def test_delayed_jobs_that_were_submitted_do_not_block_a_stream(make):
    pool = make(2, delays(range(100, 120)), queue_size=5, policy=LONG)
    for job in range(100, 120):
        pool.submit(job)
    assert sorted(result.job for result in pool.stream(range(30))) == list(range(30))
    wait_until(lambda: pool.stats().delayed == 20)
    pool.force_shutdown()


def test_leaving_a_stream_frees_the_room_of_its_delayed_jobs(make):
    pool = make(2, delays(range(5)), queue_size=5, policy=LONG, max_delayed=6)
    stream = pool.stream([*range(5), 100])
    wait_until(lambda: next(stream, None) is not None)
    stream.close()
    assert pool.stats().delayed == 0
    assert sorted(result.job for result in pool.stream(range(200, 210))) == list(range(200, 210))
    pool.shutdown()
    assert accounts_balance(pool.stats()) and pool.stats().cancelled == 5


@pytest.mark.parametrize("max_delayed", [1, 2])
def test_a_stream_at_the_bound_reads_what_comes_and_ends(make, max_delayed):
    with make(3, delays(range(0, 100, 3), seconds=0.0001), queue_size=2, policy=LONG, max_delayed=max_delayed) as pool:
        results = list(pool.stream(range(100)))
    assert sorted(result.job for result in results) == list(range(100)) and all(result.ok for result in results)


def test_a_stream_and_submitters_at_the_bound_all_finish(make):
    submitted = range(1000, 1060)
    jobs = {*range(0, 60, 2), *submitted}
    with make(3, delays(jobs, seconds=0.0001), queue_size=2, policy=LONG, max_delayed=2) as pool:
        thread = threading.Thread(target=lambda: [pool.submit(job) for job in submitted])
        thread.start()
        assert sorted(result.job for result in pool.stream(range(60))) == list(range(60))
        thread.join()
    assert sorted(result.job for result in pool.results()) == list(submitted)
    assert accounts_balance(pool.stats()) and pool.stats().succeeded == 120


# --- case 16: a bound on delayed jobs ------------------------------------------------------------------------------


@pytest.fixture
def stage():
    with Stage() as stage:
        yield stage


def always_later(job):
    raise RetryLater("busy", 1000.0)


@pytest.mark.parametrize("max_delayed", [1, 7, 1000])
def test_submitters_wait_once_enough_jobs_are_delayed(stage, make, max_delayed):
    pool = make(2, always_later, queue_size=5, policy=LONG, max_delayed=max_delayed, clock=stage.clock)
    accepted = 0
    with pytest.raises(TimeoutError):
        for job in range(2000):
            pool.submit(job, timeout=1.0)
            accepted += 1
    assert max_delayed <= accepted <= max_delayed + 5 + 2
    assert stage.now < 500, "not because the first delayed jobs became due"
    stage.settle()
    assert pool.stats().delayed == accepted and pool.stats().queued == 0
    assert pool.try_submit("no") is False and pool.stats().submitted == accepted
    report = pool.force_shutdown()
    assert len(report.cancelled) == accepted and accounts_balance(report.stats)


def test_once_the_delayed_jobs_are_due_submitters_go_on(stage, make):
    pool = make(2, delays(range(2000)), queue_size=5, policy=LONG, max_delayed=10, clock=stage.clock)
    for job in range(100):
        pool.submit(job)  # waits a thousand seconds for each ten jobs or so, in virtual time
        assert pool.stats().delayed <= 10 + 5 + 2
    pool.close()
    stage.run(stop=lambda: pool.stats().finished == 100)
    assert pool.stats().succeeded == 100 and stage.now > 5000
    pool.shutdown()


def test_a_timeout_says_which_bound_blocked_the_submitter(stage, make):
    pool = make(1, always_later, queue_size=5, policy=LONG, max_delayed=1, clock=stage.clock)
    pool.submit("first")
    stage.settle()
    with pytest.raises(TimeoutError, match="no room .* within 2 s for 'second'"):
        pool.submit("second", timeout=2)
    pool.force_shutdown()


@pytest.mark.parametrize("stop", [lambda pool: pool.shutdown(deadline=0), lambda pool: pool.force_shutdown()])
def test_a_submitter_at_the_bound_is_notified_of_a_shutdown(make, stop):
    pool = make(1, always_later, queue_size=5, policy=LONG, max_delayed=1)
    pool.submit("first")
    wait_until(lambda: pool.stats().delayed == 1)
    told = []

    def submit():
        try:
            pool.submit("second")
        except PoolClosed as closed:
            told.append(closed)

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    report = stop(pool)
    for thread in threads:
        thread.join(SLOW)
    assert len(told) == 4 and report.cancelled == ("first",) and report.stats.submitted == 1


def test_a_submitter_at_the_bound_goes_on_once_the_delayed_jobs_are_cancelled(make):
    pool = make(1, delays(["first"]), queue_size=5, policy=LONG, max_delayed=1)
    pool.submit("first")
    wait_until(lambda: pool.stats().delayed == 1)
    thread = threading.Thread(target=pool.submit, args=("second",))
    thread.start()
    pool.cancel_queued()
    thread.join(SLOW)
    pool.shutdown()
    assert sorted((result.job, result.ok) for result in pool.results()) == [("first", False), ("second", True)]


def test_a_redrive_at_the_bound_waits_and_loses_nothing(make):
    fixed = threading.Event()

    def handler(job):
        if job == "blocker":
            raise RetryLater("busy", 1000.0)
        if not fixed.is_set():
            raise TypeError(job)

    pool = make(1, handler, queue_size=5, policy=LONG, max_delayed=1)
    for job in range(3):
        pool.submit(job)
    pool.submit("blocker")
    wait_until(lambda: pool.stats().delayed == 1)
    fixed.set()
    with pytest.raises(TimeoutError, match="no room"):
        pool.redrive(timeout=0)
    assert len(pool.dead_letters()) == 3 and pool.stats().submitted == 4
    pool.cancel_queued()
    assert pool.redrive(timeout=SLOW) == 3
    pool.shutdown()
    assert pool.stats().succeeded == 3 and accounts_balance(pool.stats()) and not pool.dead_letters()


def test_try_submit_inside_a_handler_is_refused_at_the_bound(make):
    answers = []

    def handler(job):
        if job == "asks":
            wait_until(lambda: pool.stats().delayed == 1)
            answers.append(pool.try_submit("more"))
            return
        raise RetryLater("busy", 1000.0)

    pool = make(2, handler, queue_size=5, policy=LONG, max_delayed=1)
    assert pool.try_submit("asks")
    assert pool.try_submit("first")
    wait_until(lambda: answers)
    pool.force_shutdown()
    assert answers == [False]


def test_a_pool_without_retries_has_no_such_bound():
    with WorkerPool(always_later, workers=2, queue_size=5) as pool:
        assert len(list(pool.stream(range(3000)))) == 3000
    assert pool.stats().failed == 3000
