"""The Stop button: a real SIGINT to a kernel and to a script, in every part of a pool's life, and at every point of it.

For the last, the tests raise the signal themselves. Python handles a signal at the entry of a function, after a call,
and at the end of an iteration of a loop. The life of a pool is repeated, and each time SIGINT is raised at the next of
these points.
"""

import dis
import functools
import gc
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import defaultdict
from pathlib import Path
from queue import Empty

import pytest
from conftest import wait_until
from inside import state_of
from jupyter_client.manager import KernelManager
from stopped import PARTS
from test_pool_contract import POOLS, accounts_balance

from helpers.pools import RetryingPool, RetryPolicy, WorkerPool, current_worker
from helpers.pools.interrupts import uninterrupted
from helpers.pools.parker import Parker
from helpers.services import MailServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")

HERE = Path(__file__).parent
MOMENTS = 50
SECOND = 1.0  # the time within which a cell must end after Stop
NOISE = 9.0  # seconds that a busy machine may add to a single measurement
PATIENCE = 30.0
DROPPED = "dropped by Python"


@pytest.fixture(scope="module")
def port():
    with MailServer(latency=(0.002, 0.02)) as server:
        yield server.port


def moments(count, seed):
    """Yield (part of the life, seconds into it): all parts in turn, at random times from a seed."""
    draw = random.Random(seed)
    shift = draw.randrange(len(PARTS))
    return [(PARTS[(n + shift) % len(PARTS)], draw.uniform(0.0, 0.05)) for n in range(count)]


def check(part, ename, seen, frames):
    """Check what must be true after Stop. Return False if Stop came too late or Python dropped it."""
    if ename == DROPPED:
        return False
    if ename != "KeyboardInterrupt":
        assert (part, ename) == ("forcing", "ZeroDivisionError"), f"Stop was lost: {part} ended with {ename}"
        return False
    # Only a Stop just before the `with`, or at the entry of one of its two methods, can leave a pool open.
    if seen["unclosed"]:
        assert frames[-1] in ("__enter__", "__exit__", "__init__", "make", "<lambda>", part), frames
    else:
        assert seen["looking"] == 0, f"handlers that check `cancelled` have stopped: {seen}"
    if "stats" in seen:
        for stats in (seen["stats"], seen["afterwards"]):
            parts = sum(stats[name] for name in ("queued", "running", "delayed", *FINISHED))
            assert stats["submitted"] == parts and stats["queued"] == stats["delayed"] == 0, seen
        assert seen["still_running"] == ["deaf"] * seen["deaf"], f"the other handlers are reported: {seen}"
        assert seen["stats"]["running"] == seen["deaf"] and seen["afterwards"]["running"] == 0
    assert seen["left"] == []
    assert seen["next"] == [True] * 6
    return True


FINISHED = ("succeeded", "failed", "cancelled", "unknown")


def judge(seconds, record_property, name):
    """Check that all runs ended, and that the fastest run of each part, the least disturbed one, took under 1 s."""
    everything = [s for times in seconds.values() for s in times]
    record_property(name, f"{len(everything)} inside, at most {max(everything):.2f} s")
    print(f"\n{name}: {len(everything)} inside, at most {max(everything):.2f} s; by part at most", end=" ")
    print(", ".join(f"{part} {max(times):.2f}" for part, times in seconds.items()))
    assert max(everything) < SECOND + NOISE
    slow = {part: times for part, times in seconds.items() if len(times) > 2 and min(times) > SECOND}
    assert not slow, slow


def at_moments(stop, kinds, count, record_property, name):
    """Stop each kind of pool at `count` moments, nearly all of them inside its life, and check what stop(…) reports."""
    seconds = defaultdict(list)
    for kind in kinds:
        for part, delay in moments(count, f"{name} {kind}"):
            ename, took, seen, frames = stop(kind, part, delay)
            if check(part, ename, seen, frames):
                seconds[part].append(took)
    judge(seconds, record_property, name)
    assert sum(map(len, seconds.values())) >= 0.9 * count * len(kinds)


