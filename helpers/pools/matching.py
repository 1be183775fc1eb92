"""Which errors are meant: exception classes, or a function of an error."""

from collections.abc import Callable
from typing import Any

from . import checks
from .words import describe

Errors = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]


def classes_or_function(name: str, errors: Any) -> Any:
    """Return `errors`, a single class as a tuple. Raises TypeError if it is neither classes nor a plain function."""
    classes = errors if type(errors) is tuple else (errors,)
    if all(issubclass(type(kind), type) and issubclass(kind, BaseException) for kind in classes):
        return classes
    if issubclass(type(errors), type) or not callable(errors):
        raise TypeError(f"{name} must be exception classes or a function of an error, not {describe(errors)}")
    checks.function(name, errors)
    return errors


def matches(error: BaseException, errors: Any) -> bool:
    """Return True if `errors`, from `classes_or_function`, names this error. If it is a function, it may raise."""
    # Not isinstance(error, errors): it asks `error.__class__`, which is user code and may raise.
    return issubclass(type(error), errors) if type(errors) is tuple else bool(errors(error))
