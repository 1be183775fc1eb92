"""Chaos: whatever is raised, stopped, resized, or read too slowly, every job ends exactly once, in flat memory.

All random choices come from one seed, which is printed in the header of every run and with every failure. To repeat a
run: CHAOS_SEED=… pytest tests/test_chaos.py -m "" -k … (the order in which the threads run is not repeated).
"""

import gc
import random
import sys
import threading
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import psutil
import pytest
from fates import ERRORS, FLAKY, TRIED_AGAIN, meet
from test_pool_contract import AnyMails, AnyPictures, accounts_balance, retries

from helpers.pools import (
    DynamicPool,
    DynamicRetryingPool,
    JobCancelled,
    OutcomeUnknown,
    PoolClosed,
    Result,
    RetryingPool,
    RetryPolicy,
    WorkerPool,
    elastic,
)

MILLION = 1_020_000  # jobs of the long run, for all pools together
FEEDERS = 3  # threads that submit at the same time
MIB = 2**20


# --- a million jobs ------------------------------------------------------------------------------------------------

TWICE = RetryPolicy(max_attempts=2, base=0.0005, cap=0.001)


def crew(kind, handler, *, workers, **options):
    """Return a pool that starts and retires workers as fast as possible."""
    limits = {"min_workers": 1, "max_workers": workers, "backlog": 1, "max_wait": 0.001, "idle_timeout": 0.001}
    return kind(handler, **limits | options)


POOLS = {
    "WorkerPool": WorkerPool,
    "ImageProcessor": AnyPictures,
    "BatchEmailSender": AnyMails,
    "DynamicPool": partial(crew, DynamicPool),
    "RetryingPool": partial(RetryingPool, policy=TWICE),
    "DynamicRetryingPool": partial(crew, DynamicRetryingPool, policy=TWICE),
}
SHARES = (0.82, 0.01, 0.04, 0.03, 0.02, 0.02, 0.02, 0.02, 0.02)  # of the fates, see `fates`


class Enough(Exception):
    """Raised to leave the block of a `with`."""


