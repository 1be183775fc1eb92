"""Run the measurements named on the command line, or all."""

import sys
from importlib import import_module

ALL = ("imports", "noop", "waits", "rate", "naive", "scale", "adapt")

for name in sys.argv[1:] or ALL:
    import_module(f"benchmarks.{name}").run()
