"""A channel keeps the order and its bound, loses no item, and wakes all waiting threads when it is closed."""

import threading

import pytest
from conftest import wait_until

from helpers.pools import Channel, ChannelClosed


def test_items_come_out_in_order_and_the_loop_ends_when_closed_and_empty():
    channel = Channel(3)
    for item in "abc":
        channel.send(item)
    channel.close()
    assert list(channel) == ["a", "b", "c"]


def test_a_send_waits_for_room_and_times_out():
    channel = Channel(1)
    channel.send(1)
    with pytest.raises(TimeoutError, match="no room for 2 within 0.01 s"):
        channel.send(2, timeout=0.01)
    sender = threading.Thread(target=channel.send, args=(3,))
    sender.start()
    assert channel.receive() == 1
    sender.join(20)
    assert channel.receive() == 3 and len(channel) == 0


def test_a_receive_waits_for_an_item_and_times_out():
    channel = Channel(None)
    with pytest.raises(TimeoutError, match="no item arrived within 0.01 s"):
        channel.receive(timeout=0.01)
    threading.Timer(0.01, channel.send, args=("late",)).start()
    assert channel.receive(timeout=20) == "late"


def test_without_a_capacity_a_send_never_waits():
    channel = Channel(None)
    for item in range(10_000):
        channel.send(item, timeout=0)
    assert len(channel) == 10_000


def test_close_releases_all_blocked_threads_and_refuses_later_items():
    full, empty = Channel(1), Channel(1)
    full.send("kept")
    errors = []

    def run(call, *args):
        try:
            call(*args)
        except ChannelClosed as error:
            errors.append(str(error))

    threads = [threading.Thread(target=run, args=(full.send, "x")) for _ in range(3)]
    threads += [threading.Thread(target=run, args=(empty.receive,)) for _ in range(3)]
    for t in threads:
        t.start()
    full.close()
    empty.close()
    empty.close()  # closing twice is allowed
    for t in threads:
        t.join(20)
    assert len(errors) == 6
    with pytest.raises(ChannelClosed, match="'late' was not sent"):
        full.send("late")
    assert full.closed and list(full) == ["kept"]


def test_many_producers_and_consumers_lose_nothing():
    channel = Channel(7)
    got = [[] for _ in range(4)]
    consumers = [threading.Thread(target=lambda box=box: box.extend(channel)) for box in got]
    producers = [threading.Thread(target=lambda n=n: [channel.send((n, i)) for i in range(500)]) for n in range(3)]
    for t in consumers + producers:
        t.start()
    for t in producers:
        t.join(60)
    channel.close()
    for t in consumers:
        t.join(60)
    items = [item for box in got for item in box]
    assert sorted(items) == [(n, i) for n in range(3) for i in range(500)]
    for box in got:  # each consumer received the items of each producer in order
        for n in range(3):
            mine = [i for p, i in box if p == n]
            assert mine == sorted(mine)


def test_the_bound_holds():
    channel = Channel(2)
    sent = []
    sender = threading.Thread(target=lambda: [(channel.send(i), sent.append(i)) for i in range(5)])
    sender.start()
    wait_until(lambda: len(sent) == 2)
    assert len(channel) == 2
    assert [channel.receive(20) for _ in range(5)] == [0, 1, 2, 3, 4]
    sender.join(20)


class Hostile:
    """An item whose `repr` is the user's code, here `text()`."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text()


def fail():
    raise KeyError("no text")


@pytest.mark.parametrize(
    "item",
    [Hostile(fail), Hostile(lambda: "x" * 10**7), Hostile(lambda: 5), b"x" * 10**7, "x" * 10**7, [["x" * 10**5] * 10]],
    ids=["raises", "long", "no text", "bytes", "str", "list"],
)
def test_an_item_that_is_hard_to_describe_is_refused_by_the_right_error_and_a_short_message(item):
    full, closed = Channel(1), Channel(1)
    full.send("first")
    with pytest.raises(TimeoutError, match="^no room for .* within 0.01 s$") as refusal:
        full.send(item, timeout=0.01)
    assert len(str(refusal.value)) < 300
    closed.close()
    with pytest.raises(
        ChannelClosed, match="^the channel is closed and takes no more items: .* was not sent$"
    ) as refusal:
        closed.send(item)
    assert len(str(refusal.value)) < 300
    assert list(closed) == [] and full.receive(timeout=0) == "first" and len(full) == 0


def test_a_timeout_that_is_hard_to_describe_does_not_hide_the_error():
    class Seconds(float):
        __repr__ = __str__ = __format__ = lambda self, *_: fail()

    full, empty = Channel(1), Channel(1)
    full.send("first")
    with pytest.raises(TimeoutError, match="no room for 'second' within <Seconds "):
        full.send("second", timeout=Seconds(0.01))
    with pytest.raises(TimeoutError, match="no item arrived within <Seconds "):
        empty.receive(timeout=Seconds(0.01))


def test_an_item_is_described_without_the_lock():
    """Otherwise an item whose `repr` uses the channel would block the channel forever."""
    channel = Channel(1)
    channel.send("first")
    seen = []
    item = Hostile(lambda: seen.append(channel.receive(timeout=0)) or channel.close() or "the item")
    errors = []

    def send():
        try:
            channel.send(item, timeout=0)
        except TimeoutError as error:
            errors.append(str(error))

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    sender.join(20)
    assert errors == ["no room for the item within 0 s"]
    assert seen == ["first"] and channel.closed
