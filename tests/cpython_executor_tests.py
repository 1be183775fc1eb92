"""Run CPython's own tests of executors against `PoolExecutor` over one kind of pool. For Python 3.13 and newer.

    python3.13 tests/cpython_executor_tests.py DynamicPool

The tests are those of the interpreter that runs the script (`test.test_concurrent_futures`), without changes. Two of
them start a program that contains `from concurrent.futures import NAME`. For these, the script adds the name to
`concurrent.futures` in that program.
"""

import sys
import unittest
from pathlib import Path
from unittest import mock

ROOT = str(Path(__file__).parents[1])
sys.path.insert(0, ROOT)

from test.test_concurrent_futures import executor, test_as_completed, test_shutdown, test_wait  # noqa: E402
from test.test_concurrent_futures.util import BaseTestCase, ThreadPoolMixin  # noqa: E402

from helpers import pools  # noqa: E402

SUITES = (
    executor.ExecutorTest,
    test_wait.WaitTests,
    test_as_completed.AsCompletedTests,
    test_shutdown.ExecutorShutdownTest,
)
KNOWN = """
import sys
sys.path.insert(0, {root!r})
import concurrent.futures
from functools import partial


def known(name, others=concurrent.futures.__getattr__):
    if name != "PoolExecutor":
        return others(name)
    from helpers import pools  # not before it is asked for: when it was imported decides when it is told of the exit
    return partial(pools.PoolExecutor, pool=pools.{kind})


concurrent.futures.__getattr__ = known
"""


def tests(kind: str) -> unittest.TestSuite:
    """Return CPython's tests, 29 in Python 3.13, for PoolExecutor over the pool with this name."""

    # CPython's tests do not raise it, so nothing is retried. With retries, a failing function would end too late.
    policy = {"policy": pools.RetryPolicy(retry_on=ConnectionError)} if "Retrying" in kind else {}

    class Executor(pools.PoolExecutor):
        def __init__(self, *args, **options):
            super().__init__(*args, pool=getattr(pools, kind), **policy, **options)

    Executor.__name__ = "PoolExecutor"
    suite = unittest.TestSuite()
    for group in SUITES:
        case = type(f"{kind}{group.__name__}", (group, ThreadPoolMixin, BaseTestCase), {"executor_type": Executor})
        suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(case))
    return suite


def main(kind: str) -> int:
    started = test_shutdown.assert_python_ok

    def start(option, code):
        return started(option, KNOWN.format(root=ROOT, kind=kind) + code)

    with mock.patch.object(test_shutdown, "assert_python_ok", start):
        return 0 if unittest.TextTestRunner(verbosity=2).run(tests(kind)).wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
