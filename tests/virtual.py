"""Virtual time for pools: their own code and real threads, but only one thread runs at a time, and the clock jumps.

No thread really waits. A thread that would wait (on its parker, or in a handler that calls `work`) returns control to
the stage, which lets the next thread run that is able to. If there is none, the stage moves the clock to the next time
at which a thread wakes up. So ten minutes of scaling take a second, and every run is the same. A test can also choose
the exact moment of an event, such as the moment when a timeout has expired and its thread has not run yet.
"""

import math
import random
import threading
from collections import Counter, deque

import pytest

from helpers.pools import alarm, basic, checks, closing, crew, intake, interrupts
from helpers.pools.parker import Parker


class StageOver(BaseException):
    """Raised in every thread that still waits when the stage is closed."""


class Actor:
    """A thread, and whether it can run."""

    def __init__(self):
        self.turn = threading.Semaphore(0)
        self.wake_at = math.inf
        self.parker = None  # the parker on which it waits


class Stage:
    """A context manager around everything that is done with a pool. `seed` shuffles the order of the threads."""

    def __init__(self, seed=None):
        self.now = 0.0
        self.over = False
        self.ready = deque()  # the actors that can run
        self.parked = []  # the actors that wait
        self.tokens = Counter()  # by parker: wake-ups that no thread has used yet
        self.current = None  # the actor that runs; None: the test itself
        self.turn = threading.Semaphore(0)  # the test waits for it while an actor runs
        self.random = random.Random(seed) if seed is not None else None

    def __enter__(self):
        stage = self
        self.patch = pytest.MonkeyPatch()

        class Thread(VirtualThread):
            def __init__(self, **options):
                super().__init__(stage, **options)

        class Clock:
            monotonic = staticmethod(self.clock)
            sleep = staticmethod(self.advance)

        for module in (crew, alarm):
            self.patch.setattr(module, "Thread", Thread)
        for module in (basic, intake, closing, checks):
            self.patch.setattr(module, "time", Clock)
        self.patch.setattr(Parker, "park", lambda parker, timeout=None: self.wait(parker, timeout))
        self.patch.setattr(Parker, "unpark", lambda parker: self.notify(parker))  # noqa: PLW0108, it must bind
        # The test acts as the main thread. No signal interrupts it, so uninterruptible steps need no extra thread.
        self.patch.setattr(interrupts, "may_be_interrupted", lambda: False)
        self.patch.setattr(basic, "start_new_thread", lambda act, arguments: act(*arguments))
        return self

    def __exit__(self, *_):
        self.over = True
        for _ in range(10):  # first the wait of a handler raises, then the wait of its worker
            self.ready.extend(self.parked)
            self.parked.clear()
            while self.ready:
                self.switch_to(self.ready.popleft())
        self.patch.undo()

    def clock(self):
        return self.now

    def work(self, seconds):
        """Let the calling handler take this number of seconds."""
        self.park(None, self.now + seconds)

    def run(self, until=math.inf, stop=None):
        """Run the threads until stop() is true or until the clock is at `until`."""
        assert self.current is None, "only the test may run the stage"
        while stop is None or not stop():
            if self.ready:
                self.switch_to(self.pick())
            elif not self.expire(until):  # no thread can run any more
                assert stop is None or until < math.inf, "deadlock: no thread can ever run"
                self.now = until if until < math.inf else self.now
                return

    def advance(self, seconds):
        self.run(self.now + seconds)

    def settle(self):
        """Run all threads that can run without moving the clock."""
        self.run(self.now)

    def expire(self, until=math.inf):
        """Move the clock to the next timeout, at most to `until`. The threads that time out do not run yet."""
        due = min((actor.wake_at for actor in self.parked), default=math.inf)
        if due > until or math.isinf(due):
            return False
        assert due < 1e5, "a thread waits forever, in slices"
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
        actor.wake_at, actor.parker = math.inf, None
        self.ready.append(actor)

    def switch_to(self, actor):
        self.current = actor
        actor.turn.release()
        assert self.turn.acquire(timeout=10), "a thread of the stage waits for something outside the stage"
        self.current = None

    def park(self, parker, wake_at):
        """Make the current actor wait."""
        if self.over:
            raise StageOver
        me = self.current
        me.wake_at, me.parker = wake_at, parker
        self.parked.append(me)
        self.turn.release()
        me.turn.acquire()
        if self.over:
            raise StageOver

    def wait(self, parker, timeout):
        """Replace `Parker.park`: use up a wake-up, or wait for one."""
        # At least a nanosecond: a shorter time can be lost in rounding, and then the clock would never move.
        until = math.inf if timeout is None else self.now + max(timeout, 1e-9)
        if not self.tokens[parker]:
            if self.current is None:
                self.run(until, stop=lambda: self.tokens[parker])
            else:
                self.park(parker, until)
        if self.tokens[parker]:
            self.tokens[parker] -= 1

    def notify(self, parker):
        """Replace `Parker.unpark`."""
        self.tokens[parker] += 1
        for actor in [actor for actor in self.parked if actor.parker is parker]:
            self.make_ready(actor)


class VirtualThread:
    def __init__(self, stage, *, target, args=(), name, daemon):
        self.stage, self.target, self.args = stage, target, args
        self.alive = False
        self.ident = None
        self.actor = Actor()
        self.thread = threading.Thread(target=self.live, name=name, daemon=daemon)

    def start(self):
        self.alive, self.ident = True, 1
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
