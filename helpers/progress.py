"""Show the progress of a pool: as a bar in a notebook, and as lines of text everywhere else.

    for result in progress(sender.stream(jobs), sender, total=100):
        ...

A pool itself prints nothing. The code that reads its results decides what to show.
"""

import sys
import time
from collections.abc import Generator
from contextlib import closing
from threading import RLock
from typing import Any, TextIO, TypeVar

from tqdm.std import tqdm

from helpers.pools import PoolStats, Result, WorkerPool, checks
from helpers.pools.words import describe

Job = TypeVar("Job")
Value = TypeVar("Value")

EVERY = 0.5  # seconds between two lines, or between two updates of the counts in the bar


def progress(
    results: Generator[Result[Job, Value], None, None],
    pool: WorkerPool[Any, Any],
    *,
    total: int | None = None,
    file: TextIO | None = None,
) -> Generator[Result[Job, Value], None, None]:
    """Yield the results unchanged, and show how many there are so far, out of `total` if it is given, by outcome.

    In a notebook, this shows a bar of tqdm, which is removed at the end. Elsewhere, it writes a line to `file`, or to
    stderr, at most every half second. Both write a last line at the end, also if the loop is left early. In a notebook
    this line goes to stdout.

    The call itself, not the first `next`, raises TypeError or ValueError for a bad argument.
    """
    if not issubclass(type(results), Generator):  # isinstance() can run the argument's own code
        raise TypeError(f"results must be a generator, such as stream() or results() returns, not {describe(results)}")
    if not issubclass(type(pool), WorkerPool):
        raise TypeError(f"pool must be the pool that yields the results, not {describe(pool)}")
    if total is not None:
        total = checks.whole_number("total", total, least=0)
    if file is not None and not hasattr(file, "write"):
        raise TypeError(f"file must be a file that takes text, not {describe(file)}")
    return _watched(results, pool, total, file)


def _watched(
    results: Generator[Result[Job, Value], None, None],
    pool: WorkerPool[Any, Any],
    total: int | None,
    file: TextIO | None,
) -> Generator[Result[Job, Value], None, None]:
    bar = _bar(total) if file is None and in_notebook() else None
    read, shown = 0, time.monotonic()
    with closing(results):
        try:
            for result in results:
                read += 1
                if bar is not None:
                    bar.update()
                if time.monotonic() - shown >= EVERY:
                    shown = time.monotonic()
                    if bar is not None:
                        bar.set_postfix(outcome_counts(pool.stats()))
                    else:
                        _line(file or sys.stderr, read, total, pool.stats())
                yield result
        finally:
            if bar is not None:
                bar.close()
            # The bar exists only while the kernel runs. The line is part of the saved notebook.
            _line(file or (sys.stderr if bar is None else sys.stdout), read, total, pool.stats())


def in_notebook() -> bool:
    """Return whether this is a Jupyter kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in shell.config


def outcome_counts(stats: PoolStats) -> dict[str, int]:
    """Return the outcomes so far, in the terms of the pool, such as {"sent": 95, "failed": 5}.

    Apart from succeeded (or sent) and failed, outcomes with a count of 0 are left out.
    """
    good = "sent" if hasattr(stats, "sent") else "succeeded"
    counts = {good: stats.succeeded, "failed": stats.failed, "unknown": stats.unknown, "cancelled": stats.cancelled}
    return {name: count for name, count in counts.items() if count or name in (good, "failed")}


def _bar(total: int | None) -> "tqdm[Any]":
    from tqdm.notebook import tqdm as notebook_bar  # needs ipywidgets, which a plain script may not have

    # The default lock of tqdm works between processes. For such a lock multiprocessing starts its resource tracker (on
    # macOS, and on Linux since Python 3.14), a process that then stays. All bars of a pool are in one process, so a
    # thread lock is enough.
    if not hasattr(notebook_bar, "_lock"):
        notebook_bar.set_lock(RLock())
    return notebook_bar(total=total, unit=" jobs", leave=False)


def _line(file: TextIO, read: int, total: int | None, stats: PoolStats) -> None:
    of = "" if total is None else f" of {total:,}"
    counts = ", ".join(f"{count:,} {name}" for name, count in outcome_counts(stats).items())
    print(f"{read:,}{of} jobs: {counts}", file=file, flush=True)
