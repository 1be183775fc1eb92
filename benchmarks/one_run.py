"""Run jobs that do nothing with one contender, in its own process: `python -m benchmarks.one_run NAME JOBS SIZE`.

The process prints its measurement as one line of JSON. It imports only the standard library and `helpers.pools`, so any
supported Python can run it, even without pandas.
"""

import json
import sys
import time

from benchmarks.contenders import NOOP

WORKERS = 5
WARM_UP = 1000  # jobs before the measurement, so that imports and the first allocations do not count


def noop(job):
    return job


def peak_memory() -> int:
    """Return the maximum of this process's memory so far, in bytes, according to the kernel."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(name: str, jobs: int, queue_size: int) -> dict[str, float]:
    """Run `jobs` jobs in this process. Return the microseconds per job and the growth of the peak memory in MiB."""
    NOOP[name](noop, range(WARM_UP), WORKERS, queue_size)
    before = peak_memory()
    begun = time.perf_counter()
    count = NOOP[name](noop, range(jobs), WORKERS, queue_size)
    seconds = time.perf_counter() - begun
    assert count == jobs, (name, count)
    return {"us": seconds / jobs * 1e6, "mib": (peak_memory() - before) / 2**20}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
