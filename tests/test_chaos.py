"""Chaos: random errors, stops, resizes, slow readers, and kills. Every job ends exactly once, in constant memory.

All random choices come from one seed, which is printed in the header of every run and with every failure. To repeat a
run: CHAOS_SEED=… pytest tests/test_chaos.py -m "" -k … (the order in which the threads run is not repeated).
"""

import gc
import itertools
import random
import sys
import threading
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import psutil
import psycopg
import pytest
from conftest import CHAOS_SEED, SLOW, wait_until
from test_pool_contract import AnyMails, AnyPictures, accounts_balance, retries

from helpers.pools import (
    BatchEmailSender,
    DynamicPool,
    DynamicRetryingPool,
    EmailJob,
    JobCancelled,
    OutcomeUnknown,
    PoolClosed,
    Result,
    RetryingPool,
    RetryPolicy,
    WorkerPool,
    current_worker,
    elastic,
)
from helpers.pools.email import MailRefused, NoConnection
from helpers.services import Database, MailServer, postgres
from helpers.services.child import ServiceError

MILLION = 1_020_000  # jobs of the long run, for all pools together
FEEDERS = 3  # threads that submit at the same time
MIB = 2**20


@pytest.fixture
def seed(request):
    """Return the seed of a test, which is derived from the seed of the run. A failure prints how to repeat the test."""
    print(f"CHAOS_SEED={CHAOS_SEED}")
    return f"{CHAOS_SEED} {request.node.name}"


# --- a million jobs ------------------------------------------------------------------------------------------------

TWICE = RetryPolicy(max_attempts=2, base=0.0005, cap=0.001)


def crew(kind, handler, *, workers, **options):
    """Return a pool that starts and retires workers as fast as possible."""
    limits = {"min_workers": 1, "max_workers": workers, "backlog": 1, "max_wait": 0.001, "idle_timeout": 0.001}
    return kind(handler, **limits, **options)


POOLS = {
    "WorkerPool": WorkerPool,
    "ImageProcessor": AnyPictures,
    "BatchEmailSender": AnyMails,
    "DynamicPool": partial(crew, DynamicPool),
    "RetryingPool": partial(RetryingPool, policy=TWICE),
    "DynamicRetryingPool": partial(crew, DynamicRetryingPool, policy=TWICE),
}
LONG, FLAKY = 1, 2  # two of the fates: a job that takes a while, and a job that fails once
FATES = (None, None, ValueError, ValueError, SystemExit, KeyboardInterrupt, MemoryError, GeneratorExit, OutcomeUnknown)
SHARES = (0.82, 0.01, 0.04, 0.03, 0.02, 0.02, 0.02, 0.02, 0.02)
TRIED_AGAIN = (ValueError, MemoryError)  # the others are not an `Exception`, or their jobs must not be done twice


class Enough(Exception):
    """Raised to leave the block of a `with`."""


