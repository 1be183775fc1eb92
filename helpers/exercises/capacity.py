"""Checks for notebook 11."""

from collections.abc import Mapping
from typing import Any

from helpers.exercises.verdict import Verdict, expect, never_raises
from helpers.pools.words import describe

LAWS = ("limit", "Amdahl", "USL", "Erlang C", "simulation")
HINTS = {  # the question, what answers it, and a question that leads to the answer
    "30 connections, 20 ms per query: how many queries per second at most?": (
        "limit",
        "which law has places and a shared time?",
    ),
    "random arrivals, 12 workers: what is the p95 of the wait?": (
        "Erlang C",
        "which law is about waits in the queue?",
    ),
    "a lock for 10% of each job: what do 8 workers do at least?": (
        "Amdahl",
        "in which case does a worker find all others before it?",
    ),
    "throughput falls beyond 40 workers, nobody knows why: where is the peak?": (
        "USL",
        "which law has a curve that falls again?",
    ),
    "200 jobs arrive every full minute: what is the p95 of the wait?": (
        "simulation",
        "are these arrivals a Poisson process? What is left if no formula fits?",
    ),
}


@never_raises
def check_laws(answer: Any) -> Verdict:
    """Which law of the chapter answers each of five questions."""
    if not isinstance(answer, Mapping):
        return Verdict(False, f"a dict is wanted, not {describe(answer)}")
    for case, (law, hint) in HINTS.items():
        found = answer.get(case, ...)
        if found is ...:
            return Verdict(False, f"“{case}” has no answer so far.")
        if found not in LAWS:
            return Verdict(False, f"“{case}”: the answer is one of {', '.join(LAWS)}, not {describe(found)}.")
        if found != law:
            return Verdict(False, f"“{case}”: {hint}")
    return Verdict(True, "each law has its question, and a simulation answers the rest.")


@never_raises
def check_queue_size(answer: Any) -> Verdict:
    """queue_size(wait_ms, service_ms, workers): the jobs that the workers finish within that wait."""
    cases = [
        ((200, 40, 4), 20),
        ((1000, 40, 1), 25),
        ((100, 30, 4), 13),
        ((10, 40, 3), 0),
        ((500, 20, 10), 250),
    ]
    return expect(answer, cases, "a longer queue would only make jobs wait longer than they may.")


@never_raises
def check_corner(answer: Any) -> Verdict:
    """corner(service_ms, shared_ms, places): the smallest number of workers that can reach the limit."""
    cases = [
        ((50, 50, 25), 25),
        ((30, 30, 2), 2),
        ((40, 4, 1), 10),
        ((50, 20, 1), 3),
        ((100, 30, 8), 27),
    ]
    return expect(answer, cases, "fewer workers cannot reach the limit. With a lock, it takes more to come close.")
