"""The time that `import helpers.pools` adds to the start of Python: the median difference of whole processes."""

import subprocess
import sys
import time

import pandas as pd

from benchmarks.report import write

ROUNDS = 25
CODES = {
    "bare": "pass",
    "helpers.pools": "import helpers.pools",
    "asyncio": "import asyncio",
    "pandas": "import pandas",
}


def seconds(code: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)  # with a time-out, it would wait in steps of 32 ms
    return time.perf_counter() - begun


def run() -> None:
    rows = []
    for number in range(1, ROUNDS + 1):
        found = {name: seconds(code) for name, code in CODES.items()}
        rows += [
            {"round": number, "import": n, "ms": (s - found["bare"]) * 1e3} for n, s in found.items() if n != "bare"
        ]
    table = pd.DataFrame(rows)
    write("imports", table, table.groupby("import", sort=False)[["ms"]].median().round(1))


if __name__ == "__main__":
    run()
