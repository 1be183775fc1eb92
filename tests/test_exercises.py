"""Every check refuses the starter and typical wrong answers, and accepts the solution."""

import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import ceil
from pathlib import Path
from uuid import uuid4

import hostile
import nbformat
import pytest

from helpers.exercises import (
    Verdict,
    basic_pool,
    best_practices,
    beyond_one_machine,
    capacity,
    choosing,
    common_mistakes,
    dynamic_pool,
    email_pool,
    engines,
    image_pool,
    monitoring,
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
    """Return the source of the first code cell, and of others if the imports need more than one."""
    first, *others = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return "\n".join(cell.source for cell in (first, *others) if cell is first or cell.id.startswith("imports"))


def verdict(path: Path, source: str) -> Verdict:
    """Run the cell like the notebook, after its imports, and return the value of its last line."""
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
        assert starter.splitlines()[-1] == solution.splitlines()[-1], "the starter and the solution use the same check"
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


def ends_at_the_first_failure(handler, pages, workers):
    with ThreadPoolExecutor(workers) as executor:
        return dict(zip(pages, executor.map(handler, pages), strict=True)), {}


def with_failures(handler, pages, workers):
    with WorkerPool(handler, workers=workers) as pool:
        results = list(pool.stream(pages))
    return {r.job: r.value for r in results if r.ok}, {r.job: r.error for r in results if not r.ok}


def asks_twice(handler, pages, workers):
    values, errors = with_failures(handler, pages, workers)
    return values | with_failures(handler, list(errors), workers)[0], errors


def forgets_the_failures(handler, pages, workers):
    return with_failures(handler, pages, workers)[0], {}


def forgets_the_values(handler, pages, workers):
    return {}, with_failures(handler, pages, workers)[1]


def returns_one_dictionary(handler, pages, workers):
    values, errors = with_failures(handler, pages, workers)
    return values | errors


def downloads_one_after_the_other(handler, pages, workers):
    return with_failures(handler, pages, 1)


def downloads_all_at_once(handler, pages, workers):
    return with_failures(handler, pages, len(pages))


def leaves_its_threads(handler, pages, workers):
    executor = ThreadPoolExecutor(workers)
    values, errors = {}, {}
    for page, future in [(page, executor.submit(handler, page)) for page in pages]:
        if future.exception() is None:
            values[page] = future.result()
        else:
            errors[page] = future.exception()
    LEFT.append(executor)  # so that its threads do not end before the check has looked
    return values, errors


LEFT: list[ThreadPoolExecutor] = []


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


def shares_its_temporary_file(path, parts):
    temporary = path.with_name(path.name + ".part")
    try:
        with open(temporary, "wb") as file:
            for part in parts:
                file.write(part)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def mixes_two_pictures(path, parts):
    with suppress(FileNotFoundError):  # of the rename
        shares_its_temporary_file(path, parts)


def keeps_a_copy_of_each(path, parts):
    content = b"".join(parts)
    temporary = path.with_name(f"{path.name}.{uuid4().hex}.part")
    temporary.write_bytes(content)
    os.replace(temporary, path)
    if content == b"second writer":
        path.with_name("second.jpg").write_bytes(content)


def sends_first(outbox, mail_id, send):
    send(mail_id)
    outbox[mail_id] = "sent"


def marks_first(outbox, mail_id, send):
    outbox[mail_id] = "sent"
    send(mail_id)


def marks_in_the_end_whatever_happens(outbox, mail_id, send):
    outbox[mail_id] = "sending"
    try:
        send(mail_id)
    finally:
        outbox[mail_id] = "done"


def never_says_sent(outbox, mail_id, send):
    outbox[mail_id] = "sending"
    send(mail_id)


def sends_for_ever(outbox, mail_id, send):
    while True:
        send(mail_id)


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
    (image_pool.check_safe_write, keeps_quiet, "write_whole hid it"),
    (image_pool.check_safe_write, leaves_its_rubbish, "left in the folder"),
    (image_pool.check_safe_write, writes_nothing, "must contain the two parts"),
    (image_pool.check_safe_write, shares_its_temporary_file, "one of them failed"),
    (image_pool.check_safe_write, mixes_two_pictures, "a mixture of both"),
    (image_pool.check_safe_write, keeps_a_copy_of_each, "another file was left"),
    (image_pool.check_seconds_needed, lambda n, each, w, c: n * each / min(w, c), "1.0 is expected"),
    (image_pool.check_seconds_needed, lambda n, each, w, c: -(-n // w) * each, "2.0 is expected"),
    (email_pool.check_fate, lambda step, code: "sent" if code == 250 else "failed", "'unknown' is expected"),
    (
        email_pool.check_fate,
        lambda step, code: "sent" if code == 250 else "unknown" if code is None else "failed",
        "'again' is expected",
    ),
    (
        email_pool.check_send_recorded,
        sends_first,
        "dies after 1 of its 2 steps: the mail was sent, but its state is 'new'",
    ),
    (email_pool.check_send_recorded, marks_first, "the mail was not sent, but its state is 'sent'"),
    (email_pool.check_send_recorded, marks_in_the_end_whatever_happens, "its state is 'done'; expected: once"),
    (email_pool.check_send_recorded, never_says_sent, "its state is 'sending'"),
    (email_pool.check_send_recorded, sends_for_ever, "too many steps"),
    (email_pool.check_send_recorded, "send", "a function is wanted"),
    (start_here.check_words, None, "a dict is wanted"),
    (start_here.check_words, {**start_here.KITCHEN, "cook": "thread pool"}, "the term for 'cook' is not 'thread pool'"),
    (start_here.check_seconds, lambda o, c, m: o * m / c, "16.8"),
    (start_here.check_seconds, lambda o, c, m: (o // c) * m, "16"),
    (start_here.check_seconds, lambda o, c, m: (o // c + 1) * m, "20"),
    (start_here.check_seconds, 16, "a function is wanted"),
    (start_here.check_download_all, 16, "a function is wanted"),
    (start_here.check_download_all, ends_at_the_first_failure, "it raised ConnectionError"),
    (start_here.check_download_all, asks_twice, "the handler was called 15 times"),
    (start_here.check_download_all, forgets_the_failures, "the second dictionary has 0 entries"),
    (start_here.check_download_all, forgets_the_values, "the first dictionary has 0 entries"),
    (start_here.check_download_all, returns_one_dictionary, "two dictionaries are wanted"),
    (start_here.check_download_all, downloads_one_after_the_other, "fewer than 3 calls"),
    (start_here.check_download_all, downloads_all_at_once, "more than 3 calls"),
    (start_here.check_download_all, leaves_its_threads, "worker threads are left"),
    (unbounded.check_workers, lambda limit, reserved, n: (limit - reserved) // n, "-1"),
    (unbounded.check_workers, lambda limit, reserved, n: (limit - reserved) / n, "24.25"),
    (unbounded.check_workers, lambda limit, reserved, n: limit // n, "25"),
    (unbounded.check_semaphore, all_threads, "more than 4 handlers ran"),
    (unbounded.check_semaphore, one_at_a_time, "fewer than 4 handlers ran"),
    (unbounded.check_semaphore, does_not_wait, "not all of the 60 jobs were done"),
    (unbounded.check_gentle, no_pool, "fewer than five"),
    (unbounded.check_gentle, ten_workers, "more than five"),
    (unbounded.check_gentle, a_list, "a dict is wanted"),
    (basic_pool.check_lower_bound, lambda d, w: sum(d) / w, "2.0 is expected"),
    (basic_pool.check_lower_bound, lambda d, w: max(d, default=0), "0.2 is expected"),
    (basic_pool.check_lower_bound, forgets_the_empty_evening, "ValueError"),
    (basic_pool.check_bounded_submit, no_bound, "6 jobs were accepted while none was done, and 3 are expected"),
    (basic_pool.check_bounded_submit, waits_for_the_job, "0 jobs were accepted"),
    (basic_pool.check_bounded_submit, forgets_the_future, "one returned None"),
    (basic_pool.check_bounded_submit, releases_twice, "after all jobs 4 slots are free"),
    (basic_pool.check_workers_needed, lambda x, s, c: x * s, "6.25"),
    (basic_pool.check_workers_needed, lambda x, s, c: int(x * s), "6, and 7 is expected"),
    (basic_pool.check_workers_needed, lambda x, s, c: ceil(x * s), "50, and 0 is expected"),
]


@pytest.mark.parametrize(("check", "answer", "why"), WRONG)
def test_the_verdict_on_a_typical_wrong_answer_says_what_is_wrong(check, answer, why):
    said = check(answer)
    assert not said.right and why in said.why, said


def test_a_writer_that_waits_for_the_other_one_is_right_too():
    lock = threading.Lock()

    def one_at_a_time(path, parts):
        with lock:
            shares_its_temporary_file(path, parts)

    said = image_pool.check_safe_write(one_at_a_time)
    assert said.right, said


def test_an_answer_that_never_ends_gets_a_verdict_and_blocks_nothing(monkeypatch):
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
        (looks_twice, "another worker retired"),
        (looks_and_steps_in_two_locks, "another worker retired"),
        (never_goes, "all tried to retire, and 3 are left"),
        (always_says_yes, "at the minimum, it still returns True"),
        (goes_below, ": 1 are left"),
        (lambda crew: None, "returns nothing"),
        (lambda crew: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_retire_finds_the_race_and_what_else_is_wrong(answer, why):
    verdict = dynamic_pool.check_retire(answer)
    assert not verdict.right and why in verdict.why


@pytest.mark.parametrize(
    "answer",
    [
        lambda service_ms, wait_ms: wait_ms // service_ms,
        lambda service_ms, wait_ms: max(1, wait_ms / service_ms),
        lambda service_ms, wait_ms: max(1, round(wait_ms / service_ms)),
        lambda service_ms, wait_ms: max(1, -(-wait_ms // service_ms)),
        lambda service_ms, wait_ms: service_ms * wait_ms,
    ],
)
def test_backlog_for_finds_wrong_numbers(answer):
    assert not dynamic_pool.check_backlog_for(answer).right


@pytest.mark.parametrize(
    "answer",
    [
        lambda changes, end: end * changes[-1][1],
        lambda changes, end: sum(workers for _, workers in changes),
        lambda changes, end: end * max(workers for _, workers in changes),
    ],
)
def test_worker_seconds_finds_wrong_sums(answer):
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
        lambda method, answer, key: answer in (429, 503),
        lambda method, answer, key: answer in (None, 429, 500, 502, 503, 504),
        lambda method, answer, key: method == "GET" and answer in (None, 429, 500, 502, 503, 504),
        lambda method, answer, key: answer == 429 or (method == "GET" and answer in (None, 500, 502, 503, 504)),
        lambda method, answer, key: answer is None or answer >= 400,
    ],
)
def test_again_finds_unsafe_and_useless_retries(answer):
    assert not retrying_pool.check_again(answer).right


@pytest.mark.parametrize(
    "answer",
    [
        lambda jobs, attempts, tokens, cost: jobs * attempts,
        lambda jobs, attempts, tokens, cost: jobs + tokens // cost,
        lambda jobs, attempts, tokens, cost: jobs + min(jobs * (attempts - 1), tokens / cost),
        lambda jobs, attempts, tokens, cost: min(jobs * attempts, tokens // cost),
    ],
)
def test_calls_finds_wrong_numbers(answer):
    assert not retrying_pool.check_calls(answer).right


@pytest.mark.parametrize(
    ("answer", "heard"),
    [
        (lambda w, c, lanes, limit, processes: ceil(lanes * (w + c) / c), "gave 100, and 50 is expected"),
        (lambda w, c, lanes, limit, processes: min(lanes * (w + c) / c, limit), "gave 100.0, and 50 is expected"),
        (lambda w, c, lanes, limit, processes: min(lanes * (w + c) / c, limit / processes), "gave 12.5, and 12 is"),
        (lambda w, c, lanes, limit, processes: int(min(lanes * (w + c) / c, limit / processes)), "gave 3, and 4 is"),
        (lambda w, c, lanes, limit, processes: ceil(min((w + c) / c, limit // processes)), "gave 1, and 4 is"),
    ],
)
def test_workers_that_are_not_enough_or_too_many(answer, heard):
    assert heard in best_practices.check_workers(answer).why


def test_chunks_that_are_processed_after_the_cancellation():
    def never(cancelled, process):
        for number in range(10):
            process(number)
        return 10

    def too_late(cancelled, process):
        for number in range(10):
            process(number)
            if cancelled.is_set():
                return number + 1
        return 10

    assert "cancelled after 4 chunks, 4 calls are expected, and there were 10" in best_practices.check_stops(never).why
    assert (
        "cancelled after 0 chunks, 0 calls are expected, and there were 1" in best_practices.check_stops(too_late).why
    )


def test_a_deadline_that_has_passed():
    assert "it returned 0" in best_practices.check_time_left(lambda d, n, longest: max(0, min(d - n, longest))).why
    assert "gave 90.0, and 5.0" in best_practices.check_time_left(lambda d, n, longest: d - n).why


def test_endings_give_a_hint_and_not_the_answer():
    right = {case: ending for case, (ending, _) in common_mistakes.HINTS.items()}
    assert common_mistakes.check_endings(right).right
    for case, ending in right.items():
        wrong = common_mistakes.check_endings({**right, case: "works" if ending != "works" else "hangs"})
        assert not wrong.right
        assert ending not in wrong.why.partition(":")[2].split()
    assert (
        "use one of hangs, loses, refused, works, not 'boom'"
        in common_mistakes.check_endings({**right, case: "boom"}).why
    )
    assert "a dictionary is wanted" in common_mistakes.check_endings([1]).why


def test_gather_must_not_hide_an_error():
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

    def forgets_system_exit(futures):
        values, errors = [], []
        for future in futures:
            try:
                values.append(future.result())
            except Exception as error:
                errors.append(error)
        return values, errors

    assert "2 errors in their order are expected" in common_mistakes.check_gather(skips).why
    assert "the values are [1], and [1, 2] is expected" in common_mistakes.check_gather(first_only).why
    said = common_mistakes.check_gather(forgets_system_exit).why
    assert "a SystemExit and a value: it raised SystemExit" in said
    assert "(values, errors) is wanted" in common_mistakes.check_gather(lambda futures: None).why
    assert "gave [1, 1, 1]" in common_mistakes.check_tasks(lambda numbers: [lambda: 1 for _ in numbers]).why


def test_choices_give_a_hint_and_not_the_answer():
    right = {case: tool for case, (tool, _) in choosing.HINTS.items()}
    assert choosing.check_choices(right).right
    for case, tool in right.items():
        wrong = choosing.check_choices({**right, case: "loop" if tool != "loop" else "thread pool"})
        assert not wrong.right
        assert tool not in wrong.why.partition("”:")[2].replace("?", " ").split()
    assert (
        "is one of loop, NumPy, thread pool, processes, asyncio, pipeline, graph, limiter, durable queue, not 7"
        in choosing.check_choices({**right, "add up 30 numbers": 7}).why
    )
    assert "a dictionary is wanted" in choosing.check_choices("loop").why


def test_a_bottleneck_is_not_the_longest_step_nor_the_smallest_crew():
    assert "'download' is expected" in choosing.check_bottleneck(lambda s: max(s, key=lambda n: s[n][0])).why
    assert "'download' is expected" in choosing.check_bottleneck(lambda steps: "convert").why


def test_a_graph_is_not_done_sooner_than_its_longest_chain():
    assert "gave 3.0, and 2.0" in choosing.check_least_time(lambda graph, seconds: sum(seconds.values())).why
    assert "gave 2.0, and 3.0" in choosing.check_least_time(lambda graph, seconds: max(seconds.values())).why


def test_how_often_asks_about_the_first_wrong_effect():
    right = {effect: often for effect, (often, _) in beyond_one_machine.HINTS.items()}
    assert beyond_one_machine.check_how_often(right).right
    assert set(right.values()) == set(beyond_one_machine.OFTEN)
    for effect, (often, hint) in beyond_one_machine.HINTS.items():
        other = "at least once" if often == "at most once" else "at most once"
        assert hint in beyond_one_machine.check_how_often({**right, effect: other}).why
    assert "has no answer so far" in beyond_one_machine.check_how_often({}).why
    assert "is one of exactly once" in beyond_one_machine.check_how_often(dict.fromkeys(right, "often")).why
    assert "a dict is wanted" in beyond_one_machine.check_how_often(None).why


def test_delete_first_asks_about_the_first_wrong_number():
    right = {what: number for what, (number, _) in beyond_one_machine.NUMBERS.items()}
    assert beyond_one_machine.check_delete_first(right).right
    for what, (number, hint) in beyond_one_machine.NUMBERS.items():
        assert hint in beyond_one_machine.check_delete_first({**right, what: number + 4}).why
        assert hint in beyond_one_machine.check_delete_first({**right, what: "many"}).why
    assert "has no answer so far" in beyond_one_machine.check_delete_first({}).why
    assert "a dict is wanted" in beyond_one_machine.check_delete_first(300).why


@pytest.mark.parametrize(
    "answer",
    [
        lambda per_day, peak, capacity: ceil(per_day / 86_400 / (0.7 * capacity)),
        lambda per_day, peak, capacity: ceil(peak * per_day / 86_400 / capacity),
        lambda per_day, peak, capacity: round(peak * per_day / 86_400 / (0.7 * capacity)),
    ],
    ids=["the average", "no reserve", "rounded"],
)
def test_servers_are_for_the_peak_with_a_reserve_and_rounded_up(answer):
    assert "is expected" in beyond_one_machine.check_servers(answer).why


def test_ends_give_a_hint_and_not_the_answer():
    right = {case: end for case, (end, _) in engines.HINTS.items()}
    assert engines.check_ends(right).right
    assert {end for end, _ in engines.HINTS.values()} == set(engines.ENDS)
    for case, (end, hint) in engines.HINTS.items():
        wrong = engines.check_ends({**right, case: "value" if end != "value" else "WorkerDied"})
        assert not wrong.right and hint in wrong.why and end not in hint
    assert "has no answer so far" in engines.check_ends({}).why
    assert "the answer is one of value, " in engines.check_ends({**right, "the handler takes 2 s": "late"}).why
    assert "a dict is wanted" in engines.check_ends(None).why


def reply_that_forgets_pickle(handler, job):
    try:
        value = handler(job)
    except Exception as error:
        return pickle.dumps((False, error))
    return pickle.dumps((True, value))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda handler, job: pickle.dumps((True, handler(job))), "reply(int, 'many'): it raised ValueError"),
        (lambda handler, job: (True, handler(job)), "reply(abs, -3): bytes are expected, not (True, 3)"),
        (lambda handler, job: pickle.dumps(handler(job)), "the pickle of a pair is expected, not of 3"),
        (lambda handler, job: pickle.dumps((False, 3)), "gave (False, 3), and (True, 3) is expected"),
        (lambda handler, job: pickle.dumps((True, 3)), "gave (True, 3), and (False, a ValueError) is expected"),
        (reply_that_forgets_pickle, "a handler that returns a lock: it raised TypeError"),
    ],
)
def test_a_reply_says_whether_the_job_succeeded(answer, why):
    assert why in engines.check_reply(answer).why


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda compute, trip, share: ceil(trip / (share * compute)), "4, and 2 is expected"),
        (lambda compute, trip, share: int(trip * (1 - share) / (share * compute)), "0, and 1 is expected"),
        (lambda compute, trip, share: trip * (1 - share) / (share * compute), "0.75, and 1 is expected"),
    ],
)
def test_a_batch_is_whole_and_no_larger_than_it_must_be(answer, why):
    assert why in engines.check_batch_size(answer).why


def test_states_give_a_hint_and_not_the_answer():
    right = {case: state for case, (state, _) in monitoring.HINTS.items()}
    assert monitoring.check_states(right).right
    assert [state for state, _ in monitoring.HINTS.values()] == list(monitoring.STATES)
    for case, (state, hint) in monitoring.HINTS.items():
        wrong = monitoring.check_states({**right, case: "healthy" if state != "healthy" else "drowning"})
        assert not wrong.right and hint in wrong.why and state not in hint
    assert "has no answer so far" in monitoring.check_states({}).why
    assert "the answer is one of healthy, " in monitoring.check_states(dict.fromkeys(right, "late")).why
    assert "a dict is wanted" in monitoring.check_states(None).why


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda limit, bounds, counts: counts[bounds.index(limit)], "gave 80, and 0.8 is expected"),
        (lambda limit, bounds, counts: counts[bounds.index(limit)] / sum(counts), "and 0.8 is expected"),
        (lambda limit, bounds, counts: counts[bounds.index(limit)] / counts[-1], "None is expected, but it raised"),
        (
            lambda limit, bounds, counts: (
                max(c for b, c in zip(bounds, counts, strict=True) if b <= limit) / counts[-1]
            ),
            "None is expected, but it gave 0.1",
        ),
    ],
)
def test_a_share_is_known_only_at_a_bound(answer, why):
    assert why in monitoring.check_share_within(answer).why


def first_true(waits, limit, hold):
    return next((n for n, wait in enumerate(waits) if wait > limit), -1)


def count_without_breaks(waits, limit, hold):
    true = [n for n, wait in enumerate(waits) if wait > limit]
    return true[hold] if len(true) > hold else -1


@pytest.mark.parametrize(("answer", "why"), [(first_true, "gave 1, and 3"), (count_without_breaks, "gave 3, and 5")])
def test_an_alert_fires_after_the_condition_held_without_a_break(answer, why):
    assert why in monitoring.check_fires(answer).why


def test_laws_give_a_hint_and_not_the_answer():
    right = {case: law for case, (law, _) in capacity.HINTS.items()}
    assert capacity.check_laws(right).right
    assert {law for law, _ in capacity.HINTS.values()} == set(capacity.LAWS)
    for case, (law, hint) in capacity.HINTS.items():
        wrong = capacity.check_laws({**right, case: "limit" if law != "limit" else "USL"})
        assert not wrong.right and hint in wrong.why and law.lower() not in hint.lower()
    assert "has no answer so far" in capacity.check_laws({}).why
    assert "the answer is one of limit, " in capacity.check_laws(dict.fromkeys(right, "Little")).why
    assert "a dict is wanted" in capacity.check_laws(None).why


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda wait, service, workers: wait / service * workers, "13.333333333333334, and 13 is expected"),
        (lambda wait, service, workers: ceil(wait * workers / service), "14, and 13 is expected"),
        (lambda wait, service, workers: wait // service, "5, and 20 is expected"),
        (lambda wait, service, workers: wait // service * workers, "12, and 13 is expected"),
    ],
)
def test_a_queue_size_counts_all_workers_and_is_rounded_down_at_the_end(answer, why):
    assert why in capacity.check_queue_size(answer).why


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda service, shared, places: places, "1, and 10 is expected"),
        (lambda service, shared, places: round(places * service / shared), "2, and 3 is expected"),
        (lambda service, shared, places: ceil(service / shared), "1, and 25 is expected"),
        (lambda service, shared, places: places * ceil(service / shared), "32, and 27 is expected"),
    ],
)
def test_the_corner_counts_places_and_is_rounded_up(answer, why):
    assert why in capacity.check_corner(answer).why


