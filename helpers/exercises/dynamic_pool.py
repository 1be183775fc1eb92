"""Checks for notebook 05."""

import threading
from collections.abc import Callable
from typing import Any

from helpers.exercises.verdict import Verdict, attempt, expect, never_raises


@never_raises
def check_backlog_for(answer: Any) -> Verdict:
    """Check backlog_for(service_ms, wait_ms): the largest backlog that keeps the wait, but at least 1."""
    cases = [
        ((20, 100), 5),
        ((30, 100), 3),
        ((50, 50), 1),
        ((500, 100), 1),
        ((1, 250), 250),
        ((40, 79), 1),
    ]
    return expect(answer, cases, "backlog x service time is the longest wait, so backlog = wait / service time.")


class Lock:
    """A lock with the usual methods. Whenever it is released, another worker runs."""

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
    """Workers that all want to retire, for `check_retire`.

    If an answer reads `count` without the lock, or releases the lock between the check and the change, another worker
    retires at that point. So a race that is rare with real threads happens in every run.
    """

    def __init__(self, count: int, minimum: int, retire: Any) -> None:
        self.minimum = minimum
        self.lock = Lock(self.let_another_retire)
        self._count = count
        self._retire = retire
        self._others = count - 1  # the workers that have not tried to retire yet

    def let_another_retire(self) -> None:
        if self._others:
            self._others -= 1
            self._retire(self)

    @property
    def count(self) -> int:
        """The number of workers."""
        seen = self._count
        if not self.lock.held:
            self.let_another_retire()
        return seen

    @count.setter
    def count(self, value: int) -> None:
        self._count = value


@never_raises
def check_retire(answer: Any) -> Verdict:
    """Check retire(crew): True, and one worker fewer, if there are more workers than the minimum."""
    for count, minimum in ((3, 2), (10, 2), (2, 2), (5, 1)):
        crew = Crew(count, minimum, answer)
        start = f"{count} workers, a minimum of {minimum}"
        for _ in range(count):
            retired, problem = attempt(answer, crew)
            if problem is not None:
                return Verdict(False, f"{start}: {problem}")
            if retired is None or retired is ...:
                return Verdict(False, "retire(crew) returns nothing so far.")
        if crew._count < minimum:
            return Verdict(
                False, f"{start}: {crew._count} are left. Between a check and its change, another worker retired."
            )
        if crew._count > minimum:
            return Verdict(False, f"{start}: all tried to retire, and {crew._count} are left.")
        if attempt(answer, crew)[0]:
            return Verdict(False, f"{start}: at the minimum, it still returns True.")
    return Verdict(True, "check and change are under one lock, so no other worker can come in between.")


@never_raises
def check_worker_seconds(answer: Any) -> Verdict:
    """Check worker_seconds_of(changes, end); changes are pairs (time, number of workers from then on)."""
    cases = [
        (([(0.0, 2)], 5.0), 10.0),
        (([(0.0, 2), (1.0, 10), (3.0, 4)], 4.0), 26.0),
        (([(2.0, 3), (2.5, 1)], 10.5), 9.5),
        (([(0.0, 1), (0.0, 8)], 0.5), 4.0),
    ]
    return expect(answer, cases, "each worker counts for as long as it exists, busy or idle.")
