"""A lock and a parker that let another thread act at a moment that the test chooses.

A thread must make a check and the act that depends on it in one step, under one lock. A `LyingLock` counts the moments
at which another thread can act: each time that one thread, the victim, is about to take the lock, has released it, or
is about to park. At the n-th of these moments it makes another thread act before the victim goes on. `at_each_moment`
runs a scenario once for every n that exists. If the check and the act are one step, there is no moment between them.
If a change of the code separates them, there is a moment between them. It is tested like all others, and the assertions
of the scenario fail there.

Two more helpers act in the victim's own thread: `at_line` does something at the n-th line of helpers/pools, and `dying`
raises an exception at the n-th point at which Python can inject one.
"""

import linecache
import sys
import threading
import time
from contextlib import contextmanager
from itertools import count
from opcode import opname
from pathlib import Path

from helpers import pools
from helpers.pools.parker import Parker

really_park, really_unpark = Parker.park, Parker.unpark

LIMIT = 10.0  # seconds after which a thread that does not go on counts as stuck
FOLDER = str(Path(pools.__file__).parent)


def thread_name():
    """Return the name of the calling thread, or "" for a raw thread, which `threading` does not know.

    `current_thread()` would make a record for a raw thread that is never removed.
    """
    thread = threading._active.get(threading.get_ident())
    return "" if thread is None else thread.name


class LyingLock:
    """A replacement for a Lock or an RLock.

    Attributes:
        watch:  called, if it is not None, each time the lock is about to be released; it checks what must always hold.
    """

    def __init__(self):
        self.lock, self.depth = threading.RLock(), 0
        self.moment, self.victim, self.action = 0, None, None
        self.watch = None
        self.sleepers = {}  # the names of the waiting threads, by their parker or, with a Condition, their number
        self.mutex = threading.Lock()  # guards `sleepers`

    @property
    def asleep(self):
        """The names of the threads that wait and have not been woken yet."""
        with self.mutex:
            return set(self.sleepers.values())

    def between(self):
        """A moment: act, if the calling thread is the victim and this is the chosen moment."""
        if self.action is None or self.lock._is_owned() or not self.victim():
            return
        self.moment -= 1
        if self.moment < 0:
            self.action()

    def acquire(self, *how):
        self.between()
        taken = self.lock.acquire(*how)
        self.depth += taken
        return taken

    def release(self):
        if not self.lock._is_owned():
            raise RuntimeError("cannot release a lock that the calling thread does not own")
        if self.depth == 1 and self.watch is not None:
            self.watch()
        self.depth -= 1
        self.lock.release()
        self.between()

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *_):
        self.release()

    # A Condition calls these methods of its lock.

    def _is_owned(self):
        return self.lock._is_owned()

    def locked(self):  # from Python 3.14 on
        return self.lock.locked()

    def _release_save(self):
        if self.watch is not None:
            self.watch()
        depth, self.depth = self.depth, 0
        held = self.lock._release_save()
        self.between()
        with self.mutex:
            self.sleepers[threading.get_ident()] = thread_name()
        return held, depth

    def _acquire_restore(self, saved):
        with self.mutex:
            self.sleepers.pop(threading.get_ident(), None)
        self.between()
        self.lock._acquire_restore(saved[0])
        self.depth = saved[1]

    # A Parker calls these two once `lie_to_parkers` has been called.

    def park(self, parker, timeout):
        """Park, with a moment just before; the name of the thread is in `asleep` while it really waits."""
        self.between()
        with self.mutex:
            if really_park(parker, 0):
                return True
            self.sleepers[parker] = thread_name()
        try:
            return really_park(parker, timeout)
        finally:
            with self.mutex:
                self.sleepers.pop(parker, None)

    def unpark(self, parker):
        """Unpark. From then on the thread is not in `asleep`, even if it has not run yet."""
        with self.mutex:
            really_unpark(parker)
            self.sleepers.pop(parker, None)


def lie_to_parkers(monkeypatch, current_lock):
    """Make each Parker tell current_lock(), a LyingLock, before its thread parks, and when its thread sleeps."""
    monkeypatch.setattr(Parker, "park", lambda parker, timeout=None: current_lock().park(parker, timeout))
    monkeypatch.setattr(Parker, "unpark", lambda parker: current_lock().unpark(parker))


class Race:
    """One run of a scenario, with the action at one moment."""

    def __init__(self, lock, moment):
        self.lock, self.moment = lock, moment
        self.happened = False
        self.threads, self.errors = [], []
        self.victim, self.victim_started = None, False
        self.mutex = threading.Lock()  # the action either runs once or does not run any more: decided under this lock

    def meanwhile(self, action, until=None, victim=None):
        """At the chosen moment, run `action` in another thread and hold up the victim until it ends.

        If the action itself must wait for the victim, hold up the victim only until until() is true. The victim is the
        calling thread or, if `victim` is given, the thread whose name ends with that text.
        """
        me = threading.get_ident()
        self.victim = victim

        def happen():
            with self.mutex:
                if self.lock.action is None:
                    return
                self.lock.action, self.happened = None, True
                thread = self.start(action)
            deadline = time.monotonic() + LIMIT
            while thread.is_alive() and not (until is not None and until()):
                if time.monotonic() > deadline:
                    self.errors.append(AssertionError("the action at this moment gets stuck"))
                    return
                time.sleep(0.0002)

        self.lock.moment = self.moment
        if victim is None:
            self.lock.victim = lambda: threading.get_ident() == me
        else:
            self.lock.victim = lambda: thread_name().endswith(victim)
        self.lock.action = happen

    def otherwise(self, action):
        """Run `action` if no moment was left after a while; without it, the scenario would wait forever.

        The while is many short sleeps and not one long one, because during a stall of the machine the victim stands
        still, too. A victim with a name may not even have started: it must sleep or end first.
        """

        def later():
            for _ in range(50):
                time.sleep(0.002)
            deadline = time.monotonic() + LIMIT
            while self.victim and self.lock.action is not None and time.monotonic() < deadline:
                if any(name.endswith(self.victim) for name in self.lock.asleep) or self.victim_has_ended():
                    break
                time.sleep(0.002)
            with self.mutex:
                self.lock.action = None
            if not self.happened:
                action()

        self.start(later)

    def victim_has_ended(self):
        """Return whether the victim with a name was there in an earlier call, and is not there any more."""
        alive = any(thread.name.endswith(self.victim) for thread in threading.enumerate())
        self.victim_started = self.victim_started or alive
        return self.victim_started and not alive

    def over(self):
        """Start no action any more, and wait for the end of one that has started."""
        with self.mutex:
            self.lock.action = None
        for thread in self.threads:
            thread.join(LIMIT)
            assert not thread.is_alive(), "the action at this moment never ends"
        if self.errors:
            raise self.errors[0]

    def start(self, action):
        thread = threading.Thread(target=self.run, args=(action,), name="meanwhile", daemon=True)
        thread.start()
        self.threads.append(thread)
        return thread

    def run(self, action):
        try:
            action()
        except BaseException as error:
            self.errors.append(error)


