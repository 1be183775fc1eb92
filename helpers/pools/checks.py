"""Refuse a bad argument in the call that receives it, with an error that names the value and the rule that it breaks.

Always true: a function of this module either raises TypeError or ValueError, or it returns a value of the type that the
caller needs. The messages use `describe`, so a value whose `repr` raises or is very long does not spoil the message. If
a check is missing, the bad value causes an error later, in a worker thread, far from the line that passed it.
"""

import math
import operator
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from threading import TIMEOUT_MAX
from types import CodeType
from typing import Any, TypeVar

from .words import describe

Item = TypeVar("Item")

# The flags of a code object, with the values that `inspect` gives them. Importing `inspect` would take 10 ms.
GENERATOR, COROUTINE, ITERABLE_COROUTINE, ASYNC_GENERATOR = 0x20, 0x80, 0x100, 0x200
MAX_PARTIALS = 100  # nested partials that are followed; a partial can contain itself, which would never end
ASYNC = COROUTINE | ITERABLE_COROUTINE | ASYNC_GENERATOR


def whole_number(name: str, value: Any, *, least: int = 1) -> int:
    """Return `value` as an int. `name` is the name of the argument, for the message.

    Raises TypeError if `value` is not a whole number (True and 2.5 are not), and ValueError if it is less than `least`.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # accepts the integers of numpy, but neither floats nor strings
    except TypeError:
        raise TypeError(f"{name} must be a whole number of at least {least}, not {describe(value)}") from None
    if number < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {describe(value)}")
    return number


def deadline_after(name: str, seconds: Any) -> float | None:
    """Return what `time.monotonic()` will return `seconds` from now, or None if there is no deadline.

    None and infinity mean that there is no deadline. Raises TypeError if `seconds` is neither None nor a number, and
    ValueError if it is negative or NaN.
    """
    if seconds is None:
        return None
    rule = f"{name} must be None or a number of seconds, 0 or more, not "
    if isinstance(seconds, bool | str | bytes):
        raise TypeError(rule + describe(seconds))
    try:
        delay = float(seconds)
    except (TypeError, ValueError):
        raise TypeError(rule + describe(seconds)) from None
    except OverflowError:  # an integer of more than 308 digits
        raise ValueError(rule + describe(seconds)) from None
    if math.isnan(delay) or delay < 0:
        raise ValueError(rule + describe(seconds))
    return None if math.isinf(delay) else time.monotonic() + delay


def seconds(name: str, value: Any) -> float:
    """Return `value`, a number of seconds, as a float.

    Raises TypeError if `value` is not a number, and ValueError if it is not more than 0 or is more than
    `threading.TIMEOUT_MAX` (centuries on most systems, 49 days on Windows). No lock can wait longer than that, so a
    worker would fail at the moment when it starts to wait.
    """
    rule = f"{name} must be a number of seconds, more than 0, not "
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(rule + describe(value))
    if value > TIMEOUT_MAX:
        raise ValueError(f"{name} must be a number of seconds, at most {TIMEOUT_MAX:.0f}, not {describe(value)}")
    if not value > 0:  # also true for NaN
        raise ValueError(rule + describe(value))
    return float(value)


def number(rule: str, value: Any, *, least: float = 0.0, above: float = -math.inf) -> float:
    """Return `value` as a float if it is finite, at least `least`, and more than `above`.

    `rule` states this rule in words and begins the error message. Raises TypeError if `value` is not a number, and
    ValueError if it breaks the rule.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{rule}, not {describe(value)}")
    if not (abs(value) <= sys.float_info.max and value >= least and value > above):  # NaN fails every comparison
        raise ValueError(f"{rule}, not {describe(value)}")
    return float(value)


def function(name: str, value: Any) -> None:
    """Raise TypeError if `value` cannot be called or is an `async def` function, whose coroutine no worker would await.

    This check recognizes functions, methods, partials, and objects with a `__call__` method. If any other handler
    returns a coroutine, `Result.run` turns it into a TypeError of the job.
    """
    if not callable(value):
        raise TypeError(f"{name} must be callable, not {describe(value)}")
    if _code_flags(value) & ASYNC:
        raise TypeError(
            f"{name} must be a plain function, because no worker awaits the coroutine of {describe(value)}: "
            "call asyncio.run(...) in a plain function"
        )


def optional_function(name: str, value: Any) -> None:
    """Raise TypeError if `value` is neither None nor accepted by `function`."""
    if value is not None:
        function(name, value)


def handler(value: Any) -> None:
    """Raise TypeError if `function` refuses `value`, or if it is a generator function.

    A call of a generator function runs none of its code, so the job would succeed without being done.
    """
    function("handler", value)
    if _code_flags(value) & GENERATOR:
        raise TypeError(f"handler must return its value, not yield: {describe(value)} is a generator function")


def _code_flags(value: Any) -> int:
    """Return the flags of the code object that a call of `value` runs, or 0 if that code cannot be determined."""
    depth = 0
    while issubclass(type(value), partial) and depth < MAX_PARTIALS:
        value, depth = value.func, depth + 1
    candidates: tuple[Any, ...] = (value, getattr(type(value), "__call__", None))  # noqa: B004
    for candidate in candidates:
        with suppress(Exception):  # the attributes are user code: a proxy has every attribute, and others may raise
            code = getattr(candidate, "__func__", candidate).__code__
            if type(code) is CodeType:
                return code.co_flags
    return 0


def iterable(name: str, value: Iterable[Item]) -> Iterator[Item]:
    """Return an iterator over `value`. Raises TypeError if `value` is not iterable."""
    try:
        return iter(value)
    except TypeError:
        raise TypeError(f"{name} must be iterable, not {describe(value)}") from None
