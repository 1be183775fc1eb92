"""A call refuses bad input with an error that names the value and the rule, and no job is lost.

Three tables give the cases of one test. RULES has the rule of an argument, and values that break it. TEXTS has calls
and their error messages. TABLES has the columns that each chart needs. The rules that all pools share are tested in
test_pool_contract.
"""

import io
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import test_charts as tables
from conftest import wait_until
from PIL import Image

from helpers import charts
from helpers.measure import (
    attempts_frame,
    crew_frame,
    in_system,
    letters_frame,
    list_schedule,
    littles_law,
    sweep,
    to_frame,
    utilization,
    worker_seconds,
)
from helpers.pools import (
    BatchEmailSender,
    Channel,
    Decision,
    DynamicPool,
    EmailJob,
    ImageJob,
    ImageProcessor,
    Result,
    RetryingPool,
    RetryPolicy,
    WorkerPool,
    measured_needs,
    recommended_workers,
    run_bounded,
    run_unbounded,
    run_unbounded_async,
    size_up,
)
from helpers.pools.email import BadMail, build_message
from helpers.pools.image import ImageError
from helpers.pools.words import describe
from helpers.progress import progress
from helpers.services import (
    Api,
    Database,
    FetchUser,
    FetchUserAsync,
    MailServer,
    ReadUser,
    ReadUserAsync,
    ReadUserLazily,
    fate_of,
    inactive_users,
    latency_of,
    make_photo,
    make_photos,
    run_in_sandbox,
    truncate,
    write_bomb,
    write_photo,
)
from helpers.services.hold import Hold, HoldAsync
from helpers.services.photos import BASE_SIZE

NAN, INF, HUGE = math.nan, math.inf, 10**400
NOWHERE = "postgresql://reader@127.0.0.1:9/workshop"  # no server listens, so connecting raises another error


def same(job: Any) -> Any:
    return job


async def coroutine(job: Any) -> Any:
    return job


# --- the functions that are called --------------------------------------------------------------------------------


@contextmanager
def unharmed(pool: WorkerPool[Any, Any]) -> Iterator[WorkerPool[Any, Any]]:
    """Yield a pool that has worked, and check that the refused call has changed neither its counts nor its state."""
    with pool:
        assert [r.value for r in pool.stream([1])] == [1]
        before = pool.stats()
        try:
            yield pool
        finally:
            assert pool.stats() == before
            assert [r.value for r in pool.stream([2])] == [2]


POOLS: dict[str, Callable[[], WorkerPool[Any, Any]]] = {
    "WorkerPool": lambda: WorkerPool(same, workers=1),
    "DynamicPool": lambda: DynamicPool(same, min_workers=2, max_workers=4),
    "RetryingPool": lambda: RetryingPool(same, workers=1),
}


def of(pool: str, method: str) -> Callable[..., Any]:
    """Return a function that calls a method of a pool that has worked."""

    def call(*args: Any, **options: Any) -> None:
        with unharmed(POOLS[pool]()) as one:
            getattr(one, method)(*args, **options)

    call.__name__ = f"{pool}.{method}"
    return call


def send(**options: Any) -> None:
    channel = Channel[int](1)
    try:
        channel.send(1, **options)
    finally:
        assert len(channel) == 0


def receive(**options: Any) -> None:
    channel = Channel[int](1)
    channel.send(1)
    try:
        channel.receive(**options)
    finally:
        assert len(channel) == 1


def image_job(**change: Any) -> None:
    """Raise the error in the bad job's result. Check that the good job beside it succeeds and writes the only file."""
    out, photo = Path("out"), Path("photo.png")
    out.mkdir()
    Image.new("RGB", (8, 6)).save(photo)
    good = {"image_id": "a", "source": photo, "width": 4, "height": 4, "quality": 85}
    try:
        with ImageProcessor(workers=1, output=out) as service:
            bad, neighbour = service.stream([ImageJob(**good | change), ImageJob(**good | {"image_id": "good"})])
        assert neighbour.ok and [path.name for path in out.iterdir()] == ["good_4x4.jpg"]
        (out / "good_4x4.jpg").unlink()
    finally:
        out.rmdir()
        photo.unlink()
    raise bad.error


def mail(**change: Any) -> None:
    good = {"user_id": 1, "address": "a@example.com", "name": "A", "subject": "s", "body": "b"}
    build_message(EmailJob(**good | change), "news@example.com")


def measure(**change: Any) -> None:
    """Run a sweep that shuts all its pools down."""
    made = []

    def make(workers: int, queue_size: int) -> WorkerPool[int, int]:
        made.append(WorkerPool(same, workers=workers, queue_size=queue_size))
        return made[-1]

    try:
        sweep(**{"make_pool": make, "jobs": range(5), "workers": [1], "repeats": 1} | change)
    finally:
        assert all(pool.stats().workers == 0 for pool in made)


