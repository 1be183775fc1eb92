"""`RetryPolicy`: decides whether a failed job is retried, and after how many seconds.

A policy only decides. It neither waits nor calls a handler. Its options have the names that tenacity and the AWS SDKs
use.

An error of any class can influence the decision with two attributes:
- `permanent`: if it is True, the job is not retried.
- `retry_after`: the job is not retried before this time has passed. `retry_after_seconds` lists the forms that it may
  have. None means that the error does not ask for a wait.

Always true: errors, jobs, and the functions in `retry_on` and `give_up_on` are user code, and a policy lets none of
their exceptions through. If any of them raises, the job is not retried, and the reason of the decision names the
exception. If `decide` itself raised, the dead letter of the job would say only that the policy raised.
"""

import random
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from . import backoff, checks
from .budget import RetryBudget
from .errors import JobCancelled, OutcomeUnknown
from .interrupts import is_stop_button
from .matching import Errors, classes_or_function, matches
from .retry_after import RetryLater, retry_after_seconds
from .words import describe, describe_error

__all__ = ["RetryDecision", "RetryLater", "RetryPolicy"]

Answer = TypeVar("Answer")

ATTEMPTS_USED_UP = "attempts used up"
NOT_RETRYABLE = "not to be retried"
RETRY = "to be retried"

# After one of these errors, the same call would fail in the same way again, because the program is wrong. `ValueError`,
# `LookupError`, `RuntimeError`, and their subclasses are not in the list: handlers and libraries also raise them if a
# server sends a bad reply, and then a retry may succeed.
PROGRAMMING_ERRORS = (TypeError, NameError, AttributeError, SyntaxError, AssertionError, ImportError)
ONLY_IF_NAMED = (PROGRAMMING_ERRORS, (OutcomeUnknown,))


class RetryDecision(NamedTuple):
    """The decision of `RetryPolicy.decide` about one failed attempt.

    Attributes:
        wait:    the seconds until the next attempt, or None if there is no other attempt.
        reason:  the rule that ended the retries, for example "attempts used up", or "to be retried" if `wait` is a
                 number.
    """

    wait: float | None
    reason: str


