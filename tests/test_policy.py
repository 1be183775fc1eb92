"""The retry policy alone: its decisions, the forms of a retry_after, the retry budget, and copies of these objects."""

import copy
import dataclasses
import importlib
import inspect
import json
import math
import pickle
import pkgutil
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from fractions import Fraction
from numbers import Real

import numpy as np
import pandas as pd
import pytest
from conftest import id_of
from hypothesis import given
from hypothesis import strategies as st

import helpers
from helpers import tasks
from helpers.pools import (
    JobCancelled,
    OutcomeUnknown,
    RetryBudget,
    RetryDecision,
    RetryingPool,
    RetryLater,
    RetryPolicy,
    retry_after_seconds,
)
from helpers.pools.email import MailRefused

PLAIN = RetryPolicy(max_attempts=3, base=0.1, cap=5.0, jitter=False)
NOW = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110 section 5.6.7
RULE = "retry_after must be a number of seconds from 0 up, a timedelta, or a Retry-After header"


class Asks(Exception):
    """An error of another package's class that has a retry_after."""

    def __init__(self, retry_after):
        super().__init__("busy")
        self.retry_after = retry_after


# --- the forms of a retry_after ---------------------------------------------------------------------------------

SECONDS = [
    (7, 7.0),
    (7.5, 7.5),
    (0, 0.0),
    (Decimal("1.5"), 1.5),
    (Fraction(3, 2), 1.5),
    (np.int64(1), 1.0),
    (np.uint8(200), 200.0),
    (np.float32(0.5), 0.5),
    (np.float64(0.25), 0.25),
    (np.longdouble(2), 2.0),
    (timedelta(seconds=1, milliseconds=500), 1.5),
    (pd.Timedelta("1min"), 60.0),
    (np.timedelta64(2, "m"), 120.0),
    (np.timedelta64(1_500_000_000, "ns"), 1.5),
    ("120", 120.0),
    (b"120", 120.0),
    ("0", 0.0),
    (" 120\t", 120.0),
    ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
    ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
    (b"Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
    ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
    ("Wednesday, 09-Nov-94 08:49:37 GMT", 3 * 86400.0),
    ("Sun Nov  6 08:50:37 1994", 60.0),
    ("Wed Nov 16 08:49:37 1994", 10 * 86400.0),
    ("Sun, 06 Nov 1994 08:49:60 GMT", 23.0),
    ("Fri, 31 Dec 1993 23:59:59 GMT", 0.0),
    ("Friday, 31-Dec-93 23:59:59 GMT", 0.0),
]


@pytest.mark.parametrize(("value", "seconds"), SECONDS, ids=repr)
def test_every_form_of_a_retry_after_gives_seconds(value, seconds):
    given_back = retry_after_seconds(value, now=NOW)
    assert type(given_back) is float and given_back == pytest.approx(seconds)


class ARealNumber(Real):
    def __float__(self):
        return 2.5

    def _no(self, *others):
        raise ZeroDivisionError

    __abs__ = __add__ = __ceil__ = __eq__ = __floor__ = __floordiv__ = __le__ = __lt__ = __mod__ = __mul__ = _no
    __neg__ = __pos__ = __pow__ = __radd__ = __rfloordiv__ = __rmod__ = __rmul__ = __round__ = __rpow__ = _no
    __rtruediv__ = __truediv__ = __trunc__ = _no
    __hash__ = None


def test_a_number_of_any_real_type_is_accepted():
    assert retry_after_seconds(ARealNumber()) == 2.5


class LooksLikeANumber:
    def __float__(self):
        return 1.0


class RaisingReal(ARealNumber):
    def __float__(self):
        raise SystemExit("in __float__")


class NoClass:
    @property
    def __class__(self):
        raise ZeroDivisionError

    def __repr__(self):
        raise ZeroDivisionError


BAD = [
    (value, TypeError)
    for value in [None, True, False, np.bool_(True), [], [5], {}, object(), 1j, np.array([5.0]), LooksLikeANumber()]
] + [(value, TypeError) for value in [datetime(2026, 1, 1, tzinfo=UTC), int, len, bytearray(b"1")]]
BAD += [
    (value, ValueError)
    for value in [
        *(-1, -0.5, math.nan, math.inf, -math.inf, 10**400, Decimal("NaN"), Decimal("sNaN"), Decimal("-1")),
        *(Decimal("1e999"), Fraction(-1, 2), Fraction(10**400), np.float32("nan"), np.int64(-1), RaisingReal()),
        *(timedelta(seconds=-1), np.timedelta64("NaT", "s"), np.timedelta64(1, "M")),
        *("", " ", "soon", "1.5", "-1", "+1", "1e3", "0x10", "1_000", "inf", "nan", "١٢", "1 2", "9" * 5000, "1\n"),
        *(b"", b"\xff", b"soon", b"1.5", "x" * 10**6, b"x" * 10**6),
        *("6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 +0000"),
        *("Sun, 06 Nov 1994 08:49:37 EST", "Sun, 6 Nov 1994 08:49:37 GMT", "sun, 06 nov 1994 08:49:37 gmt"),
        *("Sun, 06 Nov 94 08:49:37 GMT", "Sun, 06-Nov-94 08:49:37 GMT", "Sunday, 06-Nov-1994 08:49:37 GMT"),
        *("Sun, 31 Feb 2027 08:49:37 GMT", "Sun, 06 Nov 2027 24:00:00 GMT", "Sun, 06 Nov 2027 08:60:00 GMT"),
        *("Sun, 06 Nov 2027 08:49:61 GMT", "Sun, 06 Nov 0000 08:49:37 GMT", "Sun Nov 6 08:49:37 1994"),
        *("Sun Nov  6 08:49:37 1994 GMT", "Sun, 06 Nov 1994 08:49:37 GMT, 120", "2026-01-01T00:00:00Z"),
        *("Sun,  06 Nov 1994 08:49:37 GMT", "Sun, ٠٦ Nov 1994 08:49:37 GMT"),
    ]
]


@pytest.mark.parametrize(("value", "kind"), BAD, ids=id_of)
def test_what_is_not_a_time_is_refused_with_the_value_and_the_rule(value, kind):
    for refuse in (retry_after_seconds, lambda bad: RetryLater("busy", retry_after=bad)):
        with pytest.raises(kind) as refusal:
            refuse(value)
        assert refusal.type is kind and str(refusal.value).startswith(RULE) and len(str(refusal.value)) < 350
    assert not PLAIN.retryable(refusal.value), "raised in a handler, it is the error of the job, which is not retried"


def test_an_object_whose_methods_all_raise_is_refused_as_well():
    with pytest.raises(TypeError, match=r"not <NoClass whose repr\(\) raised ZeroDivisionError>"):
        RetryLater("busy", NoClass())


@pytest.mark.parametrize("now", ["x", None, math.nan, True, object()])
def test_a_bad_current_time_is_refused_under_its_own_name(now):
    if now is None:
        assert retry_after_seconds(5, now=None) == 5
        return
    with pytest.raises((TypeError, ValueError), match="now must be seconds since the epoch"):
        retry_after_seconds(5, now=now)


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)), st.integers(-86400, 10**7))
def test_the_three_formats_of_a_date_mean_the_same_moment(now, later):
    now = now.replace(microsecond=0, tzinfo=UTC)
    moment = now + timedelta(seconds=later)
    texts = [format_datetime(moment, usegmt=True), f"{moment:%A, %d-%b-%y %H:%M:%S GMT}"]
    texts += [moment.ctime(), moment.ctime().encode()]
    assert {retry_after_seconds(text, now=now.timestamp()) for text in texts} == {float(max(later, 0))}


