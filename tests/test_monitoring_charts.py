"""The charts of monitoring: the signals of pools, an alert on one of them, and a quantile from the buckets."""

from collections.abc import Callable, Iterator
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import test_charts
from matplotlib.axes import Axes

from helpers import charts
from helpers.charts.signals import SIGNALS

SECONDS = [0.2, 0.2, 0.24, 0.26]
MARKS = {"pending": 1.2, "firing": 2.4}
DELAYS = {"hold": (1.2, 2.4)}
STATES = {"inactive": (0.0, 1.2), "pending": (1.2, 2.4), "firing": (2.4, 3.0)}
OTHERS = {"steady": ("another alert fires", 2.5)}


def samples(pools: dict[str, float]) -> pd.DataFrame:
    """Four samples per pool: all workers busy, and an oldest wait that grows by `pools[name]` per second."""
    rows = [
        (name, at, 1.0, 0, at * growth * 200, at * growth)
        for name, growth in pools.items()
        for at in (0.0, 1.0, 2.0, 3.0)
    ]
    return pd.DataFrame(rows, columns=["pool", "time", "utilization", "errors", "queued", "oldest_wait"])


def view(**more: Any) -> Axes:
    return charts.histogram_view(SECONDS, [0.1, 0.25, 0.5], share=0.95, true=0.26, estimate=0.45, **more)


def changing() -> pd.DataFrame:
    """A run of 8 s in four parts: the alert fires in the slow one, and jobs fail in the last one."""
    rows = [
        (0, "normal", 0, 0.0, 0, 0, "ok"),
        (2, "slow", 10, 0.5, 0, 0, "ok"),
        (3, "slow", 30, 2.0, 0, 20, "firing"),
        (4, "slow", 30, 3.0, 0, 40, "firing"),
        (5, "normal", 5, 0.2, 0, 45, "ok"),
        (7, "refusing", 0, 0.0, 30, 45, "ok"),
        (8, "refusing", 0, 0.0, 60, 45, "ok"),
    ]
    columns = ["time", "mode", "queued", "oldest_wait", "failed", "turned_away", "alert"]
    return pd.DataFrame(rows, columns=columns)


CHANGING = changing()
BOTH = samples({"steady": 0.001, "drowning": 0.3})
ALL: dict[str, Callable[..., Axes]] = {
    "signals": lambda **more: charts.signals(BOTH, **more),
    "alert": lambda **more: charts.alert(BOTH, limit=0.5, marks=MARKS, delays=DELAYS, others=OTHERS, **more),
    "alert with states": lambda **more: charts.alert(
        BOTH, limit=0.5, marks={"limit passed": 0.9}, states=STATES, delays=DELAYS, others=OTHERS, **more
    ),
    "histogram_view": view,
    "episodes": lambda **more: charts.episodes(CHANGING, limit=1, notes={"refusing": "jobs fail,\nno alert"}, **more),
}
SAME_FOR_ALL = (
    test_charts.test_draws_on_a_figure_of_its_own_and_leaves_the_settings_alone,
    test_charts.test_draws_on_the_axes_it_is_given,
    test_charts.test_no_words_overlap_and_none_are_cut_off,
)


@pytest.fixture(autouse=True)
def drawing_board() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("check", SAME_FOR_ALL)
def test_they_keep_the_rules_of_all_charts(check, name, monkeypatch):
    monkeypatch.setitem(test_charts.ALL, name, ALL[name])
    check(name)


def test_each_signal_has_a_panel_with_a_line_per_pool_on_one_scale():
    panels = charts.signals(BOTH).child_axes
    assert [panel.get_title(loc="left") for panel in panels] == [
        "Utilization",
        "Errors (jobs)",
        "Jobs in the queue",
        "Oldest wait (s)",
    ]
    for panel, column in zip(panels, SIGNALS, strict=True):
        for line, name in zip(panel.lines, ("drowning", "steady"), strict=True):
            assert line.get_label() == name
            assert line.get_ydata().tolist() == BOTH.loc[BOTH["pool"] == name, column].tolist()
        assert panel.get_ylim()[0] == 0 and panel.get_ylim()[1] > BOTH[column].max()
    styles = {line.get_linestyle() for line in panels[0].lines}
    assert len(styles) == 2, "told apart without color"


def test_the_alert_has_its_limit_the_times_at_which_its_state_changed_and_the_delay_between_them():
    ax = charts.alert(BOTH, limit=0.5, marks=MARKS, delays=DELAYS)
    drawn = test_charts.lines(ax)
    assert set(drawn["_limit: 0.5 s"].get_ydata()) == {0.5}
    assert {name: set(drawn[f"_{name}"].get_xdata()) for name in MARKS} == {"pending": {1.2}, "firing": {2.4}}
    assert drawn["_hold"].get_xdata().tolist() == [1.2, 2.4] and len(set(drawn["_hold"].get_ydata())) == 1
    assert {"limit: 0.5 s", "pending", "firing", "hold: 1.20 s", "steady", "drowning"} == set(test_charts.words(ax))
    assert max(drawn["_hold"].get_ydata()) < ax.get_ylim()[1] and ax.get_ylim()[1] > 1.5 * BOTH["oldest_wait"].max()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Time (s)", "Oldest wait (s)")


