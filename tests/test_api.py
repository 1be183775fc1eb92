"""The HTTP API enforces its limits, listens on loopback only, and stops with its owner."""

import asyncio
import math
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest
from conftest import new_threads, wait_until

from helpers.services import Api, FetchUser, FetchUserAsync
from helpers.services.api import TokenBucket, Verdict
from helpers.services.child import ServiceError

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")


def bucket(**changes):
    return TokenBucket(**{"rate": 10, "burst": 3, "ban_after": 4, "ban_seconds": 60.0, **changes})


def get(api, key=None, path="/users/7"):
    headers = {} if key is None else {"X-Api-Key": key}
    return httpx.get(api.url + path, headers=headers, trust_env=False, timeout=30)


def server_of(owner=None):
    """Return the child of this process (or of the process `owner`) that listens."""
    children = psutil.Process(owner).children()
    return next(p for p in children if any(c.status == psutil.CONN_LISTEN for c in p.net_connections("inet")))


def gone(process):
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def refused(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


# The bucket, in virtual time


def test_a_full_bucket_gives_its_burst_and_then_says_how_long_to_wait():
    tokens = bucket()
    assert [tokens.request(100.0) for _ in range(4)] == [Verdict(200)] * 3 + [Verdict(429, 0.1)]
    assert tokens.request(100.05) == Verdict(429, pytest.approx(0.05))


def test_tokens_come_in_at_the_rate_and_never_exceed_the_burst():
    tokens = bucket(ban_after=1000)
    answers = [tokens.request(i / 100).status for i in range(1000)]  # 10 s, less the last 10 ms
    assert answers.count(200) == 3 + 99
    assert [tokens.request(1e6).status for _ in range(4)] == [200, 200, 200, 429]


@pytest.mark.parametrize("rate", [0.3, 3, 7, 10, 99.9])
def test_a_client_that_waits_for_retry_after_is_not_refused_again(rate):
    tokens, now = bucket(rate=rate, burst=1, ban_after=10**9), 0.1
    for _ in range(2000):
        if tokens.request(now).status == 429:
            now += tokens.request(now).retry_after
            assert tokens.request(now).status == 200
        now += 0.01 / rate


def test_a_ban_begins_after_ban_after_refusals_and_ends_on_time():
    tokens = bucket()
    assert [tokens.request(5.0).status for _ in range(9)] == [200] * 3 + [429] * 4 + [403] * 2
    assert tokens.request(35.0) == Verdict(403, 30.0)
    assert tokens.request(64.999).status == 403, "a call neither lengthens nor ends a ban"
    assert [tokens.request(65.0).status for _ in range(8)] == [200] * 3 + [429] * 4 + [403], (
        "the refusals are counted from 0 again"
    )


# The server


def test_answers_refusals_and_counts():
    with Api(rate=0.01, burst=2, ban_after=3, ban_seconds=60, latency=0) as api:
        answers = [get(api) for _ in range(7)]
        assert [a.status_code for a in answers] == [200] * 2 + [429] * 3 + [403] * 2
        assert answers[0].json() == {"id": 7, "name": "User 7"}
        for answer in answers[2:]:
            exact = answer.json()["retry_after"]
            assert answer.headers["Retry-After"] == str(math.ceil(exact))
        assert 90 < answers[2].json()["retry_after"] <= 100
        assert 50 < answers[6].json()["retry_after"] <= 60
        assert api.counts() == {200: 2, 429: 3, 403: 2}
        assert api.counts() == {200: 2, 429: 3, 403: 2}, "counts() is neither limited nor counted"
        assert get(api, path="/users/x").status_code == 404


def test_each_key_has_a_bucket_of_its_own():
    with Api(rate=0.01, burst=1, ban_after=1, latency=0) as api:
        for key in ("ann", "bob", None):
            assert [get(api, key).status_code for _ in range(3)] == [200, 429, 403], key


def test_a_ban_ends():
    with Api(rate=1000, burst=1, ban_after=1, ban_seconds=0.3, latency=0) as api:
        with ThreadPoolExecutor(4) as crowd:
            while 403 not in list(crowd.map(lambda _: get(api).status_code, range(16))):
                pass
        wait_until(lambda: get(api).status_code == 200)


def test_an_answer_takes_its_latency_and_a_refusal_does_not():
    with Api(rate=0.01, burst=1, latency=2.0) as api:
        finished = []

        def fetch():
            finished.append(get(api))

        threads = [threading.Thread(target=fetch) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [a.status_code for a in finished] == [429, 200]
        assert finished[0].elapsed.total_seconds() < 2.0 <= finished[1].elapsed.total_seconds()


def test_both_handlers_get_users_and_raise_for_refusals():
    with Api(rate=0.01, burst=2, ban_after=1, latency=0) as api:
        sync, awaited = pickle.loads(pickle.dumps((FetchUser(api.url, "k"), FetchUserAsync(api.url, "k"))))
        assert sync(3) == {"id": 3, "name": "User 3"}
        assert asyncio.run(awaited(4)) == {"id": 4, "name": "User 4"}
        with pytest.raises(httpx.HTTPStatusError) as refusal:
            sync(5)
        assert 50 < int(refusal.value.response.headers["Retry-After"]) <= 100
        with pytest.raises(httpx.HTTPStatusError, match="403"):
            asyncio.run(awaited(5))
        assert FetchUser(api.url)(6)["id"] == 6, "a call without a key comes from another client"


def test_each_of_many_simultaneous_requests_is_answered():
    with Api(rate=0.01, burst=20, ban_after=50, latency=0.05) as api:

        async def crowd():
            return await asyncio.gather(*(FetchUserAsync(api.url)(i) for i in range(400)), return_exceptions=True)

        answers = asyncio.run(crowd())
        statuses = Counter(a.response.status_code if isinstance(a, httpx.HTTPStatusError) else 200 for a in answers)
        assert statuses == api.counts() == {200: 20, 429: 50, 403: 330}


def test_two_servers_at_the_same_time_are_independent():
    with Api(rate=0.01, burst=1, latency=0) as one, Api(rate=0.01, burst=1, latency=0) as other:
        assert one.url != other.url
        assert [get(one).status_code, get(one).status_code, get(other).status_code] == [200, 429, 200]
        assert (one.counts(), other.counts()) == ({200: 1, 429: 1}, {200: 1})


def test_it_listens_on_loopback_only():
    with Api():
        listening = [c.laddr.ip for c in server_of().net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]


def test_it_stops_at_the_end_of_the_with_also_when_the_block_raises():
    for error in (None, ValueError, KeyboardInterrupt):
        threads = threading.enumerate()
        files = set(os.listdir("/proc/self/fd")) if sys.platform == "linux" else set()
        try:
            with Api() as api:
                server, port = server_of(), int(api.url.rsplit(":", 1)[1])
                held = api._child  # keep a reference, so that the `with` ends it and not the garbage collector
                if error is not None:
                    raise error
        except (ValueError, KeyboardInterrupt) as raised:
            assert type(raised) is error
        assert not server.is_running(), "not even a zombie"
        assert refused(port)
        del held
        assert not new_threads(threads)
        if files:
            assert len(os.listdir("/proc/self/fd")) == len(files)
    with pytest.raises(RuntimeError, match="not running"):
        _ = api.url
    with api:
        assert get(api).status_code == 200, "it can be started again"
        with pytest.raises(RuntimeError, match="running already"), api:
            pass
        assert get(api).status_code == 200, "the refusal does not affect the running server"


OWNER = """
import sys, time
from helpers.services import Api
with Api(latency=0) as api:
    try:
        print(api.url, flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print(api.counts(), flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def owner():
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_it_dies_with_its_owner(owner):
    port = int(owner.stdout.readline().rsplit(":", 1)[1])
    server = server_of(owner.pid)
    assert not refused(port)
    owner.kill()
    wait_until(lambda: gone(server) and refused(port))


@posix
def test_the_stop_button_does_not_harm_it(owner):
    url = owner.stdout.readline().strip()
    server = server_of(owner.pid)
    assert FetchUser(url)(1)["id"] == 1
    os.killpg(owner.pid, signal.SIGINT)
    assert owner.stdout.readline().strip() == "{200: 1}", "the server answers after the interrupt"
    assert not gone(server)
    owner.stdin.close()
    assert owner.wait(30) == 0
    assert gone(server)


@pytest.mark.skipif(sys.platform != "linux", reason="reads another process's limits")
def test_the_server_may_open_all_the_files_the_system_allows():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with Api():
            assert server_of().rlimit(psutil.RLIMIT_NOFILE)[0] > 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_error_for_a_server_that_cannot_start_has_the_reason():
    api = Api()
    request, api._request = api._request, BreaksWhatReadsIt()
    with pytest.raises(ServiceError, match="no such luck"), api:
        pass
    api._request = request
    with api:
        assert get(api).status_code == 200, "a start after a failed start works"


class BreaksWhatReadsIt:
    def __reduce__(self):
        return exec, ("raise SystemExit('no such luck')",)
