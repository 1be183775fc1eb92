"""The sandbox enforces its limits, reports the outcome, and leaves nothing behind."""

import asyncio
import os
import pickle
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest
from conftest import new_threads, wait_until

from helpers.pools import run_unbounded, run_unbounded_async
from helpers.services import SandboxReport, error_kind, run_in_sandbox

MIB = 1024**2
posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX limits and signals")
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces RLIMIT_AS")
HERE = Path(__file__).parent


# Functions that run in the sandbox, which imports this module by name


def nap(job):
    time.sleep(0.2)
    return job


async def nap_async(job):
    await asyncio.sleep(0.05)
    return job


def fail_if_odd(job):
    if job % 2:
        raise ValueError(f"job {job} failed")


def results_one_by_one(jobs):
    yield from run_unbounded(fail_if_odd, range(jobs))
    raise_if_limited()


def raise_if_limited():
    import resource

    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 64:
        raise LookupError("limited")


def echo(*args, **kwargs):
    return args, kwargs


def make_unpicklable():
    return threading.Lock()


class Stays:
    """An object that can be pickled but not unpickled."""

    def __reduce__(self):
        return int, ("x",)


def make_stays():
    return Stays()


def limits_in_force():
    import resource

    return resource.getrlimit(resource.RLIMIT_AS)[0], resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def take(megabytes):
    return len(bytearray(megabytes * MIB))


KEPT = []


def take_in_small_pieces_and_keep_them(size):
    while True:
        KEPT.append([None] * size)


def take_and_keep(megabytes):
    data = bytearray(os.urandom(MIB)) * megabytes
    time.sleep(0.3)
    return len(data)


def open_files(path, count):
    return len([open(path) for _ in range(count)])


def start_threads(count):
    door = threading.Event()
    threads = [threading.Thread(target=door.wait, daemon=True) for _ in range(count)]
    try:
        for thread in threads:
            thread.start()
        return len(threads)
    finally:
        time.sleep(0.2)
        door.set()


def hold_connections(port, count):
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    time.sleep(0.5)
    return len(connections)


def tell_pid_and_hang(path):
    Path(path).with_suffix(".part").write_text(str(os.getpid()))
    Path(path).with_suffix(".part").rename(path)
    while True:
        time.sleep(60)


def hang_with_a_child_of_its_own(path):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(path).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(60)


def print_much():
    print("to stdout")
    print("to stderr", file=sys.stderr)
    os.write(1, b"to fd 1\n" * 100_000)
    os.write(2, b"to fd 2\n" * 100_000)
    return sys.stdin.read()


def die(how):
    print("these were its last words", file=sys.stderr, flush=True)
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGKILL)


def leave_a_thread_running():
    threading.Thread(target=time.sleep, args=(60,)).start()
    return "done"


def interrupt(error=KeyboardInterrupt):
    raise error


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def when_written(path):
    wait_until(path.exists)
    return int(path.read_text())


# The report


def test_results_are_counted_and_stay_in_the_child():
    report = run_in_sandbox(run_unbounded, fail_if_odd, range(31), burst=True)
    assert (report.jobs, report.succeeded, report.failed) == (31, 16, 15)
    assert report.errors == {"ValueError: job N failed": 15}
    assert (report.value, report.error) == (None, None)
    assert report.seconds > 0


def test_a_generator_of_results_is_counted_and_works_under_the_limits():
    report = run_in_sandbox(results_one_by_one, 10)
    assert (report.jobs, report.succeeded, report.failed, report.error) == (10, 5, 5, None)
    if os.name != "nt":
        assert run_in_sandbox(results_one_by_one, 10, files=64).error == "LookupError: limited"


def test_values_are_returned_if_they_can_be_pickled():
    report = run_in_sandbox(echo, 1, "two", key=[3])
    assert report.value == ((1, "two"), {"key": [3]})
    assert (report.jobs, report.errors, report.error) == (0, {}, None)
    for cannot in (make_unpicklable, make_stays):
        report = run_in_sandbox(cannot)
        assert (report.value, report.error) == (None, None)


