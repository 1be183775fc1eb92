"""Match an error against exception classes, or against a function that is called with the error.

Options such as `retry_on` and `broken` take either form. Always true: matching against classes does not read the
error's `__class__`, which may be user code that raises. A function of the user may raise, and the caller has to handle
that.
"""

from collections.abc import Callable
from typing import Any

from . import checks
from .words import describe

Errors = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]


def classes_or_function(name: str, errors: Any) -> Any:
    """Check `errors`, and return it as a tuple of exception classes or as a function. A single class becomes a tuple.

    `name` is the name of the argument, for the message. Raises TypeError if `errors` is neither an exception class, nor
    a tuple of them, nor a plain function.
    """
    classes = errors if type(errors) is tuple else (errors,)
    if all(map(_is_error_class, classes)):
        return classes
    if issubclass(type(errors), type) or not callable(errors):
        raise TypeError(f"{name} must be exception classes or a function of an error, not {describe(errors)}")
    checks.function(name, errors)
    return errors


def _is_error_class(kind: Any) -> bool:
    return issubclass(type(kind), type) and issubclass(kind, BaseException)


def matches(error: BaseException, errors: Any) -> bool:
    """Return True if `error` matches `errors`, which is a return value of `classes_or_function`.

    If `errors` is a function, this function raises what it raises.
    """
    # Do not use isinstance(error, errors), because it reads `error.__class__`.
    return issubclass(type(error), errors) if type(errors) is tuple else bool(errors(error))
