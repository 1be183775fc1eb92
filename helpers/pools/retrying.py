"""A pool that retries: a failed job runs again later, and a job that is not retried is kept as a dead letter.

    with RetryingPool(handler, workers=5, policy=RetryPolicy(max_attempts=3, base=0.1, cap=5.0)) as pool:
        for result in pool.stream(jobs):                  # one result per job, from its last attempt
            ...
        for letter in pool.dead_letters():                # every attempt's error and times
            ...
        pool.redrive(where=lambda letter: ...)            # once the cause is fixed

Always true, in addition to what holds for `WorkerPool` (except that a retry that is due enters a full queue):
- A job that waits for its retry is *delayed*. It occupies no worker, no place in the queue, and no place in the window
  of its stream. When `max_delayed` jobs are delayed, submitters wait, as they do for a full queue. But jobs that
  were accepted before can still fail and be delayed, so at most max_delayed + queue_size + workers jobs are delayed.
- An attempt is counted before it starts, and no job is in two places, so no attempt happens twice.
- A shutdown is complete when nothing is queued, delayed, or running, which is checked under one lock. At its deadline,
  or when it is forced, delayed jobs are cancelled, with their last error as the cause.
- A failed job that is not retried becomes a failed result and a `DeadLetter` in one step. Jobs that are cancelled or
  whose outcome is unknown become no dead letters.

The cost: one more function call for a job that succeeds, and O(log n) for a retry when n jobs are delayed. The pool
keeps all dead letters until a caller redrives or discards them, so look at them. What not to do: do not retry work that
is not safe to do twice. The pool never runs a successful job again, but a handler that fails half-way repeats its first
half.
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
from .worker import refuse_handler_of
from .worker_loop import WorkerLoop

__all__ = ["DeadLetter", "DynamicRetryingPool", "RetryLater", "RetryPolicy", "RetryingPool"]

Job = TypeVar("Job")
Value = TypeVar("Value")

THREE_TIMES = RetryPolicy(max_attempts=3, base=0.1, cap=5.0)


def _every(letter: DeadLetter) -> bool:
    return True


class RetryingPool(WorkerPool[Job, Value]):
    """`workers` threads that call handler(job), and call it again if it failed and `policy` allows a retry.

    Args:
        handler, workers, queue_size:  as for `WorkerPool`.
        policy:       which jobs are retried and when. None means that no job is retried, and none becomes a dead
                      letter.
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
        """Return the dead letters, oldest first. `measure.letters_frame` makes a table of them."""
        return [] if self._retries is None else list(self._retries.numbered().values())

    def redrive(self, where: Callable[[DeadLetter], bool] = _every, timeout: float | None = None) -> int:
        """Submit again the jobs of the dead letters for which where(letter) is true, and return their number.

        Each job is a new submission. Its result comes from `results()` and has the letter in `redriven_from`. One step
        removes the letter and queues the job, so if this method raises, every job is in one of the two places. It waits
        for room in the queue, for at most `timeout` seconds in total.

        Raises what `submit` raises, and TypeError if `where` is not a function. If `where` raises, nothing is moved.
        """
        checks.function("where", where)
        deadline = checks.deadline_after("timeout", timeout)
        refuse_handler_of(self, "redrive() could wait forever")
        return sum(self._redrive_one(number, deadline, timeout) for number in self._chosen(where))

    def discard_letters(self, where: Callable[[DeadLetter], bool] = _every) -> list[DeadLetter]:
        """Remove the dead letters for which where(letter) is true, and return them.

        Raises TypeError if `where` is not a function. If `where` raises, nothing is removed.
        """
        checks.function("where", where)
        chosen = self._chosen(where)
        return [] if self._retries is None else uninterrupted(partial(self._retries.discard, chosen))

    def _chosen(self, where: Callable[[DeadLetter], bool]) -> list[int]:
        """Return the serial numbers of the letters for which `where` is true. `where` is called without the lock."""
        letters = {} if self._retries is None else self._retries.numbered()
        return [number for number, letter in letters.items() if where(letter)]

    def _redrive_one(self, number: int, deadline: float | None, timeout: float | None) -> int:
        """Queue the job of one dead letter. Return 1, or 0 if another thread has redriven or discarded it."""
        assert self._retries is not None
        letter = self._retries.letters.get(number)
        if letter is None:
            return 0
        result: Result[Job, Value] = Result(letter.job, self._state.clock())
        task, submitter = (result, self._outlet), self._intake.submitter()
        redrive_one = partial(self._retries.redrive_one, number, task, self._intake, submitter)

        def attempt(parker: Parker | None = None) -> bool:
            return uninterrupted(partial(redrive_one, parker))

        if not attempt():
            self._intake.wait_for_room(attempt, result, deadline, timeout)
        self._intake.accepted()
        return int(result.redriven_from is not None)


class DynamicRetryingPool(DynamicPool[Job, Value], RetryingPool[Job, Value]):
    """A pool with between `min_workers` and `max_workers` threads that also retries failed jobs.

    It takes the arguments of both pools. A retry that is due counts for growth like every other queued job.
    """
