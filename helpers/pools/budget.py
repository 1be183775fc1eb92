"""`RetryBudget`: a limit on the number of retries in relation to the number of jobs that succeed.

A policy limits the attempts of each single job. That limit does not protect a server that is down: with three attempts
per job, the server gets three times the usual load exactly when it can handle the least. A budget limits the retries of
all jobs together. It is a bucket of tokens: every retry takes some tokens, and every success puts some back. While most
jobs succeed, the bucket stays full. In an outage the bucket becomes empty, and from then on failed jobs are not
retried.

Always true: the bucket holds between 0 and `tokens` tokens, and each token is withdrawn at most once. If two threads
could withdraw the same token, an outage would multiply the load that the budget is there to limit.

Source: the retry quota of the standard retry mode (version 2.0) of the AWS SDKs, in `botocore/retries/quota.py` and
`botocore/retries/standard.py` of https://github.com/boto/botocore. Its bucket holds 500 tokens. A retry costs 5 tokens,
or 10 after a timeout. A success without a retry puts back 1 token, and a success after retries puts back the tokens
that the last retry took. `RetryBudget` differs in one point: a retry after a timeout costs as much as any other retry.
"""

from threading import RLock
from typing import Any

from . import checks
from .words import describe


class RetryBudget:
    """A bucket of retry tokens that is full at the start. Threads, policies, and pools may share one budget.

    Args:
        tokens:      the size of the bucket, a whole number from 1 up.
        retry_cost:  tokens that one retry takes, a whole number from 1 to `tokens`.
        refill:      tokens that a job puts back if its first attempt succeeds, a whole number from 0 up.

    Raises TypeError or ValueError for an argument that breaks its rule.

    Copying or unpickling a budget creates an independent bucket with the same number of tokens. Two budgets are equal
    if their sizes, costs, refills, and available tokens are equal.
    """

    def __init__(self, tokens: int = 500, retry_cost: int = 5, refill: int = 1) -> None:
        self.tokens = checks.whole_number("tokens", tokens)
        self.retry_cost = checks.whole_number("retry_cost", retry_cost)
        self.refill = checks.whole_number("refill", refill, least=0)
        if self.retry_cost > self.tokens:
            rule = f"retry_cost must be at most tokens ({describe(tokens, 40)})"
            raise ValueError(f"{rule}, not {describe(retry_cost)}")
        self._available = self.tokens
        self._lock = _new_lock()

    @property
    def available(self) -> int:
        """The number of tokens in the bucket, from 0 to `tokens`."""
        return self._available

    def try_withdraw(self) -> bool:
        """Take the tokens for one retry and return True, or return False if the bucket has too few. Never waits."""
        with self._lock:
            left = self._available - self.retry_cost
            if left < 0:
                return False
            self._available = left
            return True

    def deposit(self, retried: bool) -> None:
        """Put tokens back for a job that has succeeded. A full bucket takes no more.

        Args:
            retried:  False if the first attempt succeeded: `refill` tokens are put back. True if a later attempt
                      succeeded: `retry_cost` tokens are put back.

        Raises TypeError if `retried` is not a bool.
        """
        if type(retried) is not bool:
            raise TypeError(f"retried must be True or False, not {describe(retried)}")
        amount = self.retry_cost if retried else self.refill
        with self._lock:
            self._available = min(self.tokens, self._available + amount)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(vars(self))
        del state["_lock"]  # a lock can be neither copied nor pickled
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = _new_lock()

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self.__getstate__() == other.__getstate__()

    def __hash__(self) -> int:
        # The hash leaves out the available tokens, because they may change while the budget is a key of a dict.
        return hash((type(self), self.tokens, self.retry_cost, self.refill))

    def __repr__(self) -> str:
        sizes = {"tokens": self.tokens, "retry_cost": self.retry_cost, "refill": self.refill}
        options = ", ".join(f"{name}={describe(value, 40)}" for name, value in sizes.items())
        return f"RetryBudget({options}, available={describe(self._available, 40)})"


def _new_lock() -> Any:
    # The lock is reentrant, because the garbage collector may run while a thread holds the lock. If the collector then
    # runs a finalizer that uses the same budget, the thread would wait forever for a plain lock that it holds itself.
    return RLock()