# --- a kernel ------------------------------------------------------------------------------------------------------


class Kernel:
    """A real kernel, started like in JupyterLab."""

    def __enter__(self):
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(HERE), env=os.environ | {"PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE}"})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)
        assert self.run("import json; from stopped import Scene")["status"] == "ok"
        assert self.run("raise KeyboardInterrupt")["status"] == "error"  # the first traceback of a kernel takes longer
        return self

    def __exit__(self, *_):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()

    def run(self, code):
        # After an error, the kernel would drop the cells that are sent to it at the same moment.
        return self._reply(self.client.execute(code, stop_on_error=False))

    def _reply(self, request):
        while (reply := self.client.get_shell_msg(timeout=PATIENCE))["parent_header"].get("msg_id") != request:
            pass
        return reply["content"]

    def wait_for_print(self, request):
        """Return the next line that this cell prints."""
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") == request and message["msg_type"] == "stream":
                return message["content"]["text"]

    def stop(self, kind, part, delay, port):
        """Press Stop in a cell. Return (how the cell ended, seconds until then, the report, the frames)."""
        assert self.run(f"scene = Scene({kind!r}, {part!r}, {port})")["status"] == "ok"
        request = self.client.execute("scene.play()", stop_on_error=False)
        assert self.wait_for_print(request).startswith("now")
        time.sleep(delay)
        pressed = time.monotonic()
        self.manager.interrupt_kernel()
        try:
            reply = self._reply(request)
        except Empty:  # Python says that it has dropped the signal in a callback: press again
            assert "Exception ignored in" in self.wait_for_print(request)
            self.manager.interrupt_kernel()
            self._reply(request)
            reply = {"ename": DROPPED}
        seconds = time.monotonic() - pressed
        code = "import sys, traceback; print(json.dumps([f.name for f in traceback.extract_tb(sys.last_traceback)]))"
        frames = json.loads(self.wait_for_print(self.client.execute(code)))
        seen = json.loads(self.wait_for_print(self.client.execute("print(json.dumps(scene.look()))")))
        return reply.get("ename", "ok"), seconds, seen, frames


def in_a_kernel(kinds, count, port, record_property, name):
    with Kernel() as kernel:
        at_moments(functools.partial(kernel.stop, port=port), kinds, count, record_property, name)


def test_stop_in_a_kernel(port, record_property):
    in_a_kernel(POOLS, 1, port, record_property, "a kernel")


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", POOLS)
def test_stop_at_fifty_moments_in_a_kernel(kind, port, record_property):
    in_a_kernel([kind], MOMENTS, port, record_property, f"a kernel, {kind}")


# --- a script ------------------------------------------------------------------------------------------------------


def stop_script(kind, part, delay, port, again=None):
    """Return (how the script ended, seconds from Stop to its report, the report, the frames of its traceback)."""
    command = [sys.executable, str(HERE / "stopped.py"), kind, part, str(port)]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        try:
            assert process.stdout.readline() == "now\n"
            time.sleep(delay)
            pressed = time.monotonic()
            process.send_signal(signal.SIGINT)
            if again is not None:
                time.sleep(again)
                process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert out, f"no report: {err}"
    last = [line for line in err.splitlines() if line and not line.startswith(" ")][-1]
    seen = json.loads(out)
    assert "Exception ignored" not in err and "Exception in thread" not in err, err
    if last == "KeyboardInterrupt":
        assert process.returncode == -signal.SIGINT
    frames = [line.split(" in ")[1] for line in err.splitlines() if line.startswith("  File")]
    return last, seen["ended"] - pressed, seen, frames


def in_scripts(kinds, count, port, record_property, name):
    at_moments(functools.partial(stop_script, port=port), kinds, count, record_property, name)