class RetryPolicy:
    """The rules for retries: which errors, how many attempts, how long to wait (exponential backoff with full jitter).

    Args:
        max_attempts:     the number of attempts per job, including the first one, from 1 up.
        base:             the ceiling of the first wait, in seconds. It doubles with every further attempt.
        cap:              the maximum of the ceiling, in seconds.
        jitter:           True: wait a random time between 0 and the ceiling. False: always wait for the ceiling itself.
        retry_on:         the errors that are retried: an exception class, a tuple of them, or a function that is called
                          with the error and returns True or False.
        give_up_on:       the errors that are not retried although they are in `retry_on`, in the same forms.
        seed:             None, or a whole number from 0 up that makes the jitter the same in every run. The jitter then
                          depends on the seed, the attempt, and `describe(job)`. Jobs with the same description wait
                          equally long. Jobs whose `repr` raises or contains a memory address wait differently in every
                          run.
        max_elapsed:      the seconds from the job's submission within which a retry must be due; None: no limit. A
                          retry that would be due later is not made. A retry that is due may still wait in the queue.
        max_retry_after:  the maximum `retry_after`, in seconds. A job whose error asks for more is not retried.
        budget:           a `RetryBudget` from which every retry takes tokens; None: no budget.

    Some errors are retried only if `retry_on` names them, and `Exception` does not name them. These errors are
    `OutcomeUnknown`, because a retry might do the work twice, and the programming errors TypeError, NameError,
    AttributeError, SyntaxError, AssertionError, ImportError, and their subclasses. To name such an error, list its
    class or one of its base classes that belongs to the same group, or pass a function that returns True for it. An
    error whose `permanent` is True is never retried, and neither is `JobCancelled`.

    A retry waits for the full `retry_after` of the error plus the backoff, so that jobs that got the same `retry_after`
    are not retried at the same moment. A retry therefore waits at most max_retry_after + cap seconds.

    Two policies are equal if all their options are equal. Policies can be copied, and they can be pickled if `retry_on`
    and `give_up_on` can be pickled.

    Raises TypeError or ValueError for an argument that breaks its rule.
    """

    def __init__(
        self,
        max_attempts: int = 3,
        base: float = 0.1,
        cap: float = 5.0,
        *,
        jitter: bool = True,
        retry_on: Errors = Exception,
        give_up_on: Errors = (),
        seed: int | None = None,
        max_elapsed: float | None = None,
        max_retry_after: float = 300.0,
        budget: RetryBudget | None = None,
    ) -> None:
        if type(jitter) is not bool:
            raise TypeError(f"jitter must be True or False, not {describe(jitter)}")
        if budget is not None and not issubclass(type(budget), RetryBudget):
            raise TypeError(f"budget must be a RetryBudget or None, not {describe(budget)}")
        self.max_attempts = checks.whole_number("max_attempts", max_attempts)
        self.base = checks.seconds("base", base)
        self.cap = checks.seconds("cap", cap)
        self.jitter = jitter
        self.retry_on = classes_or_function("retry_on", retry_on)
        self.give_up_on = classes_or_function("give_up_on", give_up_on)
        self.seed = None if seed is None else checks.whole_number("seed", seed, least=0)
        self.max_elapsed = None if max_elapsed is None else checks.seconds("max_elapsed", max_elapsed)
        self.max_retry_after = checks.seconds("max_retry_after", max_retry_after)
        self.budget = budget

    def decide(self, attempt: int, error: BaseException, job: Any = None, *, elapsed: float = 0.0) -> RetryDecision:
        """Decide what happens after attempt number `attempt` (from 1) of `job` has failed with `error`.

        `elapsed` is the time since the job's submission, in seconds. If the decision is a retry, this call has taken
        its tokens from the budget. Raises nothing, except the KeyboardInterrupt of a Stop button that is pressed while
        the main thread runs this method.
        """
        try:
            if attempt >= self.max_attempts:
                raise _GiveUp(ATTEMPTS_USED_UP)
            self._check_error(error)
            wait = self._requested_wait(error) + self._backoff(attempt, job)
            if self.max_elapsed is not None and elapsed + wait > self.max_elapsed:
                raise _GiveUp(f"max_elapsed of {self.max_elapsed:g} s used up")
            # Ask the budget last, so that a job that is not retried for another reason takes no tokens.
            if self.budget is not None and not _guarded("budget", self.budget.try_withdraw):
                raise _GiveUp("retry budget empty")
        except _GiveUp as rule:
            return RetryDecision(None, rule.reason)
        return RetryDecision(wait, RETRY)

    def wait(self, attempt: int, error: BaseException, job: Any = None, elapsed: float = 0.0) -> float | None:
        """Return the seconds until the retry, or None if the job is not retried. Takes tokens, as `decide` does."""
        return self.decide(attempt, error, job, elapsed=elapsed).wait

    def retryable(self, error: BaseException) -> bool:
        """Return True if `retry_on`, `give_up_on`, and the error itself allow a retry. Raises nothing."""
        try:
            self._check_error(error)
        except _GiveUp:
            return False
        return True

    def ceiling(self, attempt: int) -> float:
        """Return the longest backoff after `attempt` failed attempts, in seconds. It does not include `retry_after`."""
        return backoff.ceiling(attempt, self.base, self.cap)

    def _check_error(self, error: BaseException) -> None:
        """Raise _GiveUp if a job with this error is not retried."""
        kind = type(error)  # not isinstance, because the error's `__class__` may be a property that raises
        if issubclass(kind, JobCancelled) or _guarded("permanent", lambda: getattr(error, "permanent", False)) is True:
            raise _GiveUp(NOT_RETRYABLE)
        if not _guarded("retry_on", lambda: matches(error, _classes_for(kind, self.retry_on))):
            raise _GiveUp(NOT_RETRYABLE)
        if _guarded("give_up_on", lambda: matches(error, self.give_up_on)):
            raise _GiveUp(NOT_RETRYABLE)

    def _requested_wait(self, error: BaseException) -> float:
        """Return the error's `retry_after` in seconds, or 0.0. Raises _GiveUp if it is too long or not a time."""
        asked = _guarded("retry_after", lambda: getattr(error, "retry_after", None))
        if asked is None:
            return 0.0
        try:
            seconds = retry_after_seconds(asked)
        except (TypeError, ValueError) as problem:
            reason = f"retry_after is not a time: {problem}"
        else:
            if seconds <= self.max_retry_after:
                return seconds
            reason = f"retry_after of {seconds:g} s is over max_retry_after"
        raise _GiveUp(reason)

    def _backoff(self, attempt: int, job: Any) -> float:
        if not self.jitter:
            return self.ceiling(attempt)
        draw = random.random if self.seed is None else random.Random(f"{self.seed} {describe(job)} {attempt}").random
        return backoff.full_jitter(attempt, base=self.base, cap=self.cap, random=draw)

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        # The hash leaves out `retry_on` and `give_up_on`, because a function may be an object that has no hash.
        return hash((type(self), self.max_attempts, self.base, self.cap, self.max_elapsed, self.max_retry_after))

    def __repr__(self) -> str:
        names = ["max_attempts", "base", "cap"]
        names += [name for name in ("max_elapsed", "budget") if getattr(self, name) is not None]
        return f"RetryPolicy({', '.join(f'{name}={_brief(getattr(self, name))}' for name in names)})"


class _GiveUp(Exception):
    """Raised inside a policy by the first rule that forbids a retry."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _guarded(source: str, user_code: Callable[[], Answer]) -> Answer:
    """Call user code and return its answer. If it raises, raise a _GiveUp that names `source` and the error instead."""
    try:
        return user_code()
    except BaseException as problem:
        if is_stop_button(problem):
            raise
        reason = f"{source} raised {describe_error(problem)}"
    raise _GiveUp(reason)


def _classes_for(kind: type, errors: Any) -> Any:
    """Return the classes of `errors` that can name an error of class `kind`. Return a function unchanged.

    An error of a group in ONLY_IF_NAMED can be named only by a class of the same group.
    """
    if type(errors) is tuple:
        for special in ONLY_IF_NAMED:
            if issubclass(kind, special):
                errors = tuple(named for named in errors if issubclass(named, special))
    return errors


def _brief(value: Any) -> str:
    return f"{value:g}" if type(value) is float else describe(value, 120)
