"""Frames and tracebacks of other code, and errors that all jobs share: field cases 2 and 3."""

import gc
import statistics
import sys
import sysconfig
import threading
import traceback
import types
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from test_field_errors import WAYS, Data
from test_pool_contract import POOLS, retries

from helpers.pools import RetryingPool, RetryLater, RetryPolicy

# In these tests, a worker looks at frames that another thread runs. See docs/promises.md.
crashes = sys.version_info < (3, 14) and sysconfig.get_config_var("Py_GIL_DISABLED")
pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(bool(crashes), reason="free-threaded Python 3.13 itself crashes: python/cpython#128421"),
]


@pytest.fixture(params=WAYS)
def way(request):
    return WAYS[request.param]


# --- case 2: only the frames of the handler's own call are cleared -------------------------------------------------


def fail(error):
    raise error


def catching(count):
    """Yield exceptions that this generator has caught, so that each refers to its frame."""
    for n in range(count):
        try:
            raise ValueError(n)
        except ValueError as error:
            yield error


@pytest.mark.parametrize("kind", POOLS)
def test_a_source_that_yields_the_errors_that_it_has_caught_is_read_to_its_end(kind):
    count = 500 if kind == "ImageProcessor" else 5000 if kind in {"WorkerPool", "RetryingPool"} else 1000
    with POOLS[kind](fail, workers=2) as pool:
        results = list(pool.stream(catching(count)))
    assert sorted(result.job.args[0] for result in results) == list(range(count))
    assert all(result.error is result.job for result in results)


@pytest.mark.parametrize("place", ["cause", "context", "member"])
def test_errors_inside_of_others_leave_their_generators_alone(way, place):
    def handler(error):
        if place == "member":
            raise ExceptionGroup("group", [error])
        if place == "cause":
            raise KeyError from error
        try:
            raise error
        except ValueError:
            raise KeyError  # noqa: B904 - the context is the point

    assert len(way(handler, list_of_suspended(50))) == 50


def list_of_suspended(count):
    """Return errors, each caught in a suspended generator that must be able to continue."""
    errors = []
    for generator in [catching(2) for _ in range(count)]:
        error = next(generator)
        error.generator = generator
        errors.append(error)
    return errors


def test_suspended_generators_go_on(way):
    errors = list_of_suspended(30)
    assert len(way(fail, errors)) == 30
    assert [len(list(error.generator)) for error in errors] == [1] * 30


def test_suspended_coroutines_and_asynchronous_generators_go_on(way):
    @types.coroutine
    def hand_out(error):
        yield error

    async def coroutine():
        try:
            raise ValueError("in a coroutine")
        except ValueError as error:
            await hand_out(error)
        return "at its end"

    async def generator():
        try:
            raise ValueError("in an asynchronous generator")
        except ValueError as error:
            yield error
        yield "at its end"

    coroutines, generators = [coroutine() for _ in range(20)], [generator() for _ in range(20)]
    errors = [each.send(None) for each in coroutines]
    for each in generators:
        with pytest.raises(StopIteration) as first:
            each.asend(None).send(None)
        errors.append(first.value.value)
        del first
    assert len(way(fail, errors)) == 40
    for each in (*coroutines, *(each.asend(None) for each in generators)):
        with pytest.raises(StopIteration) as last:
            each.send(None)
        assert last.value.value == "at its end"


def test_a_generator_of_the_handlers_that_lives_on_is_not_closed(way):
    alive = []

    def handler(job):
        generator = catching(2)
        alive.append(generator)
        raise next(generator)

    assert len(way(handler, range(20))) == 20
    assert len(alive) >= 20 and all(len(list(generator)) == 1 for generator in alive)


def test_a_generator_that_delegates_to_a_failed_one_can_continue(way):
    def inner():
        try:
            raise ValueError("inner")
        except ValueError as error:
            yield error
        yield "at its end"

    def outer():
        yield from inner()

    generators = [outer() for _ in range(10)]
    assert len(way(fail, [next(generator) for generator in generators])) == 10
    assert [list(generator) for generator in generators] == [["at its end"]] * 10


def test_the_frame_of_a_thread_that_still_runs_is_left_alone(way):
    go_on, caught, kept = threading.Event(), [], []

    def elsewhere():
        data = Data()
        try:
            raise ValueError("elsewhere")
        except ValueError as error:
            caught.append(error)
            go_on.wait(20)
            kept.append(data)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    while not caught:
        pass
    outcomes = way(fail, [caught[0]] * 5)
    go_on.set()
    thread.join()
    assert len(outcomes) == 5 and type(kept[0]) is Data


def test_the_traceback_of_a_future_of_another_executor_stays_with_its_data(way):
    seen = []

    def elsewhere(job):
        data = Data()
        seen.append(weakref.ref(data))
        raise ValueError(job)

    with ThreadPoolExecutor(2) as others:
        outcomes = way(lambda job: others.submit(elsewhere, job).result(), range(10))
    for outcome in outcomes:
        names = [frame.name for frame in traceback.extract_tb(outcome.error.__traceback__)]
        assert "<lambda>" in names and names[-1] == "elsewhere"
        frames = [frame for frame, _ in traceback.walk_tb(outcome.error.__traceback__)]
        assert type(frames[-1].f_locals["data"]) is Data, "its frames are the other executor's"