def test_stop_in_a_script(port, record_property):
    in_scripts(POOLS, 1, port, record_property, "a script")


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", POOLS)
def test_stop_at_fifty_moments_in_a_script(kind, port, record_property):
    in_scripts([kind], MOMENTS, port, record_property, f"a script, {kind}")


@pytest.mark.parametrize("kind", POOLS)
def test_a_second_stop_can_interrupt_the_clean_up_and_nothing_else(kind, port):
    """It comes in the half second for handlers. The first Stop has cancelled queued jobs; the second ends the wait."""
    delay, again = random.Random(kind).uniform(0, 0.05), random.Random(kind).uniform(0.05, 0.3)
    ename, _, seen, frames = stop_script(kind, "drain", delay, port, again)
    assert check("drain", ename, seen, frames)


# --- a handler -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", POOLS)
def test_a_keyboard_interrupt_in_a_handler_is_the_error_of_its_job(kind):
    def handler(job):
        if job == 2:
            raise KeyboardInterrupt
        return job

    with POOLS[kind](handler, workers=2, queue_size=2) as pool:
        results = {r.job: r for r in pool.stream(range(5))}
    assert isinstance(results.pop(2).error, KeyboardInterrupt) and all(r.ok for r in results.values())
    assert (pool.stats().failed, pool.stats().succeeded, pool.stats().workers) == (1, 4, 0)


# --- every point at which Python handles a signal ------------------------------------------------------------------

OURS = ("helpers/pools/", "threading.py", "contextlib.py")


@functools.cache
def handler_at(code, offset):
    """Return where an exception at this instruction is handled."""
    return next((e.target for e in dis.Bytecode(code).exception_entries if e.start <= offset < e.end), None)


class Points:
    """Counts the points in our code at which the main thread handles signals, and raises `signum` at point number `at`.

    again: raise it once more after this number of further calls and returns in our code.
    """

    def __init__(self, at, signum=signal.SIGINT, again=None):
        self.at, self.signum, self.again = at, signum, again
        self.where = []  # where it was raised
        self.seen, self.last = set(), {}

    def __enter__(self):
        sys.settrace(self._enters)
        return self

    def __exit__(self, *_):
        sys.settrace(None)
        sys.setprofile(None)

    def _enters(self, frame, event, arg):
        if not is_ours(frame):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if self._op(frame) == "RESUME":
            self._point(frame)
        return self._goes_on

    def _goes_on(self, frame, event, arg):
        if event == "opcode":
            name, before = self._op(frame), self.last.get(frame, ("", 0))
            if before[0].startswith(("CALL", "JUMP_BACKWARD")):
                guarded = handler_at(frame.f_code, before[1]), handler_at(frame.f_code, frame.f_lasti)
                if guarded[0] == guarded[1]:  # the signal is handled together with the instruction before
                    self._point(frame)
            self.last[frame] = name, frame.f_lasti
        elif event == "return":
            self.last.pop(frame, None)
        return self._goes_on

    @staticmethod
    def _op(frame):
        return dis.opname[frame.f_code.co_code[frame.f_lasti]]

    def _point(self, frame):
        place = (frame.f_code, frame.f_lasti, frame.f_back.f_code, frame.f_back.f_lasti)
        if place in self.seen:
            return
        self.seen.add(place)
        if len(self.seen) == self.at:
            sys.settrace(None)  # Python also does so when a trace function raises
            if self.again is not None:
                sys.setprofile(self._once_more)
            self._raise(frame)

    def _once_more(self, frame, event, arg):
        """A profile function that raises the signal again. Python keeps it when a trace function raises."""
        if is_ours(frame) and event in ("call", "c_return"):
            self.again -= 1
            if self.again < 0:
                sys.setprofile(None)
                self._raise(frame)

    def _raise(self, frame):
        self.where.append(f"{frame.f_code.co_qualname}, line {frame.f_lineno}, at {frame.f_lasti}")
        signal.raise_signal(self.signum)


def is_ours(frame):
    return any(part in frame.f_code.co_filename for part in OURS)


