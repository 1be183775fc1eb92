"""Three numbers, for real: 10,000 pictures, 50,000 mails, 1,000,000 records from PostgreSQL.

    python -m benchmarks scale                    all three
    python -m benchmarks.scale pictures 1000      one of them, at another size

The pictures lie in build/pictures and are kept: about four gigabytes and, the first time, some minutes. What is
interrupted goes on where it was. The ways take turns within a run; quoted are the medians of the rounds' ratios.
"""

import json
import os
import smtplib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import psycopg
from PIL import Image
from tqdm import tqdm

from benchmarks.report import draw, write
from helpers import charts
from helpers.pools import BatchEmailSender, EmailJob, ImageJob, ImageProcessor, WorkerPool, current_worker
from helpers.pools.email import build_message
from helpers.services import Database, MailServer, make_photos

COUNTS = {"pictures": 10_000, "mails": 50_000, "records": 1_000_000}
ROUNDS = 10
FOLDER = Path("build/pictures")
SIZE, BOX = (1280, 960), (400, 300)
SENDER, CONNECTIONS, TIMEOUT = "news@example.com", 10, 10.0
READERS, BATCH = 2, 1000


def run() -> None:
    for part, count in COUNTS.items():
        globals()[part](count)


class Memory:
    """The most resident memory of this process while it is watched, in MiB above what it was before."""

    def __enter__(self) -> "Memory":
        self.process, self.done = psutil.Process(), threading.Event()
        self.before = self.most = self.process.memory_info().rss
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.done.wait(0.02):
            self.most = max(self.most, self.process.memory_info().rss)

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    @property
    def mib(self) -> float:
        return (self.most - self.before) / 2**20


def timed(number: int, ways: dict[str, tuple[Callable[[], int], str]]) -> list[dict[str, Any]]:
    """A row a way: how many jobs it did in a second, and the memory it took; every other round backwards."""
    rows = []
    for name, (work, unit) in list(ways.items())[:: 1 if number % 2 else -1]:
        with Memory() as memory:
            begun = time.perf_counter()
            done = work()
            seconds = time.perf_counter() - begun
        rows.append({"round": number, "way": name, "rate": done / seconds, "jobs": done, "mib": memory.mib})
        print(f"{number:2} {name}: {done / seconds:,.1f} {unit}, +{memory.mib:.1f} MiB", flush=True)
    return rows


def report(name: str, rows: list[dict[str, Any]], base: str, factor: float, of: str, unit: str) -> None:
    """Write the CSV, the chart and the table of medians, with each round's ratio to factor x base."""
    table = pd.DataFrame(rows)
    order = list(dict.fromkeys(table[table["round"] == 1]["way"]))
    bases = table[table["way"] == base].set_index("round")["rate"] * factor
    table[of] = table["rate"] / table["round"].map(bases)
    shown = table.groupby("way")[["rate", of, "mib"]].median().loc[order]
    shown = shown.rename(columns={"rate": unit, "mib": "extra memory, MiB"})
    write(f"scale_{name}", table, shown.round({unit: 1, of: 3, "extra memory, MiB": 1}))
    draw(f"scale_{name}", charts.rates(table, unit=unit))


# --- pictures ------------------------------------------------------------------------------------------------------


