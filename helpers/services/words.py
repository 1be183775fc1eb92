"""`describe`, which formats a user's value for an error message. The text is bounded, and the value may be hostile.

The services do not import other parts of the package, so this is a small copy of `helpers.pools.words.describe`. A test
checks that both return the same text.
"""

import reprlib
import threading
from collections.abc import Callable
from typing import Any

LIMIT = 200  # characters

class_name = type.__dict__["__name__"].__get__  # not `cls.__name__`, which a metaclass can override
_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = LIMIT


def describe(value: Any) -> str:
    """Return `repr(value)` with at most 200 characters, or a placeholder with the name of the class if that raises."""
    if type(value) in (bytes, bytearray):
        value = value[:LIMIT]  # `reprlib` would first format all of it, four characters per byte
    return _guarded(_short.repr, value, "repr")


def text_of(error: BaseException) -> str:
    """Return `str(error)` with at most 200 characters, or a placeholder with the name of the class if that raises."""
    return _guarded(str, error, "str")


def _guarded(convert: Callable[[Any], str], value: Any, name: str) -> str:
    try:
        # `str.__str__` turns a subclass of `str`, whose methods are the user's code, into a plain string.
        text = str.__str__(convert(value))
    except BaseException as problem:
        # A KeyboardInterrupt in the main thread can come from the Stop button; elsewhere it comes from the value.
        if isinstance(problem, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise
        text = f"<{class_name(type(value))} whose {name}() raised {class_name(type(problem))}>"
    return shorten(text, LIMIT)


def shorten(text: str, limit: int) -> str:
    """Return `text` with its middle left out if it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    head = (limit - 3) // 2
    return f"{text[:head]}...{text[len(text) - (limit - 3 - head) :]}"
