"""Checks for notebook 09."""

from collections.abc import Mapping
from typing import Any

from helpers.exercises.verdict import Verdict, expect, never_raises
from helpers.pools.words import describe

TOOLS = (
    "loop",
    "NumPy",
    "thread pool",
    "processes",
    "asyncio",
    "pipeline",
    "graph",
    "limiter",
    "durable queue",
)
HINTS = {  # for each kind of work: the right tool, and a question that leads to it
    "resize 5,000 photos with Pillow, which releases the GIL": (
        "thread pool",
        "while a thread is in Pillow, can another thread compute, too?",
    ),
    "add up 30 numbers": ("loop", "how long does this take, compared with the start of a thread?"),
    "convert ten million temperatures to Fahrenheit": (
        "NumPy",
        "is this the same formula for each number of a large array?",
    ),
    "simulate 100 chess games in pure Python": (
        "processes",
        "which lock does a thread hold while it runs Python code?",
    ),
    "keep 10,000 chat connections open, most of them silent": (
        "asyncio",
        "would you start 10,000 threads that only wait?",
    ),
    "build 40 packages, some of which need others": ("graph", "which package can start when?"),
    "call an API that allows 5 calls per second": (
        "limiter",
        "does the API limit the calls at the same time, or the calls per second?",
    ),
    "scan with 8 scanners, convert on 1 graphics card, archive with 3 clerks": (
        "pipeline",
        "can the worker of one step also do the next one?",
    ),
    "send invoices, none of which may be lost in a crash": (
        "durable queue",
        "where is the queue when the program has crashed?",
    ),
}


@never_raises
def check_choices(answer: Any) -> Verdict:
    """Check the dictionary that names a tool for each kind of work."""
    if not isinstance(answer, Mapping):
        return Verdict(False, f"a dictionary is wanted, this is {describe(answer)}")
    for case, (tool, hint) in HINTS.items():
        found = answer.get(case, ...)
        if found is ...:
            return Verdict(False, f"“{case}” has no answer so far.")
        if found not in TOOLS:
            return Verdict(False, f"“{case}”: the answer is one of {', '.join(TOOLS)}, not {describe(found)}.")
        if found != tool:
            return Verdict(False, f"“{case}”: {hint}")
    return Verdict(True, "every kind of work has the tool that fits it.")


@never_raises
def check_bottleneck(answer: Any) -> Verdict:
    """Check bottleneck(steps): the name of the bottleneck; steps maps a name to (seconds per item, workers)."""
    cases: list[tuple[tuple[Any, ...], Any]] = [
        (({"download": (0.005, 1), "convert": (0.015, 1), "upload": (0.005, 1)},), "convert"),
        (({"download": (0.005, 1), "convert": (0.015, 4), "upload": (0.002, 1)},), "download"),
        (({"scan": (0.01, 8), "read": (0.004, 1), "file": (0.01, 3)},), "read"),
    ]
    return expect(answer, cases, "the bottleneck is the step with the fewest items per second.")


@never_raises
def check_least_time(answer: Any) -> Verdict:
    """Check least_time(needs, seconds): the sum of the times of the longest chain, in seconds."""
    diamond = {"b": ["a"], "c": ["a"], "d": ["b", "c"]}
    cases: list[tuple[tuple[Any, ...], Any]] = [
        (({"b": ["a"]}, {"a": 1.0, "b": 2.0}), 3.0),
        (({"a": [], "b": []}, {"a": 1.0, "b": 2.0}), 2.0),
        ((diamond, {"a": 1.0, "b": 5.0, "c": 2.0, "d": 1.0}), 7.0),
        (({**diamond, "e": []}, {"a": 1.0, "b": 5.0, "c": 2.0, "d": 1.0, "e": 9.0}), 9.0),
    ]
    return expect(answer, cases, "no number of workers can finish before the longest chain.")