def watch(**change: Any) -> None:
    with WorkerPool(same, workers=1) as pool:
        stream = pool.stream([1, 2])
        try:
            progress(**{"results": stream, "pool": pool, "total": 2, "file": io.StringIO()} | change)
        finally:
            assert sorted(r.value for r in stream) == [1, 2], "the stream is still usable"


FRAME = pd.DataFrame({"submitted": [0.0, 1.0], "finished": [1.0, 3.0], "duration": [1.0, 1.0]})
LOG = [Decision(10.0, 0, 2, "start", 0, 0.0)]

pool = partial(WorkerPool, same)
dynamic = partial(DynamicPool, same, **{"min_workers": 2, "max_workers": 4})
mailer = partial(BatchEmailSender, **{"host": "127.0.0.1", "port": 25})
unbounded = partial(run_unbounded, jobs=[1])
unbounded_async = partial(run_unbounded_async, jobs=[1])
size = partial(size_up, **{"wait": 0.1, "python": 0.1})
boxed = partial(run_in_sandbox, same, 1)
users = partial(inactive_users, NOWHERE)
fate = partial(fate_of, "a@example.com", 1)
photo = partial(write_photo, **{"path": "photo.jpg", "seed": 1, "width": 8, "height": 6})
folder = partial(make_photos, **{"folder": "photos", "count": 1, "width": 8, "height": 6})

paid = partial(worker_seconds, LOG)
schedule = partial(list_schedule, workers=1)
curve = partial(charts.throughput, tables.sweep())
tails = partial(charts.latency, tables.sweep())
requests = partial(charts.storm, tables.ARRIVALS)

# --- rules --------------------------------------------------------------------------------------------------------

WHOLE = "must be a whole number of at least 1"
FROM_0 = "must be a whole number of at least 0"
SECONDS = "must be a number of seconds, more than 0"
TIME = "must be None or a number of seconds, 0 or more"
NEEDS = "must be a number of seconds, 0 or more"
CALL = "must be callable"
ABOVE_0 = "must be a finite number, more than 0"
LEAST_0 = "must be a finite number, at least 0"
KINDS = "must be exception classes or a function of an error"
HTTP = "must be text that begins with http:// or https://"
POSTGRESQL = "must be text that begins with postgresql:// or postgres://"
RANGE = "must be two numbers of seconds, the least and the most"
RATE = "must be a number of jobs/s, 0 or more"
PATH = "must be a path"
ITERABLE = "must be iterable"