# Objects of the reader


MODULES = [
    basic_pool,
    best_practices,
    beyond_one_machine,
    choosing,
    common_mistakes,
    dynamic_pool,
    email_pool,
    image_pool,
]
MODULES += [capacity, engines, monitoring, retrying_pool, start_here, unbounded]
CHECKS = [getattr(module, name) for module in MODULES for name in vars(module) if name.startswith("check_")]


def raises(error):
    def answer(*args):
        raise error

    return answer


WITH_HINTS = (capacity, choosing, common_mistakes, engines, monitoring, beyond_one_machine)
ODD_ANSWERS = {
    "a hostile object": hostile.Hostile,
    "a function that returns one": lambda: lambda *args: hostile.Hostile(),
    "a function that returns a tuple of them": lambda: lambda *args: (hostile.Hostile(), hostile.Hostile()),
    "a dictionary of them": lambda: {
        word: hostile.Hostile()
        for words in (start_here.KITCHEN, *(module.HINTS for module in WITH_HINTS))
        for word in words
    },
    "an error without words": lambda: raises(hostile.HostileError()),
    "an error of millions of characters": lambda: raises(hostile.LongError()),
    "an error that quits": lambda: raises(hostile.QuittingError()),
    "a long text": lambda: "x" * 10**7,
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("answer", ODD_ANSWERS)
def test_a_check_never_raises_and_its_verdict_is_short(check, answer):
    found = check(ODD_ANSWERS[answer]())
    assert type(found) is Verdict and not found.right
    assert 0 < len(repr(found)) < 1000
