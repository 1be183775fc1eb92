"""Compute the number of workers that a kind of work needs: enough to keep its bottleneck busy, and no more.

One job needs three kinds of time, in seconds. `wait` is the time that it waits for others, such as a server or a disk.
`native` is the time that it computes in code that lets other threads run, such as Pillow, zlib, or numpy. `python` is
the time that it computes in Python code, which only one thread at a time can run. These times limit the throughput,
with any number of workers, and so does a service that has a limit:

    jobs/s <= 1 / python                        one thread at a time runs Python code
    jobs/s <= cores / (python + native)         a core does one thing at a time
    jobs/s <= limit / (wait + native + python)  the service accepts `limit` jobs at a time
    jobs/s <= rate                              the service accepts `rate` jobs per second

The smallest of these numbers is the maximum throughput, and its line names the bottleneck. Little's law (J. D. C.
Little, Operations Research 9(3), 1961, doi:10.1287/opre.9.3.383) gives the number of jobs that are then in service:

    workers = throughput * (wait + native + python)

For work that only waits and computes, this is the rule in B. Goetz, "Java Concurrency in Practice", 2006, section 8.2:
cores * (1 + wait / compute).

That number would be enough if jobs reached the bottleneck at even intervals. In fact they arrive at random times:
sometimes several jobs queue for the interpreter or the cores, and sometimes the bottleneck is idle. A few more workers
make up for the idle times. Mean value analysis gives their number, if the times of the jobs are exponentially
distributed (M. Reiser and S. S. Lavenberg, Journal of the ACM 27(2), 1980, doi:10.1145/322186.322195).

Always true: the advice never exceeds the `limit` of the service. Advice that is too high would make the service refuse
jobs, and advice that is too low would leave the bottleneck idle.
"""

import math
import os
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .checks import handler as check_handler
from .checks import iterable, number, whole_number
from .words import describe


class Needs(NamedTuple):
    """The mean time that one job needs.

    Attributes:
        wait:     the seconds that it waits for others.
        compute:  the seconds that it computes on a core.
    """

    wait: float
    compute: float


class Sizing(NamedTuple):
    """The advice of `size_up`.

    Attributes:
        workers:     the number of workers that reach nearly the maximum throughput.
        throughput:  the maximum throughput, in jobs/s.
        narrowest:   the bottleneck: "the interpreter", "the cores", "the service's limit", or "the service's rate".
    """

    workers: int
    throughput: float
    narrowest: str


INTERPRETER, CORES, LIMIT, RATE = "the interpreter", "the cores", "the service's limit", "the service's rate"

TARGET_SHARE = 0.95  # of the maximum throughput; each further percent needs more workers than the one before
MANY_WORKERS = 10_000  # from this number up, the few additional workers for idle times are too few to matter
MAX_COUNT = 2**53  # the largest number of cores or of jobs at a time that a float can hold exactly

# For each kind of work: first the arguments of which one must be given (for "mixed", all), then the optional ones.
KINDS = {
    "cpu": ({"native", "python"}, {"cores"}),
    "io": ({"wait"}, {"native", "python", "cores"}),
    "mixed": ({"wait", "native", "python"}, {"cores", "limit", "rate"}),
    "limited": ({"limit", "rate"}, {"wait", "native", "python", "cores"}),
}


