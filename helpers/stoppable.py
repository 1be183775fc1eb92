"""A small service that drains its pool when it gets SIGTERM. Chapter 07 runs it in a process of its own."""

import json
import signal
import sys
import time
from pathlib import Path

from helpers.pools import WorkerPool

stopping = False


def on_sigterm(number: int, frame: object) -> None:
    global stopping
    stopping = True


def jobs_to_do(folder: Path) -> list[Path]:
    saved = folder / "saved.json"  # the names of the jobs that did not succeed in the last run
    if saved.exists():
        return [folder / name for name in json.loads(saved.read_text())]
    return [folder / f"job-{number}" for number in range(10)]


def handle(file: Path) -> None:
    time.sleep(60 if file.name == "job-9" else 0.1)
    file.touch()


def main(folder: Path) -> None:
    jobs = jobs_to_do(folder)
    pool = WorkerPool(handle, workers=2, queue_size=20)
    try:
        for job in jobs:
            pool.submit(job)
        print("ready", flush=True)
        while not stopping:
            time.sleep(0.05)
        pool.shutdown(deadline=2)
        succeeded = {result.job for result in pool.results() if result.ok}
        saved = [job.name for job in jobs if job not in succeeded]
        (folder / "saved.json").write_text(json.dumps(saved))
    finally:
        (folder / "finally").touch()


if __name__ == "__main__":
    if sys.argv[2] == "handle-sigterm":
        signal.signal(signal.SIGTERM, on_sigterm)
    main(Path(sys.argv[1]))
