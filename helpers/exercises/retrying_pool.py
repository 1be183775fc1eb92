"""Checks for notebook 06."""

from typing import Any

from helpers.exercises.verdict import Verdict, expect, never_raises


@never_raises
def check_wait(answer: Any) -> Verdict:
    """Check wait(attempt, base, cap, draw): the seconds until the next attempt; draw is a random number from 0 to 1."""
    cases = [
        ((1, 0.5, 10.0, 1.0), 0.5),
        ((1, 0.5, 10.0, 0.0), 0.0),
        ((3, 0.5, 10.0, 0.5), 1.0),
        ((4, 0.5, 3.0, 1.0), 3.0),
        ((5, 1.0, 8.0, 0.25), 2.0),
        ((2000, 0.5, 10.0, 0.5), 5.0),
    ]
    return expect(answer, cases, "the ceiling doubles up to the cap, and the wait is a random part of the ceiling.")


@never_raises
def check_again(answer: Any) -> Verdict:
    """Check again(method, answer, key): whether a call may be retried. `answer` is a status, or None for no answer."""
    cases = [
        (("GET", 429, None), True),
        (("POST", 429, None), True),
        (("GET", 503, None), True),
        (("POST", 503, None), False),
        (("POST", 502, "order 7"), True),
        (("GET", None, None), True),
        (("POST", None, None), False),
        (("POST", None, "order 7"), True),
        (("GET", 404, None), False),
        (("POST", 400, "order 7"), False),
        (("GET", 403, None), False),
        (("GET", 200, None), False),
    ]
    praise = "a retry has to be of use, and it has to be safe: not done yet, or safe to do twice."
    return expect(answer, cases, praise)


@never_raises
def check_calls(answer: Any) -> Verdict:
    """Check calls(jobs, attempts, tokens, cost): the number of calls that a server gets if every call fails."""
    cases = [
        ((400, 4, 100, 5), 420),
        ((10, 1, 100, 5), 10),
        ((10, 3, 500, 5), 30),
        ((10, 3, 4, 5), 10),
        ((100, 2, 99, 10), 109),
        ((0, 3, 100, 5), 0),
    ]
    return expect(answer, cases, "every job makes its first call, and the budget pays for the retries.")
