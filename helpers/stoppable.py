"""A small service that drains its pool when it gets SIGTERM. Chapter 07 runs it in a process of its own."""

import json
import signal
import sys
import time
from pathlib import Path

from helpers.pools import WorkerPool, current_worker

stopping = False


def on_sigterm(number: int, frame: object) -> None:
    global stopping
    stopping = True


def handle(file: Path) -> None:
    while file.name == "job-0" and (file.parent / "server-down").exists():
        time.sleep(0.1)  # bad on purpose: job 0 hangs while its server is down, and ignores the pool's event
    if current_worker().cancelled.wait(0.1):
        raise RuntimeError("stopped: the service is shutting down")
    file.touch()


def main(folder: Path, new: list[str]) -> None:
    saved = folder / "saved.json"  # the names of the jobs that did not succeed in the last run
    names = json.loads(saved.read_text()) if saved.exists() else []
    jobs = [folder / name for name in names + new]
    pool = WorkerPool(handle, workers=2, queue_size=10)
    print("ready", flush=True)
    try:
        for job in jobs:
            while not stopping and not pool.try_submit(job):
                time.sleep(0.01)  # the queue is full
        while not stopping:
            time.sleep(0.01)  # a real service waits for more jobs
    finally:
        pool.shutdown(deadline=0.5)  # if jobs are left, cancels the queued ones and sets the event
        pool.force_shutdown()  # gives the running handlers another half a second
        succeeded = {result.job for result in pool.results() if result.ok}
        saved.write_text(json.dumps([job.name for job in jobs if job not in succeeded]))


if __name__ == "__main__":
    if sys.argv[2] == "handle-sigterm":
        signal.signal(signal.SIGTERM, on_sigterm)
    main(Path(sys.argv[1]), sys.argv[3:])
