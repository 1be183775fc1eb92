"""How many workers does a kind of work need? Enough to keep its bottleneck busy, and no more.

One job needs three kinds of time, in seconds. `wait` is the time it waits for others, such as a server or a disk.
`native` is the time it computes in code that lets other threads run, such as Pillow, zlib, or numpy. `python` is the
time it computes in Python code, which one thread at a time can run. Each of them puts a limit on the throughput, and so
does a service that is limited, whatever the number of workers:

    jobs/s <= 1 / python                        one thread at a time runs Python code
    jobs/s <= cores / (python + native)         a core does one thing at a time
    jobs/s <= limit / (wait + native + python)  the service accepts `limit` jobs at a time
    jobs/s <= rate                              the service accepts `rate` jobs per second

The smallest of these numbers is the maximum throughput, and its line is the bottleneck. Little's law (J. D. C. Little,
Operations Research 9(3), 1961, doi:10.1287/opre.9.3.383) gives the number of jobs that are then in service:

    workers = throughput * (wait + native + python)

For work that only waits and computes, this is the rule in B. Goetz, "Java Concurrency in Practice", 2006, section 8.2:
cores * (1 + wait / compute).

That number would be enough if jobs reached the bottleneck one after the other, evenly spaced. In fact they come at
random moments: sometimes several of them queue for the interpreter or the cores, and sometimes the bottleneck is idle.
A few more workers make up for the idle times. Mean value analysis says how many, for times that vary exponentially
(M. Reiser and S. S. Lavenberg, Journal of the ACM 27(2), 1980, doi:10.1145/322186.322195).
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

NEARLY = 0.95  # the share of the maximum throughput to reach; each further percent needs more workers than the last
MANY = 10_000  # from this number of workers up, the few more that make up for idle times do not matter
COUNTABLE = 2**53  # the largest number of cores or places that a float holds exactly

# For each kind of work: the arguments of which it needs one (or all, for "mixed"), and those that it may have.
KINDS = {
    "cpu": ({"native", "python"}, {"cores"}),
    "io": ({"wait"}, {"native", "python", "cores"}),
    "mixed": ({"wait", "native", "python"}, {"cores", "limit", "rate"}),
    "limited": ({"limit", "rate"}, {"wait", "native", "python", "cores"}),
}


def recommended_workers(kind: str, **needs: float | None) -> int:
    """Return the number of workers for one kind of work. The arguments in `needs` are those of `size_up`.

    "cpu":      `native`, `python`, or both. The job computes, and more workers than cores would only take turns.
    "io":       `wait`, and `native` or `python`, as `measured_needs` gives them. Others work while one worker waits.
    "mixed":    all three, and the limits of the service if it has any.
    "limited":  `limit` alone, or `limit` or `rate` with the times that a job needs.

    Raises ValueError for an unknown kind, for an argument that is missing, and for one that does not belong to the
    kind. Raises what `size_up` raises.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind must be one of {list(KINDS)}, not {describe(kind)}")
    given = {name for name, value in needs.items() if value is not None}
    _check_given(kind, given)
    if given == {"limit"}:
        return whole_number("limit", needs["limit"])  # the number the service accepts, however long a job takes
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
    """Return the bottleneck of a kind of work, its throughput, and the number of workers that keep it busy.

    Args:
        wait:    the seconds that one job waits for others, on average.
        native:  the seconds that it computes in code that releases the interpreter.
        python:  the seconds that it computes in Python code.
        cores:   the cores of the machine; None means those that this process may use.
        limit:   the number of jobs that the service accepts at a time.
        rate:    the number of jobs that the service accepts per second.

    The formulas and their sources are in the docstring of this module.

    Raises ValueError if nothing limits the work: if a job only waits, for a service without a limit, measure what that
    service can take. Raises ValueError if a job needs no time at all, and TypeError or ValueError for an argument that
    is not a number or out of its range.
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
    workers = _workers(throughput, whole, collisions=wait > 0 and narrowest in (INTERPRETER, CORES))
    return Sizing(workers if limit is None else min(workers, int(limit)), throughput, narrowest)


def measured_needs(handler: Callable[[Any], Any], jobs: Iterable[Any]) -> Needs:
    """Call the handler with each job, one after the other in this thread, and return what one job needs on average.

    The time that passes comes from `time.perf_counter`, and the time that the thread computes from `time.thread_time`.
    The difference is the wait. Waiting for a core counts as a wait too, so measure on an idle machine. The clocks
    cannot tell native code from Python code.

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

    In a container or under `taskset` they can be fewer than the machine has.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_given(kind: str, given: set[str]) -> None:
    """Raise ValueError if the arguments that were given are too many or too few for the kind of work."""
    own, extra = KINDS[kind]
    if foreign := sorted(given - own - extra):
        allowed = ", ".join(sorted(own | extra))
        raise ValueError(f"{describe(kind)} work takes only {allowed}, not {describe(foreign[0])}")
    if not given & own or (kind == "mixed" and not own <= given):
        word = " and " if kind == "mixed" else " or "
        raise ValueError(f"{describe(kind)} work needs {word.join(sorted(own))}, not only {sorted(given)}")


def _computing_bounds(python: float, compute: float, cores: int | None) -> dict[str, float]:
    """Return the maximum throughput of the interpreter and of the cores, in jobs/s; nothing if a job only waits."""
    cores = usable_cores() if cores is None else _count("cores", cores)
    bounds = {}
    if python:
        bounds[INTERPRETER] = 1 / python
    if compute:
        bounds[CORES] = cores / compute
    return bounds


def _service_bounds(whole: float, limit: int | None, rate: float | None) -> dict[str, float]:
    """Return the maximum throughput of a limited service, in jobs/s; nothing if the service has no limit."""
    bounds = {}
    if limit is not None:
        bounds[LIMIT] = _count("limit", limit) / whole
    if rate is not None:
        bounds[RATE] = number("rate must be a number of jobs/s, more than 0", rate, above=0)
    return bounds


def _workers(throughput: float, whole: float, *, collisions: bool) -> int:
    """Return the number of workers that reach `throughput` jobs/s if each job takes `whole` seconds."""
    # In floating point, 25 / 0.0605 * 0.0605 is a little more than 25, and still means 25 workers and not 26.
    workers = max(1, math.ceil(throughput * whole - 1e-9))
    if collisions and workers < MANY:
        return max(workers, _with_collisions(1 / throughput, whole))
    return workers


def _with_collisions(service: float, whole: float) -> int:
    """Return the fewest workers that reach NEARLY the maximum throughput of the bottleneck, which is 1 / service.

    Each job spends `service` of its `whole` seconds at the bottleneck, and no job delays another one for the rest of
    its time. Several cores count as one core that is as many times as fast (the approximation of A. Seidmann, P. J.
    Schweitzer and S. Shalev-Oren, Large Scale Systems 12, 1987).
    """
    count, queue = 0, 0.0
    while True:
        count += 1
        # A job that arrives finds, on average, the queue of the same system with one worker fewer.
        at_bottleneck = service * (1 + queue)
        rate = count / (whole - service + at_bottleneck)
        queue = rate * at_bottleneck
        if rate * service >= NEARLY:
            return count


def _seconds(name: str, value: Any) -> float:
    return 0.0 if value is None else number(f"{name} must be a number of seconds, 0 or more", value)


def _count(name: str, value: Any) -> int:
    count = whole_number(name, value)
    if count > COUNTABLE:
        raise ValueError(f"{name} must be a whole number of at most {COUNTABLE}, not {describe(count)}")
    return count