def test_an_exception_is_reported_as_its_kind():
    report = run_in_sandbox(fail_if_odd, 7)
    assert (report.error, report.jobs, report.value) == ("ValueError: job N failed", 0, None)
    assert run_in_sandbox(interrupt).error == "KeyboardInterrupt"
    assert run_in_sandbox(interrupt, SystemExit).error == "SystemExit"


def test_what_the_child_prints_is_not_shown(capfd):
    report = run_in_sandbox(print_much)
    assert (report.error, report.value) == (None, "")
    assert capfd.readouterr() == ("", "")


def test_a_crash_of_the_child_is_reported_with_the_end_of_its_stderr(capfd):
    report = run_in_sandbox(die, "exit")
    assert report.error == "exited with status 3\nthese were its last words"
    if os.name != "nt":
        report = run_in_sandbox(die, "kill")
        assert report.error == "killed by SIGKILL\nthese were its last words"
    assert capfd.readouterr() == ("", "")


def test_running_threads_do_not_delay_the_report():
    began = time.monotonic()
    report = run_in_sandbox(leave_a_thread_running, timeout=30)
    assert (report.value, report.error) == ("done", None)
    assert time.monotonic() - began < 30, "the report did not wait for it"


def test_the_report_is_frozen_and_starts_empty():
    report = SandboxReport()
    assert (report.jobs, report.errors, report.samples, report.limits) == (0, {}, (), {})
    with pytest.raises(AttributeError):
        report.jobs = 1


# Limits


@posix
def test_limits_in_force_are_the_limits_reported():
    report = run_in_sandbox(limits_in_force, memory=3000 * MIB, files=100, threads=7, timeout=30)
    memory, files = report.value
    assert (files, report.limits["files"], report.limits["threads"], report.limits["timeout"]) == (100, 100, 7, 30)
    if sys.platform == "linux":
        assert memory == report.limits["memory"] == 3000 * MIB
    else:
        assert report.limits["memory"] is None


@posix
def test_without_limits_there_are_none_and_all_the_files_the_system_allows():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        report = run_in_sandbox(limits_in_force)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert report.value[1] == report.limits["files"] > 256
    assert (report.limits["memory"], report.limits["threads"]) == (None, None)


@linux
def test_memory_is_limited():
    assert run_in_sandbox(take, 300).value == 300 * MIB
    report = run_in_sandbox(take, 300, memory=256 * MIB)
    assert (report.error, report.value) == ("MemoryError", None)


@linux
def test_the_child_can_report_even_without_a_free_byte():
    for size in (1, 60, 1000):
        report = run_in_sandbox(take_in_small_pieces_and_keep_them, size, memory=256 * MIB)
        assert report.error == "MemoryError"
        assert report.peak_memory > 100 * MIB


@linux
def test_unbounded_threads_end_at_the_memory_limit():
    report = run_in_sandbox(run_unbounded, nap, range(1000), burst=True, memory=2048 * MIB)
    assert report.jobs == 1000 == report.succeeded + report.failed
    assert set(report.errors) == {"RuntimeError: can't start new thread"}
    assert report.succeeded > 10


@posix
def test_open_files_are_limited():
    path = str(HERE / "conftest.py")
    assert run_in_sandbox(open_files, path, 200).value == 200
    assert run_in_sandbox(open_files, path, 200, files=100).error == "OSError: Too many open files"


def test_threads_are_limited_the_main_one_included():
    assert run_in_sandbox(start_threads, 9, threads=10).value == 9
    report = run_in_sandbox(start_threads, 10, threads=10)
    assert report.error == "RuntimeError: can't start new thread"
    assert report.peak_threads == 10
    report = run_in_sandbox(run_unbounded, nap, range(50), burst=True, threads=11)
    assert (report.succeeded, report.errors) == (10, {"RuntimeError: can't start new thread": 40})


def test_time_is_limited_also_for_what_the_function_started(tmp_path):
    note = tmp_path / "pids"
    began = time.monotonic()
    assert run_in_sandbox(take, 1).value == MIB
    # The limit includes the start of the child, which takes seconds on a busy machine.
    timeout = 2 + int(5 * (time.monotonic() - began))
    report = run_in_sandbox(hang_with_a_child_of_its_own, str(note), timeout=timeout)
    assert report.error == f"killed: timed out after {timeout} s"
    assert 0 < report.seconds < 50, "it hangs for 60"
    assert report.samples, "what was seen until then is kept"
    pid, its_child = map(int, note.read_text().split())
    assert gone(pid)
    if os.name != "nt":
        wait_until(lambda: gone(its_child))


