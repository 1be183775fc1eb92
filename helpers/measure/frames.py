"""Results as a DataFrame: a row a job, in the order in which they finished."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from helpers.pools import Result

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


def to_frame(results: Iterable[Result[Any, Any]]) -> pd.DataFrame:
    """A row a result, in the order in which the jobs finished; all columns are there even if there are no rows.

    job; worker (<NA> if no worker took it); attempt; ok; error ("ValueError: bad order", None if ok); submitted,
    started (NaN if it never started), finished: seconds since the earliest `submitted` in the table; wait, duration,
    latency: seconds.
    """
    rows = sorted(results, key=lambda r: r.finished)
    zero = min((r.submitted for r in rows), default=0.0)
    columns: dict[str, list[Any]] = {
        "job": [r.job for r in rows],
        "worker": [r.worker for r in rows],
        "attempt": [r.attempt for r in rows],
        "ok": [r.ok for r in rows],
        "error": [None if r.error is None else f"{type(r.error).__name__}: {r.error}" for r in rows],
        "submitted": [r.submitted - zero for r in rows],
        "started": [None if r.started is None else r.started - zero for r in rows],
        "finished": [r.finished - zero for r in rows],
        "wait": [r.wait for r in rows],
        "duration": [r.duration for r in rows],
        "latency": [r.latency for r in rows],
    }
    return pd.DataFrame({name: pd.Series(columns[name], dtype=kind) for name, kind in COLUMNS.items()})


def need(frame: pd.DataFrame, *columns: str) -> None:
    """Raises ValueError that names the columns the table lacks."""
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ValueError(f"the table lacks the columns {missing}; it has {list(frame.columns)}")
