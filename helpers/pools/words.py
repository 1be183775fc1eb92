"""One guarded and bounded way to put a user's object into words: `describe` and `describe_error`.

Jobs, values, and errors belong to the user, and their `__repr__` and `__str__` are the user's code. Such a method may
raise, may return 200 million characters, or may return a subclass of `str` with methods of its own. Every error
message, `repr`, and table of this package that shows a user's object calls one of these two functions, so that
showing an object can neither fail nor flood a log, and never hides the error that the message is about.

Always true: both functions return a plain `str` of at most `limit` characters and raise nothing, apart from the
KeyboardInterrupt of a Stop button that is pressed while the main thread is here.
"""

import reprlib
from collections.abc import Callable
from typing import Any

from .interrupts import is_stop_button

LIMIT = 200  # characters

_class_name = type.__dict__["__name__"].__get__  # not `cls.__name__`, which a metaclass can override
_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = LIMIT


def describe(value: Any, limit: int = LIMIT) -> str:
    """Return `repr(value)`, at most `limit` characters long; the middle of a longer text is left out."""
    if type(value) is bytes or type(value) is bytearray:  # not `in`: it asks the `__eq__` of a metaclass
        value = value[:limit]  # `reprlib` would first format all of it, four characters per byte
    return _guarded(_short.repr, value, limit, "repr")


def describe_error(error: BaseException, limit: int = LIMIT) -> str:
    """Return "ValueError: bad input": the error's class and `str(error)`, at most `limit` characters long."""
    text = _guarded(str, error, limit, "str")
    return _cut(f"{_class_name(type(error))}: {text}", limit)


def describe_fields(record: Any) -> str:
    """Return the `repr` of a named tuple, with each of its fields described. Its fields may be the user's objects."""
    fields = (f"{name}={describe(value)}" for name, value in zip(record._fields, record, strict=True))
    return f"{_class_name(type(record))}({', '.join(fields)})"


def _guarded(convert: Callable[[Any], str], value: Any, limit: int, name: str) -> str:
    try:
        # `str.__str__` turns a subclass of `str`, whose methods are the user's code, into a plain string.
        return _cut(str.__str__(convert(value)), limit)
    except BaseException as problem:
        if is_stop_button(problem):
            raise
        return _cut(f"<{_class_name(type(value))} whose {name}() raised {_class_name(type(problem))}>", limit)


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    head = (limit - 3) // 2
    return f"{text[:head]}...{text[len(text) - (limit - 3 - head) :]}"
