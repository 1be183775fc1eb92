"""Objects of a user that raise from whatever they are asked, for tests of what must not ask them.

Never make one a parameter of a test: pytest would call its methods.
"""

from typing import Any

import numpy as np


class Hostile:
    """Raises from every method that printing, comparing, hashing, or a table could call."""

    def _raise(self, *args: Any, **options: Any) -> Any:
        raise ZeroDivisionError("a method of the user's object was called")

    __repr__ = __str__ = __format__ = __eq__ = __ne__ = __lt__ = __bool__ = __len__ = __iter__ = _raise
    __getitem__ = __contains__ = __array__ = __int__ = __float__ = __index__ = __getattr__ = _raise
    __hash__ = _raise  # type: ignore[assignment]
    __class__ = property(_raise)  # type: ignore[assignment]


class HostileError(Exception):
    """An error that cannot be put into words."""

    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


class QuittingError(Exception):
    """An error whose text ends the program."""

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
    """An error of such a class."""


class LongError(Exception):
    """An error of ten million characters."""

    def __str__(self) -> str:
        return "x" * 10**7


ERRORS = (HostileError, QuittingError, NamelessError, LongError)


def odd_jobs() -> list[Any]:
    """Jobs that a table may take for something else than one value."""
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
