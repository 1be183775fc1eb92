"""Exceptions whose methods and attributes raise or mislead, by name, for tests of the errors of handlers.

Each function in `MAKERS` returns a new exception. Never make such an exception a parameter of a test, because pytest
would call its methods.
"""

import asyncio
import queue
from dataclasses import dataclass

# When this package is imported, it stores every exception class that exists in a dictionary. It calls `__hash__` of the
# class, which the classes below refuse. So it must be imported before they are made.
import distributed  # noqa: F401

from helpers.pools import JobCancelled, OutcomeUnknown, PoolClosed, WorkerDied

# The attributes of an exception that Python, a pool, or a table might read. What every exception inherits as a slot of
# its type must be a method, so these are in METHODS.
ATTRIBUTES = """
    __cause__ __context__ __suppress_context__ __traceback__ __notes__ __class__ __dict__ __doc__ __module__ args
    add_note with_traceback permanent retry_after errno code exceptions
""".split()
METHODS = """
    __setattr__ __delattr__ __getattr__ __getattribute__ __eq__ __ne__ __lt__ __hash__ __bool__ __len__ __iter__
    __str__ __repr__ __format__ __reduce__ __reduce_ex__ __getstate__ __setstate__ __sizeof__ __dir__ __copy__
    __deepcopy__ __index__ __int__ __float__ __call__ __enter__ __exit__ __await__ __contains__ __getitem__
""".split()


def refuse(self, *_, **__):
    raise ZeroDivisionError("a method of the user's error was called")


def nonsense(self, *_, **__):
    return "nonsense"


@dataclass(frozen=True)
class Frozen(Exception):
    code: int


@dataclass(frozen=True, slots=True)
class FrozenWithSlots(Exception):
    code: int


class Unreadable(type):
    """A metaclass whose classes raise for every attribute."""

    __instancecheck__ = __subclasscheck__ = __eq__ = __hash__ = __bool__ = __repr__ = __len__ = refuse
    __name__ = property(refuse)


class Everywhere(type):
    """A metaclass whose classes claim to be a base class of everything and equal to everything."""

    def __instancecheck__(cls, instance):
        return True

    def __subclasscheck__(cls, subclass):
        return True

    def __eq__(cls, other):
        return True

    def __hash__(cls):
        return 0


class OfUnreadableClass(Exception, metaclass=Unreadable):
    pass


class OfEveryClass(Exception, metaclass=Everywhere):
    pass


class Dying(Exception):
    def __del__(self):
        raise ZeroDivisionError("in __del__")


class Members(ExceptionGroup):
    """An exception group whose members cannot be read."""

    exceptions = property(refuse)
    derive = split = subgroup = refuse


def with_body(name, body, base=Exception):
    """Return a class of exceptions with these attributes and methods."""
    return type(f"{base.__name__}With{name}", (base,), body)


def of_itself():
    error = ValueError("its own cause")
    error.__cause__ = error
    return error


def in_a_circle():
    errors = [ValueError(n) for n in range(3)]
    for error, cause in zip(errors, errors[1:] + errors[:1], strict=True):
        error.__cause__ = error.__context__ = cause
    return errors[0]


def with_many_causes(count=1_000):
    error = first = ValueError("the first of many")
    for n in range(count):
        error.__cause__ = ValueError(n)
        error = error.__cause__
    return first


def with_many_members():
    return ExceptionGroup("1,000 members", [ValueError(n) for n in range(1_000)])


def in_many_groups():
    error = ValueError("innermost")
    for _ in range(1_000):
        error = ExceptionGroup("group", [error])
    return error


def too_deep():
    def deeper():
        return deeper()

    try:
        deeper()
    except RecursionError as error:
        return error


PLAIN = [
    *(BaseException, MemoryError, SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, StopAsyncIteration),
    *(asyncio.CancelledError, queue.Empty, PoolClosed, WorkerDied, TimeoutError, EOFError, RecursionError),
]
MAKERS = {
    "frozen": lambda: Frozen(1),
    "frozen with slots": lambda: FrozenWithSlots(1),
    "of an unreadable class": OfUnreadableClass,
    "of every class": OfEveryClass,
    "with a __del__ that raises": Dying,
    "a group that hides its members": lambda: Members("group", [ValueError()]),
    "its own cause": of_itself,
    "in a circle": in_a_circle,
    "with many causes": with_many_causes,
    "with many members": with_many_members,
    "in many groups": in_many_groups,
    "too deep": too_deep,
    "unhashable": with_body("NoHash", {"__hash__": None}),
    "false": with_body("False", {"__bool__": lambda self: False, "__len__": lambda self: 0}),
    **{kind.__name__: kind for kind in PLAIN},
    **{f"{name} raises": with_body(name, {name: property(refuse)}) for name in ATTRIBUTES},
    **{f"{name} is nonsense": with_body(name, {name: property(nonsense)}) for name in ATTRIBUTES},
    **{f"method {name} raises": with_body(name, {name: refuse}) for name in METHODS},
    **{f"method {name} is nonsense": with_body(name, {name: nonsense}) for name in METHODS},
    "resists everything": with_body(
        "Everything", {name: property(refuse) for name in ATTRIBUTES} | dict.fromkeys(METHODS, refuse)
    ),
    **{
        f"{kind.__name__} that resists": with_body(
            "Everything", dict.fromkeys(ATTRIBUTES, property(refuse)) | dict.fromkeys(METHODS, refuse), kind
        )
        for kind in (OSError, RuntimeError, JobCancelled, OutcomeUnknown, KeyboardInterrupt, SystemExit)
    },
}
PLACES = ("itself", "cause", "context", "member")


def placed(error, place):
    """Return an exception that has `error` in this place, such as its cause."""
    if place == "itself":
        return error
    if place == "member":
        try:
            return BaseExceptionGroup("group", [error, ValueError("another")])
        except ZeroDivisionError as refused:  # Python reads an attribute of the class, which raises
            return refused
    outer = ValueError("outer")
    descriptor = BaseException.__cause__ if place == "cause" else BaseException.__context__
    descriptor.__set__(outer, error)
    return outer
