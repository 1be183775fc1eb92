"""A real Prometheus that scrapes one address, answers PromQL, and fires alerts, where its program is installed.

    if find_prometheus():
        with Prometheus(url, rules="rules.yml") as prometheus:
            prometheus.query("worker_pool_queue_jobs")      # [({"pool": "mails", ...}, 12.0)]

Prometheus is a program, not a Python package: https://prometheus.io/download, or the package `prometheus` of Debian.
We look for the programs `prometheus` and `promtool` in the folder that the environment variable PROMETHEUS_BIN names,
and then in the folders of PATH. The server runs under a guardian process (see `child`) that stops it for certain. It
listens on 127.0.0.1 alone, and its files are in a temporary folder that is removed afterwards.
"""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import httpx

from helpers.services.child import Parent, ServiceError
from helpers.services.environment import for_programs
from helpers.services.postgres import HOST, free_port
from helpers.services.programs import SUFFIX
from helpers.services.sandbox import check_number, check_url
from helpers.services.server import Server
from helpers.services.words import describe

VARIABLE = "PROMETHEUS_BIN"
NEEDED = ("prometheus", "promtool")
START_SECONDS = 30.0  # a server that does not answer within this time is stopped, and its start has failed
STOP_SECONDS = 5.0  # the time that the server gets to end before it is killed
ATTEMPTS = 5  # at a port: another program may take a port between the moment we find it free and the start
PATIENCE = 10.0  # seconds that a query may take

Labels = dict[str, str]


class Alert(NamedTuple):
    """An alert whose condition is true. `state` is "pending" until the condition has held for long enough."""

    name: str
    state: str  # "pending" or "firing"
    labels: Labels
    summary: str
    since: float  # when Prometheus first found the condition true, in seconds since 1970