def test_what_the_child_cannot_import_is_refused_at_once(monkeypatch):
    def inner():
        pass

    monkeypatch.setattr("subprocess.Popen", None)  # no child process is started for these
    monkeypatch.setattr(nap, "__module__", "__main__")
    for function, args in [(lambda: 1, ()), (inner, ()), (nap, ()), (run_unbounded, (nap, [1])), (echo, (inner,))]:
        with pytest.raises(ValueError, match="must be in an importable module"):
            run_in_sandbox(function, *args)
    with pytest.raises(TypeError, match=r"picklable.*lock"):
        run_in_sandbox(echo, threading.Lock())
    with pytest.raises(TypeError, match="callable"):
        run_in_sandbox(7)
    with pytest.raises(TypeError, match="awaits"):
        run_in_sandbox(nap_async, 1)


def test_an_import_error_in_the_child_is_reported(monkeypatch):
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(HERE)])
    monkeypatch.chdir(HERE.parent)
    assert run_in_sandbox(nap, 1).error == "ModuleNotFoundError: No module named 'test_sandbox'"


# The samples


def test_threads_are_counted_in_samples():
    report = run_in_sandbox(run_unbounded, nap, range(30), burst=True)
    assert report.peak_threads == 31
    assert report.samples
    times = [sample.seconds for sample in report.samples]
    assert times == sorted(times)
    assert times[0] >= 0
    assert max(sample.threads for sample in report.samples) == 31
    assert pickle.loads(pickle.dumps(report)) == report


def test_tasks_need_no_threads():
    report = run_in_sandbox(run_unbounded_async, nap_async, range(2000))
    assert (report.succeeded, report.failed) == (2000, 0)
    assert report.peak_threads <= 2


def test_memory_is_measured():
    ballast = bytearray(os.urandom(MIB)) * 300  # memory of the parent, which must not count
    small, large = run_in_sandbox(take_and_keep, 1), run_in_sandbox(take_and_keep, 200)
    assert large.peak_memory - small.peak_memory == pytest.approx(199 * MIB, abs=20 * MIB)
    assert small.peak_memory < 200 * MIB < len(ballast)
    assert max(sample.memory for sample in large.samples) > 200 * MIB


def test_connections_are_counted():
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        report = run_in_sandbox(hold_connections, server.getsockname()[1], 25)
    assert (report.value, report.peak_connections) == (25, 25)


# The end


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run_in_sandbox(echo)
    threads, files = threading.enumerate(), len(os.listdir("/proc/self/fd"))
    others = psutil.Process().children()  # such as the resource tracker of multiprocessing
    for function, args, timeout in [(echo, (), 30), (die, ("kill",), 30), (nap, (1,), 0.1)]:
        run_in_sandbox(function, *args, timeout=timeout)
        assert psutil.Process().children() == others, "not even a zombie"
        assert not new_threads(threads) and len(os.listdir("/proc/self/fd")) == files
    assert list(tmp_path.iterdir()) == []


def test_interrupting_the_parent_kills_the_child_and_raises_the_interrupt_again(tmp_path, monkeypatch):
    note = tmp_path / "pid"

    def stop_button(watch, now):
        if note.exists():
            raise KeyboardInterrupt

    monkeypatch.setattr("helpers.services.sandbox._Watch._sample", stop_button)
    with pytest.raises(KeyboardInterrupt):
        run_in_sandbox(tell_pid_and_hang, str(note))
    with pytest.raises(psutil.NoSuchProcess):
        psutil.Process(int(note.read_text()))