class Chaos:
    """Sends `jobs` jobs through one pool after the other, each treated in a random way, until every job has ended."""

    def __init__(self, kind, seed, jobs):
        self.kind, self.jobs = POOLS[kind], jobs
        self.draw = random.Random(seed)
        self.fates = bytes(self.draw.choices(range(len(FATES)), SHARES, k=jobs))  # by number: what each job does
        self.tries = bytearray(jobs)  # by number: attempts in the pool that has the job now
        self.ends = bytearray(jobs)  # by number: how often the job has ended
        self.fresh, self.back = 0, deque()  # the first job that no pool has had yet; the jobs that a pool did not take
        self.open = set()  # jobs that a pool may have
        self.tally = Counter()  # how the jobs of the current pool ended
        self.ways = Counter()  # how the pools were treated

    def handle(self, job):
        self.tries[job] += 1
        fate = self.fates[job]
        if fate == LONG:
            current_worker().cancelled.wait(0.001)
        elif fate and not (fate == FLAKY and self.tries[job] == 2):
            raise FATES[fate](job)

    def needed(self, job):
        """Return the number of attempts after which this job ends in the current pool."""
        return 2 if self.retries and FATES[self.fates[job]] in TRIED_AGAIN else 1

    def error_of(self, job):
        """Return the type of the error with which this job then ends."""
        recovers = self.retries and self.fates[job] == FLAKY
        return type(None) if recovers or not FATES[self.fates[job]] else FATES[self.fates[job]]

    def next_job(self):
        if self.back:
            job = self.back.popleft()
        else:
            job, self.fresh = self.fresh, self.fresh + 1
        self.tries[job] = 0
        self.open.add(job)
        return job

    def remaining(self):
        return len(self.back) + self.jobs - self.fresh

    def give_back(self, job):
        self.open.remove(job)
        self.back.append(job)

    def has_ended(self, job):
        self.open.remove(job)
        self.ends[job] += 1
        kind = self.error_of(job)
        self.tally["succeeded" if kind is type(None) else "unknown" if kind is OutcomeUnknown else "failed"] += 1

    def note(self, result):
        """Record a result that was read."""
        job, error = result.job, result.error
        assert job in self.open, f"{result} was delivered twice, or its job was never accepted"
        assert result.attempt == self.tries[job], f"{result}: {self.tries[job]} attempts were made"
        if isinstance(error, JobCancelled):
            assert result.attempt < self.needed(job), f"{result} was done and is reported as cancelled"
            self.tally["cancelled"] += 1
            self.give_back(job)
        else:
            assert type(error) is self.error_of(job) and result.attempt == self.needed(job), result
            self.has_ended(job)
        if self.draw.random() < 0.0005:
            time.sleep(0.002)  # a slow consumer

    # The ways to treat a pool. Afterwards, each job that the pool has taken is in the tally, or in `open` if its result
    # could not be read.

    def stream(self, pool, count):
        """Read a stream to its end, or leave it early: by a break, by an exception, or because the pool is stopped."""
        way = self.draw.choice(["to the end", "break", "the body raises", "the source raises", "deadline", "force"])
        moment = count if way == "to the end" else self.draw.randint(1, count)
        self.ways[f"stream, {way}"] += 1

        def source():
            for number in range(count):
                if way == "the source raises" and number == moment:
                    raise Enough
                yield self.next_job()

        stop = {"deadline": lambda: pool.shutdown(self.draw.uniform(0, 0.005)), "force": pool.force_shutdown}.get(way)
        with ExitStack() as stack:
            stack.enter_context(suppress(Enough, PoolClosed))
            stack.enter_context(pool)
            for number, result in enumerate(pool.stream(source()), 1):
                self.note(result)
                if number == moment:
                    if way == "break":
                        break
                    if way == "the body raises":
                        raise Enough
                    if stop is not None:
                        stopper = threading.Thread(target=stop)
                        stopper.start()
                        stack.callback(stopper.join)

    def submit(self, pool, count):
        """Submit in several threads, read in this one, and stop the pool in another one at a random moment."""
        way = self.draw.choice(["drain", "deadline", "force", "force twice", "deadline and force"])
        moment = self.draw.randint(0, count)
        self.ways[f"submit, {way}"] += 1
        shares = [[self.next_job() for _ in range(n, count, FEEDERS)] for n in range(FEEDERS)]
        with ThreadPoolExecutor(FEEDERS + 3) as threads:
            feeders = [threads.submit(self.feed, pool, share, self.draw.random()) for share in shares]

            def stop():
                while not all(feeder.done() for feeder in feeders):
                    if way != "drain" and pool.stats().finished >= moment:
                        break
                    time.sleep(0.001)
                if way == "drain":
                    pool.shutdown()
                if "deadline" in way:
                    threads.submit(pool.shutdown, moment % 5 / 1000)
                if "force" in way:
                    ends = [threads.submit(pool.force_shutdown) for _ in range(1 + ("twice" in way))]
                    assert all(accounts_balance(end.result().stats) for end in ends)

            stopper = threads.submit(stop)
            for result in pool.results():
                self.note(result)
            stopper.result()
            for feeder in feeders:
                for job in feeder.result():
                    self.give_back(job)
        pool.shutdown()
        for result in pool.results():  # the jobs that still ran at the deadline
            self.note(result)
        assert not self.open, f"accepted and never delivered: {sorted(self.open)[:5]}"

    def feed(self, pool, share, seed):
        """Submit jobs in one of three ways. Return the jobs that were not accepted."""
        draw, refused = random.Random(seed), []
        for number, job in enumerate(share):
            try:
                way = draw.randrange(3)
                if way == 0:
                    pool.submit(job)
                elif way == 1:
                    pool.submit(job, timeout=draw.uniform(0, 0.002))
                elif not pool.try_submit(job):
                    refused.append(job)
            except TimeoutError:
                refused.append(job)
            except PoolClosed:
                return refused + share[number:]
        return refused

    @contextmanager
    def resizing(self, pool):
        """Resize the pool in another thread during the block, if it is a dynamic pool."""
        draw, over = random.Random(self.draw.random()), threading.Event()

        def resize():
            with suppress(PoolClosed):
                while not over.wait(0.001):
                    low = draw.randint(1, 6)
                    pool.resize(low, draw.randint(low, 8))

        resizer = threading.Thread(target=resize)
        if isinstance(pool, DynamicPool):
            resizer.start()
        try:
            yield
        finally:
            over.set()
            if resizer.ident is not None:
                resizer.join()

    def one_pool(self, treat):
        """Give the remaining jobs to a new pool. Its counts must equal the counts of what was read and called."""
        pool = self.kind(self.handle, workers=self.draw.randint(1, 8), queue_size=self.draw.choice([1, 5, 50, 200]))
        self.retries = retries(pool)
        self.tally.clear()
        self.discarded = 0
        try:
            with self.resizing(pool):
                treat(pool)
            stats = pool.shutdown().stats
        finally:
            pool.force_shutdown()
        for job in list(self.open):  # of a stream that was left: no result was read, but the handler has counted
            if self.tries[job] >= self.needed(job):
                self.has_ended(job)
            else:
                self.tally["cancelled"] += 1
                self.give_back(job)
        # A stream that is interrupted by a shutdown has taken one job from its source that the pool has not accepted.
        self.tally["cancelled"] -= self.tally.total() - stats.submitted
        assert self.tally["cancelled"] == stats.cancelled and self.tally.total() == stats.submitted, stats
        seen = (self.tally["succeeded"], self.tally["failed"], self.tally["unknown"])
        assert seen == (stats.succeeded, stats.failed, stats.unknown), (self.tally, stats)
        assert stats.queued == stats.running == stats.delayed == stats.workers == 0
        if self.retries:
            assert len(pool.dead_letters()) == stats.failed - self.discarded

    def long_stream(self, pool):
        """Send half of the jobs through one pool and measure its memory. The pool must not keep any finished job."""
        count, marks = self.jobs // 2, {}
        for number, result in enumerate(pool.stream(self.next_job() for _ in range(count)), 1):
            self.note(result)
            if number % (count // 5) == 0:
                self.discarded += len(getattr(pool, "discard_letters", list)())
                del result
                marks[number] = memory()
        first, *later = marks.values()
        kept = max(blocks for blocks, _ in later) - first[0]
        grown = max(rss for _, rss in later) - first[1]
        print(f"after the first fifth of {count} jobs: {kept:+} objects, {grown / MIB:+.1f} MiB")
        # If the pool kept one object per job, the increase would be half of count. RSS also includes memory that
        # Python's allocator does not manage.
        assert kept < count / 20 + 1000, f"{kept} objects more than after the first fifth of {count} jobs"
        assert grown < 32 * MIB, f"{grown / MIB:.0f} MiB more than after the first fifth of {count} jobs"

    def run(self):
        self.one_pool(self.long_stream)
        while self.remaining():
            count = min(self.remaining(), self.draw.choice([30, 300, 3000]))
            self.one_pool(partial(self.draw.choice([self.stream, self.submit]), count=count))
        assert self.ends == bytes([1]) * self.jobs, "every job ends exactly once"
        print(f"{self.jobs} jobs, {self.ways.total() + 1} pools: {dict(self.ways)}")


def memory():
    """Return (blocks of Python's allocator, bytes of resident memory) of this process."""
    gc.collect()
    return sys.getallocatedblocks(), psutil.Process().memory_info().rss


def pool_objects():
    gc.collect()
    return sum(issubclass(type(one), WorkerPool | Result) for one in gc.get_objects())


@pytest.fixture
def short_log(monkeypatch):
    monkeypatch.setattr(elastic, "LOG_SIZE", 100)  # a longer log grows for a while, which looks like a leak


@pytest.mark.parametrize("kind", POOLS)
def test_in_chaos_every_job_ends_exactly_once(kind, seed, short_log):
    before = pool_objects()
    Chaos(kind, seed, 6_000).run()
    assert pool_objects() == before, "finished jobs are not kept"


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", POOLS)
def test_in_chaos_each_of_a_million_jobs_ends_exactly_once(kind, seed, short_log):
    before = pool_objects()
    Chaos(kind, seed, MILLION // len(POOLS)).run()
    assert pool_objects() == before, "finished jobs are not kept"


# --- servers that are killed ---------------------------------------------------------------------------------------


class Killer:
    """A context manager that kills a server at random moments and restarts it a little later."""

    def __init__(self, draw, count, kills, server):
        self.draw, self.server = draw, server
        self.moments = set(draw.sample(range(1, count - count // 10), kills))  # numbers of results
        self.kills = 0
        self.threads = ThreadPoolExecutor(1)
        self.restart = None

    def see(self, number):
        """Record that this number of results has been read, and kill the server if it is one of the moments."""
        if number in self.moments:
            self.wait()
            self.server.kill()
            self.kills += 1
            self.restart = self.threads.submit(self.come_back, self.draw.uniform(0, 0.3))
        if self.restart is not None and not self.restart.done():
            time.sleep(0.005)  # a slow consumer: otherwise thousands of jobs would fail while the server is down

    def come_back(self, seconds):
        time.sleep(seconds)
        self.server.restart()

    def wait(self):
        """Wait until the server is up."""
        if self.restart is not None:
            self.restart.result()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.threads.shutdown()
        self.wait()


def chaos_of_servers(pool, killer, jobs, count):
    """Return the results of `count` jobs during kills and restarts, and of further jobs until one succeeds."""
    results, jobs = {}, iter(jobs)
    for seen, result in enumerate(pool.stream(itertools.islice(jobs, count)), 1):
        results[result.job] = result
        killer.see(seen)
    assert seen == len(results) == count, "every job ends exactly once"
    killer.wait()
    assert killer.kills == len(killer.moments)

    def succeeds(job):
        [results[job]] = pool.stream([job])
        return results[job].ok

    wait_until(lambda: succeeds(next(jobs)))  # the pool finds the server again
    return results


FAULTS = {"transient": 0.05, "permanent": 0.02, "lost": 0.02, "latency": (0.0, 0.004)}


class MortalMailServer:
    """A mail server whose mailbox survives a kill: every mail is in the journal before the server accepts it."""

    def __init__(self, journal):
        self.journal = journal
        self.server = MailServer(journal=journal, **FAULTS).__enter__()
        self.port = self.server.port

    def kill(self):
        process = self.server._child.process
        process.kill()
        process.wait()
        self.server.__exit__(None, None, None)

    def restart(self):
        self.server = MailServer(journal=self.journal, port=self.port, **FAULTS).__enter__()


def chaos_of_mails(seed, tmp_path, count, kills, policy):
    server = MortalMailServer(tmp_path / "journal")
    jobs = (EmailJob(n, f"user{n}@example.com", f"User {n}", "Hello", "Hi") for n in itertools.count())
    options = {"workers": 8, "queue_size": 20, "patience": 0.2, "policy": policy}
    try:
        with (
            Killer(random.Random(seed), count, kills, server) as killer,
            BatchEmailSender(host="127.0.0.1", port=server.port, **options) as sender,
        ):
            results = chaos_of_servers(sender, killer, jobs, count)
        mailbox = server.server.mailbox()
    finally:
        server.server.__exit__(None, None, None)
    arrived = Counter(mail.recipient for mail in mailbox)
    names = {mail.recipient: mail.message_id for mail in mailbox}
    fates = Counter()
    for address, result in ((job.address, result) for job, result in results.items()):
        if result.ok:
            fates["sent"] += 1
            assert arrived[address] == 1, f"{address} was reported sent, and arrived {arrived[address]} times"
            assert names[address] == result.value.message_id
        elif isinstance(result.error, OutcomeUnknown):
            fates["unknown, arrived" if arrived[address] else "unknown, not arrived"] += 1
            assert arrived[address] <= 1, f"the fate of {address} was reported unknown: it arrived twice"
        else:
            fates[f"failed, {type(result.error).__name__}"] += 1
            assert isinstance(result.error, MailRefused | NoConnection), result
            assert arrived[address] == 0, f"{address} was reported failed ({result.error!r}), and arrived"
    stats = sender.stats()
    assert (stats.sent, stats.submitted, stats.processed) == (fates["sent"], len(results), len(results))
    assert stats.unknown == fates["unknown, arrived"] + fates["unknown, not arrived"] > 0
    assert set(arrived) <= {job.address for job in results}
    print(f"{len(results)} mails, {kills} kills: {dict(fates)}")


PATIENT = RetryPolicy(max_attempts=100, base=0.02, cap=0.2)


@pytest.mark.parametrize("policy", [None, PATIENT], ids=["without retries", "with retries"])
def test_a_mail_ends_as_reported_although_its_server_is_killed(seed, tmp_path, policy):
    chaos_of_mails(seed, tmp_path, 1_000, 2, policy)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("policy", [None, PATIENT], ids=["without retries", "with retries"])
def test_mails_end_as_reported_although_their_server_is_killed_twenty_times(seed, tmp_path, policy):
    chaos_of_mails(seed, tmp_path, 14_000, 20, policy)


class MortalDatabase:
    """A PostgreSQL server whose processes are killed, and which is restarted with the same data."""

    def __init__(self, db):
        self.place, self.programs = db._running["place"], db._running["programs"]
        self.data = self.place / "data"

    def kill(self):
        lock_file = self.data / "postmaster.pid"
        postgres.kill(int(lock_file.read_text().split()[0]))
        lock_file.unlink()  # otherwise the next server would wait until the dead process is reaped

    def restart(self):
        log, deadline = self.place / "server.log", time.monotonic() + SLOW
        while True:
            try:
                start = ("start", "-w", "-D", str(self.data), "-l", str(log))
                return postgres.tool(self.programs, self.place, SLOW, "pg_ctl", *start)
            except ServiceError:  # the last process of the killed server has not ended yet
                if time.monotonic() > deadline:
                    raise


class Desk:
    """A worker's connection, which is opened again when it is broken."""

    def __init__(self, url):
        self.url, self.connection = url, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.connection is not None:
            self.connection.close()

    def open(self):
        if self.connection is None or self.connection.closed:
            self.connection = psycopg.connect(self.url)
        return self.connection


def write_down(job):
    """Insert a row for this job. If the answer to COMMIT is lost, the outcome is unknown."""
    connection = current_worker().resource.open()
    try:
        connection.execute("INSERT INTO done VALUES (%s)", (job,))
    except psycopg.Error:
        connection.close()
        raise
    try:
        connection.commit()
    except psycopg.OperationalError as error:
        connection.close()
        raise OutcomeUnknown("connection lost at COMMIT") from error


def chaos_of_rows(seed, count, kills, policy):
    with Database(max_connections=20) as db:
        with db.connect() as connection:
            connection.execute("CREATE TABLE done (job integer)")  # not unique: duplicates must be visible
        options = {"workers": 8, "queue_size": 20, "policy": policy, "resource": partial(Desk, db.url)}
        with (
            Killer(random.Random(seed), count, kills, MortalDatabase(db)) as killer,
            RetryingPool(write_down, **options) as pool,
        ):
            results = chaos_of_servers(pool, killer, itertools.count(), count)
        with db.connect() as connection:
            rows = Counter(job for (job,) in connection.execute("SELECT job FROM done"))
        wait_until(lambda: db.connections() == 0)
    ends = Counter()
    for job, result in results.items():
        if result.ok:
            ends["succeeded"] += 1
            assert rows[job] == 1, f"job {job} was reported done, and has {rows[job]} rows"
        elif isinstance(result.error, OutcomeUnknown):
            ends["unknown, done" if rows[job] else "unknown, not done"] += 1
            assert rows[job] <= 1, f"job {job} was reported as unknown, and was done twice"
        else:
            ends["failed"] += 1
            assert isinstance(result.error, psycopg.OperationalError), result
            assert rows[job] == 0, f"job {job} was reported failed ({result.error!r}), and was done"
    stats = pool.stats()
    unknown = ends["unknown, done"] + ends["unknown, not done"]
    assert (stats.succeeded, stats.failed, stats.unknown) == (ends["succeeded"], ends["failed"], unknown)
    assert policy is None or not ends["failed"], "retries reach the server again"
    assert policy is not None or ends["failed"], "jobs failed while the server was down"
    print(f"{len(results)} jobs, {kills} kills: {dict(ends)}")


@pytest.fixture
def own_server(monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)  # so that only a server of this test is killed


@pytest.mark.parametrize("policy", [None, PATIENT], ids=["without retries", "with retries"])
def test_a_row_is_there_as_reported_although_the_database_is_killed(seed, own_server, policy):
    chaos_of_rows(seed, 1_500, 2, policy)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("policy", [None, PATIENT], ids=["without retries", "with retries"])
def test_rows_are_there_as_reported_although_the_database_is_killed_twenty_times(seed, own_server, policy):
    chaos_of_rows(seed, 30_000, 20, policy)