@pytest.mark.parametrize(("year", "meant"), [(26, 2026), (76, 2076), (77, 1977), (94, 1994), (0, 2000)])
def test_a_two_digit_year_is_at_most_50_years_in_the_future(year, meant):
    now = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
    expected = max(0.0, datetime(meant, 7, 1, tzinfo=UTC).timestamp() - now)
    assert retry_after_seconds(f"Monday, 01-Jul-{year:02} 00:00:00 GMT", now=now) == expected


def test_a_date_is_compared_with_the_current_time_by_default():
    soon = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 0 < retry_after_seconds(soon) <= 3600 and 0 < RetryLater("busy", soon).retry_after <= 3600
    assert retry_after_seconds("Sun, 06 Nov 1994 08:49:37 GMT") == 0.0


@given(st.one_of(st.text(), st.binary(), st.floats(), st.integers(), st.decimals(), st.fractions(), st.timedeltas()))
def test_any_value_gives_finite_seconds_or_an_error_that_names_the_rule(value):
    try:
        seconds = retry_after_seconds(value)
    except (TypeError, ValueError) as error:
        assert str(error).startswith(RULE)
    else:
        assert type(seconds) is float and 0 <= seconds < math.inf


def test_a_retry_later_keeps_seconds():
    assert [RetryLater("busy", x).retry_after for x in (1, "1", b"1", Decimal(1), timedelta(seconds=1))] == [1.0] * 5


