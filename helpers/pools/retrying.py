"""A pool that retries: a failed job runs again later, and a job that is given up is kept where it can be found.

    with RetryingPool(handler, workers=5, policy=RetryPolicy(max_attempts=3, base=0.1, cap=5.0)) as pool:
        for result in pool.stream(jobs):                  # one result per job, that of its last attempt
            ...
        for letter in pool.dead_letters():                # every attempt's error and time
            ...
        pool.redrive(where=lambda letter: ...)            # once the fault is fixed

Always true, beside what holds for `WorkerPool`:
- A job that waits for its retry is *delayed*: it occupies no worker, no place in the queue, and none in its stream's
  window. When `max_delayed` jobs are delayed, submitters wait, as they do for a full queue. Jobs that were accepted
  before may still be delayed, so there are never more than max_delayed + queue_size + workers of them.
- An attempt is counted before it starts, and no job is in two places, so no attempt is made twice.
- A shutdown is complete when nothing is queued, delayed, or running, all checked under one lock. At its deadline, or
  when it is forced, delayed jobs are cancelled, with their last error as the cause.
- A job that is given up is a failed result and a `DeadLetter` from the same moment on.

The cost: nothing for a job that succeeds; O(log n) for a retry among n. All dead letters are kept until a caller
redrives or discards them: look at them. What not to do: retry work that is not safe to do twice. The pool does not do
a job twice by itself, but a handler that fails after half of its work does that half again.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from . import checks
from .basic import WorkerPool
from .crew import Crew
from .dynamic import DynamicPool
from .interrupts import uninterrupted
from .parker import Parker
from .policy import RetryLater, RetryPolicy
from .result import Result
from .retries import DeadLetter, Retries
from .state import PoolState
from .words import describe
from .worker_loop import WorkerLoop

__all__ = ["DeadLetter", "DynamicRetryingPool", "RetryLater", "RetryPolicy", "RetryingPool"]

Job = TypeVar("Job")
Value = TypeVar("Value")

THREE_TIMES = RetryPolicy(max_attempts=3, base=0.1, cap=5.0)


def _every(letter: DeadLetter) -> bool:
    return True


class RetryingPool(WorkerPool[Job, Value]):
    """`workers` threads that call handler(job), and again if it failed and `policy` says so.

    Args:
        handler, workers, queue_size:  as for `WorkerPool`.
        policy:       which jobs are retried and when; None: no job is, and none becomes a dead letter.
        max_delayed:  how many jobs may wait for a retry before submitters wait.
        options:      the other arguments of `WorkerPool`.

    Raises TypeError or ValueError for an argument that breaks its rule.
    """

    def __init__(
        self,
        handler: Callable[[Job], Value],
        *,
        workers: int = 5,
        queue_size: int = 100,
        policy: RetryPolicy | None = THREE_TIMES,
        max_delayed: int = 1000,
        **options: Any,
    ) -> None:
        if policy is not None and not isinstance(policy, RetryPolicy):
            raise TypeError(f"policy must be a RetryPolicy or None, not {describe(policy)}")
        self.policy = policy
        self._retries: Retries | None = None
        self.max_delayed = checks.whole_number("max_delayed", max_delayed)
        super().__init__(handler, workers=workers, queue_size=queue_size, add_parts=self._add_retries, **options)

    def _add_retries(self, state: PoolState[Any, Any], crew: Crew, loop: WorkerLoop) -> None:
        state.max_delayed = self.max_delayed
        if self.policy is not None:
            self._retries = Retries(state, crew, loop, self.policy)

    def dead_letters(self) -> list[DeadLetter]:
        """The jobs that were given up, in that order. `measure.letters_frame` makes it a table."""
        return [] if self._retries is None else list(self._retries.numbered().values())

    def redrive(self, where: Callable[[DeadLetter], bool] = _every, timeout: float | None = None) -> int:
        """Submit again the jobs of the dead letters for which where(letter) is true. Returns how many.

        Each is a new submission that remembers its letter in `result.redriven_from`; the results come from `results()`.
        Each letter is removed in the step in which its job enters the queue, so if this raises, every job is in
        one of the two. Waits for room in the queue, at most `timeout` seconds in all.

        Raises what `submit` raises, TypeError if `where` is no function, and what `where` raises (then none is moved).
        """
        checks.function("where", where)
        deadline = checks.deadline_after("timeout", timeout)
        self._refuse_own_handler("redrive() could wait forever")
        return sum(self._redrive_one(number, deadline, timeout) for number in self._chosen(where))

    def discard_letters(self, where: Callable[[DeadLetter], bool] = _every) -> list[DeadLetter]:
        """Remove the dead letters for which where(letter) is true, and return them.

        Raises TypeError if `where` is no function, and what `where` raises (then none is removed).
        """
        checks.function("where", where)
        chosen = self._chosen(where)
        return [] if self._retries is None else uninterrupted(partial(self._retries.discard, chosen))

    def _chosen(self, where: Callable[[DeadLetter], bool]) -> list[int]:
        """The serial numbers of the letters that are meant. `where` is called without the lock."""
        letters = {} if self._retries is None else self._retries.numbered()
        return [number for number, letter in letters.items() if where(letter)]

    def _redrive_one(self, number: int, deadline: float | None, timeout: float | None) -> int:
        """Move one dead letter's job into the queue; 0 if another thread has redriven or discarded it meanwhile."""
        assert self._retries is not None
        letter = self._retries.letters.get(number)
        if letter is None:
            return 0
        result: Result[Job, Value] = Result(letter.job, self._state.clock())
        move = partial(self._retries.move, number, (result, self._outlet), self._intake, self._intake.feeder())

        def attempt(parker: Parker | None = None) -> bool:
            return uninterrupted(partial(move, parker))

        if not attempt():
            self._intake.wait_for_room(attempt, result, deadline, timeout)
        self._intake.accepted()
        return int(result.redriven_from is not None)


class DynamicRetryingPool(DynamicPool[Job, Value], RetryingPool[Job, Value]):
    """A pool that is both: between `min_workers` and `max_workers` threads, and failed jobs are retried.

    Takes the arguments of both. A retry that has become due and finds no free worker counts like any job that waits.
    """