def test_a_band_above_the_lines_names_the_states_of_the_alert_and_each_change_has_a_line():
    ax = charts.alert(BOTH, limit=0.5, marks={"limit passed": 0.9}, states=STATES)
    parts = {patch.get_label().removeprefix("_"): patch for patch in ax.patches}
    assert {name: (part.get_x(), part.get_x() + part.get_width()) for name, part in parts.items()} == STATES
    assert len({part.get_facecolor() for part in parts.values()}) == 3
    lowest = min(part.get_y() for part in parts.values()) * ax.get_ylim()[1]
    assert lowest > BOTH["oldest_wait"].max(), "the band hides no line"
    drawn = test_charts.lines(ax)
    assert {name: set(drawn[f"_from {name}"].get_xdata()) for name in MARKS} == {"pending": {1.2}, "firing": {2.4}}
    assert {*STATES, "limit passed"} < set(test_charts.words(ax))


def test_the_alert_of_another_pool_is_marked_on_the_line_of_this_pool():
    drawn = test_charts.lines(charts.alert(BOTH, limit=0.5, others=OTHERS))
    (mark,) = drawn["_another alert fires"].get_xydata().tolist()
    assert mark == pytest.approx([2.5, 0.0025]), "between two samples of the line"


def test_the_words_of_a_short_delay_stand_at_its_right_so_that_they_cross_no_mark():
    ax = charts.alert(BOTH, limit=0.5, delays={"short": (1.0, 1.2), "long": (1.2, 2.9)})
    places = {text.get_text(): (text.get_ha(), text.xy[0]) for text in ax.texts if hasattr(text, "xy")}
    assert places["short: 0.20 s"] == ("left", 1.2)
    assert places["long: 1.70 s"] == ("center", pytest.approx(2.05))


def test_the_histogram_knows_the_shares_at_its_bounds_and_joins_them_by_lines():
    ax = view()
    drawn = test_charts.lines(ax)
    assert drawn["from the buckets"].get_xydata().tolist() == [[0, 0], [0.1, 0], [0.25, 0.75], [0.5, 1]]
    assert drawn["the truth"].get_ydata().tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert set(drawn["_share"].get_ydata()) == {0.95}
    assert {"true: 0.26 s", "from the buckets: 0.45 s"} <= set(test_charts.words(ax))


def test_an_episode_names_the_modes_and_shows_when_the_alert_fired():
    queue, wait, jobs = charts.episodes(CHANGING, limit=1).child_axes
    assert test_charts.words(queue) == ["normal", "slow", "normal", "refusing"]
    changes = [set(line.get_xdata()) for line in queue.lines if line.get_linestyle() == ":"]
    assert changes == [{2}, {5}, {7}]
    drawn = test_charts.lines(wait)
    assert drawn["_oldest wait"].get_ydata().tolist() == CHANGING["oldest_wait"].tolist()
    assert drawn["_firing"].get_xdata().tolist() == [3, 4] and set(drawn["_limit: 1 s"].get_ydata()) == {1}
    drawn = test_charts.lines(jobs)
    assert (drawn["failed"].get_ydata()[-1], drawn["turned away"].get_ydata()[-1]) == (60, 45)
    noted = charts.episodes(CHANGING, limit=1, notes={"refusing": "no alert"}).child_axes[1]
    assert {text.get_text(): text.xy[0] for text in noted.texts if hasattr(text, "xy")}["no alert"] == 7.5
    assert "the alert fires" not in test_charts.words(
        charts.episodes(CHANGING.assign(alert="ok"), limit=1).child_axes[1]
    )


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: charts.signals(BOTH.drop(columns="queued")), "no column queued"),
        (lambda: charts.signals(samples(dict.fromkeys("abcde", 0.1))), "5 pools; a chart can tell 4 apart"),
        (lambda: charts.signals(BOTH.assign(queued=-1)), "queued must be 0 or more"),
        (lambda: charts.alert(BOTH, limit=0), "limit must be more than 0"),
        (lambda: charts.episodes(CHANGING.drop(columns="alert"), limit=1), "no column alert"),
        (lambda: charts.episodes(CHANGING, limit=0), "limit must be more than 0"),
        (lambda: charts.histogram_view([], [0.1], share=0.9, true=1, estimate=1), "at least one number"),
        (lambda: charts.histogram_view([1], [0.0], share=0.9, true=1, estimate=1), "bounds must be more than 0"),
    ],
)
def test_bad_tables_and_numbers_are_refused(draw, words):
    with pytest.raises(ValueError, match=words):
        draw()