# --- decisions -------------------------------------------------------------------------------------------------


def test_a_retry_says_how_long_to_wait():
    decision = PLAIN.decide(1, ValueError())
    assert decision == RetryDecision(0.1, "to be retried") and decision.wait == 0.1
    assert PLAIN.decide(2, Asks("120")).wait == pytest.approx(120.2)
    assert PLAIN.decide(2, Asks(None)).wait == pytest.approx(0.2)


def fails(error):
    raise ValueError("in the function")


class BadBool:
    def __bool__(self):
        raise OSError("in __bool__")


@pytest.mark.parametrize(
    ("options", "attempt", "error", "elapsed", "reason"),
    [
        ({}, 3, ValueError(), 0, "attempts used up"),
        ({"max_attempts": 1}, 1, JobCancelled(), 0, "attempts used up"),
        ({}, 1, JobCancelled(), 0, "not to be retried"),
        ({"retry_on": OSError}, 1, ValueError(), 0, "not to be retried"),
        ({"give_up_on": ValueError}, 1, ValueError(), 0, "not to be retried"),
        ({}, 1, TypeError(), 0, "not to be retried"),
        ({"max_elapsed": 30}, 1, ValueError(), 29.95, "max_elapsed of 30 s used up"),
        ({"max_elapsed": 0.5}, 1, Asks(1), 0, "max_elapsed of 0.5 s used up"),
        ({}, 1, Asks(900), 0, "retry_after of 900 s is over max_retry_after"),
        ({"max_retry_after": 2}, 1, RetryLater("busy", 2.5), 0, "retry_after of 2.5 s is over max_retry_after"),
        ({}, 1, Asks(math.nan), 0, f'retry_after is not a time: {RULE} ("120" or an HTTP-date), not nan'),
        ({}, 1, Asks("soon"), 0, f"retry_after is not a time: {RULE} (\"120\" or an HTTP-date), not 'soon'"),
        ({"retry_on": fails}, 1, ValueError(), 0, "retry_on raised ValueError: in the function"),
        ({"retry_on": lambda error: BadBool()}, 1, ValueError(), 0, "retry_on raised OSError: in __bool__"),
        ({"give_up_on": fails}, 1, ValueError(), 0, "give_up_on raised ValueError: in the function"),
        ({"give_up_on": lambda error: sys.exit("no")}, 1, ValueError(), 0, "give_up_on raised SystemExit: no"),
    ],
)
def test_the_rule_that_ends_the_retries_is_named(options, attempt, error, elapsed, reason):
    policy = RetryPolicy(**{"max_attempts": 3, "jitter": False, **options})
    assert policy.decide(attempt, error, "job", elapsed=elapsed) == RetryDecision(None, reason)
    assert policy.wait(attempt, error, "job", elapsed) is None


def test_limits_are_inclusive():
    policy = RetryPolicy(base=1.0, jitter=False, max_elapsed=30, max_retry_after=20)
    assert policy.decide(1, ValueError(), elapsed=29.0).wait == 1.0
    assert policy.decide(1, Asks(20)).wait == 21.0
    assert policy.decide(1, Asks(20), elapsed=9.5).reason == "max_elapsed of 30 s used up"


CODE = [TypeError, NameError, UnboundLocalError, AttributeError, dataclasses.FrozenInstanceError, SyntaxError]
CODE += [IndentationError, AssertionError, ImportError, ModuleNotFoundError]


