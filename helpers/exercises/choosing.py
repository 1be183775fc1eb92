"""Checks for notebook 09."""

from collections.abc import Mapping
from typing import Any

from helpers.exercises.verdict import Verdict, expect, never_raises
from helpers.pools.words import describe

TOOLS = ("loop", "pool", "asyncio", "pipeline", "graph", "pace")
HINTS = {  # the tool, and a question that leads to it
    "resize 5,000 photos": ("pool", "many, independent, and each takes a while: what is that?"),
    "add up 30 numbers": ("loop", "how long does it take, and how long does hiring a cook?"),
    "10,000 idle chat connections, none does much": (
        "asyncio",
        "what is limited here, and what would 10,000 threads do?",
    ),
    "build 40 packages, some need others": ("graph", "what may begin when?"),
    "an API that allows 5 calls a second": ("pace", "is the limit a number at a time, or a rate?"),
    "many can cut, one machine can glue, three can pack": ("pipeline", "do the steps need the same number of workers?"),
}


@never_raises
def check_choices(answer: Any) -> Verdict:
    """Which tool for which work."""
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
    return Verdict(True, "you asked what is limited, and who knows it.")


@never_raises
def check_slowest(answer: Any) -> Verdict:
    """slowest(stages): the name of the bottleneck; stages maps a name to (seconds a dish, workers)."""
    cases: list[tuple[tuple[Any, ...], Any]] = [
        (({"wash": (0.002, 1), "cook": (0.006, 1), "plate": (0.002, 1)},), "cook"),
        (({"wash": (0.002, 1), "cook": (0.006, 4), "plate": (0.001, 1)},), "wash"),
        (({"cut": (0.01, 10), "glue": (0.004, 1), "pack": (0.01, 3)},), "glue"),
    ]
    return expect(answer, cases, "the place that lets the fewest through, not the one that takes the longest.")


@never_raises
def check_levels(answer: Any) -> Verdict:
    """least_time(graph, seconds): the length of the longest chain, seconds."""
    diamond = {"b": ["a"], "c": ["a"], "d": ["b", "c"]}
    cases: list[tuple[tuple[Any, ...], Any]] = [
        (({"b": ["a"]}, {"a": 1.0, "b": 2.0}), 3.0),
        (({"a": [], "b": []}, {"a": 1.0, "b": 2.0}), 2.0),
        ((diamond, {"a": 1.0, "b": 5.0, "c": 2.0, "d": 1.0}), 7.0),
        (({**diamond, "e": []}, {"a": 1.0, "b": 5.0, "c": 2.0, "d": 1.0, "e": 9.0}), 9.0),
    ]
    return expect(answer, cases, "the longest chain, whatever else there is to do beside it.")
