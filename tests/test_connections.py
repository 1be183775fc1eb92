"""Connections that workers share: never more than the server allows, a fair line, no wait for a server that is gone."""

import threading
import time
from threading import Event

import pytest
from conftest import wait_until
from hypothesis import given
from hypothesis import strategies as st

from helpers.pools import JobCancelled, WorkerPool, current_worker
from helpers.pools.backoff import ceiling, full_jitter
from helpers.pools.connections import Connections, NoConnection

NEVER = Event()


class Server:
    """Lets `cap` in at a time (0: nobody, as if it were not there); counts."""

    def __init__(self, cap: int) -> None:
        # The lock guards: at most `cap` are inside, and most is the greatest number that has been.
        self.lock = threading.Lock()
        self.cap = cap
        self.inside = self.most = self.opened = self.refused = 0

    def connect(self) -> list[str]:
        with self.lock:
            if self.inside >= self.cap:
                self.refused += 1
                raise ConnectionRefusedError(f"421 only {self.cap} at a time")
            self.inside += 1
            self.opened += 1
            self.most = max(self.most, self.inside)
            return ["a connection"]

    def close(self, connection: list[str]) -> None:
        if connection:  # a broken one is closed once
            connection.clear()
            with self.lock:
                self.inside -= 1


def shared(server: Server, patience: float = 10.0, random=lambda: 0.0) -> Connections[list[str]]:
    return Connections(server.connect, server.close, patience=patience, random=random)


def use(connections: Connections[list[str]], job: object = None) -> object:
    connection = connections.take(current_worker().cancelled)
    time.sleep(0.001)
    connections.give_back(connection)
    return job


@pytest.mark.parametrize(("workers", "cap", "most"), [(3, 10, 3), (10, 3, 3), (10, 1, 1)])
def test_as_many_as_workers_or_as_the_server_allows_and_every_job_is_done(workers, cap, most):
    server = Server(cap)
    connections = shared(server)
    barrier = threading.Barrier(workers)

    def handler(job):
        if job < workers:
            barrier.wait(20)  # so that all ask at the same moment
        return use(current_worker().resource, job)

    with WorkerPool(handler, workers=workers, resource=connections.member) as pool:
        values = sorted(r.value for r in pool.stream(range(200)))
    assert values == list(range(200))
    assert server.most <= most and server.inside == 0 and connections.working() == 0


def test_a_kept_connection_is_used_again():
    server = Server(5)
    with WorkerPool(lambda job: use(current_worker().resource), workers=1, resource=shared(server).member) as pool:
        assert all(r.ok for r in pool.stream(range(20)))
    assert server.opened == 1


def test_the_line_is_fair():
    server = Server(1)
    connections = shared(server, random=lambda: 1e6)  # nobody asks the server twice: all stay in line
    first = connections.take(NEVER)
    order: list[int] = []

    def customer(number: int) -> None:
        connection = connections.take(NEVER)
        order.append(number)
        connections.give_back(connection)

    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=customer, args=(number,)))
        threads[-1].start()
        wait_until(lambda n=number: server.refused == 1 and len(connections._line) == n + 1)
    connections.give_back(first)
    for thread in threads:
        thread.join(20)
    again = connections.take(NEVER)
    assert order == [0, 1, 2, 3, 4]
    connections.give_back(again)


def test_who_gives_back_and_asks_again_stands_behind_who_waits():
    server = Server(1)
    connections = shared(server, random=lambda: 1e6)
    mine = connections.take(NEVER)
    got = Event()

    def other() -> None:
        connection = connections.take(NEVER)
        got.set()
        connections.give_back(connection)

    thread = threading.Thread(target=other)
    thread.start()
    wait_until(lambda: server.refused == 1 and len(connections._line) == 1)
    connections.give_back(mine)
    mine = connections.take(NEVER)
    assert got.is_set(), "who has waited was served first"
    connections.give_back(mine)
    thread.join(20)


