"""`RetryLater`, and `retry_after_seconds`, which converts every form of a `Retry-After` to seconds.

HTTP servers send `Retry-After` either as a whole number of seconds ("120") or as an HTTP-date ("Sun, 06 Nov 1994
08:49:37 GMT"): RFC 9110, sections 10.2.3 and 5.6.7. Client libraries deliver it as such a string, as a number, or as a
`timedelta`.

Always true: a value in any other form is refused with an error. If the value were ignored or guessed, the retry could
be too early, and the server might then block the client.
"""

import math
import sys
import time
from typing import TYPE_CHECKING, Any, SupportsFloat

from . import checks
from .interrupts import is_stop_button
from .words import describe

if TYPE_CHECKING:
    from datetime import timedelta

RULE = 'retry_after must be a number of seconds from 0 up, a timedelta, or a Retry-After header ("120" or an HTTP-date)'
MAX_HEADER = 33  # characters of the longest HTTP-date: "Wednesday, 09-Nov-94 08:49:37 GMT"

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_SHORT_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
HTTP_DATES = (
    f"{_SHORT_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT",  # IMF-fixdate
    f"{_LONG_DAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT",  # RFC 850
    f"{_SHORT_DAY} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})",  # asctime
)


class RetryLater(Exception):
    """Raised by a handler if its job must not be retried before `retry_after` has passed.

    Args:
        message:      why the job failed.
        retry_after:  the time to wait, in any form that `retry_after_seconds` accepts.

    The attribute `retry_after` is a float, in seconds. An HTTP-date is compared with the current time when the error is
    created. Raises TypeError or ValueError if `retry_after` is not a time. If that happens in a handler, the TypeError
    or ValueError becomes the error of the job, and the job is not retried.

    Two errors are equal if their classes, `args`, and `retry_after` are equal. Copying and pickling keep all attributes
    and do not call `__init__`, so a subclass may have any signature.
    """

    retry_after: float

    def __init__(self, message: str, retry_after: "SupportsFloat | str | bytes | timedelta") -> None:
        super().__init__(message)
        try:
            self.retry_after = retry_after_seconds(retry_after)
        except (TypeError, ValueError) as error:
            vars(error)["permanent"] = True
            raise

    def __reduce__(self) -> tuple[Any, ...]:
        return _new_error, (type(self), self.args), self.__getstate__()

    def __setstate__(self, state: Any) -> None:
        attributes, slots = state if isinstance(state, tuple) else (state, None)
        vars(self).update(attributes or {})
        for name, value in (slots or {}).items():
            object.__setattr__(self, name, value)  # also sets the attributes of a frozen dataclass

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return _equality_key(self) == _equality_key(other)

    def __hash__(self) -> int:
        try:
            return hash(_equality_key(self))
        except Exception:  # one of the args, such as a list, has no hash, but an error must always have one
            return hash(type(self))


def retry_after_seconds(value: object, *, now: float | None = None) -> float:
    """Return `value` in seconds, as a float from 0 up.

    Args:
        value:  a number of seconds of any real type (int, float, Decimal, Fraction, or a numpy number, but not bool); a
                `timedelta`; or the value of a Retry-After header as str or bytes, which is digits or an HTTP-date.
        now:    the current time in seconds since the epoch, with which an HTTP-date is compared; None: `time.time()`.

    An HTTP-date in the past gives 0.0. The day of the week in an HTTP-date is not checked against the date. White space
    around a header value is ignored, as RFC 9110 section 5.5 requires.

    Raises TypeError if `value` has a type that cannot express a time, and ValueError if it has such a type but is not a
    valid time: NaN, infinity, a negative number, or any other text.
    """
    current = time.time() if now is None else checks.number("now must be seconds since the epoch", now)
    try:
        seconds = _in_seconds(value, current)
    except BaseException as problem:  # the methods of `value` may be user code, which can raise anything
        if is_stop_button(problem):
            raise
        seconds = math.nan
    if seconds is None:
        raise TypeError(f"{RULE}, not {describe(value)}")
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{RULE}, not {describe(value)}")
    return seconds


def _in_seconds(value: Any, now: float) -> float | None:
    """Return `value` in seconds, or None if its type cannot express a time. May raise anything."""
    kind = type(value)  # not isinstance, because the object's `__class__` may be a property that raises
    if kind is bool:
        return None
    if kind is int or kind is float:
        return float(value)
    if issubclass(kind, str):
        return _header_in_seconds(str.__str__(value), now)
    if issubclass(kind, bytes):
        return _header_in_seconds(bytes.decode(value, "ascii"), now)
    return object_in_seconds(value, kind)


def object_in_seconds(value: Any, kind: type) -> float | None:
    """Return `value`, whose class is `kind`, in seconds, or None if it is neither a timedelta nor a number.

    An int, a float, or a bool is handled by the callers. May raise anything, because methods of `value` may be user
    code.
    """
    # These imports are here because they would add 3 ms to the import of the pools.
    from datetime import timedelta
    from decimal import Decimal
    from numbers import Real

    if issubclass(kind, timedelta):
        return float(value.total_seconds())
    numpy_timedelta = getattr(sys.modules.get("numpy"), "timedelta64", None)
    if numpy_timedelta is not None and issubclass(kind, numpy_timedelta):
        # numpy registers this class as a number, but float(value) returns nanoseconds or raises, depending on the unit.
        return float(value / numpy_timedelta(1, "s"))
    return float(value) if issubclass(kind, (Real, Decimal)) else None


def _header_in_seconds(text: str, now: float) -> float:
    """Return the value of a Retry-After header in seconds. Raises ValueError if it is neither digits nor a date."""
    text = text.strip(" \t")
    if len(text) > MAX_HEADER:
        raise ValueError("too long for a header value")
    if text.isascii() and text.isdigit():
        return float(text)
    return max(0.0, _http_date(text, now) - now)


def _http_date(text: str, now: float) -> float:
    """Return an HTTP-date in seconds since the epoch. Raises ValueError if `text` has none of the three formats.

    The function does not use `email.utils.parsedate_to_datetime`, which accepts many other formats, reads two-digit
    years differently from RFC 9110, and refuses leap seconds.
    """
    import re
    from datetime import UTC, datetime

    matches = [match for pattern in HTTP_DATES if (match := re.fullmatch(pattern, text))]
    if not matches or int(matches[0]["second"]) > 60:
        raise ValueError("not an HTTP-date")
    match = matches[0]
    month = _MONTHS.index(match["month"]) + 1
    year = int(match["year"]) if len(match["year"]) == 4 else _full_year(int(match["year"]), now)
    minute = datetime(year, month, int(match["day"]), int(match["hour"]), int(match["minute"]), tzinfo=UTC)
    return minute.timestamp() + int(match["second"])  # `datetime` would refuse a leap second, which has the number 60


def _full_year(last_two_digits: int, now: float) -> int:
    """Return the latest year with these last two digits that is at most 50 years in the future (RFC 9110, 5.6.7)."""
    earliest = time.gmtime(now).tm_year - 49
    return earliest + (last_two_digits - earliest) % 100


def _new_error(kind: type[RetryLater], args: tuple[Any, ...]) -> RetryLater:
    """Return a new error without calling `__init__`, whose parameters may differ from `args`."""
    error = kind.__new__(kind, *args)
    object.__setattr__(error, "args", args)  # the `__new__` of a subclass of OSError does not set `args`
    return error


def _equality_key(error: Any) -> tuple[Any, ...]:
    """Return the values by which two errors of the same class are compared."""
    return error.args, getattr(error, "retry_after", None)