@pytest.mark.parametrize("kind", CODE)
def test_a_programming_error_is_retried_only_if_retry_on_names_it(kind):
    base = next(cls for cls in kind.__mro__ if cls.__base__ is Exception)
    for retry_on in (Exception, BaseException, (Exception, OSError), OSError):
        assert not RetryPolicy(retry_on=retry_on).retryable(kind("x")), retry_on
    assert not RetryPolicy(give_up_on=OSError).retryable(kind("x"))
    for retry_on in (kind, base, (OSError, base), (Exception, kind), lambda error: True):
        assert RetryPolicy(retry_on=retry_on).retryable(kind("x")), retry_on
        assert not RetryPolicy(retry_on=retry_on, give_up_on=kind).retryable(kind("x")), "give_up_on has precedence"
    assert not RetryPolicy(retry_on=lambda error: False).retryable(kind("x"))


def test_naming_one_programming_error_names_no_other():
    policy = RetryPolicy(retry_on=(Exception, ModuleNotFoundError))
    assert policy.retryable(ModuleNotFoundError()) and policy.retryable(OSError())
    assert not policy.retryable(ImportError()) and not policy.retryable(TypeError())
    assert not policy.retryable(OutcomeUnknown())


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        KeyError("x"),
        OSError(),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        NotImplementedError(),
        RecursionError(),
        ZeroDivisionError(),
        ExceptionGroup("several", [ValueError()]),
    ],
    ids=repr,
)
def test_other_errors_are_still_retried(error):
    assert RetryPolicy().retryable(error)


class Unknown(OutcomeUnknown):
    pass


def test_an_unknown_outcome_is_retried_only_if_retry_on_names_it_or_a_subclass():
    assert not RetryPolicy(retry_on=(Exception, Unknown)).retryable(OutcomeUnknown())
    assert RetryPolicy(retry_on=(Exception, Unknown)).retryable(Unknown())
    assert RetryPolicy(retry_on=OutcomeUnknown).retryable(Unknown())
    assert RetryPolicy(retry_on=lambda error: True).retryable(OutcomeUnknown())
    assert not RetryPolicy(retry_on=BaseException).retryable(Unknown())


# --- hostile objects -------------------------------------------------------------------------------------------


def raising(problem):
    def raise_it(*args):
        raise problem

    return raise_it


class HostileMeta(type):
    def __subclasscheck__(cls, other):
        raise SystemExit("in __subclasscheck__")

    __instancecheck__ = __subclasscheck__


class HostileKind(Exception, metaclass=HostileMeta):
    pass


def hostile_error(problem, where):
    """Return an error whose `where` is a property or a method that raises `problem`."""
    special = where.startswith("__") and where != "__class__"
    attribute = raising(problem) if special else property(raising(problem))
    return type("Hostile", (Exception,), {where: attribute})("busy")


def hostile_job(problem):
    return type("Job", (), {"__repr__": raising(problem), "__str__": raising(problem), "__hash__": raising(problem)})()


problems = st.sampled_from(
    [ValueError("no"), AttributeError("no"), SystemExit("no"), GeneratorExit(), RecursionError()]
)
places = st.sampled_from(
    ["permanent", "retry_after", "__class__", "__getattr__", "__getattribute__", "__str__", "__repr__", "__eq__"]
)
ordinary = st.sampled_from([ValueError("x"), TypeError(), OSError(5), KeyboardInterrupt(), JobCancelled(), Unknown()])
times = st.one_of(
    st.none(), st.floats(), st.integers(), st.text(max_size=40), st.timedeltas(), st.sampled_from([b[0] for b in BAD])
)
errors = st.one_of(ordinary, st.builds(hostile_error, problems, places), st.builds(Asks, times))
answers = st.sampled_from([True, False, 1, None]) | st.builds(BadBool) | st.builds(NoClass)
matchers = st.one_of(
    st.sampled_from([Exception, BaseException, (), (OSError, TypeError), HostileKind, (ValueError, HostileKind)]),
    problems.map(raising),
    answers.map(lambda answer: lambda error: answer),
)
jobs = st.one_of(st.integers(), st.text(), problems.map(hostile_job), st.builds(NoClass))


class BrokenBudget(RetryBudget):
    def try_withdraw(self):
        raise SystemExit("in try_withdraw")


