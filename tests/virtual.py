"""A stage for pools: their own code and real threads, but one thread at a time, and a clock that jumps.

Nobody waits for real. A thread that would wait (for a condition, or in a handler that calls `work`) hands the turn
back to the stage, which picks the next one that can go on; if there is none, it moves the clock to the next time at
which somebody wakes. So ten minutes of scaling take a second, every run is the same, and a test can choose the very
moment in which something happens: a time-out that has struck but whose thread has not moved yet, say.
"""

import math
import random
import threading
from collections import deque

import pytest

from helpers.pools import alarm, basic, checks


class StageOver(BaseException):
    """Raised in whoever still waits when the stage closes."""


class Actor:
    """A thread, and whether it can go on."""

    def __init__(self):
        self.turn = threading.Semaphore(0)
        self.wake_at = math.inf
        self.bell = None  # the condition it waits for


class Stage:
    """Use as a context manager, around everything that is done with a pool. `seed` shuffles who goes first."""

    def __init__(self, seed=None):
        self.now = 0.0
        self.over = False
        self.ready = deque()  # actors that can go on
        self.parked = []  # actors that wait
        self.current = None  # the actor whose turn it is; None: the test itself
        self.turn = threading.Semaphore(0)  # of the test
        self.random = random.Random(seed) if seed is not None else None

    def __enter__(self):
        stage = self
        self.patch = pytest.MonkeyPatch()

        class Thread(VirtualThread):
            def __init__(self, **options):
                super().__init__(stage, **options)

        class Clock:
            monotonic = staticmethod(self.clock)

        for module in (basic, alarm):
            self.patch.setattr(module, "Thread", Thread)
            self.patch.setattr(module, "Condition", lambda lock: VirtualCondition(stage, lock))
        for module in (basic, checks):
            self.patch.setattr(module, "time", Clock)
        return self

    def __exit__(self, *_):
        self.over = True
        for _ in range(10):  # a handler's wait becomes its error, then its worker's wait ends it
            self.ready.extend(self.parked)
            self.parked.clear()
            while self.ready:
                self.switch_to(self.ready.popleft())
        self.patch.undo()

    def clock(self):
        return self.now

    def work(self, seconds):
        """For handlers: take that long."""
        self.park(None, self.now + seconds)

    def run(self, until=math.inf, stop=None):
        """Let all go on until stop() is true, or nobody can before `until`; the clock is then at `until`."""
        assert self.current is None, "only the test runs the stage"
        while stop is None or not stop():
            if self.ready:
                self.switch_to(self.pick())
            elif not self.expire(until):  # nobody can go on, and nobody will
                assert stop is None or until < math.inf, "deadlock: nobody can ever go on"
                self.now = until if until < math.inf else self.now
                return

    def advance(self, seconds):
        self.run(self.now + seconds)

    def settle(self):
        """Let all go on that can without the clock."""
        self.run(self.now)

    def expire(self, until=math.inf):
        """Move the clock to the next time-out, not after `until`. Who times out is ready, and has not moved yet."""
        due = min((actor.wake_at for actor in self.parked), default=math.inf)
        if due > until or math.isinf(due):
            return False
        assert due < 1e5, "somebody waits for ever, in slices"
        self.now = max(self.now, due)
        for actor in [actor for actor in self.parked if actor.wake_at <= self.now]:
            self.make_ready(actor)
        return True

    def pick(self):
        if self.random is not None:
            self.ready.rotate(self.random.randrange(len(self.ready)))
        return self.ready.popleft()

    def make_ready(self, actor):
        self.parked.remove(actor)
        if actor.bell is not None:
            actor.bell.waiting.remove(actor)
        actor.wake_at, actor.bell = math.inf, None
        self.ready.append(actor)

    def switch_to(self, actor):
        self.current = actor
        actor.turn.release()
        assert self.turn.acquire(timeout=10), "a thread on the stage waits for something that is not on it"
        self.current = None

    def park(self, bell, wake_at):
        """The actor whose turn it is waits."""
        if self.over:
            raise StageOver
        me = self.current
        me.wake_at, me.bell = wake_at, bell
        self.parked.append(me)
        if bell is not None:
            bell.waiting.append(me)
        self.turn.release()
        me.turn.acquire()
        if self.over:
            raise StageOver


class VirtualCondition:
    def __init__(self, stage, lock):
        self.stage, self.lock = stage, lock
        self.waiting = deque()
        self.main_called = False

    def __enter__(self):
        return self.lock.__enter__()

    def __exit__(self, *error):
        return self.lock.__exit__(*error)

    def wait(self, timeout=None):
        # At least a nanosecond: less may be lost in rounding, and then the clock would stand still.
        until = math.inf if timeout is None else self.stage.now + max(timeout, 1e-9)
        held = self.lock._release_save()
        try:
            if self.stage.current is None:
                self.main_called = False
                self.stage.run(until, stop=lambda: self.main_called)
            else:
                self.stage.park(self, until)
        finally:
            self.lock._acquire_restore(held)

    def notify(self, n=1):
        if not self.waiting:
            self.main_called = True
        for _ in range(min(n, len(self.waiting))):
            self.stage.make_ready(self.waiting[0])

    def notify_all(self):
        self.notify(len(self.waiting))
        self.main_called = True


class VirtualThread:
    def __init__(self, stage, *, target, args=(), name, daemon):
        self.stage, self.target, self.args = stage, target, args
        self.alive = False
        self.actor = Actor()
        self.thread = threading.Thread(target=self.live, name=name, daemon=daemon)

    def start(self):
        self.alive = True
        self.stage.ready.append(self.actor)
        self.thread.start()

    def live(self):
        self.actor.turn.acquire()
        try:
            self.target(*self.args)
        except StageOver:
            pass
        finally:
            self.alive = False
            self.stage.turn.release()

    def is_alive(self):
        return self.alive

    def join(self, timeout):
        self.stage.run(self.stage.now + timeout, stop=lambda: not self.alive)
