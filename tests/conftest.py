"""Every test leaves the house as it found it: no live thread of a pool, no child process, no listening socket."""

import threading
import time
from collections.abc import Iterator

import psutil
import pytest

SLOW = 20.0  # seconds until a wait in a test is given up; passing tests never wait that long


def wait_until(condition, seconds: float = SLOW) -> None:
    """Poll until condition() is true. Fails the test if it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not true within {seconds} s: {condition}"
        time.sleep(0.002)


def ours() -> list[str]:
    """What a test must not leave behind."""
    threads = [t.name for t in threading.enumerate() if "-worker-" in t.name or t.name.startswith("unbounded")]
    me = psutil.Process()
    children = [f"process {p.pid}" for p in me.children(recursive=True) if p.is_running() and p.status() != "zombie"]
    sockets = [f"listening on {c.laddr}" for c in me.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    return threads + children + sockets


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    before = set(ours())
    yield
    deadline = time.monotonic() + 5.0
    while (left := [x for x in ours() if x not in before]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left
