"""Every test leaves the house as it found it: no live thread of a pool, no child process, no listening socket."""

import os
import random
import signal
import threading
import time
from collections.abc import Collection, Iterator

import pytest
from hypothesis import HealthCheck, settings

from helpers.leftovers import leftovers
from helpers.services.environment import PROXIES

# The tests start many processes and clients, and compare what these say: the settings of the shell are not for them.
for name in [name for name in os.environ if name.startswith("PG") or name.upper() in PROXIES]:
    del os.environ[name]
for name in ("PYTHONWARNINGS", "PYTHONOPTIMIZE", "PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONDEVMODE", "TZ"):
    os.environ.pop(name, None)

# Started in the background of a script (`make test &`) we ignore Ctrl-C, and so would children that tests send it to.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test is judged by how fast the machine was, those that Hypothesis makes up included.
settings.register_profile("series", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("series")

# Of all that the chaos tests draw; a run can be had again with the seed of its header.
CHAOS_SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**9))
SLOW = 20.0  # seconds until a wait in a test is given up; passing tests never wait that long


def pytest_report_header() -> str:
    return f"CHAOS_SEED={CHAOS_SEED}"


@pytest.fixture
def seed(request) -> str:
    """One seed a test, drawn from that of the run; a failed test says how to have it again."""
    print(f"CHAOS_SEED={CHAOS_SEED}")
    return f"{CHAOS_SEED} {request.node.name}"


def wait_until(condition, seconds: float = SLOW) -> None:
    """Poll until condition() is true. Fails the test if it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not true within {seconds} s: {condition}"
        time.sleep(0.002)


def new_threads(before: Collection[threading.Thread]) -> list[threading.Thread]:
    """The threads that run now and did not run `before`. A count would also change when an older thread ends."""
    return [thread for thread in threading.enumerate() if thread not in before]


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    before = set(leftovers())
    yield
    deadline = time.monotonic() + 5.0
    while (left := [x for x in leftovers() if x not in before]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left
