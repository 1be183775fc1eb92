"""Checks for notebook 00."""

import threading
from typing import Any

from helpers.exercises.counter import Counter
from helpers.exercises.verdict import Verdict, attempt, expect, never_raises
from helpers.pools.words import describe

KITCHEN = {"cook": "worker", "rail": "queue", "full rail": "backpressure"}


@never_raises
def check_words(answer: Any) -> Verdict:
    """Check the dictionary that names the standard term for each word of the kitchen."""
    if not issubclass(type(answer), dict):
        return Verdict(False, f"a dict is wanted, this is {describe(answer)}.")
    for word, term in KITCHEN.items():
        given = answer.get(word, ...)
        if given is ...:
            return Verdict(False, f"what is the term for {word!r}? Replace the dots.")
        if not issubclass(type(given), str) or given.strip().lower() != term:
            return Verdict(False, f"the term for {word!r} is not {describe(given)}. Look at the table of terms again.")
    return Verdict(True, "you speak both languages.")


@never_raises
def check_seconds(answer: Any) -> Verdict:
    """Check seconds_needed(jobs, workers, seconds_per_job): the time that a pool needs for jobs of equal length."""
    cases = [((20, 5, 4), 16), ((21, 5, 4), 20), ((3, 5, 4), 4), ((0, 5, 4), 0), ((7, 1, 3), 21), ((7, 3, 0.1), 0.3)]
    return expect(
        answer,
        cases,
        "the workers go through the jobs in rounds, and a round takes its full time even if some workers are idle.",
    )


GOOD = tuple(f"page {number}" for number in range(1, 11))
BAD = ("shop", "cart")
PAGES = ("home", "shop", *GOOD, "cart")
WORKERS = 3


class Site:
    """A handler that fails for the pages in BAD, and counts its calls."""

    def __init__(self) -> None:
        self.counter, self.called = Counter(WORKERS), list[str]()

    def fetch(self, page: str) -> str:
        with self.counter:
            self.called.append(page)
        if page in BAD:
            raise ConnectionError(f"{page}: no answer")
        return f"{page}: 200 OK"


@never_raises
def check_download_all(answer: Any) -> Verdict:
    """Check download_all(handler, pages, workers): the values of the pages, and the exceptions of those that failed."""
    if not callable(answer):
        return Verdict(False, f"a function is wanted, this is {describe(answer)}")
    site = Site()
    before = threading.enumerate()
    found, problem = attempt(answer, site.fetch, list(PAGES), WORKERS)
    left = any(thread not in before for thread in threading.enumerate())
    if problem is not None:
        return Verdict(False, f"download_all(handler, {len(PAGES)} pages, {WORKERS}): {problem}")
    if type(found) is not tuple or len(found) != 2 or not all(type(part) is dict for part in found):
        return Verdict(
            False, f"two dictionaries are wanted: `return values, errors`. The function gave {describe(found)}"
        )
    wrong = _wrong_entries(*found) or _wrong_calls(site)
    if wrong:
        return Verdict(False, wrong)
    if left:
        return Verdict(False, "worker threads are left after the function has returned: use `with`.")
    return Verdict(True, f"{len(PAGES)} pages, {WORKERS} at a time, and {len(BAD)} failures by name.")


def _wrong_entries(values: dict[Any, Any], errors: dict[Any, Any]) -> str:
    """Return what is wrong with the two dictionaries, or an empty text."""
    if values != {page: f"{page}: 200 OK" for page in PAGES if page not in BAD}:
        wanted = "It needs each page that did not fail, with its value."
        return f"the first dictionary has {len(values)} entries. {wanted}"
    if set(errors) != set(BAD) or not all(isinstance(error, ConnectionError) for error in errors.values()):
        wanted = "It needs each page that failed, with its exception."
        return f"the second dictionary has {len(errors)} entries. {wanted}"
    return ""


def _wrong_calls(site: Site) -> str:
    """Return what is wrong with the calls of the handler, or an empty text."""
    if sorted(site.called) != sorted(PAGES):
        return (
            f"the handler was called {len(site.called)} times, and once for each of the {len(PAGES)} pages is expected."
        )
    if site.counter.most != WORKERS:
        return f"{'more' if site.counter.most > WORKERS else 'fewer'} than {WORKERS} calls ran at the same time."
    return ""
