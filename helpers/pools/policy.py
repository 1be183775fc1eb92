"""Try again? When? The decision alone: an attempt and its error in, seconds to wait out, or that it is over.

The names are those of tenacity and of the AWS SDKs, so that what is learned here is understood there. Three things an
error may say for itself, whatever its class: `permanent` (true: never again, the server said so), `retry_after` (a
number of seconds: not before, the server said so), and by its type, if it stands in `retry_on` or `give_up_on`.
"""

import math
import random
from collections.abc import Callable
from typing import Any

from . import backoff, checks
from .result import JobCancelled, OutcomeUnknown

Errors = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]


class RetryLater(Exception):
    """For handlers: this did not work, try again, but not before `retry_after` seconds have passed."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RetryPolicy:
    """How often a job is tried, and how long to wait in between: exponential backoff, full jitter, under a cap.

    Args:
        max_attempts:  tries in all, the first included.
        base:          the ceiling of the first wait, seconds; it doubles with every attempt,
        cap:           up to this many seconds.
        jitter:        True: a random time from 0 to the ceiling; False: the ceiling itself (see notebook 06 why not).
        retry_on:      what is tried again: exception classes, or a function of the error.
        give_up_on:    what is not, even if `retry_on` has it: likewise.
        seed:          makes the waits the same in every run: of each job (by its `repr`) and attempt.

    An error that is `permanent` is never tried again, nor is `OutcomeUnknown` unless retry_on names it (it could be
    done twice), nor `JobCancelled`. An error's `retry_after` is waited for in full, whatever the cap, and the jitter
    comes on top: those who are told the same time must not come back at the same moment.

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
    ) -> None:
        self.max_attempts = checks.whole_number("max_attempts", max_attempts)
        self.base = checks.seconds("base", base)
        self.cap = checks.seconds("cap", cap)
        if not isinstance(jitter, bool):
            raise TypeError(f"jitter must be True or False, not {jitter!r}")
        self.jitter = jitter
        self._retry_on = _matcher("retry_on", retry_on)
        self._give_up_on = _matcher("give_up_on", give_up_on)
        self._names_unknown = _names(retry_on, OutcomeUnknown)
        self.seed = None if seed is None else checks.whole_number("seed", seed, least=0)

    def ceiling(self, attempt: int) -> float:
        """The longest wait after `attempt` failures, seconds (a server's `retry_after` apart)."""
        return backoff.ceiling(attempt, self.base, self.cap)

    def wait(self, attempt: int, error: BaseException, job: Any = None) -> float | None:
        """Seconds to wait after attempt number `attempt` (from 1) has failed with `error`; None: give up."""
        if attempt >= self.max_attempts or not self.retryable(error):
            return None
        return _retry_after(error) + self._backoff(attempt, job)

    def retryable(self, error: BaseException) -> bool:
        """True if an error of this kind is worth another try."""
        if isinstance(error, JobCancelled) or getattr(error, "permanent", False) is True:
            return False
        if isinstance(error, OutcomeUnknown) and not self._names_unknown:
            return False
        return self._retry_on(error) and not self._give_up_on(error)

    def _backoff(self, attempt: int, job: Any) -> float:
        if not self.jitter:
            return self.ceiling(attempt)
        draw = random.random if self.seed is None else random.Random(f"{self.seed} {job!r} {attempt}").random
        return backoff.full_jitter(attempt, base=self.base, cap=self.cap, random=draw)

    def __repr__(self) -> str:
        return f"RetryPolicy(max_attempts={self.max_attempts}, base={self.base:g}, cap={self.cap:g})"


def _matcher(name: str, errors: Any) -> Callable[[BaseException], bool]:
    """A function that says whether an error is meant."""
    kinds = errors if isinstance(errors, tuple) else (errors,)
    if all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
        return lambda error: isinstance(error, kinds)
    if isinstance(errors, type) or not callable(errors):
        raise TypeError(f"{name} must be exception classes or a function of an error, not {errors!r}")
    checks.function(name, errors)
    return lambda error: bool(errors(error))


def _names(errors: Errors, kind: type[BaseException]) -> bool:
    """True if this very class is asked for, or a function decides."""
    return kind in errors if isinstance(errors, tuple) else errors is kind or not isinstance(errors, type)


def _retry_after(error: BaseException) -> float:
    """What the error asks for, seconds; 0 if it asks for nothing, or for what is no time."""
    value = getattr(error, "retry_after", None)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return 0.0
    return float(value)
