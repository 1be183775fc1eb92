"""Copies of results, handlers that return coroutines, and messages about the user's objects: field cases 5, 6, 7, 10.

test_policy.py tests copies of RetryLater and RetryPolicy alone. test_bad_input.py tests messages about bad arguments.
"""

import asyncio
import copy
import functools
import pickle
import subprocess
import sys
import threading
import types

import pytest
from conftest import wait_until
from hostile import ERRORS, Hostile, HostileError
from test_field_errors import WAYS
from test_pool_contract import POOLS

from helpers import measure
from helpers.pools import (
    Attempt,
    DeadLetter,
    PoolClosed,
    PoolExecutor,
    Result,
    RetryingPool,
    RetryLater,
    RetryPolicy,
    WorkerPool,
    run_bounded,
    run_unbounded,
)
from helpers.pools.words import describe_error

pytestmark = pytest.mark.timeout(60)
LONGEST = 450  # characters: the maximum of a message, in which an object takes at most 200


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


def test_a_long_text_keeps_as_much_of_its_beginning_as_of_its_end():
    head, tail = describe_error(ValueError("a" * 1000 + "b" * 1000), 101).split("...")
    assert head.startswith("ValueError: aaa") and tail == "b" * len(tail)
    assert len(head) == len(tail) == 49


# --- case 5: copies ------------------------------------------------------------------------------------------------


class Busy(RetryLater):
    """A subclass with another signature, as client libraries have."""

    def __init__(self, code, *, server):
        super().__init__(f"{server} says {code}", 2)
        self.code, self.server = code, server


def raise_later(job):
    if job == 1:
        raise RetryLater("busy", 0)
    if job == 2:
        raise Busy(503, server="example.com") from RetryLater("cause", "120")
    return job


def finished():
    """Return the results and the dead letters of a pool whose jobs succeed, fail, and are redriven."""
    with RetryingPool(raise_later, workers=1, policy=RetryPolicy(2, 1e-6, 1e-6, max_retry_after=1)) as pool:
        results = list(pool.stream(range(3)))
        letters = pool.dead_letters()
        pool.redrive()
        results += pool.results()
        return results, letters + pool.dead_letters()


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {n}": lambda it, n=n: pickle.loads(pickle.dumps(it, n)) for n in range(2, pickle.HIGHEST_PROTOCOL + 1)},
}


@pytest.mark.parametrize("way_to_copy", COPIES)
def test_a_copy_of_a_result_or_of_a_dead_letter_is_equal(way_to_copy):
    duplicate = COPIES[way_to_copy]
    results, letters = finished()
    assert len(results) == 5 and len(letters) == 4
    for original in results:
        other = duplicate(original)
        assert type(other) is Result and other == original and other.attempts == original.attempts
        assert other.redriven_from == original.redriven_from and repr(other) == repr(original)
        assert (other.wait, other.duration, other.latency) == (original.wait, original.duration, original.latency)
    for original in letters:
        other = duplicate(original)
        assert type(other) is DeadLetter and other == original and repr(other) == repr(original)
        assert type(other.attempts[0]) is Attempt and other.error == original.error
        assert other.error.retry_after == original.error.retry_after


def test_a_result_of_a_job_that_never_ran_can_be_copied():
    gate = threading.Event()
    pool = WorkerPool(lambda job: gate.wait(20), workers=1)
    pool.submit("running")
    wait_until(lambda: pool.stats().running)
    pool.submit("queued")
    pool.cancel_queued()
    gate.set()
    pool.shutdown()
    cancelled = next(result for result in pool.results() if not result.ok)
    for duplicate in (copy.copy(cancelled), pickle.loads(pickle.dumps(cancelled))):
        assert (duplicate.job, duplicate.attempts, duplicate.started) == ("queued", (), None)
        assert type(duplicate.error) is type(cancelled.error) and duplicate.error.args == cancelled.error.args


# --- case 6: callables that return a coroutine, although they are not coroutine functions --------------------------

ran = []


async def coroutine(job):
    ran.append(job)


async def async_generator(job):
    ran.append(job)
    yield job


@types.coroutine
def old_coroutine(job):
    ran.append(job)
    yield job


def generator(job):
    ran.append(job)
    yield job


def decorated(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments)

    return wrapper


class Callable:
    async def __call__(self, job):
        ran.append(job)

    async def method(self, job):
        ran.append(job)

    @classmethod
    async def of_class(cls, job):
        ran.append(job)

    @staticmethod
    async def static(job):
        ran.append(job)

    partial = functools.partialmethod(method)


