"""What happens to a job that has failed: it is delayed and runs again, or it becomes a dead letter.

This module replaces one step of a pool, *settle*, and owns the dead letters. Always true:

- One locked step counts a failed job as failed and makes it a dead letter, or moves it from its worker to the delayed
  jobs. So a failed job is always in exactly one of these places.
- The policy is called without the lock, because it calls functions of the user.
- If the policy allows a retry, but a shutdown has asked running handlers to stop or the stream was left while the job
  ran, the job is not delayed. It is cancelled, with its last error as the cause.
- A delayed job that is due goes to the end of the queue even if the queue is full. If retries waited for room while all
  workers waited to queue a retry, no worker would be free to empty the queue.

What a mistake would break: a retry would happen twice, or never.
"""

from contextlib import suppress
from itertools import count
from threading import Thread
from typing import Any, NamedTuple

from . import checks
from .alarm import Alarm
from .crew import Crew
from .errors import JobCancelled, OutcomeUnknown
from .intake import Intake
from .parker import Parker
from .policy import RetryDecision, RetryPolicy
from .result import Attempt, Result
from .state import PoolState, Task
from .words import describe, describe_error, describe_fields
from .worker import Worker
from .worker_loop import WorkerLoop


class DeadLetter(NamedTuple):
    """A job that will not be retried: every attempt with its error and times, and the rule that ended it.

    `redriven_from` is the dead letter whose redrive submitted this job, or None.
    """

    job: Any
    attempts: tuple[Attempt, ...]
    reason: str
    redriven_from: Any

    @property
    def error(self) -> BaseException | None:
        """The error of the last attempt."""
        return self.attempts[-1].error

    def __repr__(self) -> str:
        return describe_fields(self)


class Retries:
    """The retries of one pool.

    Attributes:
        letters:  the dead letters by their serial numbers, in the order in which they were added; guarded by the
                  pool's lock.
    """

    def __init__(self, state: PoolState[Any, Any], crew: Crew, loop: WorkerLoop, policy: RetryPolicy) -> None:
        self._state = state
        self._crew = crew
        self._policy = policy
        self.letters: dict[int, DeadLetter] = {}
        self._numbers = count()
        self._alarm = Alarm(state.lock, self._bring_back, state.clock, f"{state.name}-retries")
        state.alarms.append(self._alarm)
        state.waits_for_running = True
        loop.settle = self.settle

    # -- a job has run --------------------------------------------------------------------------------------------

    def settle(self, worker: Worker, task: Task[Any, Any]) -> None:
        """Count a job that has run, or delay it. Called in the worker's thread, without the lock."""
        result, outlet = task
        if result.error is None:
            self._refill_budget(result)
            self._state.finish(worker, task)
            return
        now = self._state.clock()
        wait, reason = self._decide(result, result.error, now)
        with self._state.lock:
            if wait is not None and outlet.is_open and not self._state.cancelled.is_set():
                self._alarm.at(now + wait)  # Set it first: a delayed job without an alarm would never run.
                self._state.delay(worker, task, now + wait)
            else:
                self._give_up(result, now, None if wait is not None else reason)
                self._state.finish(worker, task)

    def _refill_budget(self, result: Result[Any, Any]) -> None:
        if self._policy.budget is not None:
            with suppress(BaseException):  # The budget may be of a class that the user has written.
                self._policy.budget.deposit(retried=result.attempt > 1)

    def _decide(self, result: Result[Any, Any], error: BaseException, now: float) -> RetryDecision:
        elapsed = now - result.submitted
        try:
            wait, reason = self._policy.decide(result.attempt, error, result.job, elapsed=elapsed)
            if wait is not None:  # A NaN would stay in the heap of delayed jobs forever.
                wait = checks.number("its wait must be a finite number of seconds from 0 up", wait)
            return RetryDecision(wait, reason if type(reason) is str else describe(reason))
        except BaseException as problem:  # The policy may be of a class that the user has written.
            return RetryDecision(None, f"the policy raised {describe_error(problem)}")

    def _give_up(self, result: Result[Any, Any], now: float, reason: str | None) -> None:
        """Make a failed job a dead letter. The caller counts the job in the same locked block.

        If `reason` is None, the policy allows a retry, but the pool or the stream has ended. Then the job is cancelled.
        """
        if reason is None:
            result.record_attempt(now)
            result.error = self._state.why_cancelled(result)
        elif not issubclass(type(result.error), JobCancelled | OutcomeUnknown):
            self.letters[next(self._numbers)] = DeadLetter(result.job, result.attempts, reason, result.redriven_from)

    def _bring_back(self) -> None:
        """Queue every delayed job that is due. The alarm calls this."""
        now = self._state.clock()
        with self._state.lock:
            self._alarm.at(self._state.bring_back(now))
        if self._crew.after_submit is not None:
            self._crew.after_submit()

    # -- dead letters ---------------------------------------------------------------------------------------------

    def numbered(self) -> dict[int, DeadLetter]:
        """Return a copy of the dead letters by their serial numbers."""
        with self._state.lock:
            return dict(self.letters)

    def discard(self, numbers: list[int]) -> list[DeadLetter]:
        """Remove those of these dead letters that still exist, and return them. Run it with `uninterrupted`."""
        with self._state.lock:
            return [self.letters.pop(number) for number in numbers if number in self.letters]

    def redrive_one(
        self,
        number: int,
        task: Task[Any, Any],
        intake: Intake[Any, Any],
        submitter: Thread | None,
        parker: Parker | None,
    ) -> bool:
        """Move the job of one dead letter into the queue, in one step. Run it with `uninterrupted`. Raises PoolClosed.

        Returns False if there is no room. If another thread has redriven or discarded the letter, this returns True but
        moves nothing, and the result in `task` has no letter.
        """
        with self._state.lock:
            if number not in self.letters:
                return True
            if not self._state.closed:
                if not intake.offer(task, submitter, parker):
                    return False
                task[0].mark_redriven(self.letters.pop(number))
                return True
        raise intake.refusal(task[0].job)
