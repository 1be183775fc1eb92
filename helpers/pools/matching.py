"""Which errors are meant: exception classes, or a function of an error."""

from collections.abc import Callable
from typing import Any

from . import checks
from .words import describe

Errors = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]
Matcher = Callable[[BaseException], bool]


def matcher(name: str, errors: Any) -> Matcher:
    """Return a function that says whether an error is meant. Raises TypeError if `errors` is of neither kind.

    The function raises what a function among `errors` raises.
    """
    kinds = errors if isinstance(errors, tuple) else (errors,)
    if all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
        # Not isinstance(error, kinds): it asks `error.__class__`, which is user code and may raise.
        return lambda error: issubclass(type(error), kinds)
    if isinstance(errors, type) or not callable(errors):
        raise TypeError(f"{name} must be exception classes or a function of an error, not {describe(errors)}")
    checks.function(name, errors)
    return lambda error: bool(errors(error))
