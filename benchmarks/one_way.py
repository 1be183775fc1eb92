"""One measurement of `benchmarks.beyond`: `python -m benchmarks.one_way WAY MEASURE JOBS` prints it as a line of JSON.

A module of its own, because child processes cannot import functions of the module that was started.
"""

import json
import sys

if __name__ == "__main__":
    way, what, count = sys.argv[1:]
    if what == "seconds":
        from benchmarks.beyond_seconds import measure
    elif way == "pgqueuer":
        from benchmarks.beyond_pgqueuer import measure
    elif way == "dask":
        from benchmarks.beyond_dask import measure
    else:
        from benchmarks.beyond_durable import measure
    print(json.dumps(measure(way, what, int(count))), flush=True)
