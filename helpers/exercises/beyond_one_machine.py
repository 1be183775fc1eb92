"""Checks for notebook 13."""

from collections.abc import Mapping
from typing import Any

from helpers.exercises.verdict import Verdict, expect, never_raises, same
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
    "a mail, kept by its receiver in one transaction with its new key": (
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


NUMBERS = {  # what is counted at the end, its number, and a question that leads to it
    "rows": (296, "what does the server undo when a worker dies, and does anybody run the job again?"),
    "mails": (300, "does a worker die before or after it has sent the mail, and who would send a second one?"),
    "jobs left": (0, "when is a job deleted, and which job can the kill bring back?"),
}


@never_raises
def check_delete_first(answer: Any) -> Verdict:
    """The numbers of rows, of mails, and of jobs that are left, if each job is deleted before its handler is called."""
    if not isinstance(answer, Mapping):
        return Verdict(False, f"a dict is wanted, not {describe(answer)}")
    for what, (number, hint) in NUMBERS.items():
        found = answer.get(what, ...)
        if found is ...:
            return Verdict(False, f"“{what}” has no answer so far.")
        if not same(found, number):
            return Verdict(False, f"“{what}” is not {describe(found)}: {hint}")
    return Verdict(True, "four users have a mail, but no row, and no job is left that would insert it.")


@never_raises
def check_servers(answer: Any) -> Verdict:
    """servers_needed(per_day, peak, capacity): the number of database servers, each at most 70% busy at the peak."""
    cases = [
        ((10**8, 2, 2000), 2),
        ((10**6, 2, 2000), 1),
        ((10**9, 2, 2000), 17),
        ((10**9, 3, 500), 100),
        ((86_400 * 650, 2, 1000), 2),
        ((86_400 * 750, 2, 1000), 3),
    ]
    return expect(answer, cases, "the peak decides, not the average.")