@given(
    st.integers(1, 5), errors, jobs, matchers, matchers, st.booleans(), st.sampled_from([None, 7]), st.booleans(),
    st.sampled_from([None, RetryBudget, BrokenBudget]), st.sampled_from([None, 5.0]), st.floats(0, 10),
)  # fmt: skip
def test_a_decision_never_raises_and_keeps_its_bounds(
    attempt, error, job, retry_on, give_up_on, jitter, seed, lists, make_budget, max_elapsed, elapsed
):
    policy = RetryPolicy(
        3, 1.0, 2.0, jitter=jitter, retry_on=retry_on, give_up_on=give_up_on, seed=seed, max_elapsed=max_elapsed,
        max_retry_after=60.0, budget=make_budget and make_budget(),
    )  # fmt: skip
    wait, reason = policy.decide(attempt, error, job, elapsed=elapsed)
    assert type(reason) is str and 0 < len(reason) < 500
    assert (wait is None) is (reason != "to be retried")
    if wait is not None:
        assert attempt < 3 and 0 <= wait <= 60.0 + policy.ceiling(attempt)
        assert max_elapsed is None or elapsed + wait <= max_elapsed
        assert policy.retryable(error)
        assert jitter or wait >= policy.ceiling(attempt)
    taken = policy.budget is not None and policy.budget.tokens - policy.budget.available
    assert bool(taken) is (wait is not None and make_budget is RetryBudget), "only a retry takes tokens"


@given(st.integers(1, 4), st.floats(0, 300), st.floats(0.001, 10), st.floats(0.001, 10), st.booleans())
def test_a_wait_lies_between_what_was_asked_for_and_the_ceiling_above_it(attempt, asked, base, cap, jitter):
    policy = RetryPolicy(5, base, cap, jitter=jitter)
    wait = policy.wait(attempt, Asks(asked))
    assert asked <= wait <= asked + policy.ceiling(attempt) and policy.ceiling(attempt) <= cap


@pytest.mark.parametrize("place", ["permanent", "retry_after"])
def test_a_property_that_raises_ends_the_retries_and_is_named(place):
    decision = PLAIN.decide(1, hostile_error(SystemExit("no"), place))
    assert decision == RetryDecision(None, f"{place} raised SystemExit: no")
    assert PLAIN.decide(1, hostile_error(ZeroDivisionError("no"), "__class__")).wait == 0.1


def test_only_true_is_permanent():
    for value, wait in ((True, None), (1, 0.1), ("yes", 0.1), (np.bool_(True), 0.1), (False, 0.1), (NoClass(), 0.1)):
        error = ValueError()
        error.permanent = value
        assert PLAIN.wait(1, error) == wait


def test_an_interrupt_in_a_worker_thread_ends_the_retries_and_the_stop_button_is_passed_on():
    policy = RetryPolicy(retry_on=raising(KeyboardInterrupt("from the function")))
    with pytest.raises(KeyboardInterrupt):
        policy.decide(1, ValueError())
    decisions = []
    thread = threading.Thread(target=lambda: decisions.append(policy.decide(1, ValueError())))
    thread.start()
    thread.join()
    assert decisions == [RetryDecision(None, "retry_on raised KeyboardInterrupt: from the function")]


def test_a_reason_is_bounded():
    huge = RetryPolicy(retry_on=raising(ValueError("x" * 10**6))).decide(1, ValueError()).reason
    assert len(huge) < 300 and huge.startswith("retry_on raised ValueError: xxx")
    assert len(PLAIN.decide(1, Asks("x" * 10**6)).reason) < 500


def test_the_seeded_jitter_depends_on_the_description_of_the_job():
    policy = RetryPolicy(base=1.0, seed=1)
    assert policy.wait(1, ValueError(), "a") == policy.wait(1, ValueError(), "a") != policy.wait(1, ValueError(), "b")
    assert policy.wait(1, ValueError(), "a") != RetryPolicy(base=1.0, seed=2).wait(1, ValueError(), "a")
    job = hostile_job(ValueError())
    assert policy.wait(1, ValueError(), job) == policy.wait(1, ValueError(), job) <= 1.0