class CallsMethod:
    __call__ = functools.partialmethod(Callable.method)


class Unpredictable:
    """An object that has every attribute, like the methods of xmlrpc.client.ServerProxy."""

    def __getattr__(self, name):
        return Unpredictable()

    def __call__(self, job):
        return job


class Refusing:
    def __getattr__(self, name):
        raise ZeroDivisionError(name)

    def __call__(self, job):
        return job


KNOWN = {
    "coroutine function": coroutine,
    "asynchronous generator": async_generator,
    "types.coroutine": old_coroutine,
    "partial": functools.partial(coroutine),
    "partial of a partial": functools.partial(functools.partial(async_generator)),
    "callable object": Callable(),
    "partial of a callable object": functools.partial(Callable()),
    "bound method": Callable().method,
    "class method": Callable.of_class,
    "static method": Callable.static,
    "partialmethod": Callable().partial,
}
DISGUISED = {
    "lambda": lambda job: coroutine(job),  # noqa: PLW0108
    "lambda of an asynchronous generator": lambda job: async_generator(job),  # noqa: PLW0108
    "lambda of types.coroutine": lambda job: old_coroutine(job),  # noqa: PLW0108
    "decorated": decorated(coroutine),
    "decorated twice": decorated(decorated(async_generator)),
    "callable object with a partialmethod": CallsMethod(),
    "cached": functools.lru_cache(maxsize=None)(lambda job: coroutine(job)),  # noqa: PLW0108
    "single dispatch": functools.singledispatch(coroutine),
    "partial of a lambda": functools.partial(lambda job: coroutine(job)),  # noqa: PLW0108
}
RUNNERS = {
    **{kind: lambda handler, kind=kind: POOLS[kind](handler, workers=1) for kind in POOLS},
    "run_bounded": lambda handler: run_bounded(handler, [1]),
    "run_unbounded": lambda handler: run_unbounded(handler, [1]),
}


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_handler_that_is_known_to_return_a_coroutine_is_refused_at_once(runner):
    for name, handler in {**KNOWN, "generator": generator, "partial of it": functools.partial(generator)}.items():
        with pytest.raises(TypeError, match="handler must "):
            pytest.fail(f"{name} was accepted: {RUNNERS[runner](handler)}")
    assert not ran


@pytest.mark.parametrize("kind", [WorkerPool, RetryingPool])
def test_an_executor_refuses_a_function_that_is_known_to_return_a_coroutine(kind):
    with PoolExecutor(1, pool=kind) as executor:
        for name, function in KNOWN.items():
            with pytest.raises(TypeError, match=r"asyncio\.run"):
                pytest.fail(f"{name} was accepted: {executor.submit(function, 1)}")
    assert executor.pool.stats().submitted == 0 and not ran


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", DISGUISED)
def test_jobs_fail_with_the_reason_if_the_handler_returns_a_coroutine(name):
    for way in WAYS.values():
        if "cached" in name:
            DISGUISED[name].cache_clear()
        outcomes = way(DISGUISED[name], range(3))
        assert len(outcomes) == 3 and not ran
        for outcome in outcomes:
            assert type(outcome.error) is TypeError and "asyncio.run" in str(outcome.error)
            assert len(str(outcome.error)) < LONGEST and outcome.value is None


def test_a_coroutine_that_was_closed_causes_no_warning():
    code = """if True:
        from helpers.pools import WorkerPool, run_bounded, PoolExecutor
        async def coroutine(job): pass
        print([type(r.error).__name__ for r in run_bounded(lambda job: coroutine(job), range(3))])
        with PoolExecutor(1) as executor:
            print(type(executor.submit(lambda: coroutine(1)).exception()).__name__)
        import gc; gc.collect()
    """
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["['TypeError', 'TypeError', 'TypeError']", "TypeError"]
    assert done.stderr == "" and done.returncode == 0


def test_a_coroutine_that_other_code_runs_is_not_closed(way):
    """It was started elsewhere and is suspended. Closing it would break the code that runs it."""

    @types.coroutine
    def pause():
        yield

    async def task():
        await pause()
        return "at its end"

    coroutines = [task() for _ in range(5)]
    for each in coroutines:
        each.send(None)
    outcomes = way(lambda job: coroutines[job], range(5))
    assert [type(outcome.error) for outcome in outcomes] == [TypeError] * 5
    for each in coroutines:
        with pytest.raises(StopIteration) as end:
            each.send(None)
        assert end.value.value == "at its end"


