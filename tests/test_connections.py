"""Connections that workers share: no more than the server allows, fair waiting, and no long wait for a dead server."""

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
    """Accepts `cap` connections at a time (0: none, as if the server were down), and counts them."""

    def __init__(self, cap: int) -> None:
        # The lock guards all counters: at most `cap` connections are open, and `most` is the maximum so far.
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
        if connection:  # a broken connection is closed only once
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
def test_there_are_as_many_connections_as_workers_or_as_the_server_allows(workers, cap, most):
    server = Server(cap)
    connections = shared(server)
    barrier = threading.Barrier(workers)

    def handler(job):
        if job < workers:
            barrier.wait(20)  # all workers ask for a connection at the same moment
        return use(current_worker().resource, job)

    with WorkerPool(handler, workers=workers, resource=connections.member) as pool:
        values = sorted(r.value for r in pool.stream(range(200)))
    assert values == list(range(200))
    assert server.most <= most and server.inside == 0 and connections.working() == 0


def test_a_returned_connection_is_reused():
    server = Server(5)
    with WorkerPool(lambda job: use(current_worker().resource), workers=1, resource=shared(server).member) as pool:
        assert all(r.ok for r in pool.stream(range(20)))
    assert server.opened == 1


def test_the_worker_that_has_waited_longest_is_served_first():
    server = Server(1)
    connections = shared(server, random=lambda: 1e6)  # a backoff without end: no worker asks the server twice
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


def test_a_worker_that_returns_and_takes_again_waits_behind_the_others():
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
    assert got.is_set(), "the waiting worker was served first"
    connections.give_back(mine)
    thread.join(20)


def test_take_fails_after_patience_seconds_without_a_connection_and_then_at_once():
    server = Server(0)
    connections = shared(server, patience=0.2, random=lambda: 1.0)
    begun = time.monotonic()
    with pytest.raises(NoConnection, match=r"worked for 0.2 s; the last attempt: ConnectionRefusedError: 421 only 0"):
        connections.take(NEVER)
    assert time.monotonic() - begun >= 0.2
    asked = server.refused
    for _ in range(500):
        with pytest.raises(NoConnection):
            connections.take(NEVER)
    assert server.refused - asked < 50, "most calls failed at once, without asking the server"


def test_a_server_that_is_up_again_is_noticed():
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


def test_no_worker_stops_waiting_while_one_connection_works():
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


def test_after_a_refusal_one_worker_at_a_time_asks_the_server():
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


def test_a_new_connection_that_breaks_counts_as_a_refusal_and_a_proven_one_does_not():
    server = Server(2)
    connections = shared(server)
    broken = connections.take(NEVER)
    assert connections.discard(broken, OSError("reset")) is True
    good = connections.take(NEVER)
    connections.give_back(good)
    assert connections.working() == 1
    assert connections.discard(connections.take(NEVER), OSError("reset")) is False
    assert connections.working() == 0 and server.inside == 0


def refused_while_used(connections: Connections[list[str]], server: Server, refusals: int) -> int:
    """Return the refusals in a row while one worker waits for a second connection and the first one is in use."""
    first = connections.take(NEVER)
    waiting = threading.Thread(target=lambda: connections.give_back(connections.take(NEVER)))
    waiting.start()
    wait_until(lambda: server.refused > refusals)  # the last one may not be recorded yet
    counted = connections._refusals
    connections.give_back(first)
    waiting.join(20)
    return counted


def test_a_connection_that_goes_on_working_does_not_end_the_backoff():
    server = Server(1)
    connections = shared(server)  # no jitter, so that the backoffs take no time and only their number counts
    connections.give_back(connections.take(NEVER))
    counted = [refused_while_used(connections, server, 5 * n) for n in range(1, 4)]
    assert counted[0] >= 5 and counted == sorted(counted) and counted[2] >= 15


@pytest.mark.parametrize("ended", ["a new connection works", "a working connection has ended"])
def test_the_backoff_starts_again_when_the_server_has_room(ended):
    server = Server(1)
    connections = shared(server)
    connections.give_back(connections.take(NEVER))
    assert refused_while_used(connections, server, 5) >= 5
    first = connections.take(NEVER)
    if ended == "a new connection works":
        server.cap = 2
        connections.give_back(connections.take(NEVER))
    else:
        connections.discard(first, OSError("reset"))
    assert connections._refusals == 0


def test_a_connection_that_has_ended_is_replaced_before_a_long_backoff_is_over():
    server = Server(1)
    luck = [1e6]
    connections = shared(server, random=lambda: luck[0])
    first = connections.take(NEVER)
    connections.give_back(first)
    assert connections.take(NEVER) is first
    waiting = threading.Thread(target=lambda: connections.give_back(connections.take(NEVER)))
    waiting.start()
    wait_until(lambda: server.refused == 1)  # from now on the backoff is a million times longer than usual
    luck[0] = 1.0
    connections.discard(first, OSError("reset"))
    waiting.join(20)
    assert not waiting.is_alive() and server.opened == 2


def test_after_another_error_of_connect_the_next_worker_can_connect():
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


def test_a_worker_that_waits_for_a_connection_stops_when_the_pool_does():
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


def test_the_callers_code_runs_without_the_lock():
    """`random`, and the error's `__str__`, may call back: with the lock held they would wait for themselves."""

    class Odd(OSError):
        def __str__(self) -> str:
            return f"working: {connections.working()}"

    def connect() -> object:
        raise Odd

    def random() -> float:
        return float(connections.working())

    connections: Connections[object] = Connections(connect, lambda c: None, patience=0.01, random=random)
    with pytest.raises(NoConnection, match="the last attempt: Odd: working: 0"):
        connections.take(NEVER)
    assert connections.discard(object(), Odd()) is True


def test_an_error_that_cannot_be_converted_still_gives_no_connection():
    class Worse(OSError):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    def connect() -> object:
        raise Worse

    connections: Connections[object] = Connections(connect, lambda c: None, patience=0.01, random=lambda: 0.0)
    with pytest.raises(NoConnection, match=r"str\(\) raised RuntimeError"):
        connections.take(NEVER)


@given(st.integers(1, 10**6), st.floats(0.001, 10), st.floats(0.001, 100), st.floats(0, 1))
def test_backoff_stays_between_zero_and_the_cap(attempt, base, cap, chance):
    assert 0 <= full_jitter(attempt, base=base, cap=cap, random=lambda: chance) <= cap
    assert ceiling(attempt, base, cap) <= ceiling(attempt + 1, base, cap)


def test_backoff_doubles_up_to_the_cap():
    assert [ceiling(n, 0.1, 1.0) for n in range(1, 7)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
    assert full_jitter(3, base=0.1, cap=1.0, random=lambda: 0.5) == pytest.approx(0.2)