# function, argument, rule, values of a wrong type (TypeError), values out of bounds (ValueError)
RULES: list[tuple[Callable[..., Any], str, str, list[Any], list[Any]]] = [
    (pool, "resource", CALL, [5, "open"], []),
    (pool, "on_result", CALL, [5, "print"], []),
    (pool, "clock", CALL, [5, None], []),
    (of("WorkerPool", "stream"), "jobs", ITERABLE, [5, None], []),
    (partial(of("WorkerPool", "submit"), "job"), "timeout", TIME, ["5", 1j], [-1, HUGE]),
    (of("WorkerPool", "shutdown"), "deadline", TIME, [[1]], [-0.1, HUGE]),
    (dynamic, "min_workers", WHOLE, [1.5, True, None, "2"], [0, -1]),
    (dynamic, "max_workers", WHOLE, [9.0, "9"], [0]),
    (dynamic, "queue_size", WHOLE, [None], [0]),
    (dynamic, "backlog", WHOLE, [2.5], [0]),
    (dynamic, "idle_timeout", SECONDS, ["30", None, True], [0, -1, NAN]),
    (dynamic, "max_wait", SECONDS, ["0.1"], [0]),
    (of("DynamicPool", "resize"), "min_workers", WHOLE, [2.0], [0]),
    (of("DynamicPool", "resize"), "max_workers", WHOLE, ["4"], [-4]),
    (partial(RetryingPool, same), "policy", "must be a RetryPolicy or None", [3, RetryPolicy], []),
    (of("RetryingPool", "redrive"), "where", CALL, [5, "job", None], []),
    (of("RetryingPool", "redrive"), "timeout", TIME, ["1"], [-1, NAN]),
    (of("RetryingPool", "discard_letters"), "where", CALL, [5, None], []),
    (RetryPolicy, "max_attempts", WHOLE, [2.0, None], [0]),
    (RetryPolicy, "base", SECONDS, ["0.1"], [0, NAN]),
    (RetryPolicy, "cap", SECONDS, [None], [-1]),
    (RetryPolicy, "jitter", "must be True or False", ["full", 1], []),
    (RetryPolicy, "retry_on", KINDS, [5, int, None, [ValueError]], []),
    (RetryPolicy, "give_up_on", KINDS, [(ValueError, "KeyError")], []),
    (RetryPolicy, "seed", FROM_0, ["x", 1.0], [-1]),
    (Channel, "capacity", WHOLE, [2.5, True, "5"], [0, -1]),
    (send, "timeout", TIME, ["5"], [-1, NAN]),
    (receive, "timeout", TIME, ["5"], [-1, NAN]),
    (size, "wait", NEEDS, ["0.1", True, [1]], [-1, NAN, INF]),
    (size, "native", NEEDS, ["0.1"], [-1]),
    (size, "python", NEEDS, ["0.1"], [HUGE]),
    (size, "cores", WHOLE, [2.5], [0]),
    (size, "limit", WHOLE, [True], [0]),
    (size, "rate", "must be a number of jobs/s, more than 0", ["5", True], [0, -1, INF]),
    (partial(measured_needs, jobs=[1]), "handler", CALL, [3, None], []),
    (partial(measured_needs, same), "jobs", ITERABLE, [5], []),
    (unbounded, "handler", CALL, [None, "print"], []),
    (partial(run_unbounded, same), "jobs", ITERABLE, [5], []),
    (unbounded_async, "handler", CALL, [None, "print"], []),
    (partial(run_unbounded_async, coroutine), "jobs", ITERABLE, [5], []),
    (partial(run_bounded, jobs=[1]), "handler", CALL, [None], []),
    (partial(run_bounded, same), "jobs", ITERABLE, [5], []),
    (partial(run_bounded, same, [1]), "workers", WHOLE, ["5"], [0]),
    (ImageProcessor, "output", "must be the path of a folder", [None, 5, b"/tmp"], []),
    (mailer, "host", "must be a name or an address", [], [None, "", "a b", "a\r\nb", "a\0b"]),
    (mailer, "port", WHOLE, ["25", 25.0], [0]),
    (mailer, "timeout", SECONDS, [None], [0]),
    (mailer, "patience", SECONDS, ["10"], [NAN]),
    (mailer, "connect", CALL, [5], []),
    (mailer, "random", CALL, [0.5], []),
    (mailer, "workers", WHOLE, [None], [0]),
    (Api, "rate", ABOVE_0, ["5", True, None], [0, -1, NAN, INF, HUGE]),
    (Api, "burst", WHOLE, [2.5, True, "5", None], [0, -1]),
    (Api, "ban_after", WHOLE, [2.5, True, "5", None], [0, -1]),
    (Api, "ban_seconds", ABOVE_0, ["5", True], [0, -1, NAN, INF]),
    (Api, "latency", LEAST_0, ["5", True], [-0.1, NAN, INF]),
    (FetchUser, "url", HTTP, [None, 5], ["127.0.0.1:80", NOWHERE]),
    (FetchUserAsync, "url", HTTP, [None], ["ftp://a"]),
    (Database, "max_connections", WHOLE, [2.5, True, "5", None], [0, -1]),
    (ReadUser, "url", POSTGRESQL, [None, 5], ["host=127.0.0.1"]),
    (ReadUserAsync, "url", POSTGRESQL, [None], ["http://127.0.0.1"]),
    (ReadUserLazily, "url", POSTGRESQL, [None], [""]),
    (partial(ReadUser, NOWHERE), "seconds", LEAST_0, ["1"], [-1, NAN]),
    (inactive_users, "url", POSTGRESQL, [None], ["users.csv"]),
    (users, "days", WHOLE, ["30", 2.5], [0]),
    (users, "limit", WHOLE, ["100"], [0]),
    (users, "batch", WHOLE, [None], [-1]),
    (users, "today", "must be a date", ["2026-01-01", None], []),
    (MailServer, "transient", LEAST_0, ["half", None], [-0.1, NAN]),
    (MailServer, "permanent", LEAST_0, ["half"], [NAN]),
    (MailServer, "lost", LEAST_0, [True], [-1]),
    (MailServer, "dropped", LEAST_0, ["half"], [-0.1]),
    (MailServer, "max_connections", WHOLE, ["20"], [0]),
    (MailServer, "mails_per_connection", WHOLE, [2.5], [-1]),
    (MailServer, "port", WHOLE, ["25"], [0]),
    (MailServer, "smtputf8", "must be True or False", ["no", 1, None], []),
    (MailServer, "seed", "must be a whole number", ["x", 1.5, True], []),
    (MailServer, "latency", RANGE, [0.05, None, (1, 2, 3)], [(2, 1)]),
    (partial(latency_of, "a@example.com"), "latency", RANGE, [1], [(2, 1)]),
    (fate, "transient", LEAST_0, ["half"], [-1]),
    (boxed, "memory", WHOLE, [2.5, True, "5", INF, [1]], [0, -1]),
    (boxed, "files", WHOLE, [2.5, "5", NAN], [0]),
    (boxed, "threads", WHOLE, [2.5, True], [0, -1]),
    (boxed, "timeout", ABOVE_0, ["5", True, [1], None], [0, -1, NAN, INF, HUGE]),
    (run_in_sandbox, "function", CALL, [7, "print"], []),
    (Hold, "size", FROM_0, ["1", 1.5], [-1]),
    (HoldAsync, "seconds", LEAST_0, ["1"], [-1, NAN]),
    (partial(make_photo, width=8, height=6), "seed", FROM_0, ["x", 1.5, None], [-1]),
    (partial(make_photo, 1, height=6), "width", WHOLE, [8.0], [0]),
    (photo, "quality", WHOLE, ["high"], [0, -5]),
    (photo, "path", PATH, [None, 5], []),
    (photo, "orientation", "must be one of [1, 3, 6, 8]", [], [2, "6", [1]]),
    (folder, "folder", PATH, [None], []),
    (folder, "seed", FROM_0, ["x"], [-1]),
    (folder, "count", WHOLE, ["9"], [0]),
    (folder, "height", WHOLE, [6.5], [-1]),
    (partial(truncate, source=__file__, target="half"), "share", LEAST_0, ["x"], [-0.1, NAN]),
    (partial(truncate, target="half"), "source", PATH, [None], []),
    (partial(write_bomb, "bomb.png"), "width", WHOLE, [2.5], [0, -1]),
    (to_frame, "results", ITERABLE, [None, 5], []),
    (partial(to_frame, []), "zero", "must be None or a finite number of seconds", ["x", True], [NAN, INF]),
    (attempts_frame, "results", ITERABLE, [None], []),
    (letters_frame, "letters", ITERABLE, [5], []),
    (crew_frame, "decisions", ITERABLE, [None], []),
    (partial(crew_frame, LOG), "zero", "must be None or a finite number of seconds", ["x"], [NAN]),
    (paid, "until", "must be a number of seconds, not before the last decision", ["x", None], []),
    (measure, "make_pool", CALL, [None, 5], []),
    (measure, "jobs", ITERABLE, [None, 5], []),
    (measure, "workers", ITERABLE, [5], []),
    (measure, "repeats", WHOLE, ["3"], [0]),
    (measure, "load", "must be one of ['batch', 'stream']", [], ["full", [], None]),
    (measure, "seconds", "must be a number of seconds greater than 0", ["1", True], [0, NAN, INF]),
    (measure, "ideal", "must be a number of seconds greater than 0", ["1"], [-1, NAN]),
    (partial(littles_law, latency=1.0), "throughput", RATE, ["5", None, True], [-1.0, NAN]),
    (partial(littles_law, 1.0), "latency", NEEDS, ["5"], [-1.0, INF]),
    (partial(utilization, FRAME), "workers", WHOLE, [None], [0]),
    (partial(list_schedule, [1.0]), "workers", WHOLE, ["2"], [0]),
    (schedule, "durations", ITERABLE, [5], []),
    (watch, "results", "must be a generator, such as stream() or results() returns", [None, [1]], []),
    (watch, "pool", "must be the pool that yields the results", [None, "pool"], []),
    (watch, "total", FROM_0, ["2", 2.5], [-1]),
    (watch, "file", "must be a file that takes text", [5], []),
    (curve, "limit", "must be more than 0", ["x"], [0, NAN, INF]),
    (curve, "ideal", "must be more than 0", ["x"], [-0.1]),
    (partial(charts.throughput, tables.sweep(), ideal=0.1), "cores", "must be more than 0", ["x"], [0]),
    (curve, "shared", "must be more than 0", ["x"], [0]),
    (tails, "ideal", "must be more than 0", ["x"], [0, NAN]),
    (tails, "shared", "must be more than 0", ["x"], [-1]),
    (partial(charts.admission, tables.frame()), "limit", "must be more than 0", ["x"], [-1]),
    (partial(charts.panels, tables.PANELS), "limit", "must be more than 0", ["x"], [0, NAN, INF]),
    (partial(charts.crew, tables.frame(), tables.CHANGES), "end", "must be more than 0", ["x"], [-1]),
    (partial(charts.crew, tables.frame(), tables.CHANGES), "zoom", "must be more than 0", ["x"], [0]),
    (requests, "bin_width", "must be more than 0", ["x", None], [0, NAN]),
    (partial(charts.rates, tables.RATES), "unit", "must be the unit of the rate as text", [None, ""], []),
    (tails, "parts", "must be some of [50, 95, 99]", [], [(), [90], 50, "50"]),
    (partial(charts.contact_sheet, tables.PICTURES), "columns", WHOLE, ["4", 2.5, True], [0]),
    (partial(charts.before_and_after, tables.PAIRS), "columns", WHOLE, ["4"], [-1]),
    (charts.contact_sheet, "pictures", "must be a list of tuples", [None, 5], []),
    (charts.series_map, "ready", "must be numbers of notebooks", [5], []),
    (charts.kitchen, "ax", "must be the Axes to draw on", [5, "ax"], []),
    (charts.png, "ax", "must be the Axes that a chart returned", [None, plt], []),
    (partial(charts.show, None), "caption", "must be a sentence", [None, 5], []),
    (partial(charts.show, None), "alt", "must be a sentence", [5], []),
    (partial(charts.headline, tables.plain_axes()), "title", "must be a sentence", [5], []),
    (partial(charts.headline, tables.plain_axes(), "A title"), "subtitle", "must be a sentence", [5], []),
]  # fmt: skip


