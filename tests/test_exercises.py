"""Every check fails on the starter and on the wrong answers people give, and passes on the solution."""

import threading
from contextlib import suppress
from math import ceil
from pathlib import Path

import hostile
import nbformat
import pytest

from helpers.exercises import (
    Verdict,
    basic_pool,
    best_practices,
    choosing,
    common_mistakes,
    dynamic_pool,
    email_pool,
    image_pool,
    retrying_pool,
    start_here,
    unbounded,
)
from helpers.pools import WorkerPool

ROOT = Path(__file__).parents[1] / "notebooks"
NAMES = [path.name for path in sorted(ROOT.glob("[0-9]*.ipynb"))]


def exercises(path: Path) -> list[str]:
    cells = nbformat.read(path, as_version=4).cells
    return [cell.source for cell in cells if "exercise" in cell.metadata.get("tags", [])]


def imports(path: Path) -> str:
    return next(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")


def verdict(path: Path, source: str) -> Verdict:
    """Run the cell as the notebook would, after its imports, and return what its last line shows."""
    space: dict = {}
    exec(imports(path), space)
    body, _, last = source.rstrip().rpartition("\n")
    exec(body, space)
    return eval(last, space)


@pytest.mark.parametrize("name", NAMES)
def test_the_solutions_are_right_and_the_starters_are_not_yet(name):
    starters, solutions = exercises(ROOT / name), exercises(ROOT / "solutions" / name)
    assert len(starters) == len(solutions) >= 2
    for starter, solution in zip(starters, solutions, strict=True):
        assert starter.splitlines()[-1] == solution.splitlines()[-1], "both end in the same check"
        before = verdict(ROOT / name, starter)
        after = verdict(ROOT / "solutions" / name, solution)
        assert isinstance(before, Verdict) and not before.right, before
        assert isinstance(after, Verdict) and after.right, after


def all_threads(handler, jobs, limit):
    threads = [threading.Thread(target=handler, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def one_at_a_time(handler, jobs, limit):
    for job in jobs:
        handler(job)


def does_not_wait(handler, jobs, limit):
    doorman = threading.Semaphore(limit)

    def guarded(job):
        with doorman:
            handler(job)

    for job in jobs:
        threading.Thread(target=guarded, args=(job,)).start()


def no_pool(handler, jobs):
    return {job: handler(job) for job in jobs}


def ten_workers(handler, jobs):
    with WorkerPool(handler, workers=10) as pool:
        return {r.job: r.value for r in pool.stream(jobs)}


def a_list(handler, jobs):
    with WorkerPool(handler, workers=5) as pool:
        return [r.value for r in pool.stream(jobs)]


def no_bound(executor, slots, function, job):
    return executor.submit(function, job)


def waits_for_the_job(executor, slots, function, job):
    future = executor.submit(function, job)
    future.exception()
    return future


def forgets_the_future(executor, slots, function, job):
    future = bounded(executor, slots, function, job)
    assert future


def bounded(executor, slots, function, job):
    slots.acquire()
    future = executor.submit(function, job)
    future.add_done_callback(lambda future: slots.release())
    return future


def releases_twice(executor, slots, function, job):
    future = bounded(executor, slots, function, job)
    future.add_done_callback(lambda future: slots.release() if future.exception() else None)
    return future


def never_releases(executor, slots, function, job):
    slots.acquire()
    return executor.submit(function, job)


def forgets_the_empty_evening(durations, workers):
    longest = max(durations)
    return max(longest, sum(durations) / workers)


def writes_in_place(path, parts):
    with open(path, "wb") as file:
        for part in parts:
            file.write(part)


def empties_it_first(path, parts):
    path.unlink(missing_ok=True)
    path.write_bytes(b"".join(parts))


def keeps_quiet(path, parts):
    with suppress(RuntimeError):
        path.write_bytes(b"".join(parts))


def leaves_its_rubbish(path, parts):
    part = path.with_name("part")
    with open(part, "wb") as file:
        for piece in parts:
            file.write(piece)
    part.replace(path)


def writes_nothing(path, parts):
    list(parts)


def reads_it_all_first(jobs, size):
    jobs = list(jobs)
    return [jobs[n : n + size] for n in range(0, len(jobs), size)]


def loses_the_rest(jobs, size):
    batch = []
    for job in jobs:
        batch.append(job)
        if len(batch) == size:
            yield batch
            batch = []


def an_empty_one_at_the_end(jobs, size):
    yield from loses_the_rest(jobs, size)
    yield []


def reads_one_ahead(jobs, size):
    batch = []
    for job in jobs:
        if len(batch) == size:
            yield batch
            batch = []
        batch.append(job)
    if batch:
        yield batch


WRONG = [
    (image_pool.check_fit, lambda w, h, bw, bh: (bw, bh), "(4000, 3000, 800, 300) gave (800, 300)"),
    (image_pool.check_fit, lambda w, h, bw, bh: (bw, round(h * bw / w)), "(400, 300) is expected"),
    (
        image_pool.check_fit,
        lambda w, h, bw, bh: tuple(round(x * min(bw / w, bh / h)) for x in (w, h)),
        "(640, 480) is expected",
    ),
    (
        image_pool.check_fit,
        lambda w, h, bw, bh: tuple(round(x * min(bw / w, bh / h, 1)) for x in (w, h)),
        "(100, 1) is expected",
    ),
    (image_pool.check_safe_write, writes_in_place, "half overwritten"),
    (image_pool.check_safe_write, empties_it_first, "gone too"),
    (image_pool.check_safe_write, keeps_quiet, "told nobody"),
    (image_pool.check_safe_write, leaves_its_rubbish, "left in the folder"),
    (image_pool.check_safe_write, writes_nothing, "does not hold them"),
    (image_pool.check_seconds_needed, lambda n, each, w, c: n * each / min(w, c), "1.0 is expected"),
    (image_pool.check_seconds_needed, lambda n, each, w, c: -(-n // w) * each, "2.0 is expected"),
    (email_pool.check_rate, lambda times, w: w / (sum(times) / len(times)), "is expected"),
    (email_pool.check_rate, lambda times, w: len(times) / max(times), "is expected"),
    (email_pool.check_fate, lambda step, code: "sent" if code == 250 else "failed", "'unknown' is expected"),
    (
        email_pool.check_fate,
        lambda step, code: "sent" if code == 250 else "unknown" if code is None else "failed",
        "'again' is expected",
    ),
    (email_pool.check_batches, reads_it_all_first, "endless source: it raised RuntimeError"),
    (email_pool.check_batches, loses_the_rest, "[[0, 1, 2], [3, 4, 5], [6]] is expected"),
    (email_pool.check_batches, an_empty_one_at_the_end, "is expected"),
    (email_pool.check_batches, reads_one_ahead, "it read 4 jobs"),
    (start_here.check_words, None, "a dict is wanted"),
    (start_here.check_words, {**start_here.KITCHEN, "cook": "thread pool"}, "the term for 'cook' is not 'thread pool'"),
    (start_here.check_seconds, lambda o, c, m: o * m / c, "16.8"),
    (start_here.check_seconds, lambda o, c, m: (o // c) * m, "16"),
    (start_here.check_seconds, lambda o, c, m: (o // c + 1) * m, "20"),
    (start_here.check_seconds, 16, "a function is wanted"),
    (unbounded.check_workers, lambda limit, reserved, n: (limit - reserved) // n, "-1"),
    (unbounded.check_workers, lambda limit, reserved, n: (limit - reserved) / n, "24.25"),
    (unbounded.check_workers, lambda limit, reserved, n: limit // n, "25"),
    (unbounded.check_semaphore, all_threads, "more than 4 handlers ran"),
    (unbounded.check_semaphore, one_at_a_time, "fewer than 4 handlers ran"),
    (unbounded.check_semaphore, does_not_wait, "not all of the 60 jobs were done"),
    (unbounded.check_gentle, no_pool, "fewer than five"),
    (unbounded.check_gentle, ten_workers, "more than five"),
    (unbounded.check_gentle, a_list, "a dict is wanted"),
    (basic_pool.check_least_time, lambda d, w: sum(d) / w, "2.0 is expected"),
    (basic_pool.check_least_time, lambda d, w: max(d, default=0), "0.2 is expected"),
    (basic_pool.check_least_time, forgets_the_empty_evening, "ValueError"),
    (basic_pool.check_bounded_submit, no_bound, "6 jobs were accepted while none was done, and 3 are expected"),
    (basic_pool.check_bounded_submit, waits_for_the_job, "0 jobs were accepted"),
    (basic_pool.check_bounded_submit, forgets_the_future, "one returned None"),
    (basic_pool.check_bounded_submit, releases_twice, "after all jobs 4 slots are free"),
    (basic_pool.check_workers_needed, lambda x, s, c: x * s, "6.25"),
    (basic_pool.check_workers_needed, lambda x, s, c: int(x * s), "6, and 7 is expected"),
    (basic_pool.check_workers_needed, lambda x, s, c: ceil(x * s), "50, and 0 is expected"),
]


@pytest.mark.parametrize(("check", "answer", "why"), WRONG)
def test_typical_wrong_answers_are_told_what_is_wrong(check, answer, why):
    said = check(answer)
    assert not said.right and why in said.why, said


def test_an_answer_that_never_ends_is_told_so_and_keeps_nobody(monkeypatch):
    monkeypatch.setattr("helpers.exercises.verdict.PATIENCE", 0.2)
    said = basic_pool.check_bounded_submit(never_releases)
    assert not said.right and "still running after 0.2 s. No slot came back" in said.why


def looks_twice(crew):
    if crew.count > crew.minimum:
        with crew.lock:
            crew.count -= 1
        return True
    return False


def looks_and_steps_in_two_locks(crew):
    with crew.lock:
        enough = crew.count > crew.minimum
    if enough:
        with crew.lock:
            crew.count -= 1
    return enough


def never_goes(crew):
    return False


def always_says_yes(crew):
    with crew.lock:
        if crew.count > crew.minimum:
            crew.count -= 1
    return True


def goes_below(crew):
    with crew.lock:
        if crew.count >= crew.minimum:
            crew.count -= 1
            return True
        return False


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (looks_twice, "another one left"),
        (looks_and_steps_in_two_locks, "another one left"),
        (never_goes, "all wanted to go, and 3 stayed"),
        (always_says_yes, "at the minimum it still says True"),
        (goes_below, "and 1 stayed"),
        (lambda crew: None, "returns nothing"),
        (lambda crew: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_leave_finds_the_race_and_what_else_is_wrong(answer, why):
    verdict = dynamic_pool.check_leave(answer)
    assert not verdict.right and why in verdict.why


@pytest.mark.parametrize(
    "answer",
    [
        lambda queued, workers, backlog, most: min(queued // backlog, most) - workers,
        lambda queued, workers, backlog, most: -(-queued // backlog) - workers,
        lambda queued, workers, backlog, most: max(min(-(-queued // backlog), most), 0),
        lambda queued, workers, backlog, most: max(min(queued / backlog, most) - workers, 0),
    ],
)
def test_hire_finds_wrong_numbers(answer):
    assert not dynamic_pool.check_hire(answer).right


@pytest.mark.parametrize(
    "answer",
    [
        lambda changes, end: end * changes[-1][1],
        lambda changes, end: sum(workers for _, workers in changes),
        lambda changes, end: end * max(workers for _, workers in changes),
    ],
)
def test_worker_seconds_finds_wrong_bills(answer):
    assert not dynamic_pool.check_worker_seconds(answer).right


@pytest.mark.parametrize(
    "answer",
    [
        lambda attempt, base, cap, draw: draw * min(cap, base * 2.0 ** (attempt - 1)),  # overflows at 1,025
        lambda attempt, base, cap, draw: min(cap, base * 2 ** (attempt - 1)),
        lambda attempt, base, cap, draw: min(cap, draw * base * 2 ** (attempt - 1)),
        lambda attempt, base, cap, draw: draw * min(cap, base * 2 ** min(attempt, 64)),
    ],
)
def test_wait_finds_wrong_backoffs(answer):
    assert not retrying_pool.check_wait(answer).right


@pytest.mark.parametrize(
    "answer",
    [
        lambda method, answer: answer in (429, 503),
        lambda method, answer: answer in (None, 429, 503),
        lambda method, answer: method == "GET" and answer in (None, 429, 503),
        lambda method, answer: answer is None or answer >= 400,
    ],
)
def test_again_finds_what_is_unsafe_and_what_is_of_no_use(answer):
    assert not retrying_pool.check_again(answer).right


@pytest.mark.parametrize(
    "answer",
    [lambda jobs, failing, attempts: jobs * failing, lambda jobs, failing, attempts: jobs * failing * attempts],
)
def test_letters_finds_wrong_numbers(answer):
    assert not retrying_pool.check_letters(answer).right


@pytest.mark.parametrize(
    ("answer", "heard"),
    [
        (lambda wait, python, limit: round((wait + python) / python), "gave 100, and 25 is expected"),
        (lambda wait, python, limit: limit, "gave 1000, and 100 is expected"),
        (lambda wait, python, limit: min(limit, int((wait + python) / python + 1e-9)), "gave 3, and 4 is expected"),
    ],
)
def test_workers_that_are_not_enough_or_too_many(answer, heard):
    assert heard in best_practices.check_workers(answer).why


def test_portions_for_nobody():
    def never(cancelled, portion):
        for number in range(10):
            portion(number)
        return 10

    def too_late(cancelled, portion):
        for number in range(10):
            portion(number)
            if cancelled.is_set():
                return number + 1
        return 10

    assert "closes after 4 portions, 4 portions are wanted, and 10" in best_practices.check_stops(never).why
    assert "closes after 0 portions, 0 portions are wanted, and 1" in best_practices.check_stops(too_late).why


def test_a_deadline_that_has_passed():
    assert "it returned 0" in best_practices.check_time_left(lambda d, n, longest: max(0, min(d - n, longest))).why
    assert "gave 90.0, and 5.0" in best_practices.check_time_left(lambda d, n, longest: d - n).why


def test_endings_give_a_hint_and_not_the_answer():
    right = {case: ending for case, (ending, _) in common_mistakes.HINTS.items()}
    assert common_mistakes.check_endings(right).right
    for case, ending in right.items():
        wrong = common_mistakes.check_endings({**right, case: "fine" if ending != "fine" else "hangs"})
        assert not wrong.right
        assert ending not in wrong.why.partition(":")[2].split()
    assert (
        "one of hangs, loses, refused, fine, not 'boom'" in common_mistakes.check_endings({**right, case: "boom"}).why
    )
    assert "a dictionary is wanted" in common_mistakes.check_endings([1]).why


def test_gathering_must_swallow_nothing():
    def skips(futures):
        return [f.result() for f in futures if not f.cancelled() and not f.exception()], []

    def first_only(futures):
        values = []
        try:
            for future in futures:
                values.append(future.result())
        except Exception as error:
            return values, [error]
        return values, []

    assert "2 errors in their order are expected" in common_mistakes.check_gather(skips).why
    assert "the values are [1], and [1, 2] is expected" in common_mistakes.check_gather(first_only).why
    assert "(values, errors) is wanted" in common_mistakes.check_gather(lambda futures: None).why
    assert "gave [1, 1, 1]" in common_mistakes.check_tasks(lambda numbers: [lambda: 1 for _ in numbers]).why


def test_choices_give_a_hint_and_not_the_answer():
    right = {case: tool for case, (tool, _) in choosing.HINTS.items()}
    assert choosing.check_choices(right).right
    for case, tool in right.items():
        wrong = choosing.check_choices({**right, case: "loop" if tool != "loop" else "pool"})
        assert not wrong.right
        assert tool not in wrong.why.partition("”:")[2].replace("?", " ").split()
    assert (
        "the answer is one of loop, pool, processes, asyncio, pipeline, graph, limiter, broker, not 7"
        in choosing.check_choices({**right, "add up 30 numbers": 7}).why
    )
    assert "a dictionary is wanted" in choosing.check_choices("pool").why


def test_a_bottleneck_is_not_the_longest_step_nor_the_smallest_crew():
    assert "'download' is expected" in choosing.check_bottleneck(lambda s: max(s, key=lambda n: s[n][0])).why
    assert "'download' is expected" in choosing.check_bottleneck(lambda steps: "convert").why


def test_a_graph_is_not_done_sooner_than_its_longest_chain():
    assert "gave 3.0, and 2.0" in choosing.check_least_time(lambda graph, seconds: sum(seconds.values())).why
    assert "gave 2.0, and 3.0" in choosing.check_least_time(lambda graph, seconds: max(seconds.values())).why


# What belongs to the reader


MODULES = [basic_pool, best_practices, choosing, common_mistakes, dynamic_pool, email_pool, image_pool]
MODULES += [retrying_pool, start_here, unbounded]
CHECKS = [getattr(module, name) for module in MODULES for name in vars(module) if name.startswith("check_")]


def raises(error):
    def answer(*args):
        raise error

    return answer


ODD_ANSWERS = {
    "a hostile object": hostile.Hostile,
    "a function that returns one": lambda: lambda *args: hostile.Hostile(),
    "a function that returns a tuple of them": lambda: lambda *args: (hostile.Hostile(), hostile.Hostile()),
    "a dictionary of them": lambda: {
        word: hostile.Hostile() for word in [*start_here.KITCHEN, *choosing.HINTS, *common_mistakes.HINTS]
    },
    "an error without words": lambda: raises(hostile.HostileError()),
    "an error of millions of characters": lambda: raises(hostile.LongError()),
    "an error that quits": lambda: raises(hostile.QuittingError()),
    "a long text": lambda: "x" * 10**7,
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("answer", ODD_ANSWERS)
def test_a_check_never_raises_and_says_something_short(check, answer):
    found = check(ODD_ANSWERS[answer]())
    assert type(found) is Verdict and not found.right
    assert 0 < len(repr(found)) < 1000
