"""The benchmarks: every contender does all jobs, ratios compare equal conditions, and the README has every table."""

import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
from pythons import find

from benchmarks import beyond, beyond_seconds, beyond_tasks, engines, gil, noop, open_close, outcome
from benchmarks.__main__ import ALL
from benchmarks.contenders import NEED_3_14, NOOP, ONCE
from benchmarks.engine_contenders import ENGINES
from benchmarks.report import markdown

SLOW_WAYS = ("dask", "procrastinate")
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", NOOP)
def test_a_contender_gives_one_result_per_job(name):
    python = sys.executable if name not in NEED_3_14 or sys.version_info >= (3, 14) else find("3.14")
    if python is None:
        pytest.skip("no Python 3.14 on this machine")
    found = noop.in_a_process(name, 500, 10, python)  # the process fails if a result is missing
    assert found["us"] > 0 and found["mib"] >= 0


@pytest.mark.parametrize("name", ONCE)
def test_a_pool_for_one_job_returns_its_result(name):
    """It runs in its own process, because `multiprocessing` may start a resource tracker that ends with its parent."""
    code = f"from benchmarks.contenders import ONCE; print(ONCE[{name!r}](str.upper, 'job', 2))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stdout == "JOB\n", done.stderr


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_returns_one_outcome_per_job(name):
    code = (
        "from benchmarks.engine_contenders import ENGINES\n"
        "from benchmarks.engine_tasks import echo\n"
        f"if __name__ == '__main__':\n    with ENGINES[{name!r}](echo, 2, None) as run: print(sorted(run([3, 1, 2])))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stdout == "[1, 2, 3]\n", done.stderr


def test_the_tables_of_engines_show_what_was_measured():
    rows = [(1, "Processes", "us", 50.0), (1, engines.BASE, "us", 200.0)]
    rows += [(1, name, "jobs_s", 100.0) for name in ("Processes", engines.BASE)]
    rows += [(1, name, "one_core_jobs_s", 55.0) for name in ("Processes", engines.BASE)]
    others = ("ms_1_mib", "ms_10_mib", "start_s", "mib_per_worker")
    rows += [(1, name, number, 1.0) for name in ("Processes", engines.BASE) for number in others]
    table = engines.speed(pd.DataFrame(rows, columns=["round", "engine", "number", "value"]))
    assert table.loc["Processes", f"of {engines.BASE}"] == 0.25
    assert table.loc["Processes", "pure Python, of 2 x one core"] == 0.91
    rows = [("Processes", "lost", 1.0), ("Processes", "lost_afterwards", 0.0), ("mpire", "hung", 1.0)]
    table = engines.safety(pd.DataFrame(rows, columns=["engine", "number", "value"]))
    assert list(table.loc["Processes"]) == [1.0, 0.0, "never ended", "never ended"]
    assert list(table.loc["mpire"]) == ["never ended"] * 4


def test_sub_interpreters_are_measured_where_they_are_and_threads_everywhere():
    assert gil.engines("3.13.5") == gil.engines("3.13.5t") == gil.engines("3.14.2t") == ["threads", "Processes"]
    assert gil.engines("3.14.2") == ["threads", "Processes", "InterpreterPoolExecutor"]


def test_rows_of_a_python_that_is_not_there_are_kept_and_others_are_replaced(tmp_path):
    def rows(*values):
        columns = ["round", "python", "engine", "workers", "number", "value"]
        return pd.DataFrame([(1, python, "threads", 2, "us", value) for python, value in values], columns=columns)

    assert gil.with_stored(rows(("3.11.7", 2.0)), tmp_path / "gil.csv")["value"].tolist() == [2.0]
    rows(("3.15.0", 1.0), ("3.11.7", 1.0)).to_csv(tmp_path / "gil.csv", index=False)
    found = gil.with_stored(rows(("3.11.7", 2.0)), tmp_path / "gil.csv")
    assert list(zip(found["python"], found["value"], strict=True)) == [("3.15.0", 1.0), ("3.11.7", 2.0)]


def test_the_table_of_newer_pythons_compares_the_best_rounds_with_a_loop_on_the_same_python():
    keys = ["round", "python", "engine", "workers", "number", "value"]
    rows = [(1, "3.15.0", "threads", n, "jobs_s", 50.0 * n) for n in gil.WORKERS]
    rows += [(1, "3.15.0", "threads", n, "one_core_jobs_s", 100.0) for n in gil.WORKERS]
    rows += [(1, "3.15.0", "threads", 2, number, 3.0) for number in ("us", "ms_1_mib", "ms_10_mib", "start_s")]
    rows += [(1, "3.15.0", "threads", 2, "mib_per_worker", 4.0)]
    rows += [(1, "3.15.0", "threads", 2, "grown_mib_per_worker", -1.0)]
    slower = [(2, "3.15.0", "threads", 2, "jobs_s", 40.0), (2, "3.15.0", "threads", 2, "us", 5.0)]
    shown = gil.best(pd.DataFrame([*rows, *slower], columns=keys)).loc[("threads", "3.15.0")]
    assert [shown[f"pure Python, {n} workers, of one core"] for n in (1, 2, 4)] == [0.5, 1.0, 2.0]
    assert (shown["us per tiny job"], shown["MiB per worker"]) == (3.0, 4.0)


def test_a_ratio_is_to_the_same_round_on_the_same_python():
    rows = [
        (1, "3.11", noop.BASE, 10.0),
        (1, "3.11", "WorkerPool", 2.0),
        (1, "3.14", noop.BASE, 8.0),
        (1, "3.14", "WorkerPool", 4.0),
        (2, "3.11", noop.BASE, 20.0),
        (2, "3.11", "WorkerPool", 2.0),
        (2, "3.14", noop.BASE, 2.0),
        (2, "3.14", "WorkerPool", 1.0),
    ]
    table = noop.with_ratios(pd.DataFrame(rows, columns=["round", "python", "contender", "us"]).assign(mib=0.0))
    assert table["ratio"].tolist() == [1, 0.2, 1, 0.5, 1, 0.1, 1, 0.5]
    shown = noop.medians(table)
    assert shown.loc[("WorkerPool", "3.11"), f"of {noop.BASE}"] == pytest.approx(0.15)
    assert markdown(shown).splitlines()[3] == "| WorkerPool | 3.11 | 2 | 0.15 | 0 |"


def test_contenders_that_need_a_newer_python_run_with_their_base_or_not_at_all(monkeypatch, capsys):
    monkeypatch.setattr(noop.sys, "version_info", (3, 11))
    monkeypatch.setattr(noop, "find", lambda version: "/python3.14")
    newer = [name for name, python in noop.line_up() if python == "/python3.14"]
    assert newer == [noop.BASE, "WorkerPool", *NEED_3_14]
    monkeypatch.setattr(noop, "find", lambda version: None)
    assert {name for name, _ in noop.line_up()} == set(NOOP) - set(NEED_3_14)
    assert (
        "no Python 3.14 on this machine: left out ThreadPoolExecutor.map with a buffersize" in capsys.readouterr().out
    )
    monkeypatch.setattr(noop.sys, "version_info", (3, 14))
    assert {name for name, _ in noop.line_up()} == set(NOOP)


def test_the_quartiles_are_those_of_all_repeats():
    rows = [("WorkerPool", us) for us in (10, 20, 30, 40, 50)] + [("ThreadPoolExecutor", us) for us in (5, 10, 20)]
    shown = open_close.quartiles(pd.DataFrame(rows, columns=["contender", "us"]))
    assert shown.loc["WorkerPool"].tolist() == [30, 20, 40, 3.0]
    assert shown.loc["ThreadPoolExecutor"].tolist() == [10, 8, 15, 1.0]


def test_opening_and_closing_is_measured_for_each_contender_in_turn(monkeypatch):
    calls = []

    def once(name):
        return lambda handler, job, workers: calls.append((name, workers)) or handler(job)

    monkeypatch.setattr(open_close, "ONCE", {name: once(name) for name in "ab"})
    table = open_close.contest(2)
    assert table["contender"].tolist() == list("abab") and table["repeat"].tolist() == [1, 1, 2, 2]
    assert calls == [("a", 5), ("b", 5)] * (open_close.WARM_UP + 2) and (table["us"] > 0).all()


def one_way(way: str, what: str, jobs: int) -> dict[str, float]:
    """Return one measurement, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.one_way", way, what, str(jobs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


LONG = pytest.mark.long


@pytest.mark.parametrize("way", ["pool", "processes", "table", pytest.param("procrastinate", marks=LONG)])
def test_a_way_to_run_jobs_has_a_cost_per_job_and_a_wait(way):
    found = one_way(way, "speed", 100)
    assert found["us"] > 0 and found["latency_p95_ms"] >= found["latency_ms"] > 0


@pytest.mark.parametrize("what", ["program", "kills"])
@pytest.mark.parametrize("way", ["processes", "table", *(pytest.param(way, marks=LONG) for way in SLOW_WAYS)])
def test_a_kill_loses_jobs_or_starts_them_twice(way, what):
    found = one_way(way, what, 400)
    durable = way in ("table", "procrastinate")
    assert found["kills"] == (2 if what == "kills" else 1)
    if what == "program":
        assert found["lost"] == 0 if durable else 0 < found["lost"] < 210  # the jobs in flight are lost, too
        assert found["doubled"] == 0
    elif way == "processes":
        assert (found["lost"], found["doubled"]) == (2, 0)
    else:
        assert found["lost"] == 0 and found["doubled"] >= 2 and found["again_ms"] > 0


@pytest.mark.parametrize(("way", "jobs"), [("table", 2500), *(pytest.param(way, 500, marks=LONG) for way in SLOW_WAYS)])
def test_a_kill_every_second_loses_no_job(way, jobs):
    found = one_way(way, "seconds", jobs)
    assert found["lost"] == 0 and found["jobs"] == jobs
    assert found["kills"] >= 1


def test_the_time_of_a_redelivery_begins_at_the_first_kill_after_the_start(tmp_path):
    file = tmp_path / "starts"
    file.write_text("0 1.0 77\n1 2.0 77\n1 2.5 78\n3 4.0 78\n")
    assert beyond_seconds.after_kills([1.5, 2.25, 2.4], str(file)) == {"kills": 3, "redelivery_ms": 250.0}
    shown = beyond.every_second_table(
        pd.DataFrame([{"way": "table", "jobs": 9, "kills": 3, "lost": 0, "doubled": 1, "redelivery_ms": 1250.0}])
    )
    assert shown.loc["table"].tolist() == [9, 3, 0, 1, "1,250"]


@pytest.mark.parametrize(("way", "jobs"), [("table", 2000), pytest.param("procrastinate", 100, marks=LONG)])
def test_a_rate_comes_with_the_cpu_time_of_the_server_and_of_the_workers(way, jobs):
    found = one_way(way, "rate:3", jobs)
    assert found["rate"] > 1 and found["server_ms"] > 0 and found["worker_ms"] > 0


def test_jobs_that_started_twice_or_never_ended_are_counted(tmp_path):
    file = tmp_path / "starts"
    file.write_text("0 1.0 77\n1 2.0 77\n1 2.5 78\n3 4.0 78\n")
    (tmp_path / "starts.ends").write_text("0 1.1 77\n1 2.6 78\n")
    assert beyond_tasks.survived(4, str(file)) == {"jobs": 4, "lost": 2, "doubled": 1, "again_ms": 500.0}
    assert beyond_tasks.survived(4, str(tmp_path / "none"))["lost"] == 4


def test_the_tables_of_durable_jobs_show_medians_and_counts():
    numbers = {"us": [1.0, 3.0, 2.0], "latency_ms": [0.1, 0.2, 0.3], "latency_p95_ms": [1.0, 1.0, 1.0]}
    rows = [(n, "pool", key, value) for key, values in numbers.items() for n, value in enumerate(values)]
    cost = pd.DataFrame(rows, columns=["round", "way", "number", "value"])
    assert beyond.cost_table(cost).loc["pool"].tolist() == ["0.002", "500,000", "0.2", "1"]
    row = {"kill": "kills", "way": "pool", "jobs": 9, "kills": 1, "lost": 5, "doubled": 0, "again_ms": float("nan")}
    [shown] = beyond.kill_table(pd.DataFrame([row])).to_numpy().tolist()
    assert shown == [9, 1, 5, 0, "never"]


def test_the_rate_of_a_queue_is_that_of_its_best_round():
    keys = ["round", "queue", "workers", "rate", "server_ms", "worker_ms"]
    rows = [(1, "table", 2, 100.0, 1.0, 2.0), (2, "table", 2, 3000.0, 0.25, 0.5), (1, "table", 4, 50.0, 1.0, 1.0)]
    shown = beyond.rate_table(pd.DataFrame(rows, columns=keys))
    assert shown.loc[("table", 2)].tolist() == ["3,000", "0.25", "0.5"] and len(shown) == 2


@pytest.mark.parametrize("name", ALL)
def test_each_table_that_a_benchmark_writes_has_a_place_on_the_page(name):
    source = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
    page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    tables = re.findall(r'\bwrite\("(\w+)"', source)
    assert callable(import_module(f"benchmarks.{name}").run) and tables
    for table in tables:
        assert page.count(f"<!-- {table} -->") == page.count(f"<!-- /{table} -->") == 1, table


def test_the_picture_of_the_outcome_shows_the_runs_of_the_table():
    naive = pd.read_csv(ROOT / "benchmarks" / "naive.csv")
    stored = pd.read_csv(ROOT / "benchmarks" / "outcome.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(outcome.selected(naive), stored)
    assert stored["way"].tolist()[1::2] == ["five workers"] * 3 and set(stored["jobs"]) == {10_000}
    with pytest.raises(KeyError, match="API, threads"):
        outcome.selected(naive[naive["run"] != "API, threads"])


def test_the_readme_describes_the_picture_with_its_numbers():
    table = pd.read_csv(ROOT / "benchmarks" / "outcome.csv")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (words,) = re.findall(r'<img src="benchmarks/outcome.png" width="\d+" alt="(.+?)">', readme)
    assert all(re.search(rf"\b{succeeded:,}\b", words) for succeeded in table["succeeded"])


def test_the_naive_bar_is_the_best_naive_run_under_that_limit():
    succeeded = pd.read_csv(ROOT / "benchmarks" / "naive.csv").query("outcome == 'succeeded'").set_index("run")["jobs"]
    for begin in ("database, ", "API, ", "1 GiB, "):
        runs = succeeded[[name.startswith(begin) and "five workers" not in name for name in succeeded.index]]
        assert runs.idxmax() in [run for run, *_ in outcome.RUNS], begin
