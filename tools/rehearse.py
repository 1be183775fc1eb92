"""Rehearse a class on this machine: run every notebook once without a network, and print its time or its error.

    python tools/rehearse.py                    every notebook
    python tools/rehearse.py notebooks/01*      these notebooks

Before the notebooks, it prints what this machine lacks. No file is changed. In the kernel of each notebook, every
connection to another machine fails at once. So a notebook that needs the network fails here and not in the classroom.
This applies to Python code, but not to other programs that a notebook starts. For a complete test, also turn off the
network of the machine.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
from kernels import QUIET
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
TIMEOUT = 300  # seconds per cell

# A module that Python imports at its start. Connections to 127.0.0.1, ::1, and Unix sockets are still allowed.
OFFLINE = """
import socket

LOCAL = ("127.", "::1", "localhost", "0.0.0.0", "::ffff:127.")
connect, connect_ex, find = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo


def check(host):
    text = host.decode() if isinstance(host, bytes) else host
    if isinstance(text, str) and text and not text.startswith(LOCAL):
        raise OSError(101, f"no network in a rehearsal: the connection to {text} is refused")


def checked(call):
    def only_local(self, address):
        if isinstance(address, tuple):
            check(address[0])
        return call(self, address)
    return only_local


def find_local(host, *rest, **options):
    check(host)
    return find(host, *rest, **options)


socket.socket.connect, socket.socket.connect_ex = checked(connect), checked(connect_ex)
socket.getaddrinfo = find_local
"""


def offline(folder: Path) -> dict[str, str]:
    """Return an environment in which kernels have no network. The module that they import is written to `folder`."""
    (folder / "sitecustomize.py").write_text(OFFLINE, encoding="utf-8")
    found = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *([found] if found else [])])}


def rehearse(path: Path, environment: dict[str, str]) -> str:
    """Run one notebook. Return "", or one line that describes the error."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, timeout=TIMEOUT, kernel_name="python3", resources=resources, config=QUIET)
    try:
        client.execute(env=environment)
    except CellExecutionError as error:
        return f"{error.ename}: {error.evalue}".splitlines()[0][:200]
    except (CellTimeoutError, DeadKernelError) as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return ""


def missing() -> list[str]:
    """Return what this machine lacks for a class, one line per item."""
    found = []
    if (os.cpu_count() or 1) < 2:
        found.append("a second core: the charts about work on the processor will be flat")
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < 10**9:
        found.append(f"disk space: {free / 1e6:.0f} MB are free in {tempfile.gettempdir()}, and 1,000 MB are needed")
    from helpers.self_check import self_check

    table = self_check()
    return found + [f"{check}: {row.found}" for check, row in table[table.ready == "no"].iterrows()]


def report(paths: list[Path], run: Callable[[Path], str]) -> int:
    """Run all notebooks, print a line for each, and return the number of failures."""
    failures = {}
    begun = time.monotonic()
    for path in paths:
        start = time.monotonic()
        failures[path.name] = run(path)
        outcome = failures[path.name] or "ready"
        print(f"{path.name:32} {time.monotonic() - start:6.1f} s   {outcome}", flush=True)
    failed = sum(map(bool, failures.values()))
    print(f"{len(paths)} notebooks, {failed} failed, {(time.monotonic() - begun) / 60:.1f} minutes")
    return failed


def main(names: list[str]) -> int:
    paths = [Path(name).resolve() for name in names] or sorted(NOTEBOOKS.glob("*.ipynb"))
    lacking = missing()
    for line in lacking:
        print(f"missing: {line}")
    with tempfile.TemporaryDirectory() as folder:
        environment = offline(Path(folder))
        failed = report(paths, lambda path: rehearse(path, environment))
    return 1 if failed or lacking else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
