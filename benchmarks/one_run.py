"""One contender's run of jobs that do nothing, in a process of its own: `python -m benchmarks.one_run NAME JOBS SIZE`.

The process prints its measurement as one line of JSON. It imports the standard library and `helpers.pools` only, so
any supported Python can run it, also one in which pandas is not installed.
"""

import json
import sys
import time

from benchmarks.contenders import NOOP

WORKERS = 5
WARM_UP = 1000  # jobs; imports and the first allocations must not count


def noop(job):
    return job


def peak_memory() -> int:
    """Return the most bytes of memory that this process has held at a time, according to the kernel."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(name: str, jobs: int, queue_size: int) -> dict[str, float]:
    """Run `jobs` jobs in this process. Return the microseconds per job, and the MiB by which the peak memory grew."""
    NOOP[name](noop, range(WARM_UP), WORKERS, queue_size)
    before = peak_memory()
    begun = time.perf_counter()
    count = NOOP[name](noop, range(jobs), WORKERS, queue_size)
    seconds = time.perf_counter() - begun
    assert count == jobs, (name, count)
    return {"us": seconds / jobs * 1e6, "mib": (peak_memory() - before) / 2**20}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
