"""The long measurements. `make bench` runs all of them, `python -m benchmarks noop waits` some."""
