"""The charts of the chapter about capacity draw the right numbers and refuse what they cannot draw."""

from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.axes import Axes

from helpers import charts
from helpers.charts.fluctuations import in_pool

RUNS = pd.DataFrame(
    {
        "workload": ["lock"] * 6 + ["cores"] * 2,
        "workers": [1, 1, 1, 20, 20, 20, 1, 4],
        "throughput": [20.0, 22.0, 21.0, 180.0, 200.0, 190.0, 30.0, 40.0],
        "predicted": [20.0, 20.0, 20.0, 200.0, 200.0, 200.0, 30.0, 60.0],
        "best": [10] * 6 + [2] * 2,
    }
)
POOL = pd.DataFrame({"pool": "1 worker", "utilization": [0.0, 0.5, 0.8], "wait": [0.0, 0.04, 0.16]})
JOBS = pd.DataFrame({"submitted": [0.0, 1.0, 1.0], "finished": [4.0, 3.0, 2.0]})


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


def lines(ax: Axes) -> dict[str, Any]:
    return {str(line.get_label()): line for line in ax.lines}


def points(line: Any) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def test_predictions_are_in_percent_of_the_predicted_maximum_of_their_own_workload() -> None:
    lock, cores = charts.predictions(RUNS).child_axes
    assert points(lines(lock)["measured"]) == [(1, 0.105), (20, 0.95)]
    assert points(lines(lock)["predicted"]) == [(0, 0), (1, 0.1), (10, 1), (20, 1)]
    assert points(lines(cores)["predicted"]) == [(0, 0), (1, 0.5), (2, 1), (4, 1)]
    assert points(lines(cores)["_best"]) == [(2, 0), (2, 1)]
    assert lock.get_ylim() == cores.get_ylim() and lock.get_ylim()[0] == 0
    assert [text.get_text() for text in lock.texts] == ["corner: 10"]
    assert "%" in lock.get_ylabel() and not cores.get_ylabel()


def test_predictions_refuse_more_workloads_than_there_is_room_for() -> None:
    with pytest.raises(ValueError, match="the table has 4 workloads; there is room for 3 panels"):
        charts.predictions(pd.concat([RUNS[:1].assign(workload=str(n)) for n in range(4)]))


def test_laws_are_lines_from_one_worker_on_and_every_run_is_a_dot() -> None:
    ax = charts.laws(RUNS[:6], {"rising": lambda count: 10 * count, "flat": lambda count: 100.0})
    assert points(lines(ax)["rising"])[0] == (1, 10) and points(lines(ax)["rising"])[-1] == (20, 200)
    assert {y for _, y in points(lines(ax)["flat"])} == {100.0}
    assert points(lines(ax)["_measured"]) == list(zip(RUNS["workers"][:6], RUNS["throughput"][:6], strict=True))
    assert ax.get_ylim()[0] == 0 and ax.get_xlim()[0] == 0


def test_a_line_above_the_top_of_laws_is_cut_off_and_its_name_stands_at_the_top() -> None:
    laws = {"rising": lambda count: 10 * count, "flat": lambda count: 100.0}
    ax = charts.laws(RUNS[:6], laws, top=120)
    assert ax.get_ylim() == (0, 120)
    assert {text.get_text(): text.xy[1] for text in ax.texts} == {"rising": 120, "flat": 100}
    with pytest.raises(ValueError, match="top"):
        charts.laws(RUNS[:6], laws, top=0)


@pytest.mark.parametrize(
    ("curves", "says"),
    [({}, "from 1 to 4 laws, not 0"), ({str(n): float for n in range(5)}, "not 5"), ([float], "functions under")],
)
def test_laws_take_one_to_four_functions_with_names(curves: Any, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        charts.laws(RUNS[:6], curves)


def test_a_hockey_stick_is_in_milliseconds_with_the_name_of_each_line_beside_it() -> None:
    ax = charts.hockey_stick(POOL, top=0.2, dots=POOL[1:2], mark=0.8)
    assert points(lines(ax)["1 worker"]) == [(0.0, 0.0), (0.5, 40.0), (0.8, 160.0)]
    assert points(lines(ax)["_dots"]) == [(0.5, 40.0)]
    assert ax.get_ylim() == (0, 200) and ax.get_xlim() == (0, 1)
    assert [text.get_text() for text in ax.texts] == ["1 worker"]


def test_the_name_of_the_last_line_of_a_hockey_stick_stands_on_the_right_where_no_other_line_is() -> None:
    ax = charts.hockey_stick(pd.concat([POOL, POOL.assign(pool="4 workers", wait=POOL["wait"] / 2)]), top=0.2)
    assert [(text.get_text(), text.get_ha()) for text in ax.texts] == [("1 worker", "right"), ("4 workers", "left")]


def test_a_hockey_stick_refuses_more_pools_than_can_be_told_apart() -> None:
    with pytest.raises(ValueError, match="the table has 5 pools; a chart can tell 4 apart"):
        charts.hockey_stick(pd.concat([POOL.assign(pool=str(n)) for n in range(5)]), top=0.2)


def test_the_jobs_in_the_pool_are_counted_at_each_moment() -> None:
    counts = in_pool(JOBS, 0.5, 3.0)
    assert [counts[moment] for moment in (0.0, 0.5, 1.5, 2.5, 3.0)] == [1, 3, 2, 1, 1]


def test_fluctuations_are_shares_of_the_workers_on_one_scale_with_a_line_at_all_busy() -> None:
    two, four = charts.fluctuations({2: JOBS, 4: JOBS}, begin=0.0, seconds=4.0).child_axes
    assert max(y for _, y in points(lines(two)["2 workers"])) == 1.5
    assert max(y for _, y in points(lines(four)["4 workers"])) == 0.75
    assert two.get_ylim() == four.get_ylim() and {y for _, y in points(lines(two)["_all busy"])} == {1.0}


@pytest.mark.parametrize(
    ("pools", "says"),
    [({}, "from 1 to 3 tables, not 0"), ([JOBS], "tables under their numbers of workers"), ({0: JOBS}, "more than 0")],
)
def test_fluctuations_take_one_to_three_pools(pools: Any, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        charts.fluctuations(pools, begin=0.0, seconds=1.0)
