"""The chaos of test_chaos.py on child processes, which also hang, kill themselves, and are killed at random moments."""

import mmap
import os
import random
import threading
from contextlib import contextmanager, nullcontext, suppress
from functools import partial

import psutil
import pytest
from fates import DIE, HANG, STOP, CountedFates
from test_chaos import POOLS, SHARES, Chaos, pool_objects

from helpers.pools import JobCancelled, JobTimedOut, Processes, WorkerDied

# The crews come and go more slowly than those of threads, because each worker that comes starts a process.
KINDS = {
    "WorkerPool": POOLS["WorkerPool"],
    "DynamicPool": partial(POOLS["DynamicPool"], idle_timeout=0.1),
    "RetryingPool": POOLS["RetryingPool"],
    "DynamicRetryingPool": partial(POOLS["DynamicRetryingPool"], idle_timeout=0.1),
}
LOST = (WorkerDied, JobTimedOut)
ENGINE = Processes(timeout=0.6, grace=0.2)

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def shares():
    """How often each fate is drawn: those of the threads, and those that only a child process survives."""
    found = [*SHARES, 0, 0, 0]
    found[DIE], found[HANG], found[STOP] = 0.02, 0.005, 0.005
    return found


class ProcessChaos(Chaos):
    """A child that is killed may not have begun its job, and a job that ends well may have been lost before."""

    sizes = (5, 20, 80)
    most_workers = 3
    resize_pause = 0.1

    def __init__(self, kind, seed, jobs, folder):
        super().__init__(KINDS[kind], seed, jobs, shares())
        self.path = folder / "tries"
        self.path.write_bytes(bytes(jobs))
        with open(self.path, "r+b") as file:
            self.tries = mmap.mmap(file.fileno(), 0)
        self.others = set(psutil.Process().children())
        self.totals = dict.fromkeys(("kills", "lost", "lost by chance"), 0)

    def make(self, **options):
        self.kills = self.lost_by_chance = 0
        return self.kind(CountedFates(self.path, self.fates), engine=ENGINE, **options)

    def note(self, result):
        """A result has been read. If a child was lost on the way, less is certain."""
        lost = [attempt.error for attempt in result.attempts if isinstance(attempt.error, LOST)]
        if not lost:
            super().note(result)
            return
        job, error = result.job, result.error
        assert job in self.open, f"{result} has come out before, or was never taken"
        ran = result.attempt - len(lost)
        assert ran <= self.tries[job] <= result.attempt <= (2 if self.retries else 1), result
        self.totals["lost"] += len(lost)
        # A busy machine may let any job exceed its time, but a child dies only if it is killed.
        self.lost_by_chance += sum(type(one) is WorkerDied and self.fates[job] != DIE for one in lost)
        if isinstance(error, JobCancelled):
            self.tally["cancelled"] += 1
            self.give_back(job)
        else:
            assert isinstance(error, LOST) or type(error) is self.error_of(job), result
            self.has_ended(job, type(error))

    def account_for_unread(self, stats):
        """Of a stream that was left, only the pool knows how its jobs have ended. It must know that of every job."""
        unread = stats.submitted - self.tally.total()
        assert 0 <= len(self.open) - unread <= 1, "at most one job was drawn and not taken"
        for name, count in (("succeeded", stats.succeeded), ("failed", stats.failed), ("unknown", stats.unknown)):
            assert count >= self.tally[name]
            if unread:
                self.tally[name] = count
        if unread:
            self.tally["cancelled"] = stats.submitted - stats.succeeded - stats.failed - stats.unknown
        for job in list(self.open):
            if self.tries[job]:
                self.open.remove(job)
                self.ends[job] += 1
            else:
                self.give_back(job)

    @contextmanager
    def killing(self):
        """Meanwhile somebody kills children at random moments."""
        draw, over = random.Random(self.draw.random()), threading.Event()

        def kill():
            while not over.wait(draw.uniform(0.05, 0.5)):
                if ours := [child for child in psutil.Process().children() if child not in self.others]:
                    with suppress(psutil.NoSuchProcess):
                        draw.choice(ours).kill()
                        self.kills += 1

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            yield
        finally:
            over.set()
            killer.join()

    def one_pool(self, treat):
        ways = self.ways.copy()
        with self.draw.choice([self.killing, nullcontext])():
            super().one_pool(treat)
        [way] = self.ways - ways
        self.totals["kills"] += self.kills
        self.totals["lost by chance"] += self.lost_by_chance
        if way in ("stream, to the end", "stream, the source raises", "submit, drain"):  # nothing was stopped
            assert self.lost_by_chance <= self.kills, "a child that dies fails exactly its job"

    def run(self):
        self.run_short_pools()
        print(self.totals)


@pytest.mark.parametrize("kind", KINDS)
def test_in_chaos_every_job_of_a_child_process_ends_exactly_once(kind, seed, tmp_path):
    before = pool_objects()
    ProcessChaos(kind, seed, 50, tmp_path).run()
    assert pool_objects() == before, "what is done is not kept"


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
def test_in_chaos_each_of_many_jobs_of_child_processes_ends_exactly_once(kind, seed, tmp_path):
    before = pool_objects()
    ProcessChaos(kind, seed, 3_000, tmp_path).run()
    assert pool_objects() == before, "what is done is not kept"
