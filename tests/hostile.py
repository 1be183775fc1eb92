"""Objects whose methods raise, for tests of code that must not call the methods of a user's objects.

Never make such an object a parameter of a test, because pytest would call its methods.
"""

from typing import Any

import numpy as np


class Hostile:
    """Raises from every method that a print, a comparison, a hash, or a table could call."""

    def _raise(self, *args: Any, **options: Any) -> Any:
        raise ZeroDivisionError("a method of the user's object was called")

    __repr__ = __str__ = __format__ = __eq__ = __ne__ = __lt__ = __bool__ = __len__ = __iter__ = _raise
    __getitem__ = __contains__ = __array__ = __int__ = __float__ = __index__ = __getattr__ = _raise
    __hash__ = _raise  # type: ignore[assignment]
    __class__ = property(_raise)  # type: ignore[assignment]


class HostileError(Exception):
    """An error that cannot be converted to text."""

    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


class QuittingError(Exception):
    """An error whose `__str__` raises SystemExit."""

    def __str__(self) -> str:
        raise SystemExit(3)


class Meta(type):
    """A class whose name cannot be read."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise ZeroDivisionError

    def __repr__(cls) -> str:
        raise ZeroDivisionError


class NamelessError(Exception, metaclass=Meta):
    """An error whose class has no readable name."""


class LongError(Exception):
    """An error of ten million characters."""

    def __str__(self) -> str:
        return "x" * 10**7


ERRORS = (HostileError, QuittingError, NamelessError, LongError)


def odd_jobs() -> list[Any]:
    """Return jobs that a table could mistake for something other than a single value."""
    return [
        Hostile(),
        [1, 2],
        [1, 2],
        (3, 4),
        {"a": 1},
        {5},
        np.array([1, 2]),
        np.array([1, 2]),
        np.array(7),
        np.zeros((2, 3)),
        range(3),
        b"bytes",
        "$text",
        None,
        float("nan"),
        10**400,
    ]