def test_the_lines_of_a_failed_handler_stay_and_its_data_goes(way):
    seen, kept = [], Data()

    def deepest(job):
        data = Data()
        seen.append(weakref.ref(data))
        raise ValueError(job)

    def middle(job):
        data = Data()
        seen.append(weakref.ref(data))
        for _ in (deepest(n) for n in [job]):  # a generator of the handler, which has ended
            return data

    def handler(job):
        try:
            middle(job)
        except ValueError as error:
            first = error
        try:
            middle(job)
        except ValueError as error:
            raise ExceptionGroup("both", [first, error]) from first

    outcomes = way(handler, range(10))
    gc.collect()
    assert len(seen) >= 40 and not [ref for ref in seen if ref() is not None] and type(kept) is Data
    for outcome in outcomes:
        lines = "".join(traceback.format_exception(outcome.error))
        assert lines.count("in deepest") >= 2 and lines.count("in middle") >= 2 and "in handler" in lines


# --- case 3: all jobs raise the same error object ------------------------------------------------------------------


def length(trace):
    count = 0
    while trace is not None:
        count, trace = count + 1, trace.tb_next
    return count


def raise_shared(shared):
    def handler(job):
        raise shared

    return handler


def raise_from_shared(shared):
    def handler(job):
        try:
            raise shared
        except BaseException as error:
            raise ValueError(job) from error

    return handler


def raise_shared_from_fresh(shared):
    def handler(job):
        try:
            raise ValueError(job)
        except ValueError as error:
            raise shared from error

    return handler


def raise_group_of_shared(shared):
    def handler(job):
        try:
            raise shared
        except BaseException as error:
            raise BaseExceptionGroup("group", [error, error]) from error

    return handler


def raise_shared_deeply(shared):
    def deeper(depth):
        if depth:
            deeper(depth - 1)
        raise shared

    return lambda job: deeper(20)


RAISERS = [raise_shared, raise_from_shared, raise_shared_from_fresh, raise_group_of_shared, raise_shared_deeply]


@pytest.mark.parametrize("raiser", RAISERS)
def test_nothing_of_a_shared_error_grows_with_the_number_of_jobs(way, raiser):
    shared = ValueError("shared by all jobs")
    assert len(way(raiser(shared), range(60))) == 60
    early = length(shared.__traceback__)
    assert len(way(raiser(shared), range(600))) == 600
    # Each of three threads may leave its last entries in the traceback of the others.
    assert early < 200 and length(shared.__traceback__) < 200
    assert not hasattr(shared, "__notes__")


@pytest.mark.parametrize("kind", ["WorkerPool", "DynamicPool", "RetryingPool"])
@pytest.mark.parametrize("raiser", RAISERS)
def test_the_last_of_4000_jobs_costs_as_many_steps_as_the_hundredth(kind, raiser):
    shared = RetryLater("shared by all jobs", 0)
    steps = dict.fromkeys([*range(100, 110), *range(3990, 4000)], 0)
    current = None

    def count(frame, event, argument):
        steps[current] += 1

    inner = raiser(shared)

    def handler(job):
        nonlocal current
        sys.setprofile(count if job in steps else None)
        current = job
        inner(job)

    options = {"policy": RetryPolicy(1)} if kind == "RetryingPool" else {}
    pool = (RetryingPool if options else POOLS[kind])(handler, workers=1, queue_size=5000, **options)
    for job in range(4000):
        pool.submit(job)
    assert pool.shutdown().stats.failed == 4000
    early = [steps[job] for job in range(101, 109)]
    late = [steps[job] for job in range(3991, 3999)]
    # The median, because a run of the garbage collector may fall into one of the late jobs.
    assert min(early) > 0 and statistics.median(late) <= max(early) + 50, (early, late)


@pytest.mark.parametrize("kind", [kind for kind in POOLS if "Retrying" in kind])
def test_each_dead_letter_with_a_shared_error_has_its_own_reason(kind):
    shared = ValueError("shared by all jobs")
    with POOLS[kind](raise_shared(shared), workers=3) as pool:
        assert retries(pool) and len(list(pool.stream(range(300)))) == 300
    letters = pool.dead_letters()
    assert len(letters) == 300 and all(letter.error is shared and len(letter.attempts) == 2 for letter in letters)
    assert length(shared.__traceback__) < 200


@pytest.mark.parametrize("kind", POOLS)
def test_a_shared_error_of_a_callback_or_a_resource_does_not_grow(kind):
    shared = ValueError("shared by all calls")

    with POOLS[kind](lambda job: job, workers=2, on_result=raise_shared(shared)) as pool:
        for job in range(500):
            pool.submit(job)
    assert len(pool.shutdown().errors) == 500
    assert length(shared.__traceback__) < 200


@pytest.mark.parametrize("kind", POOLS)
def test_the_traceback_of_a_callback_that_raises_begins_in_the_callback(kind):
    def callback(result):
        raise ValueError(result.job)

    with POOLS[kind](lambda job: job, workers=2, on_result=callback) as pool:
        for job in range(20):
            pool.submit(job)
    errors = pool.shutdown().errors
    # Entries of the pool's code before it would not help the user.
    lines = [[frame.name for frame in traceback.extract_tb(error.__traceback__)] for error in errors]
    assert lines == [["callback"]] * 20
