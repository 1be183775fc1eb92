"""Checks for notebook 10."""

import pickle
import threading
from collections.abc import Mapping
from typing import Any

from helpers.exercises.verdict import Verdict, attempt, expect, never_raises
from helpers.pools.words import describe

ENDS = ("value", "its own error", "TypeError", "WorkerDied", "JobTimedOut", "no pool")
HINTS = {  # for each case: how the job ends, and a question that leads to the answer
    "the handler raises ZeroDivisionError": ("its own error", "which error came back for the job 'many' in section 3?"),
    "the handler prints a line": ("value", "does a line of text fail a job in section 3?"),
    "the handler calls os._exit(1)": ("WorkerDied", "can a process send a reply after its end?"),
    "the handler takes 2 s": ("JobTimedOut", "how long may a job of this pool run?"),
    "the job contains an open socket": ("TypeError", "can pickle turn this job into bytes?"),
    "the handler is a function of a notebook cell": ("no pool", "can a new process import this function?"),
}


@never_raises
def check_ends(answer: Any) -> Verdict:
    """Check the dictionary that says for six cases how a job ends in a pool with `engine=Processes(timeout=1)`."""
    if not isinstance(answer, Mapping):
        return Verdict(False, f"a dict is wanted, not {describe(answer)}")
    for case, (end, hint) in HINTS.items():
        found = answer.get(case, ...)
        if found is ...:
            return Verdict(False, f"“{case}” has no answer so far.")
        if found not in ENDS:
            return Verdict(False, f"“{case}”: the answer is one of {', '.join(ENDS)}, not {describe(found)}.")
        if found != end:
            return Verdict(False, f"“{case}”: {hint}")
    return Verdict(True, "five of them concern one job, and one concerns the pool.")


@never_raises
def check_reply(answer: Any) -> Verdict:
    """Check reply(handler, job): the pickle of (True, value), or of (False, error) if the handler or pickle raises."""
    if not callable(answer):
        return Verdict(False, f"a function is wanted, this is {describe(answer)}")
    for call, handler, job, wanted in (
        ("reply(abs, -3)", abs, -3, (True, 3)),
        ("reply(int, 'many')", int, "many", (False, "ValueError")),
        ("reply for a handler that returns a lock", lambda job: threading.Lock(), 1, (False, "TypeError")),
    ):
        data, problem = attempt(answer, handler, job)
        if problem is not None:
            return Verdict(False, f"{call}: {problem}")
        if type(data) is not bytes:
            return Verdict(False, f"{call}: bytes are expected, not {describe(data)}.")
        found = pickle.loads(data)
        if type(found) is not tuple or len(found) != 2:
            return Verdict(False, f"{call}: the pickle of a pair is expected, not of {describe(found)}.")
        ok, what = found
        if (ok, what if ok is True else type(what).__name__) != wanted:
            expected = "(True, 3)" if wanted[0] else f"(False, a {wanted[1]})"
            return Verdict(False, f"{call} gave {describe(found)}, and {expected} is expected.")
    return Verdict(True, "whatever a job does, the child can reply.")


@never_raises
def check_batch_size(answer: Any) -> Verdict:
    """Check batch_size(compute_ms, trip_ms, share): the smallest batch whose trip takes at most `share` of its time."""
    cases = [
        ((0.5, 1.0, 0.5), 2),
        ((0.25, 1.5, 0.25), 18),
        ((4.0, 1.0, 0.25), 1),
        ((0.125, 1.0, 0.3), 19),
        ((1.0, 1.0, 0.4), 2),
    ]
    return expect(answer, cases, "one trip is paid once per batch.")
