"""Bad input is refused where it comes in, with its value and the rule it breaks."""

import math
import operator
import time
from typing import Any

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
    if math.isnan(delay) or delay < 0:
        raise ValueError(rule)
    return None if math.isinf(delay) else time.monotonic() + delay


def seconds(name: str, value: Any) -> float:
    """`value` as a float. Raises TypeError if it is no number, ValueError if it is not more than 0 and finite."""
    rule = f"{name} must be a number of seconds, more than 0, not {value!r}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(rule)
    if not 0 < value < math.inf:
        raise ValueError(rule)
    return float(value)


def function(name: str, value: Any) -> None:
    """Raises TypeError if `value` cannot be called, or is an `async def`, which no thread would ever await."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, not {value!r}")
    if getattr(getattr(value, "__code__", None), "co_flags", 0) & COROUTINE:
        raise TypeError(f"{name} must be a plain function: no worker awaits the coroutine of {value!r}")
