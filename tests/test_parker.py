"""How a thread waits: no wake-up is lost, and every timeout ends its wait, however busy the machine is."""

import threading
import time

from conftest import SLOW, wait_until

from helpers.pools.parker import Parker


def test_a_wake_up_before_the_sleep_is_kept_and_several_are_one():
    parker = Parker()
    for _ in range(5):
        parker.unpark()
    assert parker.park(0) is True
    assert parker.park(0) is False and parker.park(0.001) is False


def test_a_sleeper_is_woken_by_another_thread():
    parker, woken = Parker(), []
    sleeper = threading.Thread(target=lambda: woken.append(parker.park()), daemon=True)
    sleeper.start()
    time.sleep(0.01)
    assert woken == []
    parker.unpark()
    sleeper.join(SLOW)
    assert woken == [True]


def test_a_thread_that_is_not_woken_sleeps_for_its_time():
    parker, start = Parker(), time.monotonic()
    assert parker.park(0.02) is False
    assert time.monotonic() - start >= 0.019


def test_a_wait_of_microseconds_ends():
    """`SimpleQueue.get(timeout=1e-6)` after a `put` and a `get` sometimes waits forever; see `parker`."""
    parker, ended = Parker(), []

    def sleep_often():
        for number in range(20_000):
            parker.unpark()
            assert parker.park() and not parker.park(number % 7 * 1e-6)
        ended.append(number)

    threading.Thread(target=sleep_often, daemon=True).start()
    wait_until(lambda: ended)
