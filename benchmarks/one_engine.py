"""Measure one engine in its own process: `python -m benchmarks.one_engine NAME MEASURE WORKERS`.

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
    """Return the microseconds per job that does nothing."""
    with engine(tasks.echo, workers, None) as run:
        run(list(range(50)))
        return {"us": 1e6 * seconds(lambda: run(list(range(TINY)))) / TINY}


def payload(engine: Any, workers: int) -> dict[str, float]:
    """Return the milliseconds per job of 1 MiB, and per job of 10 MiB that is also the result."""
    with engine(tasks.size_of, workers, None) as run:
        run([b""] * 10)
        one = seconds(lambda: run([MEGABYTE] * 100)) / 100
    with engine(tasks.echo, workers, None) as run:
        run([b""] * 10)
        ten = seconds(lambda: run([10 * MEGABYTE] * 10)) / 10
    return {"ms_1_mib": 1e3 * one, "ms_10_mib": 1e3 * ten}


def spin(engine: Any, workers: int) -> dict[str, float]:
    """Return the jobs per second of a handler in pure Python, and the same without a pool for comparison."""
    count = 50 * workers
    with engine(tasks.spin, workers, None) as run:
        run([0] * workers * 2)
        alone = seconds(lambda: [tasks.spin(job) for job in range(25)])
        together = seconds(lambda: run(list(range(count))))
        alone += seconds(lambda: [tasks.spin(job) for job in range(25)])
    return {"jobs_s": count / together, "one_core_jobs_s": 50 / alone}


def start(engine: Any, workers: int) -> dict[str, float]:
    """Return the seconds to create a pool, start each worker, and close the pool; and the MiB per worker (USS).

    The memory of the children is counted separately from the growth of the program itself.
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
    """Return how many of 20 jobs are lost if job 3 kills its process, and how many of the next 20 fail."""
    with engine(tasks.die_on_three, workers, None) as run:
        lost = failures(run(list(range(JOBS))))
        return {"lost": lost, "lost_afterwards": failures(run([0] * JOBS))}


def hang(engine: Any, workers: int) -> dict[str, float]:
    """Return the seconds for 20 jobs, one of which hangs, with a limit of 0.5 s per job; and how many are lost."""
    with engine(tasks.hang_on_three, workers, LIMIT) as run:
        run([0] * workers)
        outcomes: list[Any] = []
        took = seconds(lambda: outcomes.extend(run(list(range(JOBS)))))
        return {"hang_s": took, "hang_lost": failures(outcomes)}


def seconds(call: Callable[[], object]) -> float:
    """Return the seconds that the call takes."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def failures(outcomes: list[Any]) -> int:
    """Return the number of jobs without a value."""
    return sum(isinstance(outcome, BaseException) for outcome in outcomes)


MEASURES = {measure.__name__: measure for measure in (tiny, payload, spin, start, kill, hang)}

if __name__ == "__main__":
    name, measure, count = sys.argv[1:]
    found = MEASURES[measure]((ENGINES | NEED_3_14)[name], int(count))
    # End the process at once after the output, because an engine may wait for a child that hangs.
    print(json.dumps(found), flush=True)
