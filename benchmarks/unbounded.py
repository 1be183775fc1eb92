"""The runs of notebook 01 with 10,000 jobs each: at the database, at the API, and in memory; then five workers.

The naive runs start one thread or one asyncio task per job. The threads wait until the last one has started, so that
all of them arrive together, as tasks do anyway. Every run is made once.
"""

import httpx
import pandas as pd
import psycopg

from benchmarks.report import draw, write
from helpers import charts
from helpers.pools import WorkerPool, current_worker, run_bounded, run_unbounded, run_unbounded_async
from helpers.pools.rate import RateLimiter
from helpers.services import (
    Api,
    Database,
    FetchUser,
    FetchUserAsync,
    ReadUser,
    ReadUserAsync,
    ReadUserLazily,
    error_kind,
    run_in_sandbox,
)
from helpers.services.hold import Hold, HoldAsync

JOBS, LIMIT, TIMEOUT = 10_000, 100, 600.0
RATE, BURST = 250, 20  # what the API allows one client: requests per second, and requests at once
TITLE = "Nothing is refused where jobs stay below the limits"
SUBTITLE = "Jobs by outcome, in % of the run; right: successes and duration, one run each"


def rows(run, succeeded, errors, seconds):
    print(f"{run}: {succeeded} succeeded, {errors}, {seconds:.1f} s", flush=True)
    in_time = dict(sorted(errors.items(), key=lambda error: "403" in error[0]))  # a ban comes after the refusals
    outcomes = {"succeeded": succeeded, **in_time}
    return [{"run": run, "outcome": kind, "jobs": jobs, "seconds": seconds} for kind, jobs in outcomes.items()]


def sandboxed(run, function, handler, **options):
    report = run_in_sandbox(function, handler, range(1, JOBS + 1), timeout=TIMEOUT, **options)
    errors = dict(report.errors)
    if report.error is not None:
        errors[report.error] = JOBS - report.jobs
    return rows(run, report.succeeded, errors, report.seconds)


def pooled(run, handler, resource):
    with WorkerPool(handler, workers=5, queue_size=100, resource=resource) as pool:
        results = list(pool.stream(range(1, JOBS + 1)))
    seconds = max(r.finished for r in results) - min(r.submitted for r in results)
    errors = pd.Series([error_kind(r.error) for r in results if not r.ok], dtype=object).value_counts().to_dict()
    return rows(run, sum(r.ok for r in results), errors, seconds)


def at_the_database():
    naive = {
        "database, threads, connections kept": (run_unbounded, ReadUserLazily, {"burst": True}),
        "database, threads": (run_unbounded, ReadUser, {"burst": True}),
        "database, tasks": (run_unbounded_async, ReadUserAsync, {}),
        "database, 5 workers, a connection per job": (run_bounded, ReadUser, {"workers": 5}),
    }
    for run, (function, handler, options) in naive.items():
        with Database(max_connections=LIMIT) as db:
            yield from sandboxed(run, function, handler(db.url), **options)
    with Database(max_connections=LIMIT) as db:

        def read(user_id):
            return current_worker().resource.execute("select name from users where id = %s", (user_id,)).fetchone()

        yield from pooled(
            "database, 5 workers, a connection each", read, lambda: psycopg.connect(db.url, autocommit=True)
        )


def at_the_api():
    limits = {"rate": RATE, "burst": BURST, "ban_after": 50, "ban_seconds": 60, "latency": 0.01}
    limiter = RateLimiter(0.95 * RATE, burst=5)
    with Api(**limits) as api:
        yield from sandboxed("API, threads", run_unbounded, FetchUser(api.url, key="threads"), burst=True)
        yield from sandboxed("API, tasks", run_unbounded_async, FetchUserAsync(api.url, key="tasks"))

        def client(key):
            return httpx.Client(base_url=api.url, headers={"X-Api-Key": key}, trust_env=False, verify=False, timeout=30)

        def fetch(user_id):
            return current_worker().resource.get(f"/users/{user_id}").raise_for_status().json()

        def fetch_in_turn(user_id):
            limiter.acquire()
            return fetch(user_id)

        yield from pooled("API, 5 workers, no rate limit", fetch, lambda: client("workers"))
        yield from pooled("API, 5 workers, RateLimiter", fetch_in_turn, lambda: client("limited"))


def in_memory():
    yield from sandboxed("memory, threads, 2 GiB", run_unbounded, Hold(), burst=True, memory=2**31)
    yield from sandboxed("memory, threads, no limit", run_unbounded, Hold(), burst=True)
    yield from sandboxed("memory, tasks with data, 1 GiB", run_unbounded_async, HoldAsync(size=2**20), memory=2**30)
    yield from sandboxed("memory, 5 workers with data, 1 GiB", run_bounded, Hold(size=2**20), memory=2**30)


def save(table: pd.DataFrame) -> None:
    """Write the table and its chart."""
    shown = table.pivot_table(index="run", columns="outcome", values="jobs", aggfunc="sum", fill_value=0, sort=False)
    shown["seconds"] = table.groupby("run")["seconds"].first().round(1)
    write("unbounded", table, shown)
    chart = charts.outcome_shares(table)
    draw("unbounded", charts.headline(chart, TITLE, SUBTITLE))


def run() -> None:
    save(pd.DataFrame([*at_the_database(), *at_the_api(), *in_memory()]))


if __name__ == "__main__":
    run()
