"""Rehearse a class on this machine: every notebook once, without a network; the times, and what is missing.

    python tools/rehearse.py                    every notebook
    python tools/rehearse.py notebooks/01*      these

No file is changed. The kernel of each notebook runs in a process in which every connection to another machine fails at
once, so a notebook that needs the network fails here and not in the classroom. Python code is stopped in this way;
programs that a notebook starts are not, so for the last proof turn off the network of the machine as well.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
TIMEOUT = 300  # seconds per cell

# A module that Python imports at each start. 127.0.0.1, ::1, and sockets of the file system are still allowed.
OFFLINE = """
import socket

LOCAL = ("127.", "::1", "localhost", "0.0.0.0", "::ffff:127.")
connect, connect_ex, find = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo


def check(host):
    text = host.decode() if isinstance(host, bytes) else host
    if isinstance(text, str) and text and not text.startswith(LOCAL):
        raise OSError(101, f"no network in a rehearsal, but somebody wants to reach {text}")


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
    """The environment of kernels without a network; `folder` gets the module that they import at their start."""
    (folder / "sitecustomize.py").write_text(OFFLINE, encoding="utf-8")
    found = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *([found] if found else [])])}


def rehearse(path: Path, environment: dict[str, str]) -> str:
    """Run one notebook. Returns "" or, in one line, what went wrong."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, timeout=TIMEOUT, kernel_name="python3", resources=resources)
    try:
        client.execute(env=environment)
    except CellExecutionError as error:
        return f"{error.ename}: {error.evalue}".splitlines()[0][:200]
    except (CellTimeoutError, DeadKernelError) as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return ""


def missing() -> list[str]:
    """What this machine lacks for a class, a line for each thing."""
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
    """Run all, print a line for each, and return how many failed."""
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