# --- options and texts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "kind", "rule"),
    [
        ("max_elapsed", 0, ValueError, "max_elapsed must be a number of seconds, more than 0, not 0"),
        ("max_elapsed", math.nan, ValueError, "max_elapsed must be a number of seconds, more than 0, not nan"),
        ("max_elapsed", "30", TypeError, "max_elapsed must be a number of seconds, more than 0, not '30'"),
        ("max_retry_after", None, TypeError, "max_retry_after must be a number of seconds, more than 0, not None"),
        ("max_retry_after", -1, ValueError, "max_retry_after must be a number of seconds, more than 0, not -1"),
        ("max_retry_after", math.inf, ValueError, "max_retry_after must be a number of seconds, at most"),
        ("budget", 500, TypeError, "budget must be a RetryBudget or None, not 500"),
        ("budget", RetryBudget, TypeError, "budget must be a RetryBudget or None, not <class"),
        ("retry_on", "x" * 10**6, TypeError, "retry_on must be exception classes or a function of an error, not 'xxx"),
    ],
)
def test_a_bad_option_is_refused_by_name(option, value, kind, rule):
    with pytest.raises(kind) as refusal:
        RetryPolicy(**{option: value})
    assert str(refusal.value).startswith(rule) and len(str(refusal.value)) < 400


@pytest.mark.parametrize("option", ["jitter", "retry_on", "give_up_on", "budget"])
def test_an_option_whose_methods_all_raise_is_refused_by_name(option):
    with pytest.raises(TypeError, match=rf"^{option} must be .*, not <NoClass whose repr\(\) raised"):
        RetryPolicy(**{option: NoClass()})


def test_the_repr_is_short_and_shows_the_limits():
    assert repr(RetryPolicy()) == "RetryPolicy(max_attempts=3, base=0.1, cap=5)"
    policy = RetryPolicy(10**9, max_elapsed=30, budget=RetryBudget(10))
    budget = "RetryBudget(tokens=10, retry_cost=5, refill=1, available=10)"
    assert repr(policy) == f"RetryPolicy(max_attempts=1000000000, base=0.1, cap=5, max_elapsed=30, budget={budget})"
    policy = RetryPolicy(10**6000, budget=type("Budget", (RetryBudget,), {"__repr__": raising(SystemExit())})())
    assert "budget=<Budget whose repr() raised SystemExit>" in repr(policy) and len(repr(policy)) < 300


# --- the budget ------------------------------------------------------------------------------------------------


def test_an_outage_empties_the_budget_and_successes_refill_it():
    budget = RetryBudget()
    policy = RetryPolicy(10**6, budget=budget)
    decisions = [policy.decide(1, OSError()) for _ in range(150)]
    assert [d.wait is not None for d in decisions] == [True] * 100 + [False] * 50, "500 tokens, 5 per retry"
    assert decisions[-1].reason == "retry budget empty" and budget.available == 0
    for _ in range(4):
        budget.deposit(retried=False)
    assert not policy.decide(1, OSError()).wait
    budget.deposit(retried=False)
    assert policy.decide(1, OSError()).reason == "to be retried" and budget.available == 0
    budget.deposit(retried=True)
    assert budget.available == 5


def test_a_decision_against_a_retry_takes_nothing_from_the_budget():
    budget = RetryBudget(10)
    policy = RetryPolicy(2, retry_on=OSError, max_elapsed=5, budget=budget)
    for attempt, error, elapsed in ((2, OSError(), 0), (1, ValueError(), 0), (1, OSError(), 9)):
        assert policy.decide(attempt, error, elapsed=elapsed).wait is None
    oserror = OSError()
    for bad in ("soon", 900):
        oserror.retry_after = bad
        assert policy.decide(1, oserror).wait is None
    assert budget.available == 10
    assert policy.wait(1, OSError()) is not None and budget.available == 5


@given(
    st.integers(1, 50), st.integers(1, 50), st.integers(0, 5), st.lists(st.sampled_from(["take", "first", "retried"]))
)
def test_the_budget_counts_like_a_bucket(tokens, cost, refill, moves):
    cost = min(cost, tokens)
    budget, left = RetryBudget(tokens, cost, refill), tokens
    for move in moves:
        if move == "take":
            assert budget.try_withdraw() is (left >= cost)
            left -= cost if left >= cost else 0
        else:
            budget.deposit(retried=move == "retried")
            left = min(tokens, left + (cost if move == "retried" else refill))
        assert budget.available == left