def test_a_server_that_is_not_there_is_given_up_after_patience_and_then_at_once():
    server = Server(0)
    connections = shared(server, patience=0.2, random=lambda: 1.0)
    begun = time.monotonic()
    with pytest.raises(NoConnection, match=r"worked for 0.2 s; the last attempt: 421 only 0"):
        connections.take(NEVER)
    assert time.monotonic() - begun >= 0.2
    asked = server.refused
    for _ in range(500):
        with pytest.raises(NoConnection):
            connections.take(NEVER)
    assert server.refused - asked < 50, "most were told at once, without asking the server"


def test_a_server_that_comes_back_is_found_again():
    server = Server(0)
    connections = shared(server, patience=0.05)
    with pytest.raises(NoConnection):
        connections.take(NEVER)
    server.cap = 1

    def works() -> bool:
        try:
            connections.give_back(connections.take(NEVER))
        except NoConnection:
            return False
        return True

    wait_until(works)
    assert connections.working() == 1


def test_while_one_connection_works_nobody_gives_up():
    server = Server(1)
    connections = shared(server, patience=0.01)
    connections.give_back(connections.take(NEVER))
    mine = connections.take(NEVER)
    waiting = threading.Thread(target=lambda: connections.give_back(connections.take(NEVER)))
    waiting.start()
    wait_until(lambda: server.refused >= 2)
    time.sleep(0.05)
    assert waiting.is_alive()
    connections.give_back(mine)
    waiting.join(20)
    assert not waiting.is_alive()


def test_after_a_refusal_one_at_a_time_asks():
    asking, most = [0], [0]
    lock = threading.Lock()

    def connect() -> object:
        with lock:
            asking[0] += 1
            most[0] = max(most[0], asking[0])
        time.sleep(0.002)
        with lock:
            asking[0] -= 1
        raise ConnectionRefusedError("no")

    connections: Connections[object] = Connections(connect, lambda c: None, patience=0.1, random=lambda: 0.0)
    with pytest.raises(NoConnection):
        connections.take(NEVER)
    most[0] = 0

    def handler(job):
        with pytest.raises(NoConnection):
            connections.take(NEVER)

    with WorkerPool(handler, workers=8) as pool:
        assert all(r.ok for r in pool.stream(range(40)))
    assert most[0] <= 1


def test_a_new_connection_that_breaks_counts_as_a_refusal_and_an_old_one_does_not():
    server = Server(2)
    connections = shared(server)
    broken = connections.take(NEVER)
    assert connections.discard(broken, OSError("reset")) is True
    good = connections.take(NEVER)
    connections.give_back(good)
    assert connections.working() == 1
    assert connections.discard(connections.take(NEVER), OSError("reset")) is False
    assert connections.working() == 0 and server.inside == 0


def test_a_connect_that_raises_something_else_lets_the_next_one_try():
    calls = []

    def connect() -> object:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("a bug")
        return object()

    connections: Connections[object] = Connections(connect, lambda c: None)
    with pytest.raises(ValueError, match="a bug"):
        connections.take(NEVER)
    connections.give_back(connections.take(NEVER))
    assert connections.working() == 1


def test_who_waits_for_a_connection_stops_when_the_pool_does():
    server = Server(1)
    connections = shared(server)
    held = connections.take(NEVER)
    pool = WorkerPool(lambda job: use(current_worker().resource), workers=3, resource=connections.member)
    for job in range(5):
        pool.submit(job)
    wait_until(lambda: pool.stats().running == 3)
    report = pool.force_shutdown()
    assert sorted(report.cancelled) == [0, 1, 2, 3, 4] and not report.still_running and not report.finished
    assert report.stats.cancelled == 5 and report.stats.failed == 0
    assert all(isinstance(r.error, JobCancelled) for r in pool.results())
    connections.give_back(held)


@given(st.integers(1, 10**6), st.floats(0.001, 10), st.floats(0.001, 100), st.floats(0, 1))
def test_backoff_stays_between_nothing_and_the_cap(attempt, base, cap, chance):
    assert 0 <= full_jitter(attempt, base=base, cap=cap, random=lambda: chance) <= cap
    assert ceiling(attempt, base, cap) <= ceiling(attempt + 1, base, cap)


def test_backoff_doubles_up_to_the_cap():
    assert [ceiling(n, 0.1, 1.0) for n in range(1, 7)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
    assert full_jitter(3, base=0.1, cap=1.0, random=lambda: 0.5) == pytest.approx(0.2)
