"""A pool that forgives: what failed is tried again, later, and what failed for good is kept where it can be found.

    with RetryingPool(handler, workers=5, policy=RetryPolicy(max_attempts=3, base=0.1, cap=5.0)) as pool:
        for result in pool.stream(jobs):                  # one result a job, that of its last attempt
            ...
        for letter in pool.dead_letters():                # every attempt's error and time
            ...
        pool.redrive(where=lambda letter: ...)            # once the fault is mended

What holds, beside all that holds for `WorkerPool`:
- submitted = queued + running + delayed + succeeded + failed + cancelled (+ unknown). A job that waits for its retry
  is delayed: it holds no worker, nobody waits behind it, and it has no place in the queue.
- When its time has come it goes to the end of the queue, room or no room. Were it to wait for room, then workers that
  wait for a place for their retries would wait for workers: the article's deadlock.
- An attempt is counted before it is made, and no job is in two places, so none is made twice.
- A shutdown is done when queued + delayed + running is 0, all looked at under one lock. At its deadline, or when it is
  forced, jobs that wait for a retry come out as cancelled, with their last error as the cause, and stand in the report.
- A job that is given up is a failed result and a `DeadLetter`, from the same moment on.

What it costs: nothing for a job that succeeds; O(log n) for a retry among n. Dead letters are kept, all of them, until
somebody redrives or discards them: look at them. What not to do: retry what is not safe to do twice. The pool does not
do a job twice by itself, but a handler that fails after half its work will do that half again.
"""

from collections.abc import Callable
from contextlib import suppress
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, NamedTuple, TypeVar

from . import checks
from .alarm import Alarm
from .basic import Order, Pass, WorkerPool
from .dynamic import DynamicPool
from .policy import RetryLater, RetryPolicy
from .result import Attempt, JobCancelled, OutcomeUnknown, PoolStats, Result
from .stop import undisturbed
from .worker import Worker

__all__ = ["DeadLetter", "DynamicRetryingPool", "RetryLater", "RetryPolicy", "RetryingPool"]

Job = TypeVar("Job")
Value = TypeVar("Value")

THREE_TIMES = RetryPolicy(max_attempts=3, base=0.1, cap=5.0)


class DeadLetter(NamedTuple):
    """A job that was given up: every attempt with its error and time, and why there was not another.

    `redriven_from` is the dead letter from which the job had been taken up again, or None.
    """

    job: Any
    attempts: tuple[Attempt, ...]
    reason: str
    redriven_from: Any

    @property
    def error(self) -> BaseException | None:
        """What the last attempt raised."""
        return self.attempts[-1].error