def test_a_coroutine_that_refuses_to_be_closed_still_fails_its_job(way):
    async def stubborn():
        pass

    started = stubborn()
    started.close()
    outcomes = way(lambda job: started, range(3))
    assert [type(outcome.error) for outcome in outcomes] == [TypeError] * 3


@pytest.mark.parametrize("runner", RUNNERS)
def test_handlers_that_are_not_functions_are_accepted(runner):
    for handler in (Unpredictable(), Refusing(), len, str, abs, functools.partial(int), [].append, Hostile):
        made = RUNNERS[runner](handler)
        if isinstance(made, WorkerPool):
            made.shutdown()


def test_a_partial_of_itself_is_accepted():
    endless = functools.partial(len)
    endless.__setstate__((endless, (), {}, {}))
    WorkerPool(endless).shutdown()  # calling it would crash the interpreter


def test_asyncio_run_inside_a_handler_works(way):
    async def double(job):
        await asyncio.sleep(0)
        return 2 * job

    outcomes = way(lambda job: asyncio.run(double(job)), range(5))
    assert sorted(outcome.value for outcome in outcomes) == [0, 2, 4, 6, 8]


# --- case 7: representations and tables ----------------------------------------------------------------------------


def fail_with(job):
    if job:
        raise ERRORS[(job - 1) % len(ERRORS)]
    return Hostile()


def test_tables_of_results_attempts_and_letters_can_be_made_with_any_errors():
    with RetryingPool(fail_with, workers=2, policy=RetryPolicy(2, 1e-6, 1e-6)) as pool:
        results = list(pool.stream(range(10)))
    tables = [measure.to_frame(results), measure.attempts_frame(results), measure.letters_frame(pool.dead_letters())]
    assert [len(table) for table in tables] == [10, 19, 9]
    for table in tables:
        assert "HostileError" in (text := table.to_string()) and len(text) < 50_000
        assert "QuittingError" in text


@pytest.mark.parametrize("bad", [Hostile, HostileError, lambda: "x" * 10**7, lambda: 10**5000, lambda: [[Hostile()]]])
def test_every_repr_of_an_object_from_a_pool_is_bounded(bad):
    thing = bad()
    error = thing if issubclass(type(thing), Exception) else HostileError()
    attempt = Attempt(1, 1, 0.0, 0.0, 0.0, error)
    letter = DeadLetter(thing, (attempt,) * 1000, "x" * 10**6, DeadLetter(thing, (attempt,), "why", None))
    result = Result(thing, 0.0)
    result.run(lambda job: job, 1, lambda: 0.0)
    for shown in (attempt, letter, result):
        text = repr(shown)
        assert text == str(shown) == f"{shown}" and len(text) < 4 * LONGEST and text.startswith(type(shown).__name__)
    pool = WorkerPool(lambda job: job)
    pool.submit(thing)
    report = pool.shutdown()
    assert repr(report).startswith("ShutdownReport(") and len(repr(report)) < 4 * LONGEST


# --- case 10: messages about jobs ----------------------------------------------------------------------------------


class Text(str):
    """A str whose methods are overridden."""

    __len__ = __getitem__ = __str__ = __add__ = __format__ = lambda *_: 1 / 0


def showing(convert):
    return type("Shown", (), {"__repr__": lambda self: convert()})()


def raising(error):
    raise error


def recurse():
    return recurse()


def nested(depth):
    nest = []
    for _ in range(depth):
        nest = [nest]
    return nest


def itself():
    circle = []
    circle.append(circle)
    return circle


JOBS = {
    "50 MB of bytes": lambda: bytes(50_000_000),
    "50 MB in a bytearray": lambda: bytearray(50_000_000),
    "50 million characters": lambda: "é" * 50_000_000,
    "a repr that raises": lambda: showing(lambda: 1 / 0),
    "a repr that raises SystemExit": lambda: showing(lambda: raising(SystemExit())),
    "a repr that raises GeneratorExit": lambda: showing(lambda: raising(GeneratorExit())),
    "a repr that raises MemoryError": lambda: showing(lambda: raising(MemoryError())),
    "a repr that raises PoolClosed": lambda: showing(lambda: raising(PoolClosed())),
    "a repr of 20 million characters": lambda: showing(lambda: "x" * 20_000_000),
    "a repr that is a str subclass": lambda: showing(lambda: Text("text")),
    "a repr that is no str": lambda: showing(lambda: 5),
    "a repr that recurses": lambda: showing(recurse),
    "a number of 5,000 digits": lambda: 10**5000,
    "a negative number of 50,000 digits": lambda: -(10**50_000),
    "100,000 nested lists": lambda: nested(100_000),
    "a list of itself": itself,
    "a set of texts": lambda: {str(n) * 1000 for n in range(1000)},
    "a dictionary of hostile values": lambda: {n: Hostile() for n in range(1000)},
    "a list of a million numbers": lambda: list(range(1_000_000)),
    "a class named list": type("list", (), {}),
    "a hostile object": Hostile,
    "a tuple of large bytes": lambda: (bytes(1_000_000),) * 10,
    "unprintable text": lambda: "\ud800\x00\u202e" * 100,
}


