"""An HTTP API with a rate limit. A client that exceeds the limit is answered 429, and is banned if it goes on.

`Api` runs a tornado server on 127.0.0.1, in a child process, so that the server does not share the GIL with the clients
that flood it. The server keeps one token bucket per client. It identifies a client by its `X-Api-Key` header or,
without one, by its address. Source of the algorithm: Turner, "New directions in communications", IEEE Communications
Magazine 24(10), 1986.
"""

import asyncio
import logging
import math
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpcore  # noqa: F401  httpx imports it at its first call, when the limit on open files can already be reached
import httpx
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from helpers.services.child import Parent
from helpers.services.sandbox import check_number, check_url, check_whole, raise_open_files
from helpers.services.server import Server

HTTP = ("http://", "https://")
BACKLOG = 4096  # connections that may wait to be accepted; the kernel may allow fewer
PATIENCE = 60.0  # seconds a handler waits for an answer: in a flood, answers are slow, which is not an error
NEARLY_ONE = 1 - 1e-9  # (0.3 - 0.2) * 10 is less than 1, but a client that waited for 0.1 s must not be refused


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a request: the status 200, 429, or 403, and for the last two the seconds to wait before a retry."""

    status: int
    retry_after: float = 0.0


@dataclass(slots=True)
class TokenBucket:
    """The rate limit of one client. It reads no clock: the caller passes the time.

    The bucket receives `rate` tokens per second and holds at most `burst` of them. A request takes one token, and is
    refused if there is less than one. A ban begins with refusal number `ban_after` since the start or the last ban.
    """

    rate: float
    burst: int
    ban_after: int
    ban_seconds: float
    tokens: float = field(init=False)
    updated: float = field(default=-math.inf, init=False)
    refusals: int = field(default=0, init=False)
    banned_until: float = field(default=-math.inf, init=False)

    def __post_init__(self) -> None:
        self.tokens = self.burst

    def request(self, now: float) -> Verdict:
        """Judge a request made at `now` seconds on any clock that does not go back."""
        self.tokens = min(self.burst, self.tokens + (now - self.updated) * self.rate)
        self.updated = now
        if now < self.banned_until:
            return Verdict(403, self.banned_until - now)
        if self.tokens >= NEARLY_ONE:
            self.tokens = max(0.0, self.tokens - 1)
            return Verdict(200)
        self.refusals += 1
        if self.refusals >= self.ban_after:
            self.refusals = 0
            self.banned_until = now + self.ban_seconds
        return Verdict(429, (1 - self.tokens) / self.rate)


class Api(Server):
    """A rate-limited HTTP API that runs from the beginning to the end of its `with` block.

        with Api(rate=100, burst=20) as api:
            httpx.get(f"{api.url}/users/7", trust_env=False).json()      # {"id": 7, "name": "User 7"}
            api.counts()                                # {200: 1}

    GET /users/{id} answers 200 after `latency` seconds. It answers 429 at once to a client without a token, and 403 at
    once to a client that is banned. Both refusals have a `Retry-After` header, in whole seconds, rounded up, as HTTP
    requires. "retry_after" in their JSON body is the exact number of seconds.

    Args:
        rate:         tokens per second for each client; more than 0.
        burst:        the maximum number of tokens of a client, which is how many requests it may make at once; at
                      least 1.
        ban_after:    the number of refusals (429) after which the client is banned; at least 1.
        ban_seconds:  the length of a ban, in seconds; more than 0.
        latency:      seconds until a request is answered; 0 or more.

    The server stops at the end of the `with` block, also if the block raises. It also stops when this process ends,
    however that happens.

    Raises TypeError or ValueError for bad arguments, ServiceError if the server does not start.
    """

    _module = "helpers.services.api"

    def __init__(
        self,
        *,
        rate: float = 100,
        burst: int = 20,
        ban_after: int = 50,
        ban_seconds: float = 60.0,
        latency: float = 0.05,
    ) -> None:
        check_number("rate", rate, above=0)
        check_whole("burst", burst)
        check_whole("ban_after", ban_after)
        check_number("ban_seconds", ban_seconds, above=0)
        check_number("latency", latency, least=0)
        limits = {"rate": rate, "burst": burst, "ban_after": ban_after, "ban_seconds": ban_seconds}
        self._request = (limits, latency)

    @property
    def url(self) -> str:
        """The address of the server, such as "http://127.0.0.1:40213". Raises ServiceError outside the `with` block."""
        return f"http://127.0.0.1:{self._first_report()}"

    def counts(self) -> dict[int, int]:
        """Return the number of answers of each status so far, as in {200: 20, 429: 50, 403: 230}."""
        with _client() as client:
            answer = client.get(f"{self.url}/-/counts").raise_for_status().json()
        return {int(status): count for status, count in sorted(answer.items())}


@dataclass(frozen=True, slots=True)
class FetchUser:
    """A handler that calls GET /users/{id}. It creates a client and a connection per call, which is the naive way.

    Creating the handler raises TypeError or ValueError if `url` is not a URL. A call raises httpx.HTTPStatusError for
    429 and 403 (its `response` has the headers), and httpx.TransportError for all other failures.
    """

    url: str
    key: str | None = None

    def __post_init__(self) -> None:
        check_url(self.url, *HTTP)

    def __call__(self, user_id: int) -> dict[str, Any]:
        with _client() as client:
            answer = client.get(f"{self.url}/users/{user_id}", headers=_headers(self.key))
        user: dict[str, Any] = answer.raise_for_status().json()
        return user


@dataclass(frozen=True, slots=True)
class FetchUserAsync:
    """`FetchUser` for asyncio: the call is awaited. The answers and errors are the same."""

    url: str
    key: str | None = None

    def __post_init__(self) -> None:
        check_url(self.url, *HTTP)

    async def __call__(self, user_id: int) -> dict[str, Any]:
        async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False, verify=False) as client:
            answer = await client.get(f"{self.url}/users/{user_id}", headers=_headers(self.key))
        user: dict[str, Any] = answer.raise_for_status().json()
        return user


def _client() -> httpx.Client:
    """Return a client without a proxy. It loads no certificates, because http does not use them and it takes 20 ms."""
    return httpx.Client(timeout=PATIENCE, trust_env=False, verify=False)


def _headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"X-Api-Key": key}


# The following code runs in the child process.


def _serve() -> None:
    """Listen, report the port to the parent, and answer requests until the parent stops this process or is gone."""
    parent = Parent(when_gone=lambda: os._exit(0))  # at once, because there is nothing to clean up
    raise_open_files()
    logging.disable()  # tornado would log each 429 as a warning
    asyncio.run(_answer_for_ever(parent, *parent.request))


async def _answer_for_ever(parent: Parent, limits: dict[str, Any], latency: float) -> None:
    counts: Counter[int] = Counter()
    routes: list[Any] = [
        (r"/users/(\d+)", _Users, {"limits": limits, "latency": latency, "buckets": {}}),
        (r"/-/counts", _Counts, {"counts": counts}),
    ]

    def count(handler: RequestHandler) -> None:  # tornado calls it once per answer, in place of logging
        if not isinstance(handler, _Counts):
            counts[handler.get_status()] += 1

    server = HTTPServer(Application(routes, log_function=count))
    sockets = bind_sockets(0, "127.0.0.1", backlog=BACKLOG)
    server.add_sockets(sockets)
    parent.send(sockets[0].getsockname()[1])
    await asyncio.Event().wait()


class _Users(RequestHandler):
    def initialize(self, limits: dict[str, Any], latency: float, buckets: dict[str, TokenBucket]) -> None:
        self.limits, self.latency, self.buckets = limits, latency, buckets

    async def get(self, user_id: str) -> None:
        key = self.request.headers.get("X-Api-Key")
        client = f"address {self.request.remote_ip}" if key is None else f"key {key}"
        bucket = self.buckets.get(client)
        if bucket is None:
            bucket = self.buckets[client] = TokenBucket(**self.limits)
        verdict = bucket.request(time.monotonic())
        if verdict.status == 200:
            await asyncio.sleep(self.latency)
            self.write({"id": int(user_id), "name": f"User {user_id}"})
            return
        error = "too many requests" if verdict.status == 429 else "banned"
        self.set_status(verdict.status)
        self.set_header("Retry-After", str(math.ceil(verdict.retry_after)))
        self.write({"error": error, "retry_after": verdict.retry_after})


class _Counts(RequestHandler):
    def initialize(self, counts: Counter[int]) -> None:
        self.counts = counts

    def get(self) -> None:
        self.write({str(status): count for status, count in self.counts.items()})


if __name__ == "__main__":
    _serve()
