"""What pools hand back as DataFrames: a row a result, an attempt, a dead letter, or a decision about the crew.

All times are seconds from `zero` on the pool's clock, or from the earliest in the table: give two tables that are to be
drawn together the same. All columns are there even if there are no rows.
"""

import math
from collections.abc import Iterable
from typing import Any, TypeVar

import pandas as pd

from helpers.pools import DeadLetter, Decision, Result, checks

Row = TypeVar("Row")

COLUMNS = {
    "job": "object",
    "worker": "Int64",
    "attempt": "int64",
    "ok": "bool",
    "error": "object",
    "submitted": "float64",
    "started": "float64",
    "finished": "float64",
    "wait": "float64",
    "duration": "float64",
    "latency": "float64",
}


def to_frame(results: Iterable[Result[Any, Any]], *, zero: float | None = None) -> pd.DataFrame:
    """A row a result, in the order in which the jobs finished; all columns are there even if there are no rows.

    job; worker (<NA> if no worker took it); attempt; ok; error ("ValueError: bad order", None if ok); submitted,
    started (NaN if it never started), finished: seconds since `zero`, else since the earliest `submitted`; wait,
    duration, latency: seconds.

    Raises, as all functions here do, TypeError or ValueError for rows that are of no such kind, or a zero that is none.
    """
    rows = sorted(_finished(results), key=lambda r: r.finished)
    _check_zero(zero)
    if zero is None:
        zero = min((r.submitted for r in rows), default=0.0)
    columns: dict[str, list[Any]] = {
        "job": [r.job for r in rows],
        "worker": [r.worker for r in rows],
        "attempt": [r.attempt for r in rows],
        "ok": [r.ok for r in rows],
        "error": [_words(r.error) for r in rows],
        "submitted": [r.submitted - zero for r in rows],
        "started": [None if r.started is None else r.started - zero for r in rows],
        "finished": [r.finished - zero for r in rows],
        "wait": [r.wait for r in rows],
        "duration": [r.duration for r in rows],
        "latency": [r.latency for r in rows],
    }
    return pd.DataFrame({name: pd.Series(columns[name], dtype=kind) for name, kind in COLUMNS.items()})


ATTEMPTS = {
    "job": "object",
    "attempt": "int64",
    "worker": "Int64",
    "ok": "bool",
    "error": "object",
    "due": "float64",
    "started": "float64",
    "finished": "float64",
    "late": "float64",
}


def attempts_frame(results: Iterable[Result[Any, Any]]) -> pd.DataFrame:
    """A row an attempt, in the order in which they were made.

    job; attempt (from 1); worker; ok; error; due (when it might be made), started, finished, and late (started - due):
    seconds. Jobs that no worker ever took have no row.
    """
    made = sorted(((a, r.job) for r in _finished(results) for a in r.attempts), key=lambda pair: pair[0].started)
    zero = min((a.due for a, _ in made), default=0.0)
    columns: dict[str, list[Any]] = {
        "job": [job for _, job in made],
        "attempt": [a.number for a, _ in made],
        "worker": [a.worker for a, _ in made],
        "ok": [a.error is None for a, _ in made],
        "error": [_words(a.error) for a, _ in made],
        "due": [a.due - zero for a, _ in made],
        "started": [a.started - zero for a, _ in made],
        "finished": [a.finished - zero for a, _ in made],
        "late": [a.started - a.due for a, _ in made],
    }
    return pd.DataFrame({name: pd.Series(columns[name], dtype=kind) for name, kind in ATTEMPTS.items()})


def letters_frame(letters: Iterable[DeadLetter]) -> pd.DataFrame:
    """A row a dead letter: job, attempts (how many), reason, error (of the last one), seconds, redriven.

    seconds: from the start of the first attempt to the end of the last; redriven: it had been a dead letter before.
    """
    letters = _rows("letters", letters, DeadLetter)
    rows = [(x.job, len(x.attempts), x.reason, _words(x.error), _span(x), x.redriven_from is not None) for x in letters]
    return pd.DataFrame(rows, columns=["job", "attempts", "reason", "error", "seconds", "redriven"])


def crew_frame(decisions: Iterable[Decision], *, zero: float | None = None) -> pd.DataFrame:
    """A row a change of the crew: time (s), before, after (workers), reason, queued (jobs), oldest_wait (s)."""
    _check_zero(zero)
    frame = pd.DataFrame(_rows("decisions", decisions, Decision), columns=list(Decision._fields))
    if len(frame):
        frame["time"] -= frame["time"].min() if zero is None else zero
    return frame


def worker_seconds(decisions: Iterable[Decision], until: float) -> float:
    """What a crew has cost from its first decision to `until` (the pool's clock, seconds): the sum of its presence.

    Raises ValueError if there is no decision, or `until` lies before the last one.
    """
    log = _rows("decisions", decisions, Decision)
    if not log:
        raise ValueError("decisions must have at least one, not none")
    checks.number("until must be a number of seconds, not before the last decision", until, least=log[-1].time)
    ends = [decision.time for decision in log[1:]] + [until]
    return sum(decision.after * (end - decision.time) for decision, end in zip(log, ends, strict=True))


def _words(error: BaseException | None) -> str | None:
    return None if error is None else f"{type(error).__name__}: {error}"


def _span(letter: DeadLetter) -> float:
    return letter.attempts[-1].finished - letter.attempts[0].started


def _rows(name: str, things: Iterable[Row], kind: type[Row]) -> list[Row]:
    """The things as a list. Raises TypeError that names the first that is not of that kind."""
    rows = list(checks.iterable(name, things))
    for row in rows:
        if not isinstance(row, kind):
            raise TypeError(f"{name} must be of the kind {kind.__name__}, not {row!r}")
    return rows


def _finished(results: Iterable[Result[Any, Any]]) -> list[Result[Any, Any]]:
    rows = _rows("results", results, Result)
    for result in rows:
        if not hasattr(result, "finished"):
            raise ValueError(f"results must have finished, not {result!r}")
    return rows


def _check_zero(zero: Any) -> None:
    if zero is not None:
        checks.number("zero must be None or a finite number of seconds", zero, least=-math.inf)


def need(frame: pd.DataFrame, *columns: str) -> None:
    """Raises ValueError that names the columns the table lacks, TypeError if it is no table."""
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"the table must be a DataFrame, not {frame!r}")
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ValueError(f"the table lacks the columns {missing}; it has {list(frame.columns)}")
