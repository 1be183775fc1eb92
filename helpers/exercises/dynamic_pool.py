"""Checks for notebook 05."""

import threading
from collections.abc import Callable
from typing import Any

from helpers.exercises.verdict import Verdict, attempt, expect, never_raises


@never_raises
def check_hire(answer: Any) -> Verdict:
    """hire(queued, workers, backlog, most): how many to hire now."""
    cases = [
        ((100, 2, 5, 10), 8),
        ((11, 2, 5, 10), 1),
        ((10, 2, 5, 10), 0),
        ((0, 2, 5, 10), 0),
        ((24, 2, 5, 10), 3),
        ((500, 10, 5, 10), 0),
        ((3, 1, 1, 10), 2),
        ((7, 6, 5, 10), 0),
    ]
    return expect(answer, cases, "all that the queue needs, at once, and never more than allowed.")


class Lock:
    """A lock that can be used like any other, and lets another worker in whenever it is let go."""

    def __init__(self, let_in: Callable[[], None]) -> None:
        self._lock = threading.RLock()
        self._let_in = let_in
        self.held = False

    def acquire(self) -> bool:
        self.held = self._lock.acquire()
        return True

    def release(self) -> None:
        self.held = False
        self._lock.release()
        self._let_in()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


class Crew:
    """Workers that want to go home, for `check_leave`.

    Whoever looks at `count` without holding the lock, or lets go of the lock between the look and the step, finds out
    what happens then: before they can do anything, another one leaves.
    """

    def __init__(self, count: int, minimum: int, leave: Any) -> None:
        self.minimum = minimum
        self.lock = Lock(self.let_another_leave)
        self._count = count
        self._leave = leave
        self._others = count - 1  # who would also like to go

    def let_another_leave(self) -> None:
        if self._others:
            self._others -= 1
            self._leave(self)

    @property
    def count(self) -> int:
        """How many there are."""
        seen = self._count
        if not self.lock.held:
            self.let_another_leave()
        return seen

    @count.setter
    def count(self, value: int) -> None:
        self._count = value


@never_raises
def check_leave(answer: Any) -> Verdict:
    """leave(crew): True, and one fewer, if there are more than the minimum."""
    for count, minimum in ((3, 2), (10, 2), (2, 2), (5, 1)):
        crew = Crew(count, minimum, answer)
        begun = f"{count} workers, a minimum of {minimum}"
        for _ in range(count):
            gone, problem = attempt(answer, crew)
            if problem is not None:
                return Verdict(False, f"{begun}: {problem}")
            if gone is None or gone is ...:
                return Verdict(False, "leave(crew) returns nothing so far.")
        if crew._count < minimum:
            return Verdict(False, f"{begun}, and {crew._count} stayed: between each look and step another one left.")
        if crew._count > minimum:
            return Verdict(False, f"{begun}, all wanted to go, and {crew._count} stayed.")
        if attempt(answer, crew)[0]:
            return Verdict(False, f"{begun}: at the minimum it still says True.")
    return Verdict(True, "look and step under one lock: nobody can come in between.")


@never_raises
def check_worker_seconds(answer: Any) -> Verdict:
    """worker_seconds(changes, end): what a crew costs. changes: (time, workers from then on)."""
    cases = [
        (([(0.0, 2)], 5.0), 10.0),
        (([(0.0, 2), (1.0, 10), (3.0, 4)], 4.0), 26.0),
        (([(2.0, 3), (2.5, 1)], 10.5), 9.5),
        (([(0.0, 1), (0.0, 8)], 0.5), 4.0),
    ]
    return expect(answer, cases, "everybody is paid for as long as they are there, busy or not.")