class Chaos:
    """Sends `jobs` jobs through one pool after the other, each treated in a random way, until every job has ended."""

    sizes = (30, 300, 3000)  # jobs of a pool that does not get what all others have left
    most_workers = 8
    resize_pause = 0.001  # seconds

    def __init__(self, kind, seed, jobs, shares=SHARES):
        self.kind, self.jobs = kind, jobs
        self.draw = random.Random(seed)
        self.fates = bytes(self.draw.choices(range(len(shares)), shares, k=jobs))  # what each job does, by its number
        self.tries = bytearray(jobs)  # attempts at each job in the pool that has it now
        self.ends = bytearray(jobs)  # how often each has ended
        self.fresh, self.back = 0, deque()  # the first job that no pool has had; those that a pool gave back
        self.open = set()  # jobs that a pool may have
        self.tally = Counter()  # how the jobs of the current pool ended
        self.ways = Counter()  # how the pools were treated

    def handle(self, job):
        self.tries[job] += 1
        meet(self.fates[job], job, self.tries[job])

    def make(self, **options):
        return self.kind(self.handle, **options)

    def needed(self, job):
        """At how many attempts this job ends in the present pool."""
        return 2 if self.retries and ERRORS[self.fates[job]] in TRIED_AGAIN else 1

    def error_of(self, job):
        """Return the type of the error with which this job then ends."""
        recovers = self.retries and self.fates[job] == FLAKY
        return type(None) if recovers or not ERRORS[self.fates[job]] else ERRORS[self.fates[job]]

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

    def has_ended(self, job, kind):
        """It has ended with an error of this kind, or with none."""
        self.open.remove(job)
        self.ends[job] += 1
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
            self.has_ended(job, type(error))
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
                while not over.wait(self.resize_pause):
                    low = draw.randint(1, self.most_workers)
                    pool.resize(low, draw.randint(low, self.most_workers))

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
        """A new pool gets the jobs that are left. What it says of them must be what was seen of them."""
        pool = self.make(workers=self.draw.randint(1, self.most_workers), queue_size=self.draw.choice([1, 5, 50, 200]))
        self.retries = retries(pool)
        self.tally.clear()
        self.discarded = 0
        try:
            with self.resizing(pool):
                treat(pool)
            stats = pool.shutdown().stats
        finally:
            pool.force_shutdown()
        self.account_for_unread(stats)
        assert self.tally["cancelled"] == stats.cancelled and self.tally.total() == stats.submitted, stats
        seen = (self.tally["succeeded"], self.tally["failed"], self.tally["unknown"])
        assert seen == (stats.succeeded, stats.failed, stats.unknown), (self.tally, stats)
        assert stats.queued == stats.running == stats.delayed == stats.workers == 0
        if self.retries:
            assert len(pool.dead_letters()) == stats.failed - self.discarded

    def account_for_unread(self, stats):
        """Find out how the jobs of a stream that was left have ended: nobody has read these, but the handler knows."""
        for job in list(self.open):
            if self.tries[job] >= self.needed(job):
                self.has_ended(job, self.error_of(job))
            else:
                self.tally["cancelled"] += 1
                self.give_back(job)
        # A stream that meets a shutdown has drawn one job that the pool has not taken.
        self.tally["cancelled"] -= self.tally.total() - stats.submitted

    def long_stream(self, pool):
        """Half of the jobs through one pool, measured on the way: it must not keep anything of what is done."""
        count, marks, in_flight = self.jobs // 2, {}, []
        for number, result in enumerate(pool.stream(self.next_job() for _ in range(count)), 1):
            self.note(result)
            if number % (count // 5) == 0:
                self.discarded += len(getattr(pool, "discard_letters", list)())
                del result
                marks[number] = memory()
                in_flight.append(pool.stats().submitted - number)
        first, *later = marks.values()
        kept = max(blocks for blocks, _ in later) - first[0]
        grown = max(rss for _, rss in later) - first[1]
        print(f"after the first fifth of {count} jobs: {kept:+} objects, {grown / MIB:+.1f} MiB")
        # Were one object kept a job, it would be most of count. A job that is not read yet has up to ten: its result,
        # its error, the traceback, its attempts. RSS also sees what Python's allocator does not.
        allowed = count / 20 + 500 + 10 * max(in_flight)
        assert kept < allowed, f"{kept} objects more than after the first fifth of {count} jobs"
        assert grown < 32 * MIB, f"{grown / MIB:.0f} MiB more than after the first fifth of {count} jobs"

    def run(self):
        self.one_pool(self.long_stream)
        self.run_short_pools()

    def run_short_pools(self):
        while self.remaining():
            count = min(self.remaining(), self.draw.choice(self.sizes))
            self.one_pool(partial(self.draw.choice([self.stream, self.submit]), count=count))
        assert self.ends == bytes([1]) * self.jobs, "every job ends exactly once"
        print(f"{self.jobs} jobs, {self.ways.total()} short pools: {dict(self.ways)}")


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
    Chaos(POOLS[kind], seed, 4_000).run()
    assert pool_objects() == before, "what is done is not kept"


@pytest.mark.parametrize("kind", ["WorkerPool", "DynamicRetryingPool"])
def test_in_chaos_every_job_on_an_executor_ends_exactly_once(kind, seed, short_log):
    before = pool_objects()
    with ThreadPoolExecutor(8) as executor:
        Chaos(partial(POOLS[kind], engine=executor), seed, 2_000).run()
    assert pool_objects() == before, "what is done is not kept"


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", POOLS)
def test_in_chaos_each_of_a_million_jobs_ends_exactly_once(kind, seed, short_log):
    before = pool_objects()
    Chaos(POOLS[kind], seed, MILLION // len(POOLS)).run()
    assert pool_objects() == before, "what is done is not kept"
