"""Runs like those of notebook 01, with 10,000 jobs: at the database, at the API, and in memory; naive and pooled."""

import httpx
import pandas as pd
import psycopg

from benchmarks import outcome
from benchmarks.report import draw, write
from helpers import charts
from helpers.pools import WorkerPool, current_worker, run_bounded, run_unbounded, run_unbounded_async
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


def rows(run, succeeded, errors, seconds):
    print(f"{run}: {succeeded} succeeded, {errors}, {seconds:.1f} s", flush=True)
    return [
        {"run": run, "outcome": k, "jobs": n, "seconds": seconds} for k, n in {"succeeded": succeeded, **errors}.items()
    ]


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
        "database, threads that keep their connection": (run_unbounded, ReadUserLazily, {"burst": True}),
        "database, threads": (run_unbounded, ReadUser, {"burst": True}),
        "database, tasks": (run_unbounded_async, ReadUserAsync, {}),
    }
    for run, (function, handler, options) in naive.items():
        with Database(max_connections=LIMIT) as db:
            yield from sandboxed(run, function, handler(db.url), **options)
    with Database(max_connections=LIMIT) as db:

        def read(user_id):
            return current_worker().resource.execute("select name from users where id = %s", (user_id,)).fetchone()

        yield from pooled("database, five workers", read, lambda: psycopg.connect(db.url, autocommit=True))


def at_the_api():
    limits = {"rate": 250, "burst": 20, "ban_after": 50, "ban_seconds": 60, "latency": 0.02}
    with Api(**limits) as api:
        yield from sandboxed("API, threads", run_unbounded, FetchUser(api.url), burst=True)
    with Api(**limits) as api:
        yield from sandboxed("API, tasks", run_unbounded_async, FetchUserAsync(api.url))
    with Api(**limits) as api:

        def fetch(user_id):
            return current_worker().resource.get(f"{api.url}/users/{user_id}").raise_for_status().json()

        yield from pooled("API, five workers", fetch, lambda: httpx.Client(trust_env=False, timeout=30))


def in_memory():
    yield from sandboxed("2 GiB, threads", run_unbounded, Hold(), burst=True, memory=2**31)
    yield from sandboxed("no limit, threads", run_unbounded, Hold(), burst=True)
    yield from sandboxed("1 GiB, tasks with data", run_unbounded_async, HoldAsync(size=2**20), memory=2**30)
    yield from sandboxed("1 GiB, five workers with data", run_bounded, Hold(size=2**20), memory=2**30)


def run() -> None:
    table = pd.DataFrame([*at_the_database(), *at_the_api(), *in_memory()])
    shown = table.pivot_table(index="run", columns="outcome", values="jobs", aggfunc="sum", fill_value=0, sort=False)
    shown["seconds"] = table.groupby("run")["seconds"].first().round(1)
    write("naive", table, shown)
    draw("naive", charts.outcomes(table))
    outcome.run()


if __name__ == "__main__":
    run()