def pictures(count: int) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    out = Path("build/thumbnails")
    out.mkdir(parents=True, exist_ok=True)
    paths = fill(count, cores)
    rows: list[dict[str, Any]] = []
    with ImageProcessor(workers=cores, queue_size=100, output=out) as service:
        for number, some in enumerate(parts_of(paths, ROUNDS), start=1):
            for path in some:
                path.read_bytes()  # who comes first would else pay for the disk
            ways = {
                "one core, Pillow alone": (partial(raw_pictures, some[: len(some) // 3], out), "pictures/s"),
                "the pool": (partial(pooled_pictures, some, service), "pictures/s"),
                "all cores, Pillow alone": (partial(raw_threads, some, out, cores), "pictures/s"),
            }
            rows += timed(number, ways)
    report("pictures", rows, "one core, Pillow alone", cores, f"of {cores} cores x one core", "pictures/s")


def fill(count: int, cores: int) -> list[Path]:
    """The pictures, made by as many processes as there are cores; those that are there are kept."""
    command = [sys.executable, "-m", "benchmarks.scale", "make"]
    makers = [subprocess.Popen([*command, str(part), str(count // cores)]) for part in range(cores)]
    for maker in makers:
        if maker.wait():
            raise RuntimeError(f"making pictures failed with status {maker.returncode}")
    return sorted(FOLDER.glob("*/*.jpg"))[:count]


def make(part: int, count: int) -> None:
    width, height = SIZE
    photos = make_photos(FOLDER / str(part), count, width=width, height=height, seed=part + 1)
    for _ in tqdm(photos, total=count, desc=f"pictures, part {part + 1}", position=part):
        pass


def parts_of(things: list[Any], number: int) -> Iterator[list[Any]]:
    """The list in `number` parts, one after the other."""
    size = len(things) // number
    for start in range(number):
        yield things[start * size : (start + 1) * size]


def raw_picture(out: Path, path: Path) -> None:
    """What a resize costs if nothing is checked, named, counted or renamed."""
    with Image.open(path) as picture:
        picture.thumbnail(BOX, Image.Resampling.LANCZOS, reducing_gap=1.0)
        picture.save(out / f"raw_{path.parent.name}_{path.name}", quality=85)


def raw_pictures(paths: list[Path], out: Path) -> int:
    for path in paths:
        raw_picture(out, path)
    return len(paths)


def raw_threads(paths: list[Path], out: Path, cores: int) -> int:
    """A thread a core, each with its share: no queue, no results."""
    with ThreadPoolExecutor(cores) as threads:
        return sum(threads.map(lambda start: raw_pictures(paths[start::cores], out), range(cores)))


def pooled_pictures(paths: list[Path], service: ImageProcessor) -> int:
    jobs = (ImageJob(f"{path.parent.name}_{path.stem}", path, *BOX) for path in paths)
    return sum(result.ok for result in service.stream(jobs))


# --- mails ---------------------------------------------------------------------------------------------------------


def mails(count: int) -> None:
    rows: list[dict[str, Any]] = []
    with MailServer(latency=(0, 0)) as server:
        with BatchEmailSender(workers=CONNECTIONS, host=server.host, port=server.port) as sender:
            for number in range(1, ROUNDS + 1):
                jobs = [mail(n) for n in range(count // ROUNDS)]
                ways = {
                    "smtplib alone, 10 kept connections": (partial(raw_mails, jobs, server, TIMEOUT), "mails/s"),
                    "the same without a time-out": (partial(raw_mails, jobs, server, None), "mails/s"),
                    "the pool": (lambda jobs=jobs: sum(r.ok for r in sender.stream(jobs)), "mails/s"),
                    "a connection a mail": (partial(naive_mails, jobs[: len(jobs) // 5], server), "mails/s"),
                }
                rows += timed(number, ways)
        sent = sum(row["jobs"] for row in rows)
        assert server.counts()["accepted"] == sent, "every mail arrived"
    report("mails", rows, "smtplib alone, 10 kept connections", 1, "of smtplib alone", "mails/s")


def mail(number: int) -> EmailJob:
    return EmailJob(number, f"user{number}@example.com", f"User {number}", "We miss you!", f"Hi User {number}")


def connect(server: MailServer, timeout: float | None) -> smtplib.SMTP:
    smtp = smtplib.SMTP(server.host, server.port, local_hostname="localhost")
    assert smtp.sock is not None
    smtp.sock.settimeout(timeout)
    return smtp


def raw_mails(jobs: list[EmailJob], server: MailServer, timeout: float | None) -> int:
    """A thread a connection, each with its share of the same messages: no queue, no results."""

    def send(some: list[EmailJob]) -> int:
        with connect(server, timeout) as smtp:
            for job in some:
                smtp.sendmail(SENDER, job.address, build_message(job, SENDER).as_bytes())
        return len(some)

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return sum(threads.map(send, [jobs[n::CONNECTIONS] for n in range(CONNECTIONS)]))


def naive_mails(jobs: list[EmailJob], server: MailServer) -> int:
    def send(job: EmailJob) -> int:
        with connect(server, TIMEOUT) as smtp:
            smtp.sendmail(SENDER, job.address, build_message(job, SENDER).as_bytes())
        return 1

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return sum(threads.map(send, jobs))


# --- records -------------------------------------------------------------------------------------------------------


def records(count: int) -> None:
    rows: list[dict[str, Any]] = []
    with Database() as db:
        fill_records(db, count)
        expected = count * (count + 1) // 2
        for number in range(1, ROUNDS + 1):
            ways: dict[str, tuple[Callable[[], int], str]] = {
                "one connection, in batches": (partial(alone, db, count, expected), "records/s"),
                "the pool, a batch of 1,000 a job": (partial(in_batches, db, count, expected), "records/s"),
            }
            if number == 1:  # it takes minutes, and is not close
                ways["the pool, a record a job"] = (partial(one_by_one, db, count, expected), "records/s")
            rows += timed(number, ways)
        fewer = in_process("one_by_one", db, 10_000)
        all_of_them = in_process("one_by_one", db, count)
    base = "one connection, in batches"
    report("records", rows, base, 1, "of one connection", "records/s")
    print(f"peak memory, a record a job: {fewer:.1f} MiB for 10,000 and {all_of_them:.1f} MiB for {count:,}")
    memory = pd.DataFrame([{"jobs": 10_000, "mib": fewer}, {"jobs": count, "mib": all_of_them}])
    write("scale_memory", memory, memory.set_index("jobs").round(1).rename(columns={"mib": "peak memory, MiB"}))


def fill_records(db: Database, count: int) -> None:
    with db.connect() as connection:
        connection.execute("CREATE TABLE records (id integer PRIMARY KEY, value integer NOT NULL)")
        for start in tqdm(range(1, count + 1, 100_000), desc="records"):
            last = min(count, start + 99_999)
            connection.execute("INSERT INTO records SELECT n, n FROM generate_series(%s::int, %s) AS n", (start, last))
        connection.execute("ANALYZE records")


def alone(db: Database, count: int, expected: int) -> int:
    """What one plain loop over one connection does, a thousand records a round trip."""
    total = 0
    with psycopg.connect(db.url) as connection, connection.cursor("all_records") as cursor:
        cursor.execute("SELECT value FROM records")
        while rows := cursor.fetchmany(BATCH):
            for (value,) in rows:
                total += value
    assert total == expected
    return count


def read_one(number: int) -> int:
    row = current_worker().resource.execute("SELECT value FROM records WHERE id = %s", (number,)).fetchone()
    return int(row[0])


def read_batch(first: int) -> int:
    query = "SELECT value FROM records WHERE id >= %s AND id < %s"
    rows = current_worker().resource.execute(query, (first, first + BATCH)).fetchall()
    total = 0
    for (value,) in rows:
        total += value
    return total


def streamed(db: Database, handler: Callable[[int], int], jobs: Iterable[int], expected: int) -> None:
    with WorkerPool(handler, workers=READERS, queue_size=100, resource=db.connect) as pool:
        assert sum(result.value for result in pool.stream(jobs)) == expected


def in_batches(db: Database, count: int, expected: int) -> int:
    streamed(db, read_batch, range(1, count + 1, BATCH), expected)
    return count


def one_by_one(db: Any, count: int, expected: int) -> int:
    streamed(db, read_one, tqdm(range(1, count + 1), desc="one by one", mininterval=2), expected)
    return count


def in_process(name: str, db: Database, count: int) -> float:
    """The peak memory, MiB, of a process of its own that reads `count` records."""
    command = [sys.executable, "-m", "benchmarks.scale", name, db.url, str(count)]
    out = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return float(json.loads(out.stdout))


class Elsewhere:
    """A database that another process has started."""

    def __init__(self, url: str) -> None:
        self.connect = partial(psycopg.connect, url, autocommit=True)


if __name__ == "__main__":
    what, *numbers = sys.argv[1:]
    if what == "make":
        make(*map(int, numbers))
    elif what == "one_by_one":
        from benchmarks.one_run import peak_memory

        jobs = int(numbers[1])
        one_by_one(Elsewhere(numbers[0]), jobs, sum(islice(range(1, jobs + 1), jobs)))
        print(peak_memory() / 2**20)
    else:
        globals()[what](int(numbers[0]) if numbers else COUNTS[what])