def recommended_workers(kind: str, **needs: float | None) -> int:
    """Return the number of workers for one kind of work. The arguments in `needs` are those of `size_up`.

    Args:
        kind:   one of these:
                "cpu"      needs `native`, `python`, or both. More workers than cores would only take turns.
                "io"       needs `wait`, and `native` or `python`, as `measured_needs` returns them.
                "mixed"    needs all three times, and takes the limits of the service.
                "limited"  needs `limit` alone, or `limit` or `rate` with the times of a job.
        needs:  the times, in seconds, and the limits. None counts as not given.

    Raises ValueError for an unknown kind, for a missing argument, and for an argument that does not belong to the kind.
    Raises what `size_up` raises.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind must be one of {list(KINDS)}, not {describe(kind)}")
    given = {name for name, value in needs.items() if value is not None}
    _check_given(kind, given)
    if given == {"limit"}:
        return whole_number("limit", needs["limit"])  # the answer does not depend on the time that a job takes
    return size_up(**needs).workers  # type: ignore[arg-type]


def size_up(
    *,
    wait: float | None = None,
    native: float | None = None,
    python: float | None = None,
    cores: int | None = None,
    limit: int | None = None,
    rate: float | None = None,
) -> Sizing:
    """Return the bottleneck of a kind of work, its throughput, and the number of workers that keep the bottleneck busy.

    Args:
        wait:    the mean time, in seconds, that one job waits for others.
        native:  the mean time, in seconds, that it computes in code that releases the interpreter lock.
        python:  the mean time, in seconds, that it computes in Python code.
        cores:   the number of cores; None means the cores that this process may use.
        limit:   the number of jobs that the service accepts at a time; None means no limit.
        rate:    the number of jobs that the service accepts per second; None means no limit.

    A time of None counts as 0. The formulas and their sources are in the docstring of this module.

    Raises ValueError if nothing limits the work, which happens if a job only waits, for a service without a limit. In
    that case, measure the limit of the service. Raises ValueError if a job needs no time at all, and TypeError or
    ValueError for an argument that is not a number or out of its range.
    """
    wait, native, python = _seconds("wait", wait), _seconds("native", native), _seconds("python", python)
    whole = wait + native + python
    if whole == 0:
        raise ValueError("a job must need some time: give wait, native or python, in seconds")
    compute = native + python
    bounds = _computing_bounds(python, compute, cores) | _service_bounds(whole, limit, rate)
    if not bounds:
        raise ValueError("nothing bounds work that only waits: give a limit or a rate, or measure what it computes")
    narrowest = min(bounds, key=lambda name: bounds[name])
    throughput = bounds[narrowest]
    if not math.isfinite(throughput * whole):
        times = f"{wait!r}, {native!r}, {python!r} s"
        raise ValueError(f"wait, native and python must be the times of one job, not {times} at {throughput:g} jobs/s")
    workers = _workers(throughput, whole, jobs_queue=wait > 0 and narrowest in (INTERPRETER, CORES))
    return Sizing(workers if limit is None else min(workers, int(limit)), throughput, narrowest)


def measured_needs(handler: Callable[[Any], Any], jobs: Iterable[Any]) -> Needs:
    """Call the handler with each job, one after the other in this thread, and return the mean times of one job.

    `time.perf_counter` measures the time that passes, and `time.thread_time` the time that this thread computes. The
    difference is the wait. Time in which the thread waits for a core counts as wait too, so measure on an idle machine.
    The clocks cannot distinguish native code from Python code.

    Raises what the handler raises, ValueError if there are no jobs, and TypeError if `handler` cannot be a handler or
    `jobs` is not iterable.
    """
    check_handler(handler)
    source = iterable("jobs", jobs)
    count, wall, cpu = 0, time.perf_counter(), time.thread_time()
    for job in source:
        handler(job)
        count += 1
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    if not count:
        raise ValueError("jobs must have at least one job to measure")
    return Needs(wait=max(0.0, wall - cpu) / count, compute=cpu / count)


def usable_cores() -> int:
    """Return the number of cores that this process may use.

    In a container or under `taskset`, a process may use fewer cores than the machine has.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_given(kind: str, given: set[str]) -> None:
    """Raise ValueError if a given argument does not belong to the kind of work, or if a required one is missing."""
    own, extra = KINDS[kind]
    if foreign := sorted(given - own - extra):
        allowed = ", ".join(sorted(own | extra))
        raise ValueError(f"{describe(kind)} work takes only {allowed}, not {describe(foreign[0])}")
    if not given & own or (kind == "mixed" and not own <= given):
        word = " and " if kind == "mixed" else " or "
        raise ValueError(f"{describe(kind)} work needs {word.join(sorted(own))}, not only {sorted(given)}")


def _computing_bounds(python: float, compute: float, cores: int | None) -> dict[str, float]:
    """Return the maximum throughput of the interpreter and of the cores, in jobs/s. A time of 0 sets no limit."""
    cores = usable_cores() if cores is None else _count("cores", cores)
    bounds = {}
    if python:
        bounds[INTERPRETER] = 1 / python
    if compute:
        bounds[CORES] = cores / compute
    return bounds


def _service_bounds(whole: float, limit: int | None, rate: float | None) -> dict[str, float]:
    """Return the maximum throughput of the service for each limit that it has, in jobs/s."""
    bounds = {}
    if limit is not None:
        bounds[LIMIT] = _count("limit", limit) / whole
    if rate is not None:
        bounds[RATE] = number("rate must be a number of jobs/s, more than 0", rate, above=0)
    return bounds


def _workers(throughput: float, whole: float, *, jobs_queue: bool) -> int:
    """Return the number of workers that reach `throughput` jobs/s if each job takes `whole` seconds.

    `jobs_queue` is True if jobs arrive at the bottleneck at random times, so that they sometimes queue for it.
    """
    # Subtract 1e-9, because 25 / 0.0605 * 0.0605 is a little more than 25 in floating point, and means 25 workers.
    workers = max(1, math.ceil(throughput * whole - 1e-9))
    if jobs_queue and workers < MANY_WORKERS:
        return max(workers, _workers_with_queueing(1 / throughput, whole))
    return workers


def _workers_with_queueing(service: float, whole: float) -> int:
    """Return the smallest number of workers that reaches TARGET_SHARE of the maximum throughput, which is 1 / service.

    Each job spends `service` of its `whole` seconds at the bottleneck, where jobs queue. During the rest of its time,
    no other job delays it. Several cores count as a single core that is as many times as fast (the approximation of
    A. Seidmann, P. J. Schweitzer and S. Shalev-Oren, Large Scale Systems 12, 1987).
    """
    count, queue = 0, 0.0
    while True:
        count += 1
        # The arrival theorem: a job that arrives finds the mean queue of the same system with one worker fewer.
        at_bottleneck = service * (1 + queue)
        rate = count / (whole - service + at_bottleneck)
        queue = rate * at_bottleneck
        if rate * service >= TARGET_SHARE:
            return count


def _seconds(name: str, value: Any) -> float:
    return 0.0 if value is None else number(f"{name} must be a number of seconds, 0 or more", value)


def _count(name: str, value: Any) -> int:
    count = whole_number(name, value)
    if count > MAX_COUNT:
        raise ValueError(f"{name} must be a whole number of at most {MAX_COUNT}, not {describe(count)}")
    return count
