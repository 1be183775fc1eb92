"""Refuse bad input at the call that receives it, with an error that names the value and the rule it breaks.

Every function here either returns the value in the type that the caller needs or raises. `describe` puts the value
into words, so that a value whose `repr` raises or is endless cannot spoil the message.
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

# Flags of a code object, as in the module `inspect`, which takes 10 ms to import.
GENERATOR, COROUTINE, ITERABLE_COROUTINE, ASYNC_GENERATOR = 0x20, 0x80, 0x100, 0x200
MOST_PARTIALS = 100  # a partial may be a partial of itself
ASYNC = COROUTINE | ITERABLE_COROUTINE | ASYNC_GENERATOR


def whole_number(name: str, value: Any, *, least: int = 1) -> int:
    """Return `value` as an int. Raises TypeError if it is none (True and 2.5 are none), ValueError below `least`."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # accepts numpy's integers, but neither floats nor strings
    except TypeError:
        raise TypeError(f"{name} must be a whole number of at least {least}, not {describe(value)}") from None
    if number < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {describe(value)}")
    return number


def deadline_after(name: str, seconds: Any) -> float | None:
    """Return the instant on `time.monotonic()` that lies `seconds` from now; None means forever and gives None.

    Raises TypeError if `seconds` is not a number, ValueError if it is negative or NaN.
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
    """Return `value` as a float. Raises TypeError if it is not a number, ValueError if it is 0 or less, or too long.

    Too long is what no lock can wait for (centuries; on Windows 49 days): a worker would fail when it starts to wait.
    """
    rule = f"{name} must be a number of seconds, more than 0, not "
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(rule + describe(value))
    if value > TIMEOUT_MAX:
        raise ValueError(f"{name} must be a number of seconds, at most {TIMEOUT_MAX:.0f}, not {describe(value)}")
    if not value > 0:  # NaN as well
        raise ValueError(rule + describe(value))
    return float(value)


def number(rule: str, value: Any, *, least: float = 0.0, above: float = -math.inf) -> float:
    """Return `value` as a float. `rule` says in words what it must be: finite, at least `least`, more than `above`.

    Raises TypeError if it is not a number, ValueError if it breaks the rule.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{rule}, not {describe(value)}")
    if not (abs(value) <= sys.float_info.max and value >= least and value > above):  # NaN fails every comparison
        raise ValueError(f"{rule}, not {describe(value)}")
    return float(value)


def function(name: str, value: Any) -> None:
    """Raise TypeError if `value` cannot be called, or is known to be an `async def`: no worker awaits its coroutine."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, not {describe(value)}")
    if _code_flags(value) & ASYNC:
        raise TypeError(
            f"{name} must be a plain function, because no worker awaits the coroutine of {describe(value)}: "
            "call asyncio.run(...) in a plain function"
        )


def optional_function(name: str, value: Any) -> None:
    """Raise TypeError for what `function` refuses, apart from None."""
    if value is not None:
        function(name, value)


def handler(value: Any) -> None:
    """Raise TypeError for what `function` refuses, and for a generator function: calling one runs none of its code."""
    function("handler", value)
    if _code_flags(value) & GENERATOR:
        raise TypeError(f"handler must return its value, not yield: {describe(value)} is a generator function")


def _code_flags(value: Any) -> int:
    """The flags of the code that a call of `value` runs, as far as that is known without calling it."""
    depth = 0
    while issubclass(type(value), partial) and depth < MOST_PARTIALS:
        value, depth = value.func, depth + 1
    candidates: tuple[Any, ...] = (value, getattr(type(value), "__call__", None))  # noqa: B004
    for candidate in candidates:
        with suppress(Exception):  # the attributes are the user's: a proxy has any, and others refuse
            code = getattr(candidate, "__func__", candidate).__code__
            if type(code) is CodeType:
                return code.co_flags
    return 0


def iterable(name: str, value: Iterable[Item]) -> Iterator[Item]:
    """Return an iterator over `value`. Raises TypeError if it is not iterable."""
    try:
        return iter(value)
    except TypeError:
        raise TypeError(f"{name} must be iterable, not {describe(value)}") from None