def by_rule() -> Iterator[Any]:
    for called, name, rule, kinds, values in RULES:
        for error, wrong in ((TypeError, kinds), (ValueError, values)):
            for value in wrong:
                text = f"{name} {rule}, not {describe(value)}"
                yield pytest.param(
                    partial(called, **{name: value}), error, text, id=f"{words(called)} {name}={value!r}"[:70]
                )


def words(called: Any) -> str:
    """Return the name of a function, also if it is a partial."""
    return words(called.func) if isinstance(called, partial) else called.__name__


# --- texts --------------------------------------------------------------------------------------------------------

LONG = f"{'x' * 65}@example.com"
ADDRESS = "address must be one address like name@example.com, not "
LINE = "must be one line without control characters, not "
TEXT = "must be text without NUL and lone surrogates, not "
PLAIN_NAME = "image_id must be a plain file name of letters, digits, . _ and -, not "
ASYNC = "must be a plain function, because no worker awaits the coroutine of "

MOST = "must be a whole number of at most"
WORK = "must be one of ['cpu', 'io', 'mixed', 'limited']"
ONE_JOB = "must have at least one job to measure"
SHARES = "must be shares that add up to 1 at most"
IN_ROW = "in every row of the table"
BOUNDS = "must be at most max_workers"
EARLY = tables.ARRIVALS.assign(seconds=-1.0)
FEWER = tables.outcome_table().assign(jobs=-1)
NO_TIME = FRAME.assign(submitted=3.0, finished=3.0)
NO_LATENCY = tables.sweep().drop(columns=["p50", "p95"])
FIVE_LOADS = pd.concat([tables.sweep(str(n)) for n in range(5)])

