"""Three ways to run jobs, two of them durable: what a job costs, and what becomes of jobs whose process is killed.

`benchmarks.one_way` prints one measurement. The ways: `pool`, a `WorkerPool` with two threads; `processes`, a
`WorkerPool` with two child processes; `table`, our queue in a table of PostgreSQL; `procrastinate`. The two queues in
PostgreSQL have two worker processes, and `rate:8` measures them with eight.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import psycopg

from benchmarks.beyond_tasks import latencies, lines, note, pool_speed, short_job, start_time, starts, survived
from helpers.durable import mails, queue_table
from helpers.durable.children import ChildProcess
from helpers.pools import Processes, WorkerPool
from helpers.services import Database

WORKERS, QUEUE_SIZE = 2, 1000
WARM_UP, ALONE = 50, 200  # jobs
DOOMED = 200  # each job with a number like 199, 399, ... kills its process
SETTLED = 2.0  # seconds after the death of a program: the processes that it has started end, too
LIMIT = 240.0  # seconds after which a measurement is given up
CONNECTIONS = 200  # procrastinate opens several connections per worker


# What runs in the child processes


def pool_program(jobs: int, file: str, every: int = 0) -> None:
    """The whole program of the pool, for the measurements with kills."""
    handler = partial(short_job, file=file, every=every)
    with WorkerPool(handler, workers=WORKERS, queue_size=QUEUE_SIZE, engine=Processes()) as pool:
        for _ in pool.stream(range(jobs)):
            pass


def table_worker(url: str, task: str, file: str | None, every: int) -> None:
    """Do the jobs of the table `jobs` forever."""

    def handler(connection: object, number: int, job: int) -> None:
        if task == "short_job":
            short_job(job, str(file), every)
        elif file is not None:
            note(job, file)

    with psycopg.connect(url, autocommit=True) as connection:
        while True:
            if not queue_table.do_one(connection, handler):
                time.sleep(0.01)


def procrastinate_worker(url: str) -> None:
    """Do the jobs of procrastinate forever, and retry stalled jobs every second."""
    mails.app.task(name="note")(note)
    mails.app.task(name="short_job")(short_job)
    mails.run_worker(url, wait=True, rescues=True)


def submit_and_wait(way: str, url: str, jobs: int, file: str) -> None:
    """The program that submits the jobs to a durable queue. It is to be killed."""
    with opened(way, url) as queue:
        queue.put("short_job", range(jobs), file)
        time.sleep(LIMIT)


# The queues, as a program sees them


class Table:
    """Our queue in a table."""

    def __init__(self, url: str, connection: psycopg.Connection[Any]) -> None:
        self.way, self.url, self.connection = "table", url, connection

    def prepare(self) -> None:
        """Make the tables."""
        queue_table.fill(self.connection, [])

    def worker(self, file: str | None, task: str = "note", every: int = 0) -> ChildProcess:
        return ChildProcess(table_worker, self.url, task, file, every)

    def put(self, task: str, jobs: range, file: str | None, every: int = 0) -> None:
        with self.connection.transaction():
            self.connection.cursor().executemany("INSERT INTO jobs (user_id) VALUES (%s)", [[job] for job in jobs])

    def ready(self) -> int:
        """Return the number of workers that have connected."""
        return one(
            self.connection,
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND datname = current_database() AND pid <> pg_backend_pid()",
        )

    def left(self) -> int:
        return one(self.connection, "SELECT count(*) FROM jobs")


class Procrastinate:
    """The queue of procrastinate."""

    def __init__(self, url: str, connection: psycopg.Connection[Any], app: Any) -> None:
        self.way, self.url, self.connection, self._app = "procrastinate", url, connection, app

    def prepare(self) -> None:
        """Make the tables."""
        self._app.schema_manager.apply_schema()

    def worker(self, file: str | None, task: str = "note", every: int = 0) -> ChildProcess:
        return ChildProcess(procrastinate_worker, self.url)

    def put(self, task: str, jobs: range, file: str | None, every: int = 0) -> None:
        more: dict[str, Any] = {} if file is None else {"file": file}
        if every:
            more["every"] = every
        self._app.configure_task(task).batch_defer(*({"job": job} | more for job in jobs))

    def ready(self) -> int:
        """Return the number of workers that have registered."""
        return one(self.connection, "SELECT count(*) FROM procrastinate_workers")

    def left(self) -> int:
        return one(
            self.connection,
            "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing') AND task_name <> 'rescue'",
        )


@contextmanager
def opened(way: str, url: str) -> Iterator[Any]:
    """Yield the queue `table` or `procrastinate`, with a connection of its own."""
    with psycopg.connect(url, autocommit=True) as connection:
        if way == "table":
            yield Table(url, connection)
        else:
            with mails.connected(url) as app:
                yield Procrastinate(url, connection, app)


@contextmanager
def prepared(way: str) -> Iterator[Any]:
    """Yield a queue that is ready for jobs, in a database of its own."""
    with Database(CONNECTIONS) as db, opened(way, db.url) as queue:
        queue.prepare()
        yield queue


def one(connection: psycopg.Connection[Any], query: str) -> int:
    """Return the one number that the query finds."""
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


# The measurements


def memory_speed(jobs: int, engine: Processes | None = None) -> dict[str, float]:
    """The pool on this engine, with jobs that do nothing."""
    with WorkerPool(start_time, workers=WORKERS, queue_size=QUEUE_SIZE, engine=engine) as pool:
        assert len(list(pool.stream(range(WARM_UP)))) == WARM_UP
        return pool_speed(pool, jobs, ALONE)


def killed_processes(program: Callable[[int, str, int], None], jobs: int) -> dict[str, float]:
    """Run the program. Its doomed jobs kill the process that runs them."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "starts"))
        program(jobs, file, DOOMED)
        return {"kills": jobs // DOOMED} | survived(jobs, file)


def killed_program(program: Callable[[int, str], None], jobs: int) -> dict[str, float]:
    """Kill the whole program when half of its jobs have started."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder, "starts"))
        with ChildProcess(program, jobs, file) as child:
            wait_until(lambda: 2 * len(lines(file)) >= jobs)
            child.kill()
        time.sleep(SETTLED)
        return {"kills": 1} | survived(jobs, file)


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


def rate(queue: Any, jobs: int, workers: int) -> dict[str, float]:
    """A durable queue: jobs per second with this number of workers, and CPU milliseconds per job.

    All workers are ready before the jobs are submitted, in one transaction. The measurement begins then. It ends when
    a tenth of the jobs is left, so that no worker is without a job. The server must be on this computer.
    """
    with ExitStack() as stack:
        running = [psutil.Process(stack.enter_context(queue.worker(None)).pid) for _ in range(workers)]
        server = psutil.Process(one(queue.connection, "SELECT pg_backend_pid()")).parent()
        wait_until(lambda: queue.ready() >= workers)
        drain(queue, range(WARM_UP * workers))
        queue.put("do_nothing", range(jobs), None)
        began, left = time.perf_counter(), queue.left()
        used = [cpu_seconds([server, *server.children()]), cpu_seconds(running)]
        wait_until(lambda: queue.left() <= jobs // 10, pause=0.02)
        took, done = time.perf_counter() - began, left - queue.left()
        now = [cpu_seconds([server, *server.children()]), cpu_seconds(running)]
    server_ms, worker_ms = (1e3 * (after - before) / done for before, after in zip(used, now, strict=True))
    return {"rate": done / took, "server_ms": server_ms, "worker_ms": worker_ms}


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """Return the CPU seconds that these processes have used so far. A process that has ended counts as nothing."""
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def kills(queue: Any, jobs: int) -> dict[str, float]:
    """A durable queue: doomed jobs kill the worker that runs them. A killed worker is replaced."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        file = str(Path(folder, "starts"))
        queue.put("short_job", range(jobs), file, DOOMED)

        def start() -> ChildProcess:
            return stack.enter_context(queue.worker(file, "short_job", DOOMED))

        workers = [start() for _ in range(WORKERS)]

        def all_done() -> bool:
            for dead in [worker for worker in workers if worker.status is not None]:
                workers.remove(dead)
                workers.append(start())
            return bool(queue.left() == 0)

        wait_until(all_done, pause=0.02)
        return {"kills": jobs // DOOMED} | survived(jobs, file)


def killed_submitter(queue: Any, jobs: int) -> dict[str, float]:
    """A durable queue: the program that has submitted the jobs is killed when half of them have started."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        file = str(Path(folder, "starts"))
        for _ in range(WORKERS):
            stack.enter_context(queue.worker(file, "short_job"))
        with ChildProcess(submit_and_wait, queue.way, queue.url, jobs, file) as program:
            wait_until(lambda: 2 * len(lines(file)) >= jobs)
            program.kill()
        wait_until(lambda: queue.left() == 0)
        return {"kills": 1} | survived(jobs, file)


def wait_until(condition: Callable[[], bool], pause: float = 0.002) -> None:
    """Wait until the condition is true, with `pause` seconds between two checks. Raises TimeoutError."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not true within {LIMIT:g} s: {condition}")
        time.sleep(pause)


def measure(way: str, what: str, jobs: int) -> dict[str, float]:
    """Return one measurement of one way: `speed`, `kills`, `program`, or `rate:N` with N workers."""
    if way in ("pool", "processes") and what == "speed":
        return memory_speed(jobs, Processes() if way == "processes" else None)
    if way == "processes":
        return (killed_processes if what == "kills" else killed_program)(pool_program, jobs)
    with prepared(way) as queue:
        kind, _, workers = what.partition(":")
        if kind == "rate":
            return rate(queue, jobs, int(workers))
        return {"speed": speed, "kills": kills, "program": killed_submitter}[kind](queue, jobs)
