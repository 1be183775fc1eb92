"""The rate that a rate limiter reaches with 10 workers that only call `acquire`, and the cost of an `acquire`.

The rate is the number of calls after the first call, divided by the time since the first call. The goal is 0.98 of the
limiter's rate. At 1,000 calls per second, each thread sleeps for a few milliseconds, and the operating system wakes it
about 0.1 ms late. A limiter that counted from the moment of waking would lose a tenth of the rate. This limiter does
not lose it, because it determines the time of each call in advance.

The cost is the CPU time of an `acquire` that does not have to wait: the best of several runs in one thread.
"""

import time
import timeit

import pandas as pd

from benchmarks.report import write
from helpers.pools import RateLimiter, WorkerPool

RATES, WORKERS, ROUNDS, SECONDS = (10, 100, 1000), 10, 5, 4.0
CALLS, REPEATS = 100_000, 5


def of_rate(rate: float) -> float:
    """Return the measured calls per second, divided by `rate`."""
    limiter = RateLimiter(rate)

    def call(job: int) -> float:
        limiter.acquire()
        return time.monotonic()

    with WorkerPool(call, workers=WORKERS) as pool:
        times = sorted(result.value for result in pool.stream(range(int(rate * SECONDS))))
    return (len(times) - 1) / (times[-1] - times[0]) / rate


def cost() -> float:
    """Return the microseconds of CPU time per `acquire` that does not have to wait."""
    limiter = RateLimiter(1e6, burst=CALLS * REPEATS)
    runs = timeit.repeat(limiter.acquire, number=CALLS, repeat=REPEATS, timer=time.process_time)
    return min(runs) / CALLS * 1e6


def run() -> None:
    rows = []
    for number in range(1, ROUNDS + 1):
        for rate in RATES:
            rows.append({"round": number, "rate": rate, "of_rate": of_rate(rate), "acquire_us": cost()})
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    shown = table.groupby("rate")["of_rate"].agg(["median", "min", "max"]).round(4)
    write("rate", table, shown)
    costs = table["acquire_us"].agg(["median", "min", "max"]).round(2)
    write("rate_cost", table[["round", "acquire_us"]], costs.rename("us per acquire").to_frame())


if __name__ == "__main__":
    run()
