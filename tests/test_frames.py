"""Tables of attempts, dead letters and crews: what is in them, to the second."""

from helpers.measure import attempts_frame, crew_frame, letters_frame, worker_seconds
from helpers.pools import Decision, RetryingPool, RetryPolicy

LOG = [
    Decision(10.0, 0, 2, "start", 0, 0.0),
    Decision(11.0, 2, 10, "queue depth", 50, 0.1),
    Decision(13.0, 10, 9, "idle", 0, 0.0),
]


def two_jobs():
    """a fails twice and is given up, b succeeds the second time."""
    tries = {"a": 0, "b": 0}

    def handler(job):
        tries[job] += 1
        if job == "a" or tries[job] == 1:
            raise ValueError(f"{job}{tries[job]}")

    with RetryingPool(handler, workers=1, policy=RetryPolicy(2, 0.001, 0.001)) as pool:
        return list(pool.stream("ab")), pool.dead_letters()


def test_a_row_an_attempt_in_the_order_in_which_they_were_made():
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


def test_a_row_a_dead_letter():
    _, letters = two_jobs()
    frame = letters_frame(letters)
    [row] = frame.drop(columns="seconds").to_dict("records")
    assert row == {
        "job": "a", "attempts": 2, "reason": "attempts used up", "error": "ValueError: a2", "redriven": False,
    }  # fmt: skip
    assert frame["seconds"][0] == letters[0].attempts[1].finished - letters[0].attempts[0].started


def test_a_row_a_decision_from_the_first():
    frame = crew_frame(LOG)
    assert list(frame["time"]) == [0.0, 1.0, 3.0] and list(frame["after"]) == [2, 10, 9]
    assert list(frame["reason"]) == ["start", "queue depth", "idle"]


def test_worker_seconds_add_up_who_was_there_how_long():
    assert worker_seconds(LOG, 14.0) == 2 * 1 + 10 * 2 + 9 * 1


def test_nothing_makes_empty_tables_with_all_columns():
    assert list(attempts_frame([])) == [
        "job", "attempt", "worker", "ok", "error", "due", "started", "finished", "late",
    ]  # fmt: skip
    assert len(letters_frame([])) == len(crew_frame([])) == 0