def says(call, error):
    """Return the message of the error of this class, which the call must raise."""
    try:
        call()
    except BaseException as caught:
        assert type(caught) is error, type(caught)
        text = str(caught)
        assert len(text) < LONGEST and text.isprintable()
        return text
    pytest.fail("nothing was raised")


@pytest.mark.parametrize("kind", POOLS)
def test_a_refused_job_is_named_in_bounded_text(kind):
    jobs = [make() for make in JOBS.values()]
    gate = threading.Event()
    pool = POOLS[kind](lambda job: gate.wait(20), workers=1, queue_size=1)
    pool.submit(1)
    wait_until(lambda: pool.stats().running)
    pool.submit(2)
    for job in jobs:
        assert "no room in the queue of 1 within 0 s for" in says(
            lambda job=job: pool.submit(job, timeout=0), TimeoutError
        )
        assert pool.try_submit(job) is False
    gate.set()
    pool.shutdown()
    for job in jobs:
        for call in (pool.submit, pool.try_submit):
            assert "is shut down and" in says(lambda job=job, call=call: call(job), PoolClosed)
    assert pool.stats().submitted == 2


@pytest.mark.parametrize("kind", ["WorkerPool", "DynamicRetryingPool"])
def test_a_blocked_submitter_gets_pool_closed_for_any_kind_of_job(kind):
    gate, told = threading.Event(), []
    pool = POOLS[kind](lambda job: gate.wait(20), workers=1, queue_size=1)
    pool.submit(1)
    wait_until(lambda: pool.stats().running)
    pool.submit(2)
    names = list(JOBS)

    def submit(name):
        job = JOBS[name]()
        told.append(says(lambda: pool.submit(job), PoolClosed))

    threads = [threading.Thread(target=submit, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    pool.close()
    for thread in threads:
        thread.join()
    gate.set()
    pool.shutdown()
    assert len(told) == len(names)


@pytest.mark.parametrize("kind", ["RetryingPool", "DynamicRetryingPool"])
def test_a_redrive_that_is_refused_names_the_job_in_bounded_text(kind):
    def handler(job):
        raise ValueError

    with POOLS[kind](handler, workers=1) as pool:
        for make in JOBS.values():
            pool.submit(make())
        assert sum(1 for _ in pool.results()) == len(JOBS)
    assert "is shut down" in says(pool.redrive, PoolClosed)
    assert len(pool.dead_letters()) == len(JOBS)
    for letter in pool.dead_letters():
        assert len(repr(letter)) < 4 * LONGEST


class Named:
    """A function without a useful name."""

    def __init__(self, name):
        self.name = name

    def __getattr__(self, name):
        return self.name()

    def __repr__(self):
        return self.name()

    def __call__(self):
        return 1


@pytest.mark.parametrize("name", [lambda: "x" * 10**7, lambda: 1 / 0, lambda: Text("text"), lambda: 5, recurse])
def test_an_executor_names_a_call_in_bounded_text(name):
    inside = []

    def fill_and_ask():
        executor.submit(int)
        inside.append(says(lambda: executor.submit(Named(name)), RuntimeError))

    with PoolExecutor(1, queue_size=1) as executor:
        executor.submit(fill_and_ask).result()
    assert "is full" in inside[0]
    says(lambda: executor.submit(Named(name)), RuntimeError)
    says(lambda: executor.pool.submit(executor), PoolClosed)


def test_no_thread_is_named_after_a_job_and_no_job_is_logged(caplog, capfd):
    marker = "the-marker-of-a-job"
    seen = []

    def handler(job):
        seen.extend(thread.name for thread in threading.enumerate())
        raise ValueError("failed")

    for kind in POOLS:
        with POOLS[kind](handler, workers=2) as pool:
            list(pool.stream([marker] * 4))
    assert seen and not any(marker in name for name in seen)
    assert marker not in caplog.text and "".join(capfd.readouterr()) == ""
