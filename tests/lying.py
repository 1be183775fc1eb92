"""A lock that lies: another thread gets in between at a moment that the test chooses.

Between a check and its act nobody may come, so both are done under one lock. A `LyingLock` counts the moments at which
others can come: each time that one thread, the victim, is about to take the lock or has let go of it. At the n-th of
them it has something done, in another thread, before the victim goes on. `at_each_moment` runs a scenario once for
every n there is. Where check and act are one step there is no moment between them. If ever somebody parts them, there
is one, it is tried like the others, and what the scenario asserts does not hold there.
"""

import linecache
import sys
import threading
import time
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from helpers import pools

LIMIT = 10.0  # seconds until a thread that does not go on is held to be stuck


class LyingLock:
    """In place of a Lock or an RLock. `watch` is called each time it is let go of: what must hold then, always."""

    def __init__(self):
        self.lock, self.depth = threading.RLock(), 0
        self.moment, self.victim, self.action = 0, None, None
        self.asleep = set()  # names of the threads that wait on a condition, and have no more moment before they wake
        self.watch = None

    def between(self):
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
        if self.depth == 1 and self.watch is not None:
            self.watch()
        self.depth -= 1
        self.lock.release()
        self.between()

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *_):
        self.release()

    # What a Condition wants of its lock.

    def _is_owned(self):
        return self.lock._is_owned()

    def locked(self):  # what a Condition asks its lock for, from Python 3.14 on
        return self.lock.locked()

    def _release_save(self):
        if self.watch is not None:
            self.watch()
        depth, self.depth = self.depth, 0
        held = self.lock._release_save()
        self.between()
        self.asleep.add(threading.current_thread().name)
        return held, depth

    def _acquire_restore(self, saved):
        self.asleep.discard(threading.current_thread().name)
        self.between()
        self.lock._acquire_restore(saved[0])
        self.depth = saved[1]


class Race:
    """One run of a scenario, with the action at one moment."""

    def __init__(self, lock, moment):
        self.lock, self.moment = lock, moment
        self.happened = False
        self.threads, self.errors = [], []
        self.mutex = threading.Lock()  # it happens once, or not at all any more: which, is settled under this one

    def meanwhile(self, action, until=None, victim=None):
        """At the moment: `action`, in another thread, to its end or, if it must wait for the victim, `until` is true.

        The victim is the calling thread or, if `victim` is given, the thread whose name ends so.
        """
        me = threading.current_thread()

        def happen():
            with self.mutex:
                if self.lock.action is None:
                    return
                self.lock.action, self.happened = None, True
                thread = self.start(action)
            deadline = time.monotonic() + LIMIT
            while thread.is_alive() and not (until is not None and until()):
                if time.monotonic() > deadline:
                    self.errors.append(AssertionError("what happens at this moment gets stuck"))
                    return
                time.sleep(0.0002)

        self.lock.moment = self.moment
        if victim is None:
            self.lock.victim = lambda: threading.current_thread() is me
        else:
            self.lock.victim = lambda: threading.current_thread().name.endswith(victim)
        self.lock.action = happen

    def otherwise(self, action):
        """If it has not happened in a while, because no moment was left: do this, or somebody would wait for ever."""

        def later():
            time.sleep(0.1)
            with self.mutex:
                self.lock.action = None
            if not self.happened:
                action()

        self.start(later)

    def over(self):
        """From now on nothing happens any more; what has begun comes to its end."""
        with self.mutex:
            self.lock.action = None
        for thread in self.threads:
            thread.join(LIMIT)
            assert not thread.is_alive(), "what has happened at this moment never ends"
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


def at_each_moment(make_lock, scenario):
    """Run scenario(race) with its action at the first moment, the second, … until there is no such moment any more."""
    for moment in count():
        race = Race(make_lock(), moment)
        whole = Race(race.lock, 0)  # so that a scenario that gets stuck fails, and does not hang
        thread = whole.start(lambda race=race: scenario(race))
        thread.join(3 * LIMIT)
        assert not thread.is_alive(), f"moment {moment}: stuck"
        for error in whole.errors + race.errors:
            error.add_note(f"something happened at moment {moment}")
            raise error
        if not race.happened:
            assert moment > 0, "nothing ever happened: this tries nothing"
            return
        assert moment < 2000, "there is no end of moments"


@contextmanager
def at_line(number, action, but=()):
    """In this thread, when the `number`-th line (from 0) of helpers/pools is about to run, a function's head included:
    `action`, and what it raises comes out of that line. Gives a list that is empty until then, and then says where.
    The lines of the functions named in `but` do not count.
    """
    folder, happened, left, entered = str(Path(pools.__file__).parent), [], [number], set()

    def is_no_moment(frame):
        """At `try:` and, the second time, at a `with` nobody comes: Python looks up after a call and in a loop only."""
        source = linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip()
        place = (frame, frame.f_lineno)
        again = place in entered
        entered.add(place)
        put_off = frame.f_code.co_name in but
        return put_off or source.startswith("try:") or (again and source.startswith("with "))

    def trace(frame, event, _):
        if not frame.f_code.co_filename.startswith(folder):
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
