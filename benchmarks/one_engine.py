"""One measurement of one engine in a process of its own: `python -m benchmarks.one_engine NAME MEASURE WORKERS`.

It prints the measurement as one line of JSON. The table of `benchmarks.engines` says what each measure means.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil

from benchmarks import engine_tasks as tasks
from benchmarks.engine_contenders import ENGINES, NEED_3_14

TINY, LIMIT, JOBS = 2000, 0.5, 20
MEGABYTE = b"x" * 2**20


def tiny(engine: Any, workers: int) -> dict[str, float]:
    """Microseconds per job that does nothing."""
    with engine(tasks.echo, workers, None) as run:
        run(list(range(50)))
        return {"us": 1e6 * seconds(lambda: run(list(range(TINY)))) / TINY}


def payload(engine: Any, workers: int) -> dict[str, float]:
    """Milliseconds per job whose job is 1 MiB, and per job that gets 10 MiB and returns them."""
    with engine(tasks.size_of, workers, None) as run:
        run([b""] * 10)
        one = seconds(lambda: run([MEGABYTE] * 100)) / 100
    with engine(tasks.echo, workers, None) as run:
        run([b""] * 10)
        ten = seconds(lambda: run([10 * MEGABYTE] * 10)) / 10
    return {"ms_1_mib": 1e3 * one, "ms_10_mib": 1e3 * ten}


def spin(engine: Any, workers: int) -> dict[str, float]:
    """Jobs per second of a pure Python handler, and the same without any pool, for comparison."""
    count = 50 * workers
    with engine(tasks.spin, workers, None) as run:
        run([0] * workers * 2)
        alone = seconds(lambda: [tasks.spin(job) for job in range(25)])
        together = seconds(lambda: run(list(range(count))))
        alone += seconds(lambda: [tasks.spin(job) for job in range(25)])
    return {"jobs_s": count / together, "one_core_jobs_s": 50 / alone}


def start(engine: Any, workers: int) -> dict[str, float]:
    """Seconds to make a pool, have each worker start, and close the pool; MiB of memory per worker (USS).

    The memory of its children is counted apart from what the program itself grows by.
    """
    memory, program = [], psutil.Process()
    before = program.memory_full_info().uss
    grown = []

    def make() -> None:
        with engine(tasks.spin, workers, None) as run:
            run([0] * workers)
            memory.extend(child.memory_full_info().uss / 2**20 for child in program.children(recursive=True))
            grown.append((program.memory_full_info().uss - before) / 2**20)

    took = seconds(make)
    return {"start_s": took, "mib_per_worker": sum(memory) / workers, "grown_mib_per_worker": grown[0] / workers}


def kill(engine: Any, workers: int) -> dict[str, float]:
    """How many of 20 jobs are lost if job 3 kills its process, and how many of 20 fail afterwards."""
    with engine(tasks.die_on_three, workers, None) as run:
        lost = failures(run(list(range(JOBS))))
        return {"lost": lost, "lost_afterwards": failures(run([0] * JOBS))}


def hang(engine: Any, workers: int) -> dict[str, float]:
    """Seconds for 20 jobs of which one hangs, with a limit of 0.5 s per job; and how many jobs are lost."""
    with engine(tasks.hang_on_three, workers, LIMIT) as run:
        run([0] * workers)
        outcomes: list[Any] = []
        took = seconds(lambda: outcomes.extend(run(list(range(JOBS)))))
        return {"hang_s": took, "hang_lost": failures(outcomes)}


def seconds(call: Callable[[], object]) -> float:
    """Return how long the call takes."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def failures(outcomes: list[Any]) -> int:
    """Return the number of jobs that have no value."""
    return sum(isinstance(outcome, BaseException) for outcome in outcomes)


MEASURES = {measure.__name__: measure for measure in (tiny, payload, spin, start, kill, hang)}

if __name__ == "__main__":
    name, measure, count = sys.argv[1:]
    found = MEASURES[measure]((ENGINES | NEED_3_14)[name], int(count))
    # Flush and leave: an engine that waits for a hung child must not keep the measurement.
    print(json.dumps(found), flush=True)
