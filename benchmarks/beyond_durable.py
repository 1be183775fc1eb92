"""Three ways to run jobs, two of them durable: what a job costs, and what becomes of jobs whose process is killed.

`benchmarks.one_way` prints one measurement. The ways: `pool`, the queue in the memory of a `WorkerPool`; `table`, our
queue in a table of PostgreSQL; `procrastinate`. The two queues in PostgreSQL have two worker processes; the pool has
two threads in one process, which is the whole program.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.beyond_tasks import latencies, note, note_start, nothing, pool_speed, seen, starts, survived
from helpers.durable import mails, queue_table
from helpers.durable.children import ChildProcess
from helpers.pools import WorkerPool
from helpers.services import Database

WORKERS, QUEUE_SIZE = 2, 1000
WARM_UP, ALONE = 50, 200  # jobs
EVERY = 1.0  # seconds between two kills
LIMIT = 240.0  # seconds after which a measurement is given up


# What runs in the child processes


def pool_program(jobs: int, file: str) -> None:
    """The whole program of the pool, for the measurement with kills."""
    with WorkerPool(partial(note_start, file=file), workers=WORKERS, queue_size=QUEUE_SIZE) as pool:
        for _ in pool.stream(range(jobs)):
            pass


def table_worker(url: str, file: str | None, slow: bool) -> None:
    """Do the jobs of the table `jobs` forever. With a file, note each start there; `slow` adds 1 ms."""
    handle = note_start if slow else note

    def handler(connection: object, job: int) -> None:
        if file is not None:
            handle(job, file)

    with psycopg.connect(url, autocommit=True) as connection:
        while True:
            if not queue_table.do_one(connection, handler):
                time.sleep(0.01)


def procrastinate_worker(url: str) -> None:
    """Do the jobs of procrastinate forever, and retry stalled jobs every second."""
    mails.app.task(name="note")(note)
    mails.app.task(name="note_start")(note_start)
    mails.run_worker(url, wait=True, rescues=True)


# The queues, as a program sees them


class Table:
    """Our queue in a table."""

    def __init__(self, url: str, connection: psycopg.Connection[Any]) -> None:
        self._url, self._connection = url, connection
        queue_table.fill(connection, [])

    def worker(self, file: str | None, slow: bool = False) -> ChildProcess:
        return ChildProcess(table_worker, self._url, file, slow)

    def put(self, task: str, jobs: range, file: str | None) -> None:
        self._connection.cursor().executemany("INSERT INTO jobs (user_id) VALUES (%s)", [[job] for job in jobs])

    def left(self) -> int:
        return one(self._connection, "SELECT count(*) FROM jobs")


class Procrastinate:
    """The queue of procrastinate."""

    def __init__(self, url: str, connection: psycopg.Connection[Any], app: Any) -> None:
        self._url, self._connection, self._app = url, connection, app
        app.schema_manager.apply_schema()

    def worker(self, file: str | None, slow: bool = False) -> ChildProcess:
        return ChildProcess(procrastinate_worker, self._url)

    def put(self, task: str, jobs: range, file: str | None) -> None:
        more = {} if file is None else {"file": file}
        self._app.configure_task(task).batch_defer(*({"job": job} | more for job in jobs))

    def left(self) -> int:
        return one(
            self._connection,
            "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing') AND task_name <> 'rescue'",
        )


def one(connection: psycopg.Connection[Any], query: str) -> int:
    """Return the one number that the query finds."""
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


# The measurements


def memory_speed(jobs: int) -> dict[str, float]:
    """The pool, with jobs that do nothing."""
    with WorkerPool(nothing, workers=WORKERS, queue_size=QUEUE_SIZE) as pool:
        return pool_speed(pool, jobs, ALONE, lambda result: result.started)


def memory_kills(jobs: int) -> dict[str, float]:
    """The pool: its program is killed."""
    return killed_program(pool_program, jobs)


def killed_program(program: Callable[[int, str], None], jobs: int) -> dict[str, float]:
    """Kill the whole program a second after its first job has started. Nothing is there that could be killed later."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "starts"))
        with ChildProcess(program, jobs, file) as child:
            wait_until(Path(file).exists)
            time.sleep(EVERY)
            killed = time.monotonic()
            child.kill()
        return survived(jobs, [killed], file)


def speed(queue: Any, jobs: int) -> dict[str, float]:
    """A durable queue: the same two numbers, with two worker processes that are ready."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        file = str(Path(folder, "starts"))
        for _ in range(WORKERS):
            stack.enter_context(queue.worker(None))
        drain(queue, range(WARM_UP))
        begun = time.perf_counter()
        drain(queue, range(jobs))
        took = time.perf_counter() - begun
    with tempfile.TemporaryDirectory() as folder, queue.worker(file := str(Path(folder, "starts"))):
        time.sleep(3)  # the worker starts
        submitted = []
        for job in range(ALONE):
            submitted.append(time.monotonic())
            queue.put("note", range(job, job + 1), file)
            wait_until(partial(has_started, job, file))
        return {"us": 1e6 * took / jobs} | latencies(submitted, file)


def has_started(job: int, file: str) -> bool:
    """Return whether the handler of a job has noted its start."""
    return job in starts(file)


def drain(queue: Any, jobs: range) -> None:
    """Submit jobs that do nothing, and wait until they are done."""
    queue.put("do_nothing", jobs, None)
    wait_until(lambda: queue.left() == 0)


def kills(queue: Any, jobs: int) -> dict[str, float]:
    """A durable queue: every second, one of the worker processes that have begun to work is killed, and replaced."""
    killed = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        file = str(Path(folder, "starts"))
        queue.put("note_start", range(jobs), file)
        workers = [stack.enter_context(queue.worker(file, slow=True)) for _ in range(WORKERS)]
        wait_until(Path(file).exists)
        due = time.monotonic() + EVERY
        while queue.left():
            at_work = [worker for worker in workers if worker.pid in seen(file)] if time.monotonic() > due else []
            if at_work:
                killed.append(time.monotonic())
                at_work[0].kill()
                workers.remove(at_work[0])
                workers.append(stack.enter_context(queue.worker(file, slow=True)))
                due = killed[-1] + EVERY
            time.sleep(0.02)
        return survived(jobs, killed, file)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true. Raises TimeoutError."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not true within {LIMIT:g} s: {condition}")
        time.sleep(0.002)


def measure(way: str, what: str, jobs: int) -> dict[str, float]:
    """Return one measurement of one way."""
    if way == "pool":
        return memory_speed(jobs) if what == "speed" else memory_kills(jobs)
    measurement = speed if what == "speed" else kills
    with Database() as db, db.connect() as connection:
        if way == "table":
            return measurement(Table(db.url, connection), jobs)
        with mails.connected(db.url) as app:
            return measurement(Procrastinate(db.url, connection, app), jobs)
