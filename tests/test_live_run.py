"""What Prometheus saw of a run: answers, moments of alerts, files, and the stored run of chapter 12."""

import ast
import time
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from helpers.live_run import OLDEST_WAIT, LiveRun, first_answer, watch
from helpers.measure.metrics import PoolMetrics
from helpers.pools import WorkerPool
from helpers.services import Prometheus, find_prometheus
from helpers.services.prometheus import Alert

ROOT = Path(__file__).parents[1]
STORED, RULES = ROOT / "data" / "prometheus", ROOT / "data" / "worker_pool_alerts.yml"
CHAPTER = ROOT / "notebooks" / "12_monitoring.ipynb"
QUERIES = {"b": "ask_b", "a": "ask_a"}
installed = pytest.mark.skipif(find_prometheus() is None, reason="Prometheus is not installed here")


class Scripted:
    """Stands for a server: its alerts fire one after the other, and the first answers are empty."""

    def __init__(self, silent: int = 0) -> None:
        self.began, self.silent, self.asked = time.time(), silent, 0

    def query(self, promql):
        self.asked += 1
        if self.asked <= self.silent:
            return []
        return [({"pool": "slow", "job": "pools"}, 2.0), ({"pool": "fast", "job": "pools"}, 1.0)]

    def scrapes(self, selector, seconds):
        assert selector == OLDEST_WAIT and 0 < seconds < 30
        return [({"pool": "slow"}, self.began + at, at / 2) for at in (0.5, 1.5)]

    def alerts(self):
        age = time.time() - self.began
        states = {"slow": 0.0, "fast": 0.2, "later": 9.0}
        found = [
            Alert(f"Alert {pool}", "firing" if age > at else "pending", {"pool": pool}, "", 7.0)
            for pool, at in states.items()
        ]
        return [*found, Alert("Unknown", "firing", {"job": "pools"}, "", 7.0)]


def test_it_waits_for_the_alerts_of_pools_and_notes_when_each_of_them_fired_first():
    server = Scripted()
    seen = watch(server, QUERIES, firing=2)
    assert seen.alerts["pool"].tolist() == ["slow", "fast"]
    assert seen.alerts["alert"].tolist() == ["Alert slow", "Alert fast"]
    assert (seen.alerts["pending"] + server.began - 7).abs().max() < 20
    assert 0 <= seen.alerts["firing"][0] < seen.alerts["firing"][1] and seen.alerts["firing"][1] > 0.1
    assert seen.answers.to_dict("index") == {"slow": {"b": 2.0, "a": 2.0}, "fast": {"b": 1.0, "a": 1.0}}
    assert list(seen.answers) == ["b", "a"], "the order of the queries"
    assert seen.history["oldest_wait"].tolist() == [0.25, 0.75]
    assert seen.history["time"].diff()[1] == pytest.approx(1)


def test_it_stops_waiting_when_its_patience_ends():
    assert len(watch(Scripted(), QUERIES, firing=4, patience=0.3).alerts) == 2


def test_the_first_answer_is_the_first_one_that_is_not_empty():
    server = Scripted(silent=2)
    table = first_answer(server, "up")
    assert server.asked == 3 and table.to_dict("list") == {
        "pool": ["slow", "fast"],
        "job": ["pools"] * 2,
        "value": [2.0, 1.0],
    }
    with pytest.raises(TimeoutError, match=r"no answer to up within 0\.2 s"):
        first_answer(Scripted(silent=1000), "up", patience=0.2)


def test_a_limit_is_passed_on_the_line_between_two_scrapes():
    rows = [("slow", 1.0, 0.2), ("slow", 2.0, 0.6), ("slow", 3.0, 0.3), ("slow", 4.0, 0.9), ("fast", 1.0, 0.8)]
    seen = LiveRun(pd.DataFrame(rows, columns=["pool", "time", "oldest_wait"]), pd.DataFrame(), pd.DataFrame())
    assert seen.passed("slow", 0.5) == pytest.approx(1.75) and seen.passed("fast", 0.4) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="'slow' was never more than 0.9 s"):
        seen.passed("slow", 0.9)


def test_what_was_saved_is_loaded(tmp_path):
    seen = watch(Scripted(), QUERIES, firing=1)
    seen.save(tmp_path)
    for found, table in zip(LiveRun.load(tmp_path), seen, strict=True):
        pd.testing.assert_frame_equal(found, table, atol=0.001, check_names=False)


@installed
def test_a_real_server_fires_an_alert_after_the_time_of_its_rule(tmp_path):
    rules, metrics = tmp_path / "rules.yml", PoolMetrics()
    rules.write_text(f"groups: [{{name: g, rules: [{{alert: Slow, expr: {OLDEST_WAIT} > 0.2, for: 400ms}}]}}]")
    with WorkerPool(lambda job: time.sleep(0.5), workers=1, queue_size=50) as pool, metrics.serve() as url:
        metrics.add("mails", pool)
        with Prometheus(url, rules=rules, every=0.2) as server:
            assert first_answer(server, OLDEST_WAIT)["pool"].tolist() == ["mails"]
            for job in range(50):
                pool.submit(job)
            seen = watch(server, {"queued": "worker_pool_queue_jobs"}, firing=1)
            pool.cancel_queued()
    ((name, alert, pending, firing),) = seen.alerts.itertuples(index=False)
    assert (name, alert) == ("mails", "Slow") and seen.answers["queued"]["mails"] > 0
    assert seen.passed("mails", 0.2) <= pending and 0.4 <= firing - pending < 20


def test_the_stored_run_answers_the_queries_of_the_chapter_and_its_alerts_are_in_the_rules():
    seen, cells = LiveRun.load(STORED), {cell.id: cell.source for cell in nbformat.read(CHAPTER, as_version=4).cells}
    first, queries = (_keys(cells[name]) for name in ("first-query", "questions"))
    assert list(seen.answers) == queries
    assert all(f"- alert: {name}\n" in RULES.read_text(encoding="utf-8") for name in seen.alerts["alert"])
    pools = {"steady", "drowning", "short queue"}
    assert set(seen.history["pool"]) == set(seen.answers.index) == pools >= set(seen.alerts["pool"])
    assert seen.passed("drowning", 0.5) <= seen.alerts.set_index("pool")["pending"]["drowning"]
    stored = {name: pd.read_csv(STORED / f"{name}_answer.csv") for name in first}
    assert all(set(table["pool"]) == {"drowning"} for table in stored.values())
    assert len(stored["buckets"]) == 4
    assert all(str(bound) in cells["first-query"] for bound in stored["buckets"]["le"]), "asked for"
    assert stored["first"]["__name__"].tolist() == [OLDEST_WAIT] and f'"{OLDEST_WAIT}"' in cells["first-query"]


def _keys(source: str) -> list[str]:
    """Return the keys of the dictionary that the first statement of a cell assigns."""
    return [key.value for key in ast.parse(source).body[0].value.keys]  # type: ignore[attr-defined]
