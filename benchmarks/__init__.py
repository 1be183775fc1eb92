"""The long measurements. `make bench` runs all of them, and `python -m benchmarks noop waits` runs two of them."""
