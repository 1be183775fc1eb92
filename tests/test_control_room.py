"""The control room without a browser: what its buttons do to the pool, its accounts, its alert, and a clean end."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import SLOW, wait_until

from helpers import tasks
from helpers.control_room import Room
from helpers.control_room.alert import Alert
from helpers.control_room.arrivals import LATE, Arrivals
from helpers.control_room.history import WINDOW, History, Sample
from helpers.control_room.service import MODES, SLOWER

ROOT = Path(__file__).parents[1]


def closed(**settings) -> Room:
    """A fast room that is closed at the end of the program at the latest."""
    return Room(**{"rate": 200.0, "seconds": 0.01, "workers": 2, "seed": 1} | settings)


@pytest.fixture
def room():
    found = closed()
    yield found
    found.close()


def balanced(snap) -> bool:
    ended = snap["succeeded"] + snap["failed"] + snap["cancelled"] + snap["unknown"]
    return snap["submitted"] == snap["queued"] + snap["running"] + snap["delayed"] + ended


def room_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "control-room" in thread.name]


# --- arrivals, the alert, and the samples ---------------------------------------------------------------------------


def test_jobs_arrive_at_random_moments_with_the_mean_rate():
    arrivals = Arrivals(30, seed=7)
    counts = [arrivals.due(step / 10) for step in range(10_000)]  # a thousand seconds
    assert 29_000 < sum(counts) < 31_000
    assert counts.count(0) > 300 and max(counts) > 6, "for a mean of 3, e^-3 = 5% of the tenths have no arrival"


def test_the_same_seed_gives_the_same_arrivals():
    first, second, other = (Arrivals(30, seed=seed) for seed in (1, 1, 2))
    counts = [[arrivals.due(step / 10) for step in range(100)] for arrivals in (first, second, other)]
    assert counts[0] == counts[1] != counts[2]


def test_bursts_come_at_regular_intervals():
    arrivals = Arrivals(20, burst=40)
    assert [arrivals.due(now) for now in (5.0, 6.9, 7.0, 8.9, 9.0)] == [40, 0, 40, 0, 40]
    assert arrivals.wait(9.5, most=10) == pytest.approx(1.5) and arrivals.wait(9.5, most=0.1) == 0.1


def test_no_jobs_arrive_at_the_rate_0_and_a_new_rate_holds_at_once():
    arrivals = Arrivals(0)
    assert arrivals.due(100.0) == 0 and arrivals.wait(100.0, most=0.1) == 0.1
    arrivals.set_rate(1000)
    assert arrivals.due(100.0) == 0 and arrivals.due(100.5) > 300


def test_after_a_suspended_hour_only_a_second_of_jobs_arrives():
    arrivals = Arrivals(100, seed=1)
    arrivals.due(0.0)
    assert 0 < arrivals.due(3600.0) < 200 * LATE


def test_the_alert_fires_only_if_the_wait_stays_over_the_limit():
    alert = Alert(limit=1.0, hold=3.0)
    waits = [(0, 0.5), (1, 1.5), (2, 0.9), (3, 1.5), (5.9, 9.0), (6, 1.1), (7, 1.0)]
    states = [alert.update(now, wait) for now, wait in waits]
    assert states == ["ok", "pending", "ok", "pending", "pending", "firing", "ok"]


def test_the_throughput_is_that_of_the_last_second():
    history = History()
    counts = [history.throughput(step / 10, 5 * step) for step in range(31)]
    assert counts[-1] == pytest.approx(50)
    assert [history.throughput(3 + step / 10, 150) for step in range(1, 12)][-1] == 0


def test_samples_are_kept_for_as_long_as_the_charts_show_them():
    history = History()
    for step in range(1000):
        history.add(Sample(step / 10, step, 0.0, 0.0, None, 1))
    times = [sample.time for sample in history.samples]
    assert times[-1] > 99.7 and WINDOW - 0.5 < times[-1] - times[0] <= WINDOW and len(times) < 160
    short = History(window=5)
    for step in range(1000):
        short.add(Sample(step / 10, step, 0.0, 0.0, None, 1))
    assert 4.5 < short.samples[-1].time - short.samples[0].time <= 5


# --- what the buttons do --------------------------------------------------------------------------------------------


def test_a_room_that_was_not_started_has_no_thread_and_always_the_same_snapshot():
    assert Room().snapshot() == Room(seed=5).snapshot() and Room().history() == []
    assert not room_threads()
    for action in (Room().pause, Room().resume, Room().stop, Room().close):
        action()


def test_the_accounts_balance_at_every_moment_of_a_run(room):
    room.start()
    snaps = [room.snapshot()]
    for mode in ("slow", "failing", "refusing", "normal"):
        room.set_mode(mode)
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            snaps.append(room.snapshot())
            time.sleep(0.003)
    room.close()
    last = room.snapshot()
    assert all(balanced(snap) for snap in [*snaps, last])
    assert last["submitted"] == last["finished"] > 50 and last["queued"] == last["running"] == 0
    assert last["state"] == "stopped" and last["failed"] > 0 and last["succeeded"] > 0


def test_pause_stops_the_arrivals_and_the_pool_finishes_its_jobs(room):
    room.start()
    wait_until(lambda: room.snapshot()["submitted"] > 5)
    room.pause()
    assert room.state == "paused"
    wait_until(lambda: room.snapshot()["finished"] == room.snapshot()["submitted"])
    before = room.snapshot()["submitted"]
    time.sleep(0.3)
    assert room.snapshot()["submitted"] == before
    room.resume()
    wait_until(lambda: room.snapshot()["submitted"] > before)
    assert room.state == "running"


def test_the_number_of_workers_can_be_changed_before_and_during_a_run(room):
    room.resize(3)
    room.start()
    wait_until(lambda: room.snapshot()["workers"] == 3)
    room.resize(6)
    wait_until(lambda: room.snapshot()["workers"] == 6)
    room.resize(1)
    wait_until(lambda: room.snapshot()["workers"] == 1)
    room.close()
    room.resize(4)
    room.start()
    assert room.snapshot()["workers"] == 4


def test_a_pool_with_two_bounds_grows_in_a_burst_and_shrinks_after_it():
    room = closed(workers=1, max_workers=5, burst=40, rate=10.0, seconds=0.05)
    room.start()
    wait_until(lambda: room.snapshot()["workers"] == 5)
    wait_until(lambda: room.snapshot()["workers"] == 1)
    room.close()


def test_the_throughput_comes_close_to_the_limit_and_never_exceeds_it_for_long():
    room = closed(workers=4, seconds=0.05, rate=500)
    room.start()
    wait_until(lambda: room.snapshot()["time"] > 2.5)
    snap = room.snapshot()
    wait_until(lambda: room.snapshot()["throughput"] > 40)
    room.close()
    assert snap["limit"] == 80
    assert snap["throughput"] <= 88, "a window of a second can hold the end of four jobs more"
    assert snap["turned_away"] > 0 and snap["queued"] > 50, "500 jobs per second are too many"


def test_a_slow_service_fills_the_queue_and_fires_the_alert():
    room = closed(workers=1, seconds=0.02, rate=40, alert_limit=0.2, alert_hold=0.3)
    room.start()
    assert room.snapshot()["limit"] == 50
    room.set_mode("slow")
    wait_until(lambda: room.snapshot()["alert"] == "firing")
    snap = room.snapshot()
    assert snap["limit"] == 50 / SLOWER and snap["oldest_wait"] > 0.2 and snap["queued"] > 1
    room.set_mode("normal")
    room.set_rate(0)
    wait_until(lambda: room.snapshot()["alert"] == "ok")
    room.close()


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("failing", "ServiceFailed: the service failed"),
        ("refusing", "ConnectionRefusedError: the service refuses calls"),
    ],
)
def test_every_call_of_a_broken_service_fails_with_its_error(mode, error):
    room = closed(workers=3, seconds=0.02)
    room.set_mode(mode)
    room.start()
    wait_until(lambda: room.snapshot()["failed"] > 10)
    room.close()
    snap = room.snapshot()
    assert snap["last_error"] == error and snap["succeeded"] == 0 and balanced(snap)


def test_a_refusing_service_answers_at_once():
    room = closed(workers=1, seconds=5.0, rate=100)
    room.set_mode("refusing")
    room.start()
    wait_until(lambda: room.snapshot()["failed"] > 20)
    room.close()


def test_a_killed_process_fails_one_job_and_is_replaced():
    room = closed(engine="processes", seconds=0.02, rate=50)
    room.start()
    wait_until(lambda: room.snapshot()["succeeded"] > 3)
    room.kill_worker()
    wait_until(lambda: room.snapshot()["last_error"])  # the pool counts the failure a moment before the room reads it
    assert room.snapshot()["last_error"].startswith("WorkerDied: the process of worker")
    assert room.snapshot()["failed"] == 1
    before = room.snapshot()["succeeded"]
    wait_until(lambda: room.snapshot()["succeeded"] > before + 10)
    assert room.snapshot()["failed"] == 1
    room.close()  # kills a process whose job does not end soon, so on a busy machine one more job may fail
    assert balanced(room.snapshot())


def test_a_process_gets_the_service_as_it_is_when_its_job_starts():
    room = closed(engine="processes", workers=1, seconds=0.05, rate=100)
    room.start()
    wait_until(lambda: room.snapshot()["queued"] > 10)
    room.set_mode("refusing")
    room.pause()
    wait_until(lambda: room.snapshot()["queued"] == 0)
    assert room.snapshot()["failed"] >= 10
    room.close()


def test_a_thread_cannot_be_killed_and_a_kill_outside_of_a_run_is_forgotten(room):
    with pytest.raises(RuntimeError, match='choose the engine "processes"'):
        room.kill_worker()
    room.set_engine("processes")
    room.kill_worker()
    room.start()
    wait_until(lambda: room.snapshot()["succeeded"] > 5)
    assert room.snapshot()["failed"] == 0


def test_a_real_handler_is_called_with_the_numbers_of_the_jobs():
    seen = []
    room = closed(handler=lambda number: seen.append(number) or time.sleep(0.02), rate=100)
    assert room.snapshot()["limit"] is None
    room.start()
    wait_until(lambda: room.snapshot()["succeeded"] > 20)
    wait_until(lambda: room.snapshot()["limit"] is not None)
    assert 20 < room.snapshot()["limit"] <= 100, "two workers, and at least 20 ms per job"
    room.close()
    # A worker that has taken a job may call the handler later, if its thread is slow. It does call it.
    wait_until(lambda: sorted(seen) == list(range(1, len(seen) + 1)))


def test_a_real_handler_runs_in_a_process_if_a_process_can_import_it():
    room = closed(handler=tasks.count_primes, engine="processes")
    room.start()
    wait_until(lambda: room.snapshot()["succeeded"] > 3)
    assert room.snapshot()["failed"] == 0
    room.close()  # this may end a child in the middle of a job, which then fails
    room = closed(handler=lambda number: number, engine="processes")
    with pytest.raises(TypeError, match="handler must be importable in a new process"):
        room.start()
    assert room.state == "ready" and not room_threads()


# --- the end --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["threads", "processes"])
def test_stop_ends_a_run_with_a_full_queue(engine):
    room = closed(seconds=30.0, engine=engine)
    room.start()
    wait_until(lambda: room.snapshot()["queued"] == 60 and room.snapshot()["running"] == 2)
    room.stop()
    assert room.wait(SLOW)
    snap = room.snapshot()
    assert snap["cancelled"] + snap["failed"] == snap["submitted"] == 62 and balanced(snap)
    assert not room_threads()


def test_stop_returns_before_the_jobs_have_ended():
    gate = threading.Event()
    room = closed(handler=lambda number: gate.wait(60))
    room.start()
    wait_until(lambda: room.snapshot()["running"] == 2)
    room.stop()
    assert room.state == "stopping", "a run waits for its jobs, five seconds at least"
    gate.set()
    assert room.wait(SLOW) and room.state == "stopped"


def test_a_run_ends_only_when_its_jobs_have_ended():
    def work_for_long(number: int) -> int:  # longer than a forced shutdown waits
        time.sleep(0.8)
        return number

    room = closed(handler=work_for_long)
    room.start()
    wait_until(lambda: room.snapshot()["running"] == 2)
    room.stop()
    assert room.wait(10)
    snap = room.snapshot()
    assert snap["running"] == snap["queued"] == 0 and snap["succeeded"] >= 2 and balanced(snap)


def test_a_run_ends_by_itself():
    room = closed(lasts=0.3)
    room.start()
    assert room.wait(10) and room.snapshot()["state"] == "stopped" and room.snapshot()["time"] >= 0.3


def test_at_most_one_room_runs():
    first, second = closed(), closed()
    first.start()
    run = first.run
    first.start()
    assert first.run is run, "a room that runs is not started again"
    second.start()
    assert not first.is_running() and second.is_running() and len(room_threads()) == 1
    second.close()


def test_a_room_can_be_started_again():
    room = closed()
    for _ in range(3):
        room.start()
        wait_until(lambda: room.snapshot()["succeeded"] > 0)
        room.close()
    room.start()
    room.stop()
    room.start()
    assert room.state == "running"
    room.close()


def test_a_run_whose_pool_somebody_else_shuts_down_ends():
    room = closed()
    room.start()
    room.run.pool.force_shutdown()
    assert room.wait(10) and room.state == "stopped"


def test_a_display_that_fails_ends_the_run(monkeypatch):
    problems = []
    monkeypatch.setattr(threading, "excepthook", lambda found: problems.append(found.exc_type))
    room = closed()
    room.on_tick = lambda: 1 / 0
    room.start()
    assert room.wait(10) and problems == [ZeroDivisionError]
    assert room.state == "stopped" and room.run.pool.worker_count == 0


@pytest.mark.parametrize("engine", ["threads", "processes"])
def test_a_program_that_ends_during_a_run_ends_silently(engine):
    code = f"import time; from helpers.control_room import Room; Room(engine={engine!r}).start(); time.sleep(0.5)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("workers", 0, ValueError),
        ("workers", "4", TypeError),
        ("max_workers", 3, ValueError),
        ("rate", -1, ValueError),
        ("rate", None, TypeError),
        ("burst", 0, ValueError),
        ("seconds", 0, ValueError),
        ("handler", 5, TypeError),
        ("queue_size", 0, ValueError),
        ("engine", "fibers", ValueError),
        ("alert_limit", 0, ValueError),
        ("alert_hold", "3", TypeError),
        ("lasts", -1, ValueError),
        ("window", 0, ValueError),
    ],
)
def test_a_bad_setting_is_refused(name, value, error):
    with pytest.raises(error, match=name if name != "max_workers" else "workers must be at most max_workers"):
        Room(**{name: value})


def test_a_bad_mode_is_refused_and_an_engine_during_a_run(room):
    with pytest.raises(ValueError, match="mode must be one of normal, slow, failing, refusing, not 'broken'"):
        room.set_mode("broken")
    assert len(MODES) == 4
    room.start()
    with pytest.raises(ValueError, match=r"call stop\(\) first"):
        room.set_engine("processes")
