"""The contents of the tables of attempts, dead letters, and changes of the number of workers."""

import hostile
import numpy as np
import pytest

from helpers.measure import attempts_frame, crew_frame, letters_frame, to_frame, worker_seconds
from helpers.pools import Attempt, DeadLetter, Decision, Result, RetryingPool, RetryPolicy

LOG = [
    Decision(10.0, 0, 2, "start", 0, 0.0),
    Decision(11.0, 2, 10, "queue depth", 50, 0.1),
    Decision(13.0, 10, 9, "idle", 0, 0.0),
]


def two_jobs():
    """Run two jobs: "a" fails twice and becomes a dead letter, and "b" succeeds at its second attempt."""
    tries = {"a": 0, "b": 0}

    def handler(job):
        tries[job] += 1
        if job == "a" or tries[job] == 1:
            raise ValueError(f"{job}{tries[job]}")

    with RetryingPool(handler, workers=1, policy=RetryPolicy(2, 0.001, 0.001)) as pool:
        return list(pool.stream("ab")), pool.dead_letters()


def test_attempts_frame_has_a_row_per_attempt_in_the_order_of_the_attempts():
    results, _ = two_jobs()
    frame = attempts_frame(results)
    assert sorted(zip(frame["job"], frame["attempt"], frame["ok"], frame["error"], strict=True)) == [
        ("a", 1, False, "ValueError: a1"),
        ("a", 2, False, "ValueError: a2"),
        ("b", 1, False, "ValueError: b1"),
        ("b", 2, True, None),
    ]
    assert frame["started"].is_monotonic_increasing and frame["due"].min() == 0.0
    assert (frame["late"] >= 0).all() and ((frame["started"] - frame["due"] - frame["late"]).abs() < 1e-6).all()
    assert (frame["finished"] >= frame["started"]).all()


def test_letters_frame_has_a_row_per_dead_letter():
    _, letters = two_jobs()
    frame = letters_frame(letters)
    [row] = frame.drop(columns="seconds").to_dict("records")
    assert row == {
        "job": "a", "attempts": 2, "reason": "attempts used up", "error": "ValueError: a2", "redriven": False,
    }  # fmt: skip
    assert frame["seconds"][0] == letters[0].attempts[1].finished - letters[0].attempts[0].started


def test_crew_frame_has_a_row_per_decision_from_the_first():
    frame = crew_frame(LOG)
    assert list(frame["time"]) == [0.0, 1.0, 3.0] and list(frame["after"]) == [2, 10, 9]
    assert list(frame["reason"]) == ["start", "queue depth", "idle"]


def test_worker_seconds_add_up_how_long_each_worker_existed():
    assert worker_seconds(LOG, 14.0) == 2 * 1 + 10 * 2 + 9 * 1


def test_without_data_the_tables_are_empty_and_have_all_columns():
    assert list(attempts_frame([])) == [
        "job", "attempt", "worker", "ok", "error", "due", "started", "finished", "late",
    ]  # fmt: skip
    assert len(letters_frame([])) == len(crew_frame([])) == 0


# Objects of the user


def failed(job, error, number=1):
    result = Result(job, 1.0)
    result.worker, result.attempt, result.started, result.finished = 1, 1, 2.0, 3.0 + number
    result.value, result.error = None, error
    return result


def letter(job, error):
    return DeadLetter(job, (Attempt(1, 1, 0.0, 1.0, 2.0, error),), "a reason of a later version", None)


def tables_of(jobs, errors):
    results = [failed(job, error, n) for n, (job, error) in enumerate(zip(jobs, errors, strict=True))]
    letters = [letter(job, error) for job, error in zip(jobs, errors, strict=True)]
    return [to_frame(results), attempts_frame(results), letters_frame(letters)]


def test_an_error_without_text_gets_a_placeholder_in_the_table():
    errors = [ValueError("bad order"), *(error() for error in hostile.ERRORS)]
    for frame in tables_of(range(len(errors)), errors):
        assert list(frame["error"][:2]) == [
            "ValueError: bad order",
            "HostileError: <HostileError whose str() raised ZeroDivisionError>",
        ]
        assert "SystemExit" in frame["error"][2] and frame["error"][3].startswith("NamelessError")
        assert all(type(cell) is str and len(cell) <= 200 for cell in frame["error"])


@pytest.mark.parametrize("many", [1, 2, 16])
def test_any_job_goes_into_its_cell_unchanged(many):
    for jobs in (hostile.odd_jobs()[:many], [[1, 2]] * many, [np.zeros((2, 2)) for _ in range(many)]):
        for frame in tables_of(jobs, [None] * len(jobs)):
            assert frame["job"].dtype == object and len(frame) == len(jobs)
            assert all(cell is job for cell, job in zip(frame["job"].array, jobs, strict=True))


@pytest.mark.parametrize("table", [to_frame, attempts_frame, letters_frame, crew_frame])
def test_a_row_of_another_kind_is_named_even_if_it_is_hostile(table):
    with pytest.raises(TypeError, match="must be of the kind .*, not <Hostile whose repr"):
        table([hostile.Hostile()])


def test_tables_without_rows_have_the_types_of_tables_with_rows():
    for empty, full in zip(tables_of([], []), tables_of([1], [ValueError()]), strict=True):
        assert list(empty.dtypes.items()) == list(full.dtypes.items())
