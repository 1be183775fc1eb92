"""Checks for notebook 13."""

from collections.abc import Mapping
from typing import Any

from helpers.exercises.verdict import Verdict, attempt, expect, never_raises
from helpers.pools.words import describe

OFTEN = ("exactly once", "at least once", "at most once")
HINTS = {  # an effect, how often it happens, and a question that leads to it
    "a row, inserted in the transaction that deletes the job": (
        "exactly once",
        "can the job be deleted without the row, or the row be there without the deletion?",
    ),
    "a mail, sent before the job is deleted": (
        "at least once",
        "the worker dies after the mail: what does the next worker find in the queue?",
    ),
    "a mail, sent after the job is deleted": (
        "at most once",
        "the worker dies before the mail: does anybody still know of the job?",
    ),
    "a mail, kept in one transaction with its key if the key is new": (
        "exactly once",
        "can the receiver keep the mail without its key, or the key without its mail?",
    ),
    "a handler of a pool in memory, if the whole program is killed": (
        "at most once",
        "where is the queue, and who runs its jobs after the kill?",
    ),
    "a task of procrastinate, with the rescue of stalled jobs": (
        "at least once",
        "how many mails did the user of the stalled job receive?",
    ),
}


@never_raises
def check_how_often(answer: Any) -> Verdict:
    """How often an effect happens per job, for each of six effects."""
    if not isinstance(answer, Mapping):
        return Verdict(False, f"a dict is wanted, not {describe(answer)}")
    for effect, (often, hint) in HINTS.items():
        found = answer.get(effect, ...)
        if found is ...:
            return Verdict(False, f"“{effect}” has no answer so far.")
        if found not in OFTEN:
            return Verdict(False, f"“{effect}”: the answer is one of {', '.join(OFTEN)}, not {describe(found)}.")
        if found != often:
            return Verdict(False, f"“{effect}”: {hint}")
    return Verdict(True, "only one transaction makes it exactly once: yours, or that of the receiver.")


RECEIVED = [  # the key of a mail, whether it is new, and why
    ("a", True, "the first mail is new"),
    ("b", True, "a mail with another key is new"),
    ("a", False, "the key a has been seen"),
    ("a", False, "the key a has still been seen"),
    ("c", True, "the key c is new"),
]


@never_raises
def check_receive(answer: Any) -> Verdict:
    """receive(mail, seen): whether the mail is new. The keys are remembered in the set `seen`."""
    if not callable(answer):
        return Verdict(False, f"a function is wanted, this is {describe(answer)}")
    seen: set[str] = set()
    for key, new, why in RECEIVED:
        found, problem = attempt(answer, {"key": key, "text": "Welcome!"}, seen)
        if problem is None and (found is None or found is ...):
            return Verdict(False, "receive returns nothing so far.")
        if problem is not None or found is not new:
            problem = problem or f"it gave {describe(found)}, but {why}."
            return Verdict(False, f"a mail with the key {key!r}: {problem}")
    if seen != {"a", "b", "c"}:
        return Verdict(False, f"seen must hold the three keys a, b, and c. It is {describe(seen)}.")
    if attempt(answer, {"key": "a", "text": "Welcome!"}, set()) != (True, None):
        return Verdict(False, "another receiver, with an empty set, has not seen the key a.")
    return Verdict(True, "each receiver remembers its own keys.")


@never_raises
def check_tables(answer: Any) -> Verdict:
    """tables(per_day, peak, capacity): how many queue tables are needed, each at most 70% busy at the peak."""
    cases = [
        ((10**8, 2, 2000), 2),
        ((10**6, 2, 2000), 1),
        ((10**9, 2, 2000), 17),
        ((10**9, 3, 500), 100),
        ((86_400 * 650, 2, 1000), 2),
        ((86_400 * 750, 2, 1000), 3),
    ]
    return expect(answer, cases, "the peak decides, not the average.")