class Terminated(BaseException):
    """The exception that the tests' handler of SIGTERM raises."""


def terminate(signum, frame):
    raise Terminated


def life(make, ending, box):
    """Run a short life of a pool, without leaving a stream, because Python loses exceptions that are raised there."""

    def handler(job):
        if job == "fails":
            raise ValueError(job)
        if job == "looks":
            current_worker().cancelled.wait(20)
        time.sleep(0.001)

    with make(handler, workers=2, queue_size=2) as pool:
        box["pool"] = pool
        for job in ["quick", "fails", "quick", "quick", "quick"]:
            pool.submit(job)
            box["taken"] += 1
        for _ in pool.stream(["quick"] * 5):
            box["taken"] += 1
        for _ in pool.results():
            pass
        for job in ("looks", "looks", "quick") if ending == "error" else ():
            pool.submit(job)
            box["taken"] += 1
        if ending == "error":
            raise ZeroDivisionError


def threads_of_pools():
    return [t for t in threading.enumerate() if "Pool-" in t.name or t.name.startswith("Any")]


def unclosed_pools(known=()):
    """Return pools that have workers and alarms and were not shut down, without those in `known`."""
    # Not isinstance, which reads `p.__class__`: objects of other tests may raise there.
    made = (p for p in gc.get_objects() if issubclass(type(p), WorkerPool) and hasattr(p, "_closing"))
    return [pool for pool in made if not state_of(pool).closed and id(pool) not in known]


def test_an_odd_object_of_another_test_does_not_end_the_search():
    class Odd:
        @property
        def __class__(self):
            raise ZeroDivisionError

    odd = Odd()
    with WorkerPool(str, workers=1) as pool:
        assert any(found is pool for found in unclosed_pools())
    assert not any(found is pool for found in unclosed_pools())
    del odd


def left_open(known):
    """Return the pools that stay open. After a second Stop a thread closes the pool, so wait for a moment."""
    deadline = time.monotonic() + 1.0
    while threads_of_pools() and (pools := unclosed_pools(known)):
        if time.monotonic() > deadline:
            return pools
        time.sleep(0.005)
    return []


def stop_at(kind, ending, at, signum=signal.SIGINT, again=None):
    """Run one life with Stop at this point and check the outcome. Return where it was; [] if there is no such point."""
    box = {"pool": None, "taken": 0}
    known = {id(pool) for pool in unclosed_pools()}
    points, ended = Points(at, signum, again), None
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        with points:
            life(POOLS[kind], ending, box)
    except (KeyboardInterrupt, Terminated, ZeroDivisionError) as error:
        ended = type(error)
    finally:
        signal.signal(signal.SIGTERM, before)
    if not points.where:
        return []
    assert ended is (KeyboardInterrupt if signum == signal.SIGINT else Terminated), points.where
    # No `with` can help if Stop comes just before it, or at the entry of one of its two methods.
    for pool in left_open(known):
        functions = {where.split(",")[0].split(".")[-1] for where in points.where}
        assert functions & {"__init__", "__enter__", "__exit__"}, points.where
        pool.force_shutdown()
    wait_until(lambda: not threads_of_pools())
    if box["pool"] is not None:
        seen = []
        other = threading.Thread(target=lambda: seen.append(box["pool"].stats()), daemon=True)
        other.start()
        other.join(20)
        assert seen, f"the lock of the pool is still held: {points.where}"
        assert accounts_balance(seen[0]) and seen[0].submitted == seen[0].finished >= box["taken"], points.where
        assert state_of(box["pool"]).reader is None, points.where
    return points.where


SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("signum", SIGNALS)
@pytest.mark.parametrize("ending", ["drain", "error"])
@pytest.mark.parametrize("kind", POOLS)
def test_a_signal_at_a_few_of_all_points(kind, ending, signum):
    draw = random.Random(f"{kind} {ending} {signum}")
    where = [tuple(stop_at(kind, ending, at, signum)) for at in sorted(draw.sample(range(1, 250), 6))]
    assert len(set(where) - {()}) > 2


