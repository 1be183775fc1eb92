"""Checks for notebook 06."""

from typing import Any

from helpers.exercises.verdict import Verdict, expect, never_raises


@never_raises
def check_wait(answer: Any) -> Verdict:
    """wait(attempt, base, cap, draw): seconds until the next attempt, with full jitter; draw is from 0 to 1."""
    cases = [
        ((1, 0.5, 10.0, 1.0), 0.5),
        ((1, 0.5, 10.0, 0.0), 0.0),
        ((3, 0.5, 10.0, 0.5), 1.0),
        ((4, 0.5, 3.0, 1.0), 3.0),
        ((5, 1.0, 8.0, 0.25), 2.0),
        ((2000, 0.5, 10.0, 0.5), 5.0),
    ]
    return expect(answer, cases, "doubled, capped before it overflows, and then anything from nothing to that.")


@never_raises
def check_again(answer: Any) -> Verdict:
    """again(method, answer): is it safe, and is it of use, to ask again? answer: a status, or None if none came."""
    cases = [
        (("GET", 429), True),
        (("POST", 429), True),
        (("POST", 503), True),
        (("GET", 404), False),
        (("POST", 400), False),
        (("GET", None), True),
        (("POST", None), False),
        (("GET", 403), False),
    ]
    return expect(
        answer, cases, "a refusal for now may be asked again; what may be done already, only if twice is once."
    )


@never_raises
def check_letters(answer: Any) -> Verdict:
    """letters(jobs, failing, attempts): how many dead letters to expect."""
    cases = [
        ((1000, 0.5, 1), 500.0),
        ((1000, 0.4, 3), 64.0),
        ((500, 0.4, 3), 32.0),
        ((100, 0.0, 3), 0.0),
        ((100, 1.0, 9), 100.0),
        ((10_000, 0.1, 4), 1.0),
    ]
    return expect(answer, cases, "a letter needs bad luck every time, and each attempt multiplies.")