# function, arguments, error, a part of the message
TEXTS: list[tuple[Callable[..., Any], dict[str, Any], type[BaseException], str]] = [
    (WorkerPool, {"handler": FetchUserAsync("http://a")}, TypeError, f"handler {ASYNC}FetchUserAsync(url='http://a'"),
    (pool, {"resource": coroutine}, TypeError, f"resource {ASYNC}<function coroutine"),
    (unbounded, {"handler": coroutine}, TypeError, f"handler {ASYNC}<function coroutine"),
    (RetryPolicy, {"retry_on": coroutine}, TypeError, f"retry_on {ASYNC}<function coroutine"),
    (of("RetryingPool", "redrive"), {"where": coroutine}, TypeError, f"where {ASYNC}<function coroutine"),
    (dynamic, {"min_workers": 5}, ValueError, f"min_workers {BOUNDS}, not 5 to 4"),
    (dynamic, {"idle_timeout": 1e300}, ValueError, "idle_timeout must be a number of seconds, at most"),
    (mailer, {"timeout": INF}, ValueError, "timeout must be a number of seconds, at most"),
    (of("DynamicPool", "resize"), {"min_workers": 5}, ValueError, f"min_workers {BOUNDS}, not 5 to 4"),
    (of("DynamicPool", "resize"), {"max_workers": 1}, ValueError, f"min_workers {BOUNDS}, not 2 to 1"),
    (recommended_workers, {"kind": "disk"}, ValueError, f"kind {WORK}, not 'disk'"),
    (recommended_workers, {"kind": ["cpu"]}, ValueError, f"kind {WORK}, not ['cpu']"),
    (recommended_workers, {"kind": "cpu"}, ValueError, "'cpu' work needs native or python"),
    (recommended_workers, {"kind": "cpu", "wait": 1, "native": 1}, ValueError, "'cpu' work takes only cores, native,"),
    (recommended_workers, {"kind": "io", "native": 1}, ValueError, "'io' work needs wait"),
    (recommended_workers, {"kind": "io", "wait": 0.1}, ValueError, "nothing bounds work that only waits"),
    (recommended_workers, {"kind": "mixed", "wait": 1, "native": 1}, ValueError, "needs native and python and wait"),
    (recommended_workers, {"kind": "limited", "wait": 0.1}, ValueError, "'limited' work needs limit or rate"),
    (recommended_workers, {"kind": "limited", "rate": 5}, ValueError, "a job must need some time"),
    (recommended_workers, {"kind": "limited", "limit": 0}, ValueError, f"limit {WHOLE}, not 0"),
    (size_up, {"python": 1e-320}, ValueError, "must be the times of one job, not 0.0, 0.0, 1e-320 s"),
    (partial(measured_needs, same), {"jobs": []}, ValueError, f"jobs {ONE_JOB}"),
    (ImageProcessor, {"output": "nowhere"}, NotADirectoryError, "output must be a folder that exists, not 'nowhere'"),
    (ImageProcessor, {"output": ""}, NotADirectoryError, "output must be a folder that exists, not ''"),
    (ImageProcessor, {"output": __file__}, NotADirectoryError, f"folder that exists, not {__file__!r}"),
    (image_job, {"width": 0}, ImageError, f"a (photo.png): width {WHOLE}, not 0"),
    (image_job, {"height": -5}, ImageError, f"a (photo.png): height {WHOLE}, not -5"),
    (image_job, {"width": 2.5}, ImageError, f"a (photo.png): width {WHOLE}, not 2.5"),
    (image_job, {"width": True}, ImageError, f"a (photo.png): width {WHOLE}, not True"),
    (image_job, {"width": "800"}, ImageError, f"a (photo.png): width {WHOLE}, not '800'"),
    (image_job, {"width": 4001}, ImageError, "a (photo.png): max width is 4000 px, not 4001"),
    (image_job, {"height": 10**9}, ImageError, "a (photo.png): max height is 4000 px, not 1000000000"),
    (image_job, {"quality": 0}, ImageError, f"a (photo.png): quality {WHOLE}, not 0"),
    (image_job, {"quality": 101}, ImageError, "a (photo.png): quality must be 1 to 100, not 101"),
    (image_job, {"quality": None}, ImageError, f"a (photo.png): quality {WHOLE}, not None"),
    (image_job, {"image_id": ""}, ImageError, PLAIN_NAME + "''"),
    (image_job, {"image_id": 7}, ImageError, PLAIN_NAME + "7"),
    (image_job, {"image_id": "CON"}, ImageError, PLAIN_NAME + "'CON'"),
    (image_job, {"image_id": "nul.txt"}, ImageError, PLAIN_NAME + "'nul.txt'"),
    (image_job, {"source": "no/photo9.jpg"}, ImageError, "a (photo9.jpg): cannot be read: No such file"),
    (image_job, {"source": None}, ImageError, "a (None): expected str, bytes or os.PathLike object, not NoneType"),
    (image_job, {"source": "a\0b"}, ImageError, "null"),
    (mailer, {"port": 70_000}, ValueError, "port must be a whole number from 1 to 65535, not 70000"),
    (mailer, {"sender": "me"}, BadMail, "sender must be one address like name@example.com, not 'me'"),
    (mail, {"address": "nobody"}, BadMail, ADDRESS + "'nobody'"),
    (mail, {"address": "a@b@example.com"}, BadMail, ADDRESS + "'a@b@example.com'"),
    (mail, {"address": "@example.com"}, BadMail, ADDRESS + "'@example.com'"),
    (mail, {"address": "a@"}, BadMail, ADDRESS + "'a@'"),
    (mail, {"address": ""}, BadMail, ADDRESS + "''"),
    (mail, {"address": "a b@example.com"}, BadMail, ADDRESS + "'a b@example.com'"),
    (mail, {"address": LONG}, BadMail, ADDRESS + repr(LONG)),
    (mail, {"address": f"x@{'y.' * 130}com"}, BadMail, ADDRESS + "'x@y.y."),
    (mail, {"address": None}, BadMail, ADDRESS + "None"),
    (mail, {"subject": 7}, BadMail, f"subject {TEXT}7"),
    (mail, {"name": "Eve\x00"}, BadMail, f"name {TEXT}'Eve\\x00'"),
    (mail, {"name": "\ud800"}, BadMail, f"name {TEXT}'\\ud800'"),
    (mail, {"body": "\x00"}, BadMail, f"body {TEXT}'\\x00'"),
    (mail, {"body": None}, BadMail, f"body {TEXT}None"),
    (mail, {"subject": "one\x0btwo"}, BadMail, f"subject {LINE}'one\\x0btwo'"),
    (Api, {"burst": HUGE}, ValueError, f"burst {MOST} "),
    (boxed, {"memory": HUGE}, ValueError, f"memory {MOST} "),
    (users, {"days": 10**9}, ValueError, f"days {MOST} 739616, not 1000000000"),
    (users, {"today": date(1, 1, 2), "days": 2}, ValueError, f"days {MOST} 1, not 2"),
    (MailServer, {"latency": (-1, 0)}, ValueError, f"latency {LEAST_0}, not -1"),
    (MailServer, {"latency": (0, HUGE)}, ValueError, f"latency {LEAST_0}, not 1000"),
    (MailServer, {"transient": 0.6, "lost": 0.6}, ValueError, f"transient, permanent and lost {SHARES}"),
    (MailServer, {"dropped": 2}, ValueError, "dropped must be a share from 0 to 1, not 2"),
    (fate, {"lost": 2}, ValueError, f"{SHARES}, not {{'transient': 0"),
    (photo, {"quality": 101}, ValueError, f"quality {MOST} 100, not 101"),
    (folder, {"width": BASE_SIZE[0] + 1}, ValueError, f"width must be at most {BASE_SIZE[0]}, not {BASE_SIZE[0] + 1}"),
    (partial(truncate, __file__, "half"), {"share": 2}, ValueError, "share must be at most 1, not 2"),
    (partial(write_bomb, "bomb.png"), {"width": 2**31}, ValueError, f"width {MOST} 2147483647, not 2147483648"),
    (to_frame, {"results": [1]}, TypeError, "results must be of the kind Result, not 1"),
    (to_frame, {"results": [Result("soup", 0.0)]}, ValueError, "results must have finished, not Result(job='soup'"),
    (attempts_frame, {"results": ["soup"]}, TypeError, "results must be of the kind Result, not 'soup'"),
    (letters_frame, {"letters": [1]}, TypeError, "letters must be of the kind DeadLetter, not 1"),
    (crew_frame, {"decisions": [1]}, TypeError, "decisions must be of the kind Decision, not 1"),
    (partial(worker_seconds, until=1.0), {"decisions": [1]}, TypeError, "must be of the kind Decision, not 1"),
    (partial(worker_seconds, until=1.0), {"decisions": []}, ValueError, "decisions must have at least one, not none"),
    (paid, {"until": 9.5}, ValueError, "not before the last decision, not 9.5"),
    (paid, {"until": NAN}, ValueError, "not before the last decision, not nan"),
    (measure, {"make_pool": lambda workers, queue_size: None}, TypeError, "make_pool must return a pool, not None"),
    (measure, {"jobs": []}, ValueError, f"jobs {ONE_JOB}, not none"),
    (measure, {"jobs": [], "seconds": 0.1}, ValueError, f"jobs {ONE_JOB}, not none"),
    (measure, {"workers": []}, ValueError, "workers must name at least one worker count, not none"),
    (measure, {"workers": [0]}, ValueError, f"workers {WHOLE}, not 0"),
    (measure, {"workers": [2.5]}, TypeError, f"workers {WHOLE}, not 2.5"),
    (measure, {"workers": [True]}, TypeError, f"workers {WHOLE}, not True"),
    (measure, {"workers": "12"}, TypeError, f"workers {WHOLE}, not '1'"),
    (measure, {"workers": [50]}, ValueError, "nothing to measure with 50 workers: 5 jobs were given"),
    (measure, {"seconds": {1: 0.1}, "workers": [1, 2]}, ValueError, "a time for each worker count, and has none for 2"),
    (in_system, {"frame": None}, TypeError, "the table must be a DataFrame, not None"),
    (in_system, {"frame": FRAME[["submitted"]]}, ValueError, "lacks the columns ['finished']; it has ['submitted']"),
    (in_system, {"frame": FRAME.iloc[:0]}, ValueError, "the table has no rows"),
    (in_system, {"frame": FRAME.assign(finished=NAN)}, ValueError, "finished must hold seconds in each row, not [nan"),
    (in_system, {"frame": FRAME.assign(submitted="x")}, ValueError, "submitted must hold seconds in each row, not ['"),
    (in_system, {"frame": NO_TIME}, ValueError, "the table must span some time"),
    (partial(utilization, workers=1), {"frame": NO_TIME}, ValueError, "the last finish, not 0.0 s"),
    (schedule, {"durations": [1, -1]}, ValueError, f"a duration {NEEDS}, not -1"),
    (schedule, {"durations": [NAN]}, ValueError, f"a duration {NEEDS}, not nan"),
    (schedule, {"durations": ["x"]}, TypeError, f"a duration {NEEDS}, not 'x'"),
    (charts.contact_sheet, {"pictures": []}, ValueError, "there are no pictures to show"),
    (charts.before_and_after, {"pictures": []}, ValueError, "there are no pictures to show"),
    (charts.contact_sheet, {"pictures": [1]}, TypeError, "must be a tuple of 2 items, the caption first, not 1"),
    (charts.before_and_after, {"pictures": [("a", "b")]}, TypeError, "3 items, the caption first, not ('a', 'b')"),
    (charts.contact_sheet, {"pictures": [("a", "no.jpg")]}, FileNotFoundError, "'no.jpg'"),
    (curve, {"marks": 5}, TypeError, "marks must map numbers of workers to labels"),
    (curve, {"marks": {0: "nobody"}}, ValueError, "marks must be more than 0, not 0"),
    (tails, {"marks": {-1: "nobody"}}, ValueError, "marks must be more than 0, not -1"),
    (requests, {"bin_width": 1e-12}, ValueError, "at most 100,000 intervals in 0.35 s, not 1e-12"),
    (partial(charts.storm, bin_width=1), {"table": EARLY}, ValueError, f"seconds must be 0 or more {IN_ROW}"),
    (charts.outcomes, {"table": FEWER}, ValueError, f"jobs must be 0 or more {IN_ROW}, not -1"),
    (charts.latency, {"table": NO_LATENCY}, ValueError, "no column p50, p95; it has workers"),
    (charts.latency, {"table": FIVE_LOADS}, ValueError, "5 loads; a chart can tell 4 apart"),
    (charts.shares, {"table": tables.SHARES.assign(succeeded=999)}, ValueError, "succeeded must be at most jobs"),
    (charts.series_map, {"ready": [0, 14]}, ValueError, "there is no notebook 14: they go from 0 to 13"),
]  # fmt: skip