@pytest.mark.parametrize("ending", ["drain", "error"])
@pytest.mark.parametrize("kind", POOLS)
def test_a_second_stop_at_a_few_points_after_the_first(kind, ending):
    draw = random.Random(f"{kind} {ending} twice")
    twice = 0
    for tried in range(1, 31):  # If the second Stop comes too late, the run has already ended.
        twice += len(stop_at(kind, ending, draw.randrange(1, 250), again=draw.randrange(40))) == 2
        if twice and tried >= 5:
            break
    assert twice


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("signum", SIGNALS)
@pytest.mark.parametrize("ending", ["drain", "error"])
@pytest.mark.parametrize("kind", POOLS)
def test_a_signal_at_every_point(kind, ending, signum):
    where = itertools.takewhile(bool, (stop_at(kind, ending, at, signum) for at in itertools.count(1)))
    assert sum(1 for _ in where) > 200


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("ending", ["drain", "error"])
@pytest.mark.parametrize("kind", POOLS)
def test_a_second_stop_at_every_fifth_point_after_every_fifth_point(kind, ending):
    twice = 0
    for at in itertools.count(1, 5):
        places = [stop_at(kind, ending, at, again=again) for again in range(at % 5, 60, 5)]
        if not places[0]:
            break
        twice += sum(len(where) == 2 for where in places)
    assert twice > 200


# --- single moments at which the pools once failed -----------------------------------------------------------------


def press(*_):
    signal.raise_signal(signal.SIGINT)


def once(function):
    """Return a function that presses Stop at its first call."""
    calls = itertools.count()

    def pressing(*args, **options):
        if next(calls) == 0:
            press()
        return function(*args, **options)

    return pressing


def test_a_stop_during_the_drain_of_one_worker_does_not_count_as_its_end():
    with (
        pytest.raises(KeyboardInterrupt),
        WorkerPool(lambda job: current_worker().cancelled.wait(20), workers=1) as pool,
    ):
        for job in range(5):
            pool.submit(job)
        wait_until(lambda: pool.stats().running == 1)
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    stats = pool.stats()
    assert (stats.succeeded, stats.cancelled, stats.workers) == (1, 4, 0)


@pytest.mark.parametrize("times", [1, 2])
def test_a_stop_between_a_lock_and_its_block_leaves_no_worker_waiting_for_it(times):
    with pytest.raises(KeyboardInterrupt), WorkerPool(lambda job: current_worker().cancelled.wait(20)) as pool:
        for job in range(9):
            pool.submit(job)
        wait_until(lambda: pool.stats().running == 5)
        for _ in range(times):
            state_of(pool).lock.acquire()  # Python 3.14 can leave the lock in this state
        raise KeyboardInterrupt
    stats = pool.stats()
    assert (stats.succeeded, stats.cancelled, stats.workers) == (5, 4, 0)


def test_a_stop_in_the_body_of_a_loop_does_not_wait_for_running_jobs():
    gate = threading.Event()
    try:
        with (
            pytest.raises(KeyboardInterrupt),
            WorkerPool(lambda job: job == "deaf" and gate.wait(20), workers=2) as pool,
        ):
            for _ in pool.stream(["quick", "deaf", "quick"]):
                wait_until(lambda: pool.stats().running == 1)
                raise KeyboardInterrupt
        assert pool.force_shutdown().still_running == ("deaf",) and not gate.is_set()
    finally:
        gate.set()


def test_a_stop_during_a_wait_for_room_is_the_error_that_is_raised(monkeypatch):
    gate = threading.Event()
    with pytest.raises(KeyboardInterrupt), WorkerPool(lambda job: gate.wait(20), workers=1, queue_size=1) as pool:
        pool.submit(0)
        wait_until(lambda: pool.stats().running == 1)
        pool.submit(1)
        monkeypatch.setattr(Parker, "park", once(Parker.park))
        threading.Timer(0.05, gate.set).start()
        pool.submit(2)
    assert accounts_balance(pool.stats()) and pool.stats().submitted == 2
    assert not state_of(pool).blocked


