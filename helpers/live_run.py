"""What Prometheus sees of pools while they run: the answers of its queries, and the moments of its alerts (chapter 12).

    with metrics.serve() as url, Prometheus(url, rules=rules) as prometheus:
        table = first_answer(prometheus, "worker_pool_oldest_wait_seconds")
        seen = watch(prometheus, {"oldest wait, s": "worker_pool_oldest_wait_seconds"}, firing=1)
    seen.alerts                     # one row per alert that fired: pool, alert, pending, firing

`save` and `load` keep what was seen in files, for machines without Prometheus.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

import pandas as pd

from helpers.services import Prometheus

OLDEST_WAIT = "worker_pool_oldest_wait_seconds"
PAUSE = 0.05  # seconds between two looks at the alerts
AFTERWARDS = 0.6  # seconds to go on watching, so that the history reaches beyond the last alert
PATIENCE = 30.0  # seconds to wait for an answer, or for the alerts


class LiveRun(NamedTuple):
    """What Prometheus saw of one run. All times are in seconds after the call of `watch`."""

    history: pd.DataFrame  # pool, time, oldest_wait: one row per pool and scrape
    alerts: pd.DataFrame  # pool, alert, pending (its condition became true), firing (we saw it fire)
    answers: pd.DataFrame  # one row per pool, and a column per query

    def passed(self, pool: str, limit: float) -> float:
        """Return when the oldest wait of a pool passed `limit` for the first time, on a line between two scrapes.

        Raises ValueError if it never did.
        """
        before = (0.0, 0.0)
        for time_now, wait in self.history.loc[self.history["pool"] == pool, ["time", "oldest_wait"]].to_numpy():
            if wait > limit:
                share = (limit - before[1]) / (wait - before[1])
                return float(before[0] + share * (time_now - before[0]))
            before = (time_now, wait)
        raise ValueError(f"the oldest wait of the pool {pool!r} was never more than {limit:g} s")

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write one CSV file per table."""
        self.history.round(4).to_csv(Path(folder) / "history.csv", index=False)
        self.alerts.round(3).to_csv(Path(folder) / "alerts.csv", index=False)
        self.answers.round(4).to_csv(Path(folder) / "answers.csv")

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Return what `save` has written. Raises FileNotFoundError if a file is missing."""
        history, alerts = (pd.read_csv(Path(folder) / f"{name}.csv") for name in ("history", "alerts"))
        return cls(history, alerts, pd.read_csv(Path(folder) / "answers.csv", index_col="pool"))


def first_answer(prometheus: Prometheus, promql: str, patience: float = PATIENCE) -> pd.DataFrame:
    """Repeat a query until Prometheus has an answer. Return one row per time series: its labels, and its value.

    Before the first scrape, there is no answer. Raises TimeoutError if there is none after `patience` seconds.
    """
    began = time.monotonic()
    while not (found := prometheus.query(promql)):
        if time.monotonic() - began > patience:
            raise TimeoutError(f"Prometheus had no answer to {promql} within {patience:g} s")
        time.sleep(0.1)
    return pd.DataFrame([{**labels, "value": value} for labels, value in found])


def watch(prometheus: Prometheus, queries: Mapping[str, str], *, firing: int, patience: float = PATIENCE) -> LiveRun:
    """Wait until so many alerts of pools fire, but at most `patience` seconds. Then send all queries once.

    Args:
        queries: a name and an expression in PromQL per query. Each time series must have the label `pool`.
        firing: the number of alerts to wait for.
    """
    began = time.time()  # Prometheus' times are in seconds since 1970, too
    alerts: dict[tuple[str, str], tuple[float, float]] = {}
    while len(alerts) < firing and time.time() - began < patience:
        time.sleep(PAUSE)
        for alert in prometheus.alerts():
            if alert.state == "firing" and "pool" in alert.labels:
                alerts.setdefault((alert.labels["pool"], alert.name), (alert.since - began, time.time() - began))
    time.sleep(AFTERWARDS)
    answers = [
        (labels["pool"], name, value) for name, promql in queries.items() for labels, value in prometheus.query(promql)
    ]
    waits = [
        (labels["pool"], at - began, value)
        for labels, at, value in prometheus.scrapes(OLDEST_WAIT, time.time() - began)
    ]
    table = pd.DataFrame(answers, columns=["pool", "query", "value"])
    return LiveRun(
        pd.DataFrame(waits, columns=["pool", "time", "oldest_wait"]),
        pd.DataFrame([[*key, *times] for key, times in alerts.items()], columns=["pool", "alert", "pending", "firing"]),
        table.pivot(index="pool", columns="query", values="value").reindex(columns=list(queries)),
    )
