"""Bad input is refused where it comes in, with its value and the rule it breaks."""

import math
import operator
import sys
import time
from collections.abc import Iterable, Iterator
from threading import TIMEOUT_MAX
from typing import Any, TypeVar

Item = TypeVar("Item")

COROUTINE = 0x80  # the flag of an `async def` in co_flags; `inspect` knows it too, but takes 10 ms to import


def whole_number(name: str, value: Any, *, least: int = 1) -> int:
    """`value` as an int. Raises TypeError if it is none (True and 2.5 are none), ValueError below `least`."""
    rule = f"{name} must be a whole number of at least {least}, not {value!r}"
    if isinstance(value, bool):
        raise TypeError(rule)
    try:
        number = operator.index(value)  # takes numpy's integers too, and neither floats nor strings
    except TypeError:
        raise TypeError(rule) from None
    if number < least:
        raise ValueError(rule)
    return number


def deadline_after(name: str, seconds: Any) -> float | None:
    """The instant on `time.monotonic()` that lies `seconds` from now; None, for ever, if `seconds` is None.

    Raises TypeError if it is no number of seconds, ValueError if it is negative or NaN.
    """
    if seconds is None:
        return None
    rule = f"{name} must be None or a number of seconds, 0 or more, not {seconds!r}"
    if isinstance(seconds, bool | str | bytes):
        raise TypeError(rule)
    try:
        delay = float(seconds)
    except (TypeError, ValueError):
        raise TypeError(rule) from None
    except OverflowError:  # of more than 308 digits
        raise ValueError(rule) from None
    if math.isnan(delay) or delay < 0:
        raise ValueError(rule)
    return None if math.isinf(delay) else time.monotonic() + delay


def seconds(name: str, value: Any) -> float:
    """`value` as a float. Raises TypeError if it is no number, ValueError if it is not more than 0, or too long.

    Too long is what no lock can wait (centuries; on Windows 49 days): a worker would fail when it begins to.
    """
    rule = f"{name} must be a number of seconds, more than 0, not {value!r}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(rule)
    if value > TIMEOUT_MAX:
        raise ValueError(f"{name} must be a number of seconds, at most {TIMEOUT_MAX:.0f}, not {value!r}")
    if not value > 0:  # NaN as well
        raise ValueError(rule)
    return float(value)


def number(rule: str, value: Any, *, least: float = 0.0, above: float = -math.inf) -> float:
    """`value` as a float. `rule` says in words what it must be: finite, at least `least` and more than `above`.

    Raises TypeError if it is no number, ValueError if it breaks the rule.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{rule}, not {value!r}")
    if not (abs(value) <= sys.float_info.max and value >= least and value > above):  # NaN is nothing of all that
        raise ValueError(f"{rule}, not {value!r}")
    return float(value)


def function(name: str, value: Any) -> None:
    """Raises TypeError if `value` cannot be called, or is an `async def`, which no thread would ever await."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, not {value!r}")
    for code in (getattr(value, "__code__", None), getattr(type(value).__call__, "__code__", None)):
        if getattr(code, "co_flags", 0) & COROUTINE:
            raise TypeError(f"{name} must be a plain function: no worker awaits the coroutine of {value!r}")


def iterable(name: str, value: Iterable[Item]) -> Iterator[Item]:
    """An iterator over `value`. Raises TypeError if it is none."""
    try:
        return iter(value)
    except TypeError:
        raise TypeError(f"{name} must be iterable, not {value!r}") from None