def test_threads_that_share_a_budget_take_no_token_twice():
    budget = RetryBudget(tokens=4000, retry_cost=1, refill=0)
    taken = []
    threads = [
        threading.Thread(target=lambda: taken.append(sum(budget.try_withdraw() for _ in range(1500)))) for _ in "4444"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 4000 and budget.available == 0


@pytest.mark.parametrize(
    ("options", "kind", "rule"),
    [
        ({"tokens": 0}, ValueError, "tokens must be a whole number of at least 1, not 0"),
        ({"tokens": 2.5}, TypeError, "tokens must be a whole number of at least 1, not 2.5"),
        ({"retry_cost": 0}, ValueError, "retry_cost must be a whole number of at least 1, not 0"),
        ({"refill": -1}, ValueError, "refill must be a whole number of at least 0, not -1"),
        ({"tokens": 4}, ValueError, "retry_cost must be at most tokens (4), not 5"),
    ],
)
def test_a_budget_that_breaks_a_rule_is_refused(options, kind, rule):
    with pytest.raises(kind) as refusal:
        RetryBudget(**options)
    assert str(refusal.value) == rule


def test_a_deposit_must_say_whether_the_job_was_retried():
    with pytest.raises(TypeError, match="retried must be True or False, not 2"):
        RetryBudget().deposit(2)


# --- copies ----------------------------------------------------------------------------------------------------

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {n}": lambda x, n=n: pickle.loads(pickle.dumps(x, n)) for n in PROTOCOLS},
}
each_copy = pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)


class Throttled(RetryLater):
    """A user's subclass with another signature."""

    def __init__(self, service, *, calls):
        super().__init__(f"{service} refused after {calls} calls", retry_after=calls / 10)
        self.service = service
        self.calls = calls


class Slotted(RetryLater):
    __slots__ = ("code",)

    def __init__(self, code):
        super().__init__("busy", 1)
        self.code = code


class BusyConnection(RetryLater, ConnectionError):
    def __init__(self):
        super().__init__("busy", "3")


@dataclasses.dataclass(frozen=True)
class Frozen(RetryLater):
    code: int
    retry_after: float = 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots(RetryLater):
    code: int
    retry_after: float = 2.0


RETRY_LATERS = [
    RetryLater("busy", 1.5), RetryLater("busy", "Sun, 06 Nov 1994 08:49:37 GMT"), RetryLater({"no": ["hash"]}, 1),
    Throttled("mail", calls=7), Slotted(7), BusyConnection(), Frozen(7), FrozenSlots(7),
]  # fmt: skip


@each_copy
@pytest.mark.parametrize("error", RETRY_LATERS, ids=lambda error: type(error).__name__)
def test_a_copy_of_a_retry_later_is_equal(error, duplicate):
    twin = duplicate(error)
    assert twin is not error and type(twin) is type(error) and twin == error and hash(twin) == hash(error)
    assert (twin.args, twin.retry_after, str(twin)) == (error.args, error.retry_after, str(error))
    assert vars(twin) == vars(error) and getattr(twin, "code", None) == getattr(error, "code", None)


def test_a_copy_keeps_notes_and_an_error_that_refers_to_itself():
    error = RetryLater("busy", 1)
    error.add_note("asked twice")
    error.itself = error
    twin = copy.deepcopy(error)
    assert twin.itself is twin and twin.__notes__ == ["asked twice"]
    assert pickle.loads(pickle.dumps(error)).itself == error


@given(st.text(), st.floats(0, 1e9), st.text(), st.floats(0, 1e9))
def test_retry_laters_are_equal_if_class_args_and_retry_after_are(message, seconds, other, later):
    error = RetryLater(message, seconds)
    assert error == RetryLater(message, seconds) and hash(error) == hash(RetryLater(message, seconds))
    assert (error == RetryLater(other, later)) is ((message, seconds) == (other, later))
    assert error != Throttled("mail", calls=1) and error != message
    assert all(duplicate(error) == error for duplicate in COPIES.values())


