"""Random sequences of calls to a pool: every job ends exactly once, and the counts always add up.

Hypothesis generates histories of a pool that is both dynamic and retrying. They run in virtual time, and a seed
shuffles the order of the threads. Hypothesis shortens a history that fails to the smallest one, and stores it.
"""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from inside import crew_of, threads_ended
from virtual import Stage

from helpers.pools import DynamicRetryingPool, OutcomeUnknown, RetryLater, RetryPolicy, current_worker


class Broken(Exception):
    permanent = True


FAULTS = {
    "error": ValueError,
    "later": lambda: RetryLater("busy", 3.0),
    "permanent": Broken,
    "unknown": OutcomeUnknown,
    "exit": SystemExit,
}
seconds = st.sampled_from([0.0, 0.001, 0.05, 0.1, 0.3, 1.0, 5.0])


class AnyHistory(RuleBasedStateMachine):
    @initialize(
        seed=st.integers(0, 2**16),
        low=st.integers(1, 3),
        more=st.integers(0, 4),
        queue_size=st.integers(1, 6),
        attempts=st.integers(1, 4),
    )
    def open(self, seed, low, more, queue_size, attempts):
        self.stage = Stage(seed).__enter__()
        self.jobs = {}  # by number: what each job does
        self.tries, self.running = Counter(), Counter()
        self.redriven = Counter()
        self.ended = False
        self.pool = DynamicRetryingPool(
            self.handle,
            min_workers=low,
            max_workers=low + more,
            queue_size=queue_size,
            idle_timeout=1.0,
            backlog=2,
            max_wait=0.05,
            policy=RetryPolicy(attempts, base=0.1, cap=2.0, seed=seed),
            clock=self.stage.clock,
        )

    def handle(self, job):
        self.running[job] += 1
        assert self.running[job] == 1, "the pool runs a job twice at the same time"
        try:
            service, fault, times, looks = self.jobs[job]
            self.tries[job] += 1
            self.stage.work(service)
            if looks and current_worker().cancelled.is_set():
                return
            if self.tries[job] <= times:
                raise FAULTS[fault]()
        finally:
            self.running[job] -= 1

    @precondition(lambda self: not self.ended)
    @rule(service=seconds, fault=st.sampled_from(sorted(FAULTS)), times=st.integers(0, 5), looks=st.booleans())
    def submit(self, service, fault, times, looks):
        job = len(self.jobs)
        self.jobs[job] = (service, fault, times, looks)
        if not self.pool.try_submit(job):
            del self.jobs[job]
            assert self.pool.queue_depth >= self.pool.queue_size

    @rule(step=seconds)
    def advance(self, step):
        self.stage.advance(step)

    @rule()
    def let_time_strike_but_nobody_move(self):
        self.stage.expire()

    @rule(count=st.integers(1, 5))
    def let_some_move(self, count):
        for _ in range(min(count, len(self.stage.ready))):
            self.stage.switch_to(self.stage.pick())

    @precondition(lambda self: not self.ended)
    @rule(low=st.integers(1, 4), more=st.integers(0, 4))
    def resize(self, low, more):
        self.pool.resize(low, low + more)

    @precondition(lambda self: not self.ended)
    @rule(odd=st.booleans())
    def redrive(self, odd):
        chosen = [letter.job for letter in self.pool.dead_letters() if letter.job % 2 == odd]
        if len(chosen) + self.pool.queue_depth <= self.pool.queue_size:
            assert self.pool.redrive(lambda letter: letter.job % 2 == odd) == len(chosen)
            self.redriven.update(chosen)

    @rule(deadline=st.none() | seconds)
    def shut_down(self, deadline):
        self.ended = True
        self.check_report(self.pool.shutdown(deadline))

    @rule()
    def force(self):
        self.ended = True
        self.check_report(self.pool.force_shutdown())

    def check_report(self, report):
        named = Counter(report.finished + report.cancelled + report.still_running)
        assert report.stats.queued == report.stats.delayed == 0
        assert all(count <= 1 + self.redriven[job] for job, count in named.items()), "each job is in exactly one place"

    @invariant()
    def the_accounts_balance(self):
        if not hasattr(self, "pool"):
            return
        s = self.pool.stats()
        parts = (s.queued, s.running, s.delayed, s.succeeded, s.failed, s.cancelled, s.unknown)
        assert min(parts) >= 0
        assert s.submitted == sum(parts) == len(self.jobs) + self.redriven.total()
        if not self.ended:
            assert self.pool.worker_count >= crew_of(self.pool).limits.min_workers
        assert len(self.pool.dead_letters()) == s.failed - self.redriven.total()

    def teardown(self):
        if not hasattr(self, "pool"):
            return
        self.ended = True
        try:
            self.pool.shutdown()
            self.stage.run()
            self.the_accounts_balance()
            ends = Counter(result.job for result in self.pool.results())
            assert ends == {job: 1 + self.redriven[job] for job in self.jobs}, "every job ends exactly once"
            assert self.pool.worker_count == 0 and threads_ended(self.pool)
        finally:
            self.stage.__exit__()


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=60, stateful_step_count=30)
