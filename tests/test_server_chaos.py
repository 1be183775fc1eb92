"""Chaos with servers: they are killed at random moments and started again, and every job ends as its result says.

The seed is that of test_chaos.py.
"""

import itertools
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import psycopg
import pytest
from conftest import SLOW, wait_until

from helpers.pools import BatchEmailSender, EmailJob, OutcomeUnknown, RetryingPool, RetryPolicy, current_worker
from helpers.pools.email import MailRefused, NoConnection
from helpers.services import Database, MailServer, postgres
from helpers.services.child import ServiceError


class Killer:
    """Kills a server at drawn moments and starts it again a little later. To be used as a context manager."""

    def __init__(self, draw, count, kills, server):
        self.draw, self.server = draw, server
        self.moments = set(draw.sample(range(1, count - count // 10), kills))  # at how many results
        self.kills = 0
        self.threads = ThreadPoolExecutor(1)
        self.restart = None

    def see(self, number):
        """So many results have been read."""
        if number in self.moments:
            self.wait()
            self.server.kill()
            self.kills += 1
            self.restart = self.threads.submit(self.come_back, self.draw.uniform(0, 0.3))
        if self.restart is not None and not self.restart.done():
            time.sleep(0.005)  # a slow consumer: or thousands of jobs would fail while nobody is there

    def come_back(self, seconds):
        time.sleep(seconds)
        self.server.restart()

    def wait(self):
        """Until the server is there."""
        if self.restart is not None:
            self.restart.result()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.threads.shutdown()
        self.wait()


def chaos_of_servers(pool, killer, jobs, count):
    """The results of `count` jobs while the server is killed and comes back, and of those until one succeeds then."""
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
    """A mail server whose mailbox outlives it: every mail is in the journal before the server says that it has it."""

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
    """A PostgreSQL of which every process is killed, and which is started again on the same data."""

    def __init__(self, db):
        self.place, self.programs = db._running["place"], db._running["programs"]
        self.data = self.place / "data"

    def kill(self):
        lock_file = self.data / "postmaster.pid"
        postgres.kill(int(lock_file.read_text().split()[0]))
        lock_file.unlink()  # or the next one would wait for whoever collects the dead process

    def restart(self):
        log, deadline = self.place / "server.log", time.monotonic() + SLOW
        while True:
            try:
                start = ("start", "-w", "-D", str(self.data), "-l", str(log))
                return postgres.tool(self.programs, self.place, SLOW, "pg_ctl", *start)
            except ServiceError:  # the last process of the killed one is still on its way out
                if time.monotonic() > deadline:
                    raise


class Desk:
    """A worker's connection, opened when there is none that works."""

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
    """One row for this job. Whether it is there if the answer to COMMIT is lost, nobody knows."""
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
            connection.execute("CREATE TABLE done (job integer)")  # not unique: a job done twice is to be seen
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
            assert rows[job] <= 1, f"what became of job {job} was reported unknown: it was done twice"
        else:
            ends["failed"] += 1
            assert isinstance(result.error, psycopg.OperationalError), result
            assert rows[job] == 0, f"job {job} was reported failed ({result.error!r}), and was done"
    stats = pool.stats()
    unknown = ends["unknown, done"] + ends["unknown, not done"]
    assert (stats.succeeded, stats.failed, stats.unknown) == (ends["succeeded"], ends["failed"], unknown)
    assert policy is None or not ends["failed"], "who tries again finds the server again"
    assert policy is not None or ends["failed"], "while it was away jobs have failed"
    print(f"{len(results)} jobs, {kills} kills: {dict(ends)}")


@pytest.fixture
def own_server(monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)  # nobody else's server is killed here


@pytest.mark.parametrize("policy", [None, PATIENT], ids=["without retries", "with retries"])
def test_a_row_is_there_as_reported_although_the_database_is_killed(seed, own_server, policy):
    chaos_of_rows(seed, 1_500, 2, policy)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("policy", [None, PATIENT], ids=["without retries", "with retries"])
def test_rows_are_there_as_reported_although_the_database_is_killed_twenty_times(seed, own_server, policy):
    chaos_of_rows(seed, 30_000, 20, policy)
