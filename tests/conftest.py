"""After every test, check that no thread of a pool, no child process, and no listening socket is left."""

import gc
import os
import random
import re
import signal
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from multiprocessing import resource_tracker as tracker
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from helpers.leftovers import leftovers
from helpers.services.environment import PROXIES

# The tests start many processes and clients, and compare their outputs. Settings of the shell would change these.
for name in [name for name in os.environ if name.startswith("PG") or name.upper() in PROXIES]:
    del os.environ[name]
for name in ("PYTHONWARNINGS", "PYTHONOPTIMIZE", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONDEVMODE", "TZ"):
    os.environ.pop(name, None)

# A process that a script starts in the background (`make test &`) ignores Ctrl-C, and so would its child processes, to
# which some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test, including those that Hypothesis generates, depends on the speed of the machine.
settings.register_profile("series", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("series")

# The seed of all random choices in tests/test_chaos.py. The header of a run prints it, so that the run can be repeated.
CHAOS_SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**9))
os.environ["CHAOS_SEED"] = str(CHAOS_SEED)  # the processes among which pytest-xdist divides the tests share one seed
SLOW = 20.0  # seconds after which a wait in a test fails; passing tests never wait that long


def pytest_report_header() -> str:
    return f"CHAOS_SEED={CHAOS_SEED}"


def id_of(value: object) -> str:
    """The start of the value's repr without addresses, so that each process of pytest-xdist gives a test one name."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))[:40]


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Exempt all objects that exist before the first test from garbage collection, as they stay until the end.

    Many tests call `gc.collect()`, which otherwise looks at each object of each imported package, every time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def resource_tracker() -> Iterator[None]:
    """Start the child process that multiprocessing keeps after its first spawn. It must not count as a leftover."""
    tracker.ensure_running()
    yield
    tracker._resource_tracker._stop()


@pytest.fixture
def seed(request) -> str:
    """Return the seed of a test, which is derived from the seed of the run. A failure prints how to repeat the test."""
    print(f"CHAOS_SEED={CHAOS_SEED}")
    return f"{CHAOS_SEED} {request.node.name}"


def wait_until(condition, seconds: float = SLOW) -> None:
    """Poll until condition() is true. Fail the test if that takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not true within {seconds} s: {condition}"
        time.sleep(0.002)


def write_scripts(folder: Path, scripts: Mapping[str, str]) -> Path:
    """Create the folder with shell scripts in place of programs, from names and commands. Return the folder."""
    folder.mkdir(parents=True)
    for name, command in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{command}\n")
        (folder / name).chmod(0o755)
    return folder


def new_threads(before: Collection[threading.Thread]) -> list[threading.Thread]:
    """Return the threads that run now and did not run `before`. A count would also change when an older thread ends."""
    return [thread for thread in threading.enumerate() if thread not in before]


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    before = set(leftovers())
    yield
    deadline = time.monotonic() + SLOW
    while (left := [x for x in leftovers() if x not in before]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left