def at_each_moment(make_lock, scenario, in_this_thread=False, every=1):
    """Run scenario(race) with its action at the first moment, the second, and so on, until no such moment exists.

    every: try only each `every`-th moment.

    A scenario runs in a thread of its own, so that one that gets stuck fails instead of hanging. A scenario that needs
    the main thread runs in this one.
    """
    for moment in count(step=every):
        race = Race(make_lock(), moment)
        whole = Race(race.lock, 0)
        if in_this_thread:
            whole.run(lambda race=race: scenario(race))
        else:
            thread = whole.start(lambda race=race: scenario(race))
            thread.join(3 * LIMIT)
            assert not thread.is_alive(), f"moment {moment}: stuck"
        for error in whole.errors + race.errors:
            error.add_note(f"the action came at moment {moment}")
            raise error
        if not race.happened:
            assert moment > 0, "the action never ran, so the test tests nothing"
            return
        assert moment < 2000, "the scenario never runs out of moments"


def called_from(frame, names):
    """Return True if the frame, or one that called it, belongs to a function of helpers/pools with such a name."""
    while frame is not None:
        if frame.f_code.co_name in names and frame.f_code.co_filename.startswith(FOLDER):
            return True
        frame = frame.f_back
    return False


@contextmanager
def at_line(number, action, but=()):
    """In this thread, call `action` when the `number`-th line (from 0) of helpers/pools is about to run.

    The head of a function counts as a line. What the action raises comes out of that line. The lines of the functions
    named in `but`, and of all functions that these call, do not count. Nor do those of parker.py, because a LyingLock
    calls them while it holds its mutex: an action that waits for another thread would wait forever. Gives a list that
    is empty until the action has been called, and then says at which line.
    """
    happened, left, entered = [], [number], set()

    def is_no_moment(frame):
        """Python acts after a call and in a loop only: not at `try:`, and not the second time at a `with`."""
        source = linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip()
        place = (frame, frame.f_lineno)
        again = place in entered
        entered.add(place)
        return source.startswith("try:") or (again and source.startswith("with "))

    def trace(frame, event, _):
        path = frame.f_code.co_filename
        if not path.startswith(FOLDER) or path.endswith("parker.py") or (but and called_from(frame, but)):
            return None
        if event in ("call", "line") and not happened and not is_no_moment(frame):
            left[0] -= 1
            if left[0] < 0:
                happened.append(f"{frame.f_code.co_name}, line {frame.f_lineno}")
                action()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield happened
    finally:
        sys.settrace(before)


# After these instructions Python looks whether an exception has been injected into the thread.
CHECKING = {"RESUME", "CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD"}


class Injected(BaseException):
    """An exception that another thread has injected into a worker's thread."""


@contextmanager
def dying(number, victim, but=()):
    """Raise `Injected` in a thread at the `number`-th point (from 0) of helpers/pools at which Python can inject it.

    The thread is the one whose name ends with `victim`, and it must start inside of this context. Python injects an
    exception at the beginning of a function, after a call, and in a loop, so these are the points. What the functions
    named in `but` do themselves does not count. Gives a list that is empty until then, and then says where.
    """
    happened, left, before = [], [number], {}

    def can_inject(frame):
        code = frame.f_code
        last = before.get(frame, "RESUME")
        before[frame] = opname[code.co_code[frame.f_lasti]]
        # Python 3.14 can also inject between taking a lock in `with` and entering the block. No code can prevent that.
        if sys.version_info >= (3, 14) and linecache.getline(code.co_filename, frame.f_lineno).lstrip().startswith(
            "with "
        ):
            return False
        return last in CHECKING and code.co_name not in but

    def trace(frame, event, _):
        if not frame.f_code.co_filename.startswith(FOLDER) or happened:
            return None
        if frame.f_code.co_name != "run_worker" and frame not in before and frame.f_back not in before:
            return None  # the test has called it, by what it watches
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "return" and frame.f_back in before:
            before[frame.f_back] = "RETURN_VALUE"  # Python does not look after the call of a Python function
        if event == "opcode" and can_inject(frame) and threading.current_thread().name.endswith(victim):
            left[0] -= 1
            if left[0] < 0:
                happened.append(f"{frame.f_code.co_name}, line {frame.f_lineno}")
                raise Injected
        return trace

    threading.settrace(trace)
    try:
        yield happened
    finally:
        threading.settrace(None)
