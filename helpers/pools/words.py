"""`describe` and `describe_error`: convert a user's object to a short text, without failing.

Jobs, values, and errors are objects of the user, and their `__repr__` and `__str__` are user code. Such a method may
raise, may return 200 million characters, or may return a subclass of `str` with its own methods. Every error message
and `repr` of this package that shows a user's object calls one of these functions.

Always true: `describe` and `describe_error` return a plain `str` of at most `limit` characters and raise nothing,
except the KeyboardInterrupt of a Stop button that is pressed while the main thread runs them. A mistake here would
replace the error that a message reports by an error about the message, or flood a log.
"""

import reprlib
from collections.abc import Callable
from typing import Any

from .interrupts import is_stop_button

LIMIT = 200  # characters

_class_name = type.__dict__["__name__"].__get__  # used instead of `cls.__name__`, which a metaclass can override
_short_repr = reprlib.Repr()
_short_repr.maxstring = _short_repr.maxother = _short_repr.maxlong = LIMIT


def describe(value: Any, limit: int = LIMIT) -> str:
    """Return `repr(value)` with at most `limit` characters. The middle of a longer text is replaced by "..."."""
    # The test is not `type(value) in (...)`, because `in` would call the `__eq__` of a metaclass, which is user code.
    if type(value) is bytes or type(value) is bytearray:
        value = value[:limit]  # without this, `reprlib` would first format all bytes, with four characters per byte
    return _converted(_short_repr.repr, value, limit, "repr")


def describe_error(error: BaseException, limit: int = LIMIT) -> str:
    """Return the error's class and `str(error)`, such as "ValueError: bad input", in at most `limit` characters."""
    text = _converted(str, error, limit, "str")
    return _shortened(f"{_class_name(type(error))}: {text}", limit)


def describe_fields(record: Any) -> str:
    """Return the `repr` of a named tuple. Each field is converted by `describe`, because it may be a user's object."""
    fields = (f"{name}={describe(value)}" for name, value in zip(record._fields, record, strict=True))
    return f"{_class_name(type(record))}({', '.join(fields)})"


def _converted(convert: Callable[[Any], str], value: Any, limit: int, name: str) -> str:
    """Return convert(value), shortened to `limit` characters, or a text that says that `name` raised."""
    try:
        # `str.__str__` converts a subclass of `str`, whose methods are user code, to a plain string.
        return _shortened(str.__str__(convert(value)), limit)
    except BaseException as problem:
        if is_stop_button(problem):
            raise
        return _shortened(f"<{_class_name(type(value))} whose {name}() raised {_class_name(type(problem))}>", limit)


def _shortened(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    head = (limit - 3) // 2
    return f"{text[:head]}...{text[len(text) - (limit - 3 - head) :]}"
