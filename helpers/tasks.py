"""Functions that notebooks run in other processes.

A child process imports a function by the name of its module. A function from a notebook cell is in no module that can
be imported, so a function for other processes must be in a file.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from helpers.pools import current_worker


def count_primes(limit: int) -> int:
    """Return the number of primes less than `limit`. It is pure Python code, and it is slow on purpose."""
    count = 0
    for number in range(2, limit):
        if all(number % divisor for divisor in range(2, int(number**0.5) + 1)):
            count += 1
    return count


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


seen: list[int] = []  # each process has a list of its own


def remember(number: int) -> int:
    """Append the number to the list `seen`, and return the length of the list."""
    seen.append(number)
    return len(seen)


@contextmanager
def connection() -> Iterator[int]:
    """Stand for a connection: the id of the process that opened it."""
    yield os.getpid()


def who_opened(number: int) -> tuple[int, int]:
    """Return the id of the process that opened the worker's connection, and the id of this process."""
    return current_worker().resource, os.getpid()
