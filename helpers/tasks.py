"""Functions that a notebook gives to other processes.

A child process finds a function by the name of its module. A function from a cell of a notebook has no such module, so
a function for other processes must be in a file.
"""


def count_primes(limit: int) -> int:
    """Return how many primes are less than `limit`. It computes in Python code only, and it is slow on purpose."""
    count = 0
    for number in range(2, limit):
        if all(number % divisor for divisor in range(2, int(number**0.5) + 1)):
            count += 1
    return count