def find_prometheus() -> Path | None:
    """Return the folder with the programs `prometheus` and `promtool`, or None if this machine has none.

    Raises ServiceError if PROMETHEUS_BIN names a folder without them.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not _is_complete(Path(named)):
            raise ServiceError(
                f"{VARIABLE} names {describe(named)}, which must be a folder with the programs {' and '.join(NEEDED)}"
            )
        return Path(named).resolve()
    entries = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    return next((entry.resolve() for entry in entries if _is_complete(entry)), None)


def _is_complete(folder: Path) -> bool:
    try:
        return all(os.access(folder / f"{name}{SUFFIX}", os.X_OK) for name in NEEDED)
    except ValueError:  # a NUL in its name
        return False


class Prometheus(Server):
    """A Prometheus server that runs from the beginning to the end of its `with` block, and scrapes one URL.

    Args:
        target:  the URL of the metrics, as in "http://127.0.0.1:40213/metrics".
        rules:   a file with alerting or recording rules; None for none.
        every:   seconds between two scrapes, and between two evaluations of the rules; at least 0.1.

    The server stops at the end of the `with` block, also if the block raises. It also stops when this process ends,
    however that happens.

    Raises TypeError or ValueError for a bad argument, ServiceError if there is no Prometheus here or if it does not
    start.
    """

    _module = "helpers.services.prometheus"

    def __init__(self, target: str, *, rules: str | os.PathLike[str] | None = None, every: float = 0.5) -> None:
        check_url(target, "http://")
        check_number("every", every, least=0.1)
        self._settings = {
            "target": target,
            "every": every,
            "rules": None if rules is None else str(Path(rules).resolve()),
        }

    @property
    def url(self) -> str:
        """The address of the server, such as "http://127.0.0.1:40213". Raises ServiceError outside the `with` block."""
        return f"http://{HOST}:{self._first_report()}"

    def query(self, promql: str) -> list[tuple[Labels, float]]:
        """Return the value of an expression now: a pair of labels and value for each time series.

        The values are those of the last scrape. Raises ValueError, with Prometheus' words, for a bad expression.
        """
        data = self._ask("query", query=promql)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(series["metric"], float(series["value"][1])) for series in data["result"]]

    def scrapes(self, selector: str, seconds: float) -> list[tuple[Labels, float, float]]:
        """Return the values of each scrape of the last `seconds`: (labels, time, value), each with its own time.

        The times are in seconds since 1970. A selector is the name of a metric, also with labels. Raises ValueError,
        with Prometheus' words, for a bad selector.
        """
        data = self._ask("query", query=f"{selector}[{max(1, round(1000 * seconds))}ms]")
        return [(s["metric"], float(at), float(value)) for s in data["result"] for at, value in s["values"]]

    def alerts(self) -> list[Alert]:
        """Return the alerts that are pending or firing."""
        found = self._ask("alerts")["alerts"]
        return [
            Alert(
                a["labels"].pop("alertname"),
                a["state"],
                a["labels"],
                a["annotations"].get("summary", ""),
                datetime.fromisoformat(a["activeAt"]).timestamp(),
            )
            for a in found
        ]

    def _ask(self, what: str, **parameters: str) -> Any:
        with _client() as client:
            answer = client.get(f"{self.url}/api/v1/{what}", params=parameters).json()
        if answer["status"] != "success":
            raise ValueError(f"Prometheus: {answer['error']}")
        return answer["data"]

    def __enter__(self) -> Self:
        folder = find_prometheus()
        if folder is None:
            raise ServiceError(
                "no Prometheus on this machine: install it (https://prometheus.io/download), and set "
                f"{VARIABLE} to the folder of its programs if they are not on PATH"
            )
        self._request = self._settings | {"program": str(folder / f"prometheus{SUFFIX}")}
        return super().__enter__()


def _client() -> httpx.Client:
    """A client that goes straight to loopback, without proxies and certificates."""
    return httpx.Client(timeout=PATIENCE, trust_env=False, verify=False)


# From here on: what runs in the guardian.


def main() -> None:
    """Run the server until the parent is gone.

    The parent's request has the target, the rules, the seconds between two scrapes, and the program.
    """
    gone: SimpleQueue[None] = SimpleQueue()
    parent = Parent(when_gone=lambda: gone.put(None))
    try:
        with running(**parent.request) as port:
            parent.send(port)
            gone.get()
    except ServiceError as error:
        parent.send(error)


def configuration(target: str, rules: str | None, every: float) -> str:
    """Return a configuration of Prometheus. It is JSON, which is YAML, too."""
    parts = urlsplit(target)
    pause = f"{every * 1000:.0f}ms"
    settings = {"scrape_interval": pause, "scrape_timeout": pause, "evaluation_interval": pause}
    job = {"job_name": "pools", "metrics_path": parts.path or "/", "static_configs": [{"targets": [parts.netloc]}]}
    return json.dumps({"global": settings, "rule_files": [rules] if rules else [], "scrape_configs": [job]})


@contextmanager
def running(
    program: str, target: str, rules: str | None, every: float, choose_port: Callable[[], int] = free_port
) -> Iterator[int]:
    """Run a server in a temporary folder; the port it listens on. Raises ServiceError if it does not start."""
    with tempfile.TemporaryDirectory(prefix="prometheus-") as folder:
        place = Path(folder)
        (place / "prometheus.yml").write_text(configuration(target, rules, every), encoding="utf-8")
        for attempt in range(1, ATTEMPTS + 1):
            port = choose_port()
            process = _start(program, place, port)
            try:
                if _answers(process, place, port):
                    yield port
                    return
            finally:
                _end(process)
            said = (place / "log").read_text(encoding="utf-8", errors="replace").strip()
            if "address already in use" not in said or attempt == ATTEMPTS:
                raise ServiceError(
                    f"`{program}` did not start (status {process.returncode}). Its output:\n{said[-2000:]}"
                )


def _start(program: str, place: Path, port: int) -> "subprocess.Popen[bytes]":
    command = [
        program,
        f"--config.file={place / 'prometheus.yml'}",
        f"--storage.tsdb.path={place / 'data'}",
        f"--web.listen-address={HOST}:{port}",
        "--log.level=warn",
    ]
    with open(place / "log", "wb") as log:
        try:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=place, env=for_programs()
            )
        except OSError as error:
            raise ServiceError(f"`{program}` could not be started: {error}") from error


def _answers(process: "subprocess.Popen[bytes]", place: Path, port: int) -> bool:
    """Wait until the server is ready. Return False if it ends instead, or is not ready in time."""
    deadline = time.monotonic() + START_SECONDS
    with _client() as client:
        while process.poll() is None and time.monotonic() < deadline:
            if _is_ready(client, place, port):
                return True
            time.sleep(0.02)
    return False


def _is_ready(client: httpx.Client, place: Path, port: int) -> bool:
    """Return whether the server in `place` answers at the port. Another Prometheus may have taken the port before."""
    try:
        answer = client.get(f"http://{HOST}:{port}/api/v1/status/flags")
        return answer.is_success and answer.json()["data"]["storage.tsdb.path"] == str(place / "data")
    except (httpx.TransportError, ValueError, KeyError, TypeError):  # it does not listen yet, or is another program
        return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