def by_text() -> Iterator[Any]:
    for called, options, error, text in TEXTS:
        yield pytest.param(partial(called, **options), error, text, id=f"{words(called)} {text}"[:70])


# --- tables of charts -----------------------------------------------------------------------------------------------


# chart, table, required columns of numbers without gaps, other required columns
TABLES: list[tuple[Callable[[Any], Any], pd.DataFrame, list[str], list[str]]] = [
    (charts.throughput, tables.sweep(), ["workers", "throughput"], []),
    (charts.latency, tables.sweep(), ["workers", "p50", "p95"], []),
    (partial(charts.latency, parts=[99]), tables.three_parts(), ["p99"], []),
    (charts.floor_plan, tables.frame(), ["finished"], ["job", "worker", "ok", "started"]),
    (charts.admission, tables.frame(), ["finished"], ["ok"]),
    (charts.outcomes, tables.outcome_table(), ["jobs"], ["run", "outcome"]),
    (partial(charts.rates, unit="jobs/s"), tables.RATES, ["rate"], ["way"]),
    (partial(charts.crew, changes=tables.CHANGES), tables.frame(), ["submitted"], ["started"]),
    (partial(charts.crew, tables.frame()), tables.CHANGES, ["time", "after"], []),
    (charts.cost, tables.COSTS, ["worker_seconds", "seconds"], ["pool"]),
    (charts.attempts, tables.ATTEMPTS, ["attempt", "due", "started", "finished"], ["job", "ok"]),
    (partial(charts.storm, bin_width=0.1), tables.ARRIVALS, ["seconds"], ["run"]),
    (charts.panels, tables.PANELS, ["workers", "advised", "throughput"], ["load"]),
    (charts.shares, tables.SHARES, ["jobs", "succeeded"], ["place", "way", "failure"]),
    (charts.lanes, tables.LANES, ["worker", "started", "finished"], ["way", "job"]),
]


