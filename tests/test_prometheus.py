"""Prometheus: how it is found, what it answers, that its rules do what they say, and that it ends."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import wait_until, write_scripts

from helpers.measure.metrics import PoolMetrics
from helpers.pools import WorkerPool
from helpers.services import Prometheus, find_prometheus, prometheus
from helpers.services.child import ServiceError

DATA = Path(__file__).parents[1] / "data"
RULES, RULES_TEST = DATA / "worker_pool_alerts.yml", DATA / "worker_pool_alerts_test.yml"
FOLDER = find_prometheus()
installed = pytest.mark.skipif(FOLDER is None, reason="Prometheus is not installed here")
posix = pytest.mark.skipif(os.name == "nt", reason="the programs of these tests are shell scripts")


def install(folder: Path, script: str = "exit 1", names=prometheus.NEEDED) -> Path:
    return write_scripts(folder, dict.fromkeys(names, script))


def servers() -> list[psutil.Process]:
    """The processes of Prometheus that descend from this one."""
    return [p for p in psutil.Process().children(recursive=True) if p.name() == "prometheus"]


# --- where it is --------------------------------------------------------------------------------------------------


@posix
def test_the_variable_comes_before_path_and_a_folder_without_promtool_is_passed_over(tmp_path, monkeypatch):
    chosen, half, whole = tmp_path / "chosen", tmp_path / "half", tmp_path / "whole"
    install(chosen), install(half, names=["prometheus"]), install(whole)
    monkeypatch.setenv("PATH", os.pathsep.join(["", str(tmp_path / "nowhere"), str(half), str(whole)]))
    monkeypatch.delenv(prometheus.VARIABLE, raising=False)
    assert find_prometheus() == whole
    monkeypatch.setenv(prometheus.VARIABLE, str(chosen))
    assert find_prometheus() == chosen


def test_without_it_nothing_is_found_and_a_start_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(prometheus.VARIABLE, raising=False)
    assert find_prometheus() is None
    with pytest.raises(ServiceError, match=r"no Prometheus on this machine: install it .*PROMETHEUS_BIN"):
        Prometheus("http://127.0.0.1:1/metrics").__enter__()


def test_a_folder_that_the_reader_names_and_that_lacks_it_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(prometheus.VARIABLE, str(tmp_path))
    with pytest.raises(ServiceError, match=r"PROMETHEUS_BIN names '.*', which must be a folder with the programs"):
        find_prometheus()


@posix
def test_a_program_that_does_not_start_is_reported_with_its_output(tmp_path, monkeypatch):
    monkeypatch.setenv(prometheus.VARIABLE, str(install(tmp_path / "bin", "echo 'no such flag' >&2; exit 2")))
    with pytest.raises(ServiceError, match=r"did not start \(status 2\).*\n.*no such flag"):
        Prometheus("http://127.0.0.1:1/metrics").__enter__()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"target": 7}, TypeError, "url must be text"),
        ({"target": "ftp://x"}, ValueError, "url must be text that begins with http://"),
        ({"target": "http://x/metrics", "every": 0}, ValueError, "every must be a finite number, at least 0.1"),
        ({"target": "http://x/metrics", "every": "1s"}, TypeError, "every must be a finite number"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        Prometheus(**arguments)


def test_outside_of_its_with_it_says_so():
    with pytest.raises(ServiceError, match="not running"):
        _ = Prometheus("http://127.0.0.1:1/metrics").url


# --- what it does -------------------------------------------------------------------------------------------------


@installed
def test_it_scrapes_a_pool_answers_promql_and_fires_an_alert(tmp_path):
    rules = tmp_path / "rules.yml"
    condition = "{alert: Busy, expr: worker_pool_running_jobs > 0, for: 500ms, annotations: {summary: it runs}}"
    rules.write_text(f"groups: [{{name: g, rules: [{condition}]}}]")
    metrics, handler = PoolMetrics(), (lambda job: time.sleep(0.2))
    with WorkerPool(handler, workers=1, queue_size=1000) as pool, metrics.serve() as url:
        metrics.add("mails", pool)
        with Prometheus(url, rules=rules, every=0.1) as server:
            wait_until(lambda: server.query("worker_pool_workers") != [])
            ((labels, workers),) = server.query("worker_pool_workers")
            assert workers == 1 and labels["pool"] == "mails" and labels["job"] == "pools"
            assert server.query("1 + 1") == [({}, 2.0)] and server.alerts() == []
            for job in range(1000):
                pool.submit(job)
            wait_until(lambda: [alert.state for alert in server.alerts()] == ["firing"])
            (alert,) = server.alerts()
            assert (alert.name, alert.labels["pool"], alert.summary) == ("Busy", "mails", "it runs")
            scrapes = [(at, value) for _, at, value in server.scrapes("worker_pool_running_jobs", 60)]
            busy = [at for at, value in scrapes if value == 1]
            assert scrapes == sorted(scrapes) and len(busy) >= 5 and {value for _, value in scrapes} == {0, 1}
            assert busy[0] <= alert.since < busy[0] + 30 and alert.since + 0.5 <= time.time() < busy[-1] + 30
            with pytest.raises(ValueError, match="Prometheus: .*parse error"):
                server.query("1 +")
            with pytest.raises(ServiceError, match="running already"):
                server.__enter__()
            pool.cancel_queued()
    assert servers() == []


@installed
def test_it_listens_on_loopback_alone_and_its_files_are_removed(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with Prometheus("http://127.0.0.1:1/metrics") as server:
        (process,) = servers()
        listening = [c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert [c.laddr.ip for c in listening] == ["127.0.0.1"]
        assert server.url == f"http://127.0.0.1:{listening[0].laddr.port}"
        assert list(tmp_path.glob("prometheus-*/prometheus.yml"))
    assert not list(tmp_path.glob("prometheus-*"))


@installed
def test_bad_rules_stop_the_start_and_the_error_names_the_file(tmp_path):
    rules = tmp_path / "bad.yml"
    rules.write_text("groups: 7")
    with pytest.raises(ServiceError, match=r"bad\.yml"):
        Prometheus("http://127.0.0.1:1/metrics", rules=rules).__enter__()
    assert servers() == []


@installed
def test_a_port_that_somebody_else_takes_is_replaced_by_another():
    program = str(FOLDER / f"prometheus{prometheus.SUFFIX}")
    with Prometheus("http://127.0.0.1:1/metrics") as other:
        taken = int(other.url.rpartition(":")[2])
        # The other one answers at this port, too, while ours has not yet noticed that the port is taken.
        ports = iter([taken, prometheus.free_port()])
        with prometheus.running(program, "http://127.0.0.1:1/metrics", None, 0.5, lambda: next(ports)) as port:
            assert port != taken


@installed
@posix
def test_it_ends_when_its_owner_is_killed(tmp_path):
    code = (
        "import time; from helpers.services import Prometheus\n"
        "with Prometheus('http://127.0.0.1:1/metrics') as server: print(server.url, flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None and owner.stdout.readline().startswith("http://127.0.0.1:")
    (server,) = [p for p in psutil.Process(owner.pid).children(recursive=True) if p.name() == "prometheus"]
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    wait_until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)


# --- the rules in data/ -------------------------------------------------------------------------------------------


def promtool(*arguments: str) -> subprocess.CompletedProcess:
    command = [str(FOLDER / f"promtool{prometheus.SUFFIX}"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@installed
def test_the_rules_are_valid():
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0 and "SUCCESS: 7 rules found" in done.stdout, done.stdout + done.stderr


@installed
def test_the_rules_pass_their_own_tests():
    done = promtool("test", "rules", str(RULES_TEST))
    assert done.returncode == 0, done.stdout + done.stderr


@installed
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("> 0.5", "> 1.5"),
        ("for: 2s", "for: 9s"),
        ("failed|unknown", "failed|cancelled"),
        ("> 0.05", "> 0.5"),
        ("[1m]) > 1", "[1m]) > 0.1"),
        ("for: 4m", "for: 2m"),
        ("(instance, pool)", "(pool)"),
        ("< 0.95", "< 0.85"),
        ("< 0.95", "< 0.999"),
        ('absent(up{job="pools"})', "absent(up)"),
    ],
)
def test_the_tests_of_the_rules_notice_a_change(old, new, tmp_path):
    shutil.copy(RULES_TEST, tmp_path)
    text = RULES.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / RULES.name).write_text(text.replace(old, new), encoding="utf-8")
    assert promtool("test", "rules", str(tmp_path / RULES_TEST.name)).returncode != 0