OWNER = """
import sys
sys.path.insert(0, {here!r})
from test_sandbox import run_in_sandbox, tell_pid_and_hang
try:
    run_in_sandbox(tell_pid_and_hang, {note!r})
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


@pytest.fixture
def owner(tmp_path):
    note = tmp_path / "pid"
    code = OWNER.format(here=str(HERE), note=str(note))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as it:
        try:
            yield it, note
        finally:
            it.kill()


def test_the_child_dies_with_its_owner(owner):
    process, note = owner
    child = when_written(note)
    assert not gone(child)
    process.kill()
    wait_until(lambda: gone(child))


@posix
def test_the_stop_button_ends_the_child_and_is_passed_on(owner):
    process, note = owner
    child = when_written(note)
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.readline() == "stopped\n"
    assert gone(child)


# The kinds of errors


def http_error(status):
    response = httpx.Response(status, request=httpx.Request("GET", "http://127.0.0.1:40213/users/17"))
    try:
        response.raise_for_status()
    except httpx.HTTPStatusError as error:
        return error


class OperationalError(Exception):
    """A class with the same name as in psycopg and sqlite3."""


class Broken(Exception):
    def __str__(self):
        raise RuntimeError("no message for you")


FULL = (
    'connection failed: connection to server at "127.0.0.1", port 54321 failed: FATAL:  sorry, too many clients already'
)
CLOSED = (
    'connection failed: connection to server at "::1", port 5432 failed: Connection refused\n'
    "\tIs the server running on that host and accepting TCP/IP connections?"
)
NO_SUCH_USER = {"ann17@example.org": (554, b"5.1.1 no such user")}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OperationalError(FULL), "OperationalError: sorry, too many clients already"),
        (OperationalError(CLOSED), "OperationalError: Connection refused"),
        (OperationalError("unable to open database file"), "OperationalError: unable to open database file"),
        (http_error(429), "HTTPStatusError: 429 Too Many Requests"),
        (http_error(403), "HTTPStatusError: 403 Forbidden"),
        (http_error(503), "HTTPStatusError: 503 Service Unavailable"),
        (httpx.ConnectError("[Errno 111] Connection refused"), "ConnectError: Connection refused"),
        (RuntimeError("can't start new thread"), "RuntimeError: can't start new thread"),
        (RuntimeError("couldn't, and can't, at 0x7f01"), "RuntimeError: couldn't, and can't"),
        (MemoryError(), "MemoryError"),
        (OSError(24, "Too many open files", "/tmp/x17"), "OSError: Too many open files"),
        (
            ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 5432)"),
            "ConnectionRefusedError: Connect call failed",
        ),
        (ConnectionError("cannot reach [::1]:80"), "ConnectionError: cannot reach"),
        (smtplib.SMTPDataError(451, b"4.3.0 Try again"), "SMTPDataError: 451 4.3.0 Try again"),
        (smtplib.SMTPRecipientsRefused(NO_SUCH_USER), "SMTPRecipientsRefused: 554 5.1.1 no such user"),
        (
            smtplib.SMTPConnectError(421, b"too many connections from 127.0.0.1"),
            "SMTPConnectError: 421 too many connections",
        ),
        (KeyError("user-17"), "KeyError"),
        (ValueError("job 17 failed after 0.25 s"), "ValueError: job N failed after N s"),
        (ValueError("no such user: 17"), "ValueError: no such user"),
        (
            ValueError("invalid literal for int() with base 10: 'x'"),
            "ValueError: invalid literal for int() with base N",
        ),
        (
            AttributeError("'NoneType' object has no attribute 'x'"),
            "AttributeError: 'NoneType' object has no attribute 'x'",
        ),
        (ValueError("job 6fa459ea-ee8a-3ca4-894e-db77e160355e lost"), "ValueError: job lost"),
        (ValueError("page http://a.b:80/c?x=1 is gone"), "ValueError: page is gone"),
        (ValueError("std::bad_alloc"), "ValueError: std::bad_alloc"),
        (ValueError(" \n "), "ValueError"),
        (Broken(), "Broken"),
    ],
)
def test_error_kind(error, kind):
    assert error_kind(error) == kind


def test_a_long_message_quickly_gives_a_short_kind():
    for text in ("word " * 100_000, "a" * 500_000, "1" * 500_000, "::" * 200_000, "'" * 200_000, "x@" * 200_000):
        began = time.process_time()
        assert len(error_kind(ValueError(text))) < 140
        assert time.process_time() - began < 1.0
