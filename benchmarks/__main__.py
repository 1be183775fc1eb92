"""Run the benchmarks named on the command line, or all of them."""

import sys
from importlib import import_module

ALL = (
    "imports",
    "noop",
    "open_close",
    "waits",
    "rate",
    "naive",
    "scale",
    "adapt",
    "engines",
    "gil",
    "metrics",
    "control_room",
    "beyond",
)

if __name__ == "__main__":
    for name in sys.argv[1:] or ALL:
        import_module(f"benchmarks.{name}").run()