def by_table() -> Iterator[Any]:
    """Yield cases for each chart: no table, an empty table, a missing column; NaN, text, and infinity in a column."""
    for chart, table, numbers, others in TABLES:
        name = words(chart)
        yield pytest.param(
            partial(chart, None), TypeError, "the table must be a DataFrame, not None", id=f"{name} None"
        )
        yield pytest.param(partial(chart, table.iloc[:0]), ValueError, "the table has no rows", id=f"{name} empty")
        for column in numbers + others:
            lacks = table.drop(columns=column)
            yield pytest.param(partial(chart, lacks), ValueError, f"no column {column};", id=f"{name} without {column}")
        for column in numbers:
            for value in (NAN, "x", INF):
                wrong = table.assign(**{column: [value, *table[column][1:]]})
                says = f"{IN_ROW}, not {describe(value)}"
                yield pytest.param(partial(chart, wrong), ValueError, says, id=f"{name} {column} {value}")


# --- the test -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("call", "error", "says"), [*by_rule(), *by_text(), *by_table()])
def test_bad_input_is_refused_by_name_and_nothing_is_lost(call, error, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = set(threading.enumerate())
    with pytest.raises(error) as refusal:
        call()
    assert refusal.type is error and says in str(refusal.value)
    wait_until(lambda: set(threading.enumerate()) <= threads)
    assert list(tmp_path.iterdir()) == [], "no file is left"
    assert not plt.get_fignums(), "no figure is left"