class RetryingPool(WorkerPool[Job, Value]):
    """`workers` threads that call handler(job), and again if it failed and `policy` says so.

    Args:
        handler, workers, queue_size:  as for `WorkerPool`.
        policy:   what is tried again and when; None: nothing is, and nothing becomes a dead letter.
        options:  `resource` and `clock` of `WorkerPool`.

    Raises TypeError or ValueError for an argument that breaks its rule.
    """

    def __init__(
        self,
        handler: Callable[[Job], Value],
        *,
        workers: int = 5,
        queue_size: int = 100,
        policy: RetryPolicy | None = THREE_TIMES,
        **options: Any,
    ) -> None:
        if policy is not None and not isinstance(policy, RetryPolicy):
            raise TypeError(f"policy must be a RetryPolicy or None, not {policy!r}")
        self.policy = policy
        # The pool's lock guards both: who is in _delayed waits for its time, and is nowhere else.
        self._delayed: list[tuple[float, int, Order[Job, Value]]] = []  # a heap: when due, and in which order
        self._letters: dict[int, DeadLetter] = {}  # by their number, in the order in which they were given up
        self._numbers = count()
        super().__init__(handler, workers=workers, queue_size=queue_size, **options)

    def _prepare(self) -> None:
        super()._prepare()
        if self.policy is not None:
            self._retries = Alarm(self._lock, self._bring_back, self._clock, f"{self._name}-retries")
            self._alarms.append(self._retries)

    # -- a job fails, and waits -----------------------------------------------------------------------------------

    def _settle(self, worker: Worker, result: Result[Job, Value], outlet: Pass[Job, Value]) -> None:
        """Count a job that is done, or put it among the delayed: in one step, so that it is never in none."""
        with self._lock:
            wait = None if result.error is None else self._wait_of(result, result.error)
            if wait is not None and self._again(result, outlet):
                worker.in_hand = None
                self._running -= 1
                self._delay((result, outlet), self._clock() + wait)
                return
            super()._settle(worker, result, outlet)
            if self._closed and not self._unfinished():
                self._call_all()  # that was the last one: those who waited for its retry may go

    def _wait_of(self, result: Result[Job, Value], error: BaseException) -> float | None:
        """Seconds until the next attempt; None, and a dead letter if it has failed, when there is to be none."""
        if self.policy is None:
            return None
        try:
            wait = self.policy.wait(result.attempt, error, result.job)
        except BaseException as problem:  # in the caller's function; that must not cost us the worker, or the job
            with suppress(BaseException):  # nor may an error that takes no note, or cannot be put into words
                error.add_note(f"and whether to retry could not be decided: {problem!r}")
            wait = None
        if wait is None and not isinstance(error, JobCancelled | OutcomeUnknown):
            reason = "attempts used up" if result.attempt >= self.policy.max_attempts else "not to be retried"
            letter = DeadLetter(result.job, result.attempts, reason, result.redriven_from)
            self._letters[next(self._numbers)] = letter
        return wait

    def _again(self, result: Result[Job, Value], outlet: Pass[Job, Value]) -> bool:
        """True if the pool still wants this job; if not, it becomes a cancelled one."""
        if outlet.wanted and not self.cancelled.is_set():
            return True
        result.again(self._clock())
        result.error = self._why_cancelled(result)
        return False

    def _delay(self, order: Order[Job, Value], due: float) -> None:
        order[0].again(due)
        # Made first: the garbage collector may come, close a forgotten stream, and the heap is another (`_withdraw`).
        item = (due, next(self._numbers), order)
        heappush(self._delayed, item)
        self._retries.at(due)

    def _bring_back(self) -> None:
        """The alarm rings, with the lock held: all that is due goes into the queue."""
        now = self._clock()
        while self._delayed and self._delayed[0][0] <= now:
            self._enqueue(heappop(self._delayed)[2])
        if self._delayed:
            self._retries.at(self._delayed[0][0])

    # -- or is done with ------------------------------------------------------------------------------------------

    def dead_letters(self) -> list[DeadLetter]:
        """The jobs that were given up, in that order. `measure.letters_frame` makes it a table."""
        with self._lock:
            return list(self._letters.values())

    def redrive(self, where: Callable[[DeadLetter], bool] = lambda letter: True, timeout: float | None = None) -> int:
        """Submit again the jobs of the dead letters for which where(letter) is true. Returns how many.

        Each is a new submission with all its attempts before it, and `result.redriven_from` names its letter; the
        results come from `results()`. Each leaves the dead letters in the step in which it enters the queue, so if
        this raises, every job is in one of the two. Waits for room in the queue, at most `timeout` seconds in all.

        Raises what `submit` raises, TypeError if `where` is no function, and what `where` raises (then none is moved).
        """
        checks.function("where", where)
        deadline = checks.deadline_after("timeout", timeout)
        self._refuse_own_handler("redrive() could wait for ever")
        with self._lock:
            letters = dict(self._letters)
        chosen = [number for number, letter in letters.items() if where(letter)]
        return sum(self._resubmit(number, deadline, timeout) for number in chosen)

    def discard_letters(self, where: Callable[[DeadLetter], bool] = lambda letter: True) -> list[DeadLetter]:
        """Take the dead letters for which where(letter) is true off the list, and return them."""
        checks.function("where", where)
        with self._lock:
            gone = {number: letter for number, letter in self._letters.items() if where(letter)}
            self._letters = {number: letter for number, letter in self._letters.items() if number not in gone}
        return list(gone.values())

    def _resubmit(self, number: int, deadline: float | None, timeout: float | None) -> int:
        """Move one dead letter's job into the queue; 0 if somebody else has redriven or discarded it meanwhile."""
        with self._lock:
            if number in self._letters:
                self._wait_for_room(self._letters[number].job, deadline, timeout)  # lets go of the lock meanwhile
            with undisturbed():  # or Stop could find the job in none of the two
                letter = self._letters.pop(number, None)
                if letter is None:
                    return 0
                result: Result[Job, Value] = Result(letter.job, self._clock())
                result.comes_from(letter)
                self._note_feeder()
                self._enqueue((result, self._pass))
                return 1

    # -- where delayed jobs make a difference -----------------------------------------------------------------------

    def _unfinished(self) -> bool:
        return super()._unfinished() or bool(self._delayed)

    def _may_go(self, worker: Worker) -> bool:
        # What runs may come back, and what is delayed will; unless the pool has given up, for then nothing does.
        return super()._may_go(worker) and (self.cancelled.is_set() or not self._unfinished())

    def _withdraw(self, outlet: Pass[Job, Value] | None) -> list[Order[Job, Value]]:
        rest: list[tuple[float, int, Order[Job, Value]]] = []
        items, self._delayed = self._delayed, rest  # in one step, as in `WorkerPool._withdraw`
        self._delayed.extend(item for item in items if outlet is not None and item[2][1] is not outlet)
        heapify(self._delayed)
        theirs = sorted(item for item in items if outlet is None or item[2][1] is outlet)
        return super()._withdraw(outlet) + [order for _, _, order in theirs]

    def _why_cancelled(self, result: Result[Job, Value]) -> JobCancelled:
        if not result.attempts:
            return super()._why_cancelled(result)
        why = JobCancelled(f"not tried again: {self._name} was stopped after attempt {result.attempt} had failed")
        why.__cause__ = result.attempts[-1].error
        return why

    def _count(self) -> PoolStats:
        stats, delayed = super()._count(), len(self._delayed)
        return stats._replace(delayed=delayed, submitted=stats.submitted + delayed)


class DynamicRetryingPool(DynamicPool[Job, Value], RetryingPool[Job, Value]):
    """A pool that is both: between `min_workers` and `max_workers` threads, and what fails is tried again.

    Takes the arguments of both. A retry that has come due and finds nobody free counts like any job that waits.
    """