def test_an_interrupted_submitter_passes_its_notification_on():
    """It was notified that there is room, and leaves without using it. So the next submitter must be notified."""
    gate, submitted = threading.Event(), threading.Event()
    with pytest.raises(KeyboardInterrupt), WorkerPool(lambda job: gate.wait(20), workers=1, queue_size=1) as pool:
        pool.submit(0)
        wait_until(lambda: pool.stats().running == 1)
        pool.submit(1)

        def press_when_notified(parker, timeout=None):
            other = threading.Thread(target=lambda: (pool.submit("other"), submitted.set()), daemon=True)
            other.start()
            wait_until(lambda: len(state_of(pool).blocked) == 2)
            gate.set()
            wait_until(lambda: not parker.listed)
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            me, park = threading.current_thread(), Parker.park
            patch.setattr(
                Parker,
                "park",
                lambda parker, timeout=None: (
                    press_when_notified(parker)
                    if threading.current_thread() is me
                    else park(parker, None if timeout is None else 60.0)
                ),
            )
            try:
                pool.submit("mine")
            finally:
                assert submitted.wait(20), "the other submitter was not notified"


def test_a_stop_while_the_queue_is_cancelled_loses_no_job(monkeypatch):
    with (
        pytest.raises(KeyboardInterrupt),
        WorkerPool(lambda job: current_worker().cancelled.wait(20), workers=1) as pool,
    ):
        for job in range(9):
            pool.submit(job)
        wait_until(lambda: pool.stats().running == 1)
        monkeypatch.setattr(state_of(pool), "cancel", once(state_of(pool).cancel))
        pool.force_shutdown()
    assert sorted(r.job for r in pool.results()) == list(range(9)) and pool.stats().cancelled == 8


def test_a_stop_in_a_redrive_leaves_the_job_in_one_of_the_two_places(monkeypatch):
    def fail(job):
        raise ValueError(job)

    with RetryingPool(fail, workers=1, policy=RetryPolicy(max_attempts=1, base=1, cap=1)) as pool:
        pool.submit("job")
        wait_until(pool.dead_letters)
        monkeypatch.setattr(state_of(pool), "enqueue", once(state_of(pool).enqueue))
        with pytest.raises(KeyboardInterrupt):
            pool.redrive()
        wait_until(lambda: pool.stats().failed == 2)
    assert len(pool.dead_letters()) == 1


def test_an_uninterruptible_step_is_completed_although_the_main_thread_is_interrupted():
    done, started = [], threading.Event()

    def act():
        started.set()
        press()  # interrupts the main thread, which waits
        time.sleep(0.05)
        done.append("act")

    with pytest.raises(KeyboardInterrupt):
        uninterrupted(act)
    assert started.is_set()
    wait_until(lambda: done == ["act"])


def test_an_uninterruptible_step_returns_and_raises_the_same_as_in_the_main_thread():
    assert uninterrupted(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError) as error:
        uninterrupted(lambda: 1 / 0)
    assert error.traceback[-1].name == "<lambda>", "the traceback says where"
    threads = []
    other = threading.Thread(target=lambda: threads.append(uninterrupted(threading.get_ident)))
    other.start()
    other.join(20)
    assert threads == [other.ident], "in any other thread it is a plain call"


def test_the_error_of_an_uninterruptible_step_is_freed_without_the_garbage_collector():
    class Problem(Exception):
        pass

    def act():
        raise Problem

    gc.disable()
    try:
        try:
            uninterrupted(act)
        except Problem as error:
            problem = weakref.ref(error)
        wait_until(lambda: problem() is None)  # the thread that called act() may be about to end
    finally:
        gc.enable()
