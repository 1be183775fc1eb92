"""Turn what pools return into DataFrames: one row per result, attempt, dead letter, or change of the number of workers.

All times are in seconds. They count from `zero`, an instant on the pool's clock, or from the earliest instant in the
table. Give two tables that are drawn together the same `zero`. Every table has all its columns, even without rows.

Jobs and errors belong to the user. A job goes into its cell untouched: no method of it is called, so lists, arrays,
and objects with methods that raise are safe. An error goes into its cell as at most 200 characters of text.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from helpers.pools import DeadLetter, Decision, Result, checks
from helpers.pools.words import describe, describe_error

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
    """Return a table with one row per result, in the order in which the jobs finished.

    Columns: job; worker (<NA> if no worker took the job); attempt; ok; error ("ValueError: bad order", None if ok);
    submitted, started (NaN if the job never started), and finished, in seconds since `zero` or, without `zero`, since
    the earliest `submitted`; wait, duration, and latency, in seconds.

    Like all functions of this module, it raises TypeError or ValueError if the argument holds anything but finished
    results (attempts, letters, decisions), or if `zero` is not a finite number.
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
    return _frame(columns, COLUMNS)


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
    """Return a table with one row per attempt, in the order in which the attempts started.

    Columns: job; attempt (from 1); worker; ok; error; due (when the attempt was allowed to start), started, finished,
    and late (started - due), in seconds since the earliest `due`. A job that no worker ever took has no row.
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
    return _frame(columns, ATTEMPTS)


LETTERS = {
    "job": "object",
    "attempts": "int64",
    "reason": "object",
    "error": "object",
    "seconds": "float64",
    "redriven": "bool",
}


def letters_frame(letters: Iterable[DeadLetter]) -> pd.DataFrame:
    """Return a table with one row per dead letter.

    Columns: job; attempts (how many); reason (why there was no further attempt); error (of the last attempt); seconds
    (from the start of the first attempt to the end of the last); redriven (True if the job had been a dead letter
    before).
    """
    letters = _rows("letters", letters, DeadLetter)
    columns: dict[str, list[Any]] = {
        "job": [x.job for x in letters],
        "attempts": [len(x.attempts) for x in letters],
        "reason": [x.reason for x in letters],
        "error": [_words(x.error) for x in letters],
        "seconds": [_span(x) for x in letters],
        "redriven": [x.redriven_from is not None for x in letters],
    }
    return _frame(columns, LETTERS)


def crew_frame(decisions: Iterable[Decision], *, zero: float | None = None) -> pd.DataFrame:
    """Return a table with one row per change of the number of workers, in the order of the decisions.

    Columns: time (seconds); before and after (workers); reason; queued (jobs); oldest_wait (seconds).
    """
    _check_zero(zero)
    frame = pd.DataFrame(_rows("decisions", decisions, Decision), columns=list(Decision._fields))
    if len(frame):
        frame["time"] -= frame["time"].min() if zero is None else zero
    return frame


def worker_seconds(decisions: Iterable[Decision], until: float) -> float:
    """Return what the workers have cost, in worker-seconds: the sum of the time that each of them existed.

    The time runs from the first decision to `until` (seconds on the pool's clock). Raises ValueError if there is no
    decision, or if `until` lies before the last one.
    """
    log = _rows("decisions", decisions, Decision)
    if not log:
        raise ValueError("decisions must have at least one, not none")
    checks.number("until must be a number of seconds, not before the last decision", until, least=log[-1].time)
    ends = [decision.time for decision in log[1:]] + [until]
    return sum(decision.after * (end - decision.time) for decision, end in zip(log, ends, strict=True))


def _frame(columns: Mapping[str, list[Any]], kinds: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame({name: _column(columns[name], kind) for name, kind in kinds.items()})


def _column(values: list[Any], kind: str) -> "pd.Series[Any]":
    if kind != "object":
        return pd.Series(values, dtype=kind)
    # One by one: given the whole list, pandas and numpy would look into each value, and call its `len`, iterate over
    # it, or ask it for an array.
    cells = np.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        cells[place] = value
    return pd.Series(cells, dtype=kind)


def _words(error: BaseException | None) -> str | None:
    return None if error is None else describe_error(error)


def _span(letter: DeadLetter) -> float:
    """Seconds from the first attempt to the last; 0.0 if there was none."""
    return letter.attempts[-1].finished - letter.attempts[0].started if letter.attempts else 0.0


def _rows(name: str, things: Iterable[Row], kind: type[Row]) -> list[Row]:
    """Return the things as a list. Raises TypeError that names the first one of another kind."""
    rows = list(checks.iterable(name, things))
    for row in rows:
        if not issubclass(type(row), kind):  # isinstance() may run the row's own code
            raise TypeError(f"{name} must be of the kind {kind.__name__}, not {describe(row)}")
    return rows


def _finished(results: Iterable[Result[Any, Any]]) -> list[Result[Any, Any]]:
    rows = _rows("results", results, Result)
    for result in rows:
        if not hasattr(result, "finished"):
            raise ValueError(f"results must have finished, not {describe(result)}")
    return rows


def _check_zero(zero: Any) -> None:
    if zero is not None:
        checks.number("zero must be None or a finite number of seconds", zero, least=-math.inf)


def need(frame: pd.DataFrame, *columns: str) -> None:
    """Raise ValueError that names the columns that the table lacks, TypeError if it is not a table."""
    if not issubclass(type(frame), pd.DataFrame):
        raise TypeError(f"the table must be a DataFrame, not {describe(frame)}")
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ValueError(f"the table lacks the columns {missing}; it has {names_of(frame)}")


def names_of(frame: pd.DataFrame) -> str:
    """Return the names of at most 20 columns of a table, as an error message shows them."""
    names = [describe(name, 40) for name in list(frame.columns)[:20]]
    return f"[{', '.join(names)}{', …' if len(frame.columns) > 20 else ''}]"
