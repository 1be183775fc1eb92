"""What becomes of a job that has failed: it is delayed and runs again, or it becomes a dead letter.

Replaces one step of a pool, *settle*. Owns the dead letters. Always true:

- A failed job is counted as failed and becomes a dead letter in one step under the lock; or it moves from its worker's
  hand to the delayed jobs in one step. So it is never in none of these places, and never in two.
- The policy is asked without the lock: it calls functions of the user.
- A job whose pool was stopped, or whose stream was left, while it ran is not delayed any more: it is cancelled, with
  its last error as the cause.
- When a delayed job is due it goes to the end of the queue even if the queue is full. If it waited for room, workers
  that need room for their retries would wait for workers: a deadlock that the article's program runs into.

What a mistake would break: a retry that is made twice, or never.
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
    """A job that was given up: every attempt with its error and time, and the rule that ended it.

    `redriven_from` is the dead letter from which the job had been submitted again, or None.
    """

    job: Any
    attempts: tuple[Attempt, ...]
    reason: str
    redriven_from: Any

    @property
    def error(self) -> BaseException | None:
        """What the last attempt raised."""
        return self.attempts[-1].error

    def __repr__(self) -> str:
        return describe_fields(self)


class Retries:
    """The retries of one pool.

    Attributes:
        letters:  the dead letters by their serial number, in the order in which the jobs were given up; guarded by the
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
            if wait is not None and outlet.wanted and not self._state.cancelled.is_set():
                self._alarm.at(now + wait)  # first: a worker that dies between the two must not leave a job behind
                self._state.delay(worker, task, now + wait)
            else:
                self._give_up(result, now, None if wait is not None else reason)
                self._state.finish(worker, task)

    def _refill_budget(self, result: Result[Any, Any]) -> None:
        if self._policy.budget is not None:
            with suppress(BaseException):  # a budget may be a subclass of the user's
                self._policy.budget.deposit(retried=result.attempt > 1)

    def _decide(self, result: Result[Any, Any], error: BaseException, now: float) -> RetryDecision:
        elapsed = now - result.submitted
        try:
            wait, reason = self._policy.decide(result.attempt, error, result.job, elapsed=elapsed)
            if wait is not None:  # a NaN would stay in the heap of delayed jobs forever
                wait = checks.number("its wait must be a finite number of seconds from 0 up", wait)
            return RetryDecision(wait, reason if type(reason) is str else describe(reason))
        except BaseException as problem:  # a policy may be a subclass of the user's
            return RetryDecision(None, f"the policy raised {describe_error(problem)}")

    def _give_up(self, result: Result[Any, Any], now: float, reason: str | None) -> None:
        """Make a dead letter of a job that has failed; the caller counts it in the same locked block.

        No reason: the policy would have retried it, but its pool or stream no longer wants it, so it is cancelled.
        """
        if reason is None:
            result.record_attempt(now)
            result.error = self._state.why_cancelled(result)
        elif not issubclass(type(result.error), JobCancelled | OutcomeUnknown):
            self.letters[next(self._numbers)] = DeadLetter(result.job, result.attempts, reason, result.redriven_from)

    def _bring_back(self) -> None:
        """Called by the alarm: move every job that is due into the queue."""
        now = self._state.clock()
        with self._state.lock:
            self._alarm.at(self._state.bring_back(now))
        if self._crew.after_submit is not None:
            self._crew.after_submit()

    # -- dead letters ---------------------------------------------------------------------------------------------

    def numbered(self) -> dict[int, DeadLetter]:
        """The dead letters of this instant, by their serial number."""
        with self._state.lock:
            return dict(self.letters)

    def discard(self, numbers: list[int]) -> list[DeadLetter]:
        """Remove these dead letters, as far as they are still there, and return them. An act."""
        with self._state.lock:
            return [self.letters.pop(number) for number in numbers if number in self.letters]

    def move(
        self,
        number: int,
        task: Task[Any, Any],
        intake: Intake[Any, Any],
        feeder: Thread | None,
        parker: Parker | None,
    ) -> bool:
        """Move one dead letter's job into the queue, in one step. An act. Raises PoolClosed.

        False if there is no room. True also if another thread has redriven or discarded the letter: then nothing is
        moved, and the result in `task` has no letter.
        """
        with self._state.lock:
            if number not in self.letters:
                return True
            if not self._state.closed:
                if not intake.offer(task, feeder, parker):
                    return False
                task[0].mark_redriven(self.letters.pop(number))
                return True
        raise intake.refusal(task[0].job)
