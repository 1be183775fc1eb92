"""Functions that a notebook gives to other processes."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from helpers.tasks import count_primes


def test_primes_below_a_limit_are_counted():
    assert [count_primes(limit) for limit in (0, 2, 3, 10, 100, 1000)] == [0, 0, 1, 4, 25, 168]


def test_a_new_process_can_import_the_function():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        assert list(executor.map(count_primes, [10, 100])) == [4, 25]