numbers = st.floats(0.001, 1e6)
kinds = st.sampled_from([Exception, OSError, (), (OSError, TypeError), len])
policies = st.builds(
    RetryPolicy, st.integers(1, 10**6), numbers, numbers, jitter=st.booleans(), retry_on=kinds, give_up_on=kinds,
    seed=st.none() | st.integers(0, 99), max_elapsed=st.none() | numbers, max_retry_after=numbers,
    budget=st.none() | st.builds(RetryBudget, st.integers(5, 9)),
)  # fmt: skip


@given(policies)
def test_a_copy_of_a_policy_is_equal(policy):
    for duplicate in COPIES.values():
        twin = duplicate(policy)
        assert twin is not policy and twin == policy and hash(twin) == hash(policy) and repr(twin) == repr(policy)
        assert twin.retryable(OSError()) is policy.retryable(OSError())
    assert policy != RetryPolicy(policy.max_attempts + 1) and policy != 3


def test_a_policy_with_a_lambda_can_be_copied_and_pickle_says_why_it_cannot_be_pickled():
    policy = RetryPolicy(retry_on=lambda error: True)
    assert copy.copy(policy) == policy == copy.deepcopy(policy)
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(policy)


@each_copy
def test_a_copy_of_a_budget_is_equal_and_works_by_itself(duplicate):
    budget = RetryBudget(20, 5, 1)
    budget.try_withdraw()
    twin = duplicate(budget)
    assert twin == budget and hash(twin) == hash(budget) and twin.available == 15 and repr(twin) == repr(budget)
    assert twin.try_withdraw() and (twin.available, budget.available) == (10, 15) and twin != budget


def test_only_a_shallow_copy_of_a_policy_shares_its_budget():
    policy = RetryPolicy(budget=RetryBudget())
    assert copy.copy(policy).budget is policy.budget
    assert copy.deepcopy(policy).budget is not policy.budget


EXAMPLES = {RetryLater: RETRY_LATERS[0], MailRefused: MailRefused(451, "try again later")}


def exception_classes():
    """Return every exception class that a module of `helpers` defines, sorted by name.

    Only `PageError` is left out, which chapter 10 has to show an error that cannot be unpickled.
    """
    found = set()
    for module in pkgutil.walk_packages(helpers.__path__, "helpers."):
        if not module.name.endswith("__main__"):
            members = vars(importlib.import_module(module.name)).values()
            found |= {x for x in members if inspect.isclass(x) and issubclass(x, BaseException)}
    ours = {x for x in found if x.__module__.startswith("helpers.")} - {tasks.PageError}
    return sorted(ours, key=lambda x: x.__qualname__)


@pytest.mark.parametrize("kind", exception_classes(), ids=lambda kind: kind.__qualname__)
def test_every_exception_of_the_package_can_be_copied_and_pickled(kind):
    error = EXAMPLES[kind] if kind in EXAMPLES else kind("what happened")
    error.add_note("a note")
    for duplicate in COPIES.values():
        twin = duplicate(error)
        assert type(twin) is kind and twin.args == error.args and vars(twin) == vars(error) and str(twin) == str(error)


def test_the_exceptions_of_the_package_are_found():
    names = {kind.__name__ for kind in exception_classes()}
    assert {"RetryLater", "MailRefused", "ImageError", "ChannelClosed", "ServiceError", "NoConnection"} <= names


# --- in a pool, and at import ----------------------------------------------------------------------------------


def test_a_bad_retry_after_fails_the_job_at_its_first_attempt():
    def handler(job):
        raise RetryLater("busy", job) if job != "foreign" else Asks("soon")

    with RetryingPool(handler, workers=1, policy=RetryPolicy(3, 1e-6, 1e-6)) as pool:
        results = {repr(r.job): r for r in pool.stream(["soon", -1, None, "foreign", "0"])}
    assert {job: r.attempt for job, r in results.items()} == {"'soon'": 1, "-1": 1, "None": 1, "'foreign'": 1, "'0'": 3}
    assert str(results["-1"].error) == f'{RULE} ("120" or an HTTP-date), not -1'


def test_the_import_of_the_pools_leaves_out_the_modules_that_only_dates_need():
    code = (
        "import json, sys; before = set(sys.modules); import helpers.pools; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert not {"datetime", "decimal", "numbers", "fractions", "email.utils", "numpy"} & set(json.loads(out))
