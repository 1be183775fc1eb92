"""How many workers? Enough for the narrowest place on a job's way, and not one more.

What a job needs, in seconds: it *waits* for others (a server, a disk), it computes in *native* code that lets other
threads run (Pillow, zlib, numpy), and it computes in *python*, one thread at a time. However many workers there are,

    jobs/s <= 1 / python                     only one thread at a time runs Python
    jobs/s <= cores / (python + native)      a core does one thing at a time
    jobs/s <= limit / (all of it)            the service takes `limit` at a time
    jobs/s <= rate                           the service takes `rate` a second

The smallest of them is the most there can be, and Little's law (J. D. C. Little, 1961) says how many jobs are then in
service: workers = that rate x seconds a job. With one kind of computing and no service this is the rule of B. Goetz,
"Java Concurrency in Practice", 2006, section 8.2: cores x (1 + wait / compute).

That would be all if the jobs came to the narrow place one after the other, as if by appointment. They collide there,
and while some stand in line now, the place stands empty later. How many more workers make up for that, mean value
analysis says, for times that vary much (M. Reiser and S. S. Lavenberg, Journal of the ACM 27(2), 1980,
doi:10.1145/322186.322195).
"""

import math
import os
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .checks import function, iterable, number, whole_number


class Needs(NamedTuple):
    """What one job needs, seconds on average: `wait` for others, `compute` on a core."""

    wait: float
    compute: float


class Sizing(NamedTuple):
    """The workers that carry nearly all that is possible, `throughput` jobs/s, and the place that is the narrowest."""

    workers: int
    throughput: float
    narrowest: str


NEARLY = 0.95  # the share of the most that is worth more workers; each further percent costs more of them
MANY = 10_000  # workers, from which on collisions no longer matter

# What must be known of each kind of work, and what may be.
KINDS = {
    "cpu": ({"native", "python"}, {"cores"}),
    "io": ({"wait"}, {"native", "python", "cores"}),
    "mixed": ({"wait", "native", "python"}, {"cores", "limit", "rate"}),
    "limited": ({"limit", "rate"}, {"wait", "native", "python", "cores"}),
}


def recommended_workers(kind: str, **needs: float | None) -> int:
    """The number of workers for a kind of work; `size_up` has the arguments, and says why.

    "cpu":     native or python, or both: computing; a second worker a core would only take turns.
    "io":      wait, and native or python, as measured by `measured_needs`: others work while one waits.
    "mixed":   all three, and what limits there are.
    "limited": limit, with nothing else; or rate, with what a job needs.

    Raises ValueError for an unknown kind, and if an argument that the kind needs is missing or one is not its own;
    what `size_up` raises.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"kind must be one of {list(KINDS)}, not {kind!r}")
    own, extra = KINDS[kind]
    given = {name for name, value in needs.items() if value is not None}
    if foreign := sorted(given - own - extra):
        raise ValueError(f"{foreign[0]} says nothing about {kind!r} work: give it {sorted(own | extra)}")
    if not given & own or (kind == "mixed" and not own <= given):
        word = " and " if kind == "mixed" else " or "
        raise ValueError(f"{kind!r} work needs {word.join(sorted(own))}, not only {sorted(given)}")
    if given == {"limit"}:
        return whole_number("limit", needs["limit"])  # as many as the service takes, however long it takes
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
    """The narrowest place on a job's way, and the workers that keep it busy.

    Args:
        wait:   seconds a job waits for others.
        native: seconds it computes in code that lets go of the interpreter.
        python: seconds it computes in Python.
        cores:  of the machine; None: those this process may use.
        limit:  jobs that the service takes at a time.
        rate:   jobs that the service takes a second.

    Raises ValueError if nothing bounds the work (it waits only, for a service without a limit: then measure what that
    service can take) or if a job takes no time at all, TypeError or ValueError for a number that breaks its rule.
    """
    wait, native, python = (_seconds(*need) for need in (("wait", wait), ("native", native), ("python", python)))
    cores = usable_cores() if cores is None else whole_number("cores", cores)
    whole = wait + native + python
    if whole == 0:
        raise ValueError("a job must need some time: give wait, native or python, in seconds")
    places = {}
    if python:
        places["the interpreter"] = 1 / python
    if native + python:
        places["the cores"] = cores / (native + python)
    if limit is not None:
        places["the service's limit"] = whole_number("limit", limit) / whole
    if rate is not None:
        places["the service's rate"] = _rate(rate)
    if not places:
        raise ValueError("nothing bounds work that only waits: give a limit or a rate, or measure what it computes")
    narrowest = min(places, key=lambda place: places[place])
    if math.isinf(places[narrowest] * whole):
        raise ValueError(
            f"wait, native and python must be the times of one job, not {wait!r}, {native!r}, {python!r} s"
        )
    # 1e-9: 25 jobs at a time are 25 workers, also where 25 / 0.0605 x 0.0605 is a little more
    workers = max(1, math.ceil(places[narrowest] * whole - 1e-9))
    if wait and narrowest in ("the interpreter", "the cores"):
        workers = _with_collisions(workers, 1 / places[narrowest], whole)
    if limit is not None:
        workers = min(workers, limit)
    return Sizing(workers, places[narrowest], narrowest)


def _with_collisions(workers: int, service: float, whole: float) -> int:
    """The fewest workers that get NEARLY all of 1 / service jobs/s through a place that takes `service` seconds a job.

    For the rest of its `whole` seconds no job is in another's way.

    Several cores count as one that is as many times as fast (A. Seidmann's approximation, 1987).
    """
    if workers >= MANY:
        return workers
    count, queue = 0, 0.0
    while True:
        count += 1
        there = service * (1 + queue)  # who comes finds the queue that there is with one worker fewer
        rate = count / (whole - service + there)
        queue = rate * there
        if rate * service >= NEARLY:
            return max(count, workers)


def measured_needs(handler: Callable[[Any], Any], jobs: Iterable[Any]) -> Needs:
    """Call the handler with each job, here and now, under two clocks: the wall's, and this thread's CPU time.

    What the thread did not compute, it waited; waiting for a core is waiting too, so measure on an idle machine. Which
    part of the computing is native the clocks cannot tell. Raises what the handler raises, ValueError for no jobs,
    TypeError for what is no handler or no iterable.
    """
    function("handler", handler)
    count, wall, cpu = 0, time.perf_counter(), time.thread_time()
    for job in iterable("jobs", jobs):
        handler(job)
        count += 1
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    if not count:
        raise ValueError("jobs must have at least one job to measure")
    return Needs(wait=max(0.0, wall - cpu) / count, compute=cpu / count)


def usable_cores() -> int:
    """The cores that this process may use: in a container or under taskset fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _seconds(name: str, value: Any) -> float:
    return 0.0 if value is None else number(f"{name} must be a number of seconds, 0 or more", value)


def _rate(value: Any) -> float:
    return number("rate must be a number of jobs/s, more than 0", value, above=0)
