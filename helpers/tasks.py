"""Functions that notebooks run in other processes.

A child process imports a function by the name of its module. A function from a notebook cell is in no module that can
be imported, so a function for other processes must be in a file.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def count_primes(limit: int) -> int:
    """Return the number of primes less than `limit`. It is pure Python code, and it is slow on purpose."""
    count = 0
    for number in range(2, limit):
        if all(number % divisor for divisor in range(2, int(number**0.5) + 1)):
            count += 1
    return count


def sum_of_squares(count: int) -> int:
    """Return the sum of the squares of the numbers from 0 to `count` - 1. It is pure Python code."""
    return sum(number * number for number in range(count))


def count_primes_aloud(limit: int) -> int:
    """Print a line, and then return `count_primes(limit)`."""
    print("Working", flush=True)
    return count_primes(limit)


def length_of(data: bytes) -> int:
    """Return the number of bytes: a handler for large jobs with a small result."""
    return len(data)


def crash_at_7(number: int) -> int:
    """Return the number after 20 ms. The number 7 ends the whole process at once, like a crash in C code."""
    if number == 7:
        os._exit(3)
    time.sleep(0.02)
    return number


def hang_at_7(number: int) -> int:
    """Return the number after 20 ms. The number 7 takes 3 s, like a handler that hangs."""
    time.sleep(3 if number == 7 else 0.02)
    return number


class PageError(Exception):
    """An exception that cannot be unpickled: `args` has only the message, and `__init__` needs two arguments."""

    def __init__(self, page: int, reason: str) -> None:
        super().__init__(f"page {page}: {reason}")


def fail_at_7(number: int) -> int:
    """Return the number. The number 7 raises `PageError`."""
    if number == 7:
        raise PageError(number, "not found")
    return number


seen: list[int] = []  # each process has a list of its own


def remember(number: int) -> int:
    """Append the number to the list `seen`, and return the length of the list."""
    seen.append(number)
    return len(seen)


@contextmanager
def open_connection() -> Iterator[tuple[int, float]]:
    """Stand for a connection to a database: the id of the process that opens it, and when (s)."""
    yield os.getpid(), time.monotonic()


def get_connection(_: int) -> Any:
    """Return the connection of the worker that runs this job."""
    from helpers.pools import current_worker  # Not above: other programs import this file faster without it.

    return current_worker().resource
