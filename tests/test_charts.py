"""What the charts draw: the right numbers, with units, told apart without colour, and nothing left behind."""

import struct
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import hostile
import IPython.display
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox
from matplotlib.patches import Circle
from PIL import Image

from helpers import charts
from helpers.charts.style import BLUE, VERMILLION, label_of, laid_out, same_jobs
from helpers.charts.timelines import steps
from helpers.charts.trips import bytes_in_words

WORKERS = [1, 2, 5, 10, 25, 50, 100]
ERROR = "OperationalError: sorry, too many clients already"


def plain_axes() -> Axes:
    """Axes that no window and no later `plt.close` knows of."""
    return Figure().subplots()


def sweep(load: str = "batch", repeats: int = 3) -> pd.DataFrame:
    """A sweep in which every median is known: the second of three repeats, which is not the mean."""
    rows = []
    for workers in WORKERS:
        for repeat in range(repeats):
            off = (0.95, 1.0, 1.4)[repeat]
            rate = min(workers, 25) / 0.0995 * off
            wait, service = 4 / workers * off, 0.0995 * max(1, workers / 25) * off
            rows.append(
                {"workers": workers, "repeat": repeat, "load": load, "throughput": rate}
                | {"p50": wait + service, "p95": 2 * wait + service}
            )
    return pd.DataFrame(rows)


def frame() -> pd.DataFrame:
    """Four jobs on two workers: the third failed, the fourth was never started."""
    return pd.DataFrame(
        {
            "job": ["soup", "fish", "a dish with a name far too long for so short a bar", "tea"],
            "worker": [1, 2, 1, None],
            "ok": [True, True, False, False],
            "submitted": [0.0, 0.0, 0.0, 0.1],
            "started": [0.0, 0.0, 1.0, None],
            "finished": [1.0, 2.0, 1.02, 1.5],
        }
    )


def outcome_table() -> pd.DataFrame:
    rows = [
        ("naive", ERROR, 882),
        ("naive", "succeeded", 117),
        ("naive", "MemoryError", 1),
        ("pool", "succeeded", 1000),
    ]
    return pd.DataFrame(rows, columns=["run", "outcome", "jobs"])


RATES = pd.DataFrame({"way": ["one by one", "one by one", "in batches"], "rate": [90.0, 110.0, 9_000.0]})
PICTURES = [(f"img{n:03}", Image.new("RGB", (40 + n, 30), "teal")) for n in range(5)]
PAIRS = [(name, picture.resize((80, 60)), picture) for name, picture in PICTURES]
SWEEPS: dict[str, Callable[..., Axes]] = {
    "throughput": charts.throughput,
    "latency": charts.latency,
}
MARKS = {4: "4 cores"}
SHARED = {25: "25 connections"}
CHANGES = pd.DataFrame({"time": [0.0, 0.1, 1.6], "before": [0, 2, 4], "after": [2, 4, 2]})
COSTS = pd.DataFrame({"pool": ["fixed 2", "2 to 10"], "worker_seconds": [10.0, 14.0], "seconds": [4.8, 1.0]})
TRIES = [("soup", 1, False, 0.0, 0.0, 0.1), ("fish", 1, True, 0.0, 0.0, 0.2)]
TRIES += [("soup", 2, False, 0.2, 0.3, 0.4), ("soup", 3, True, 0.8, 0.9, 1.0)]
ATTEMPTS = pd.DataFrame(TRIES, columns=["job", "attempt", "ok", "due", "started", "finished"])
ARRIVALS = pd.DataFrame({"run": ["one", "one", "two", "two"], "seconds": [0.0, 0.01, 0.0, 0.35]})
PANELS = pd.DataFrame(
    [("python", 1, 50.0), ("python", 1, 54.0), ("python", 1, 52.0), ("python", 4, 50.0)]
    + [("a service", n, 100.0 * min(n, 8)) for n in (2, 4, 8, 32)],
    columns=["load", "workers", "throughput"],
).assign(advised=[1] * 4 + [8] * 4)
CROWD = [("a crowd", way, ms) for way, ms in (("loop", 100.0), ("pool", 20.0), ("pool", 40.0), ("pool", 30.0))]
CHOICES = pd.DataFrame(
    [("a few", "loop", 2.0), ("a few", "pool", 40.0), ("a few", "processes", 4.0), *CROWD],
    columns=["case", "way", "ms"],
)
CHAIN = pd.DataFrame(
    [("water", 1, 0.0, 10.0), ("soup", 1, 11.0, 31.0), ("bread", 2, 0.0, 15.0)],
    columns=["job", "worker", "started", "finished"],
)
SHARES = pd.DataFrame(
    [("disk", "all at once", 400, 100, "disk full"), ("disk", "two workers", 200, 200, ""), ("net", "all", 10, 0, "")],
    columns=["place", "way", "jobs", "succeeded", "failure"],
)
SURVIVAL = pd.DataFrame(
    [
        ("program", "pool", 2_000, 1_000, 0),
        ("program", "our table", 2_000, 0, 0),
        ("worker", "pool", 2_000, 10, 0),
        ("worker", "our table", 2_000, 0, 10),
    ],
    columns=["kill", "way", "jobs", "lost", "doubled"],
)
OPEN = {"threads": ([10.0, 11.0, 12.5], [11.0, 12.0, 13.0]), "tasks": ([5.0, 5.0, 5.5], [7.5, 7.0, 7.0])}
CORES_USED = pd.DataFrame(
    [(1, 30.0, 0.99), (1, 31.0, 1.0), (2, 55.0, 1.9), (2, 40.0, 1.4), (4, 54.0, 1.95), (8, 53.0, 1.97)],
    columns=["workers", "throughput", "cores used"],
)
TRIPS = pd.DataFrame(
    {
        "engine": ["threads"] * 3 + ["processes"] * 5,
        "size": [10, 1_000_000, 10_000_000, 10, 1_000_000, 10_000_000, 10_000_000, 10_000_000],
        "ms": [0.02, 0.03, 0.03, 0.1, 1.5, 12.0, 15.0, 30.0],
    }
)
PREDICTED = pd.concat(
    [
        sweep().assign(workload="25 connections", predicted=lambda t: t["workers"].clip(upper=25) * 10.0, best=25),
        sweep().assign(workload="two cores", predicted=lambda t: t["workers"].clip(upper=2) * 100.0, best=2),
    ]
)
BUSY = [0.0, 0.2, 0.4, 0.6, 0.8, 0.9]
HOCKEY = pd.DataFrame(
    [("1 worker", busy, 0.04 * busy / (1 - busy)) for busy in BUSY]
    + [("4 workers", busy, 0.01 * busy / (1 - busy)) for busy in BUSY],
    columns=["pool", "utilization", "wait"],
)
FEW_JOBS = pd.DataFrame({"submitted": [0.0, 1.0, 1.0, 2.0], "finished": [4.0, 3.0, 2.5, 5.0]})
LANES = pd.DataFrame(
    [("pool", 2, "b", 0.0, 0.1), ("pool", 1, "a", 0.0, 0.2), ("pool", 2, "c", 0.1, 0.3), ("loop", 1, "a", 0.0, 0.6)],
    columns=["way", "worker", "job", "started", "finished"],
)
SCHEDULES = pd.DataFrame(
    [("ideal", 1, 0.0, 0.3, 0.3), ("ideal", 2, 0.0, 0.2, 0.2), ("real", 1, 0.1, 0.3, 0.5), ("real", 2, 0.0, 0.2, 0.25)],
    columns=["way", "worker", "started", "work", "finished"],
)


AGES = pd.DataFrame({"time": [10, 20, 30], "age": [1.0, 5.0, 9.0], "oldest_wait": [1.0, 2.0, 2.0]})


def frame_of_waits(most: float) -> pd.DataFrame:
    """Ten jobs that finish every 10 ms; their wait rises to `most` seconds."""
    return pd.DataFrame({"finished": [0.01 * n for n in range(1, 11)], "wait": [most * n / 10 for n in range(1, 11)]})


def three_parts() -> pd.DataFrame:
    return sweep().assign(p99=lambda table: table["p95"] * 1.5)


ALL: dict[str, Callable[..., Axes]] = {
    **{name: lambda chart=chart, **more: chart(sweep(), **more) for name, chart in SWEEPS.items()},
    "floor_plan": lambda **more: charts.floor_plan(frame(), **more),
    "admission": lambda **more: charts.admission(frame(), limit=3, **more),
    "outcomes": lambda **more: charts.outcomes(outcome_table(), **more),
    "rates": lambda **more: charts.rates(RATES, unit="records/s", **more),
    "contact_sheet": lambda **more: charts.contact_sheet(PICTURES, **more),
    "before_and_after": lambda **more: charts.before_and_after(PAIRS, **more),
    "marked throughput": lambda **more: charts.throughput(sweep(), limit=251, ideal=0.1, cores=4, marks=MARKS, **more),
    "marked latency": lambda **more: charts.latency(three_parts(), parts=(50, 95, 99), marks=MARKS, **more),
    "linear throughput": lambda **more: charts.throughput(
        sweep(), ideal=0.1, shared=25, marks=SHARED, log=False, **more
    ),
    "linear latency": lambda **more: charts.latency(sweep(), ideal=0.1, shared=25, marks=SHARED, log=False, **more),
    "waits": lambda **more: charts.waits(
        {"long queue": frame_of_waits(0.2), "short queue": frame_of_waits(0.02)}, **more
    ),
    "panels": lambda **more: charts.panels(PANELS, **more),
    "depths": lambda **more: charts.depths({"calm": [0, 1, 0, 1], "filling": [1, 2, 3, 4]}, **more),
    "ages": lambda **more: charts.ages({"calm": AGES, "busy": AGES}, **more),
    "crew": lambda **more: charts.crew(frame(), CHANGES, **more),
    "enlarged crew": lambda **more: charts.crew(frame(), CHANGES, zoom=0.2, **more),
    "cost": lambda **more: charts.cost(COSTS, **more),
    "attempts": lambda **more: charts.attempts(ATTEMPTS, **more),
    "shares": lambda **more: charts.shares(SHARES.assign(seconds=[1.5, 20, 141.2]), **more),
    "lanes": lambda **more: charts.lanes(LANES, **more),
    "schedules": lambda **more: charts.schedules(SCHEDULES, **more),
    "against_limit": lambda **more: charts.against_limit(CORES_USED, cores=2, core_seconds=0.03, **more),
    "trips": lambda **more: charts.trips(TRIPS, **more),
    "survival": lambda **more: charts.survival(SURVIVAL, **more),
    "open_connections": lambda **more: charts.open_connections(OPEN, limit=2, **more),
    "shares_of_loop": lambda **more: charts.shares_of_loop(CHOICES, ["pool"], **more),
    "longest_chain": lambda **more: charts.longest_chain(CHAIN, ["water", "soup"], 30, **more),
    "predictions": lambda **more: charts.predictions(PREDICTED, **more),
    "laws": lambda **more: charts.laws(sweep(), {"bound": lambda n: 10 * min(n, 25)}, marks=SHARED, **more),
    "hockey_stick": lambda **more: charts.hockey_stick(HOCKEY, top=0.2, dots=HOCKEY[:3], mark=0.8, **more),
    "fluctuations": lambda **more: charts.fluctuations({2: FEW_JOBS, 5: FEW_JOBS}, begin=0.5, seconds=3.0, **more),
    "deaths": charts.deaths,
    "kitchen": charts.kitchen,
    "series_map": charts.series_map,
}
UNITS = {
    "throughput": ("Workers (log scale)", "Throughput (jobs/s, log scale)"),
    "latency": ("Workers (log scale)", "Latency, submit to result (ms, log scale)"),
    "floor_plan": ("Time since the start (s)", "Worker"),
    "admission": ("Time since the start (s)", "Jobs"),
    "linear throughput": ("Workers", "Throughput (jobs/s)"),
    "linear latency": ("Workers", "Latency, submit to result (ms)"),
    "waits": ("Time since the start (ms)", "Wait of each job (ms)"),
    "depths": ("Jobs submitted so far", "Jobs waiting in the queue"),
    "outcomes": ("Jobs", ""),
    "rates": ("Records/s (a dot is a run, the diamond their median, log scale)", ""),
    "attempts": ("Time since the start (s)", "Job"),
    "shares": ("Share of the jobs that succeed (%)", ""),
    "lanes": ("Time since the start (s)", ""),
    "against_limit": ("Workers", "Throughput (jobs/s)"),
    "trips": ("Size of a job (log scale)", "Time per job (ms, log scale)"),
    "shares_of_loop": ("Time, in percent of the loop's time", ""),
    "longest_chain": ("Time since the start (ms)", ""),
    "laws": ("Workers", "Throughput (jobs/s)"),
    "hockey_stick": ("Utilization of the workers", "Mean wait (ms)"),
}


@pytest.fixture(autouse=True)
def drawing_board() -> Iterator[None]:
    """No window is ever opened, and every figure is closed after its test."""
    plt.switch_backend("agg")
    yield
    plt.close("all")


def lines(ax: Axes) -> dict[str, Any]:
    return {str(line.get_label()): line for line in ax.lines}


def words(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def pieces(ax: Axes) -> dict[str, Any]:
    """The pieces of lines that stand before the labels right of the axes."""
    boxes = [artist.offsetbox for artist in ax.artists if isinstance(artist, AnnotationBbox)]
    return {str(line.get_label()): line for box in boxes for line in box.get_children()}


def look(line: Any) -> tuple[Any, ...]:
    face, edge = to_hex(line.get_markerfacecolor(), True), to_hex(line.get_markeredgecolor(), True)
    return line.get_color(), line.get_linestyle(), line.get_marker(), line.get_markersize(), face, edge


def ticks(axis: Any) -> list[str]:
    axis.figure.canvas.draw()
    low, high = axis.get_view_interval()
    shown = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
    return [label.get_text() for at, label in shown if low <= at <= high]


def legend(ax: Axes) -> list[str]:
    shown = ax.get_legend()
    assert shown is not None
    return [text.get_text() for text in shown.get_texts()]


@pytest.mark.parametrize("name", ALL)
def test_draws_on_a_figure_of_its_own_and_leaves_the_settings_alone(name: str) -> None:
    before = dict(mpl.rcParams)
    ax = ALL[name]()
    assert isinstance(ax, Axes)
    assert plt.get_fignums() == [ax.figure.number]
    ax.figure.canvas.draw()  # a chart that cannot be rendered fails here
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", ALL)
def test_draws_on_the_axes_it_is_given(name: str) -> None:
    _, (mine, other) = plt.subplots(1, 2)
    assert ALL[name](ax=mine) is mine
    assert len(plt.get_fignums()) == 1
    assert mine.has_data() or mine.patches or mine.child_axes
    assert not other.has_data()


@pytest.mark.parametrize("name", UNITS)
def test_names_its_axes_with_units_and_has_a_sentence_case_title(name: str) -> None:
    ax = ALL[name]()
    assert (ax.get_xlabel(), ax.get_ylabel()) == UNITS[name]
    title = ax.get_title(loc="left")
    assert title
    assert title[0].isupper()
    assert title[1:] == title[1:].lower()


@pytest.mark.parametrize("name", ALL)
def test_no_words_overlap_and_none_are_cut_off(name: str) -> None:
    ax = ALL[name]()
    figure = ax.figure
    figure.draw_without_rendering()
    boxes = [(text.get_text(), text.get_window_extent()) for text in [*ax.texts, ax._left_title] if text.get_text()]
    shown = ax.get_legend()
    boxes += [("legend", shown.get_window_extent())] if shown else []
    if name == "series_map":
        boxes = [(words, box) for words, box in boxes if not words.isdigit()]  # these stand on their discs
        boxes += [("a disc", patch.get_window_extent()) for patch in ax.patches if isinstance(patch, Circle)]
    for number, (one, box) in enumerate(boxes):
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1, f"{one!r} is cut off"
        for two, other in boxes[number + 1 :]:
            inside = min(box.x1, other.x1) - max(box.x0, other.x0), min(box.y1, other.y1) - max(box.y0, other.y0)
            assert min(inside) < 2, f"{one!r} overlaps {two!r}"


def test_importing_changes_no_setting_and_loads_no_ipython() -> None:
    script = (
        "import sys, matplotlib as mpl; mpl.use('agg'); import matplotlib.pyplot; before = dict(mpl.rcParams)\n"
        "import helpers.charts\n"
        "assert dict(mpl.rcParams) == before, 'settings'\n"
        "assert 'IPython' not in sys.modules, 'IPython'"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_a_chart_that_fails_half_way_closes_its_figure() -> None:
    with pytest.raises((TypeError, ValueError)):
        charts.throughput(sweep().assign(throughput="fast"))
    assert not plt.get_fignums()


def test_throughput_draws_medians_repeats_ideal_and_limit() -> None:
    ax = charts.throughput(sweep(), limit=251.0, ideal=0.1)
    drawn = lines(ax)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert list(drawn["measured"].get_xdata()) == WORKERS
    assert list(drawn["measured"].get_ydata()) == pytest.approx([min(n, 25) / 0.0995 for n in WORKERS])
    assert len(drawn["_measured: repeats"].get_xdata()) == 3 * len(WORKERS)
    assert drawn["_measured: repeats"].get_alpha() < 0.5
    assert list(drawn["ideal: workers / 0.1 s"].get_ydata()) == pytest.approx([n / 0.1 for n in WORKERS])
    assert set(drawn["_shared limit: 251 jobs/s"].get_ydata()) == {251.0}
    heights = {text.get_text(): text.xy[1] for text in ax.texts}
    assert heights["shared limit: 251 jobs/s"] == 251.0
    assert heights["ideal: workers / 0.1 s"] == pytest.approx(1000)
    assert heights["measured"] == pytest.approx(25 / 0.0995)


@pytest.mark.parametrize("chart", [charts.throughput, charts.latency])
def test_a_label_stands_behind_a_piece_of_its_own_line(chart: Callable[..., Axes]) -> None:
    ax = chart(pd.concat([sweep(), sweep("stream")]))
    drawn = {name: line for name, line in lines(ax).items() if not name.startswith("_")}
    assert {name: look(line) for name, line in pieces(ax).items()} == {name: look(line) for name, line in drawn.items()}
    assert len(drawn) == len({look(line)[1:] for line in drawn.values()}), "color is not the only difference"
    assert set(drawn) <= set(words(ax))
    ax.figure.canvas.draw()
    for name, line in pieces(ax).items():
        [text] = [text for text in ax.texts if text.get_text() == name]
        box, letters = line.get_window_extent(), text.get_window_extent()
        assert box.x1 <= letters.x0 + 5 and abs((box.y0 + box.y1) - (letters.y0 + letters.y1)) < 8, name


def test_one_repeat_a_point_needs_no_dots() -> None:
    assert set(lines(charts.throughput(sweep(repeats=1)))) == {"measured"}


def test_throughput_draws_no_ideal_and_no_limit_by_default() -> None:
    assert set(lines(charts.throughput(sweep()))) == {"measured", "_measured: repeats"}


def test_the_ideal_of_work_that_computes_bends_at_the_cores() -> None:
    ax = charts.throughput(sweep(), ideal=0.1, cores=4)
    line = lines(ax)["ideal: min(workers, 4) / 0.1 s"]
    assert dict(zip(line.get_xdata(), line.get_ydata(), strict=True)) == pytest.approx(
        {n: min(n, 4) / 0.1 for n in [1, 2, 4, 5, 10, 25, 50, 100]}
    )
    assert "ideal: min(workers, 4) / 0.1 s" in words(ax)


@pytest.mark.parametrize("chart", [charts.throughput, charts.latency])
def test_marks_are_vertical_lines_with_their_labels_above_them(chart: Callable[..., Axes]) -> None:
    ax = chart(sweep(), marks={20: "cap: 20 connections"})
    assert set(lines(ax)["_cap: 20 connections"].get_xdata()) == {20}
    [text] = [text for text in ax.texts if text.get_text() == "cap: 20 connections"]
    assert text.xy[0] == 20


def test_linear_axes_begin_at_zero_and_have_ticks_with_room() -> None:
    ax = charts.throughput(sweep(), log=False)
    assert ax.get_xscale() == ax.get_yscale() == "linear"
    assert ax.get_xlim()[0] == ax.get_ylim()[0] == 0
    assert ticks(ax.xaxis) == ["0", "10", "25", "50", "100"]


def test_the_ideal_bends_at_what_the_workers_share() -> None:
    best = lines(charts.throughput(sweep(), ideal=0.1, shared=25, log=False))["ideal"]
    assert list(best.get_xdata()) == WORKERS
    assert list(best.get_ydata()) == pytest.approx([10, 20, 50, 100, 250, 250, 250])
    shortest = lines(charts.latency(sweep(), ideal=0.1, shared=25))["shortest mean"]
    assert list(shortest.get_ydata()) == pytest.approx([100, 100, 100, 100, 100, 200, 400])
    assert "shortest mean" not in lines(charts.latency(sweep(), ideal=0.1))


def test_waits_are_in_milliseconds_with_a_mark_per_job() -> None:
    ax = charts.waits({"long": frame_of_waits(0.2), "short": frame_of_waits(0.02)})
    drawn = lines(ax)
    assert list(drawn["long"].get_xdata()) == pytest.approx([10 * n for n in range(1, 11)])
    assert list(drawn["long"].get_ydata()) == pytest.approx([20 * n for n in range(1, 11)])
    assert drawn["long"].get_marker() != drawn["short"].get_marker()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["long", "short"]


@pytest.mark.parametrize("count", [0, 5])
def test_waits_take_one_to_four_tables(count: int) -> None:
    with pytest.raises(ValueError, match=f"tables must be from 1 to 4 tables, not {count}"):
        charts.waits({str(n): frame_of_waits(0.1) for n in range(count)})


def test_latency_draws_the_parts_it_is_asked_for() -> None:
    drawn = lines(charts.latency(three_parts(), parts=(50, 99)))
    assert {name for name in drawn if not name.startswith("_")} == {"p50", "p99"}
    assert next(iter(drawn["p99"].get_ydata())) == pytest.approx(1.5 * (2 * 4 + 0.0995) * 1000)
    assert drawn["p50"].get_linestyle() != drawn["p99"].get_linestyle()


def test_rates_are_medians_with_a_dot_a_repeat_and_logarithmic_if_need_be() -> None:
    ax = charts.rates(RATES, unit="records/s")
    assert ax.get_xscale() == "log" and not ax.patches, "a logarithmic axis has no zero for a bar to start at"
    assert list(ax.lines[0].get_xdata()) == [100, 9_000] and list(ax.lines[0].get_ydata()) == [0, 1]
    linear = charts.rates(RATES[:2], unit="records/s")
    assert linear.get_xscale() == "linear" and [bar.get_width() for bar in linear.patches] == [100]
    assert linear.get_xlabel() == "Records/s (a dot is a run, the bar their median)"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one by one", "in batches"]
    assert {"100", "9,000"} <= set(words(ax))
    assert list(ax.lines[1].get_xdata()) == [90, 110, 9_000] and list(ax.lines[1].get_ydata()) == [0, 0, 1]
    assert not charts.rates(RATES[1:2], unit="records/s").lines, "no dot at the end of a bar that shows a single run"


def test_rates_show_a_run_far_above_the_median_too() -> None:
    ax = charts.rates(pd.DataFrame({"way": ["a"] * 3, "rate": [10.0, 10.0, 18.0]}), unit="jobs/s")
    assert ax.get_xlim()[1] > 20
    assert "10" in words(ax)


def test_a_contact_sheet_shows_every_picture_whole_upright_and_named(tmp_path: Any) -> None:
    sideways = Image.new("RGB", (400, 200), "teal")
    exif = sideways.getexif()
    exif[0x0112] = 6
    sideways.save(tmp_path / "a.jpg", exif=exif)
    ax = charts.contact_sheet([*PICTURES, ("upright", tmp_path / "a.jpg")])
    assert words(ax) == [*(name for name, _ in PICTURES), "upright"]
    left, right, bottom, top = ax.images[-1].get_extent()
    assert (bottom - top) / (right - left) == pytest.approx(2)
    limits = ax.get_xlim(), ax.get_ylim()
    for image in ax.images:
        left, right, bottom, top = image.get_extent()
        assert limits[0][0] <= left < right <= limits[0][1] + 1e-9 and 0 <= top < bottom <= limits[1][0]


def test_before_and_after_shows_the_new_one_in_its_true_proportion_to_the_old() -> None:
    ax = charts.before_and_after([("a", Image.new("RGB", (4000, 3000)), Image.new("RGB", (800, 600)))])
    (before, after) = (image.get_extent() for image in ax.images)
    assert (after[1] - after[0]) / (before[1] - before[0]) == pytest.approx(0.2)
    assert after[0] == before[0] and after[3] == before[3], "in its corner"
    assert words(ax) == ["a: 4,000 x 3,000\nto 800 x 600"]


def test_the_crew_has_a_panel_for_the_queue_and_one_for_the_workers_that_last_to_the_end() -> None:
    ax = charts.crew(frame(), CHANGES, end=3.0)
    queue, workers = ax.child_axes
    assert [panel.get_ylabel() for panel in (queue, workers)] == ["Queued jobs", "Workers"]
    assert [panel.get_xlabel() for panel in (queue, workers)] == ["", "Time since the start (s)"]
    assert list(zip(*workers.lines[0].get_data(), strict=True)) == [(0.0, 2), (0.1, 4), (1.6, 2), (3.0, 2)]
    assert queue.get_xlim() == workers.get_xlim() == (0, 3.0)
    assert queue.get_position().y0 > workers.get_position().y1


def test_the_enlarged_panels_of_the_crew_show_the_same_counts_in_milliseconds() -> None:
    ax = charts.crew(frame(), CHANGES, end=3.0, zoom=0.2)
    whole, enlarged, workers, enlarged_workers = ax.child_axes
    assert enlarged.get_title(loc="left") == "Enlarged: the first 200 ms"
    assert whole.get_title(loc="left") == "The whole run"
    assert enlarged.get_ylim() == whole.get_ylim() and enlarged_workers.get_ylim() == workers.get_ylim()
    assert enlarged_workers.get_xlabel() == "Time since the start (ms)" and enlarged_workers.get_xlim() == (0, 200)
    in_ms = [1e3 * time for time in workers.lines[0].get_xdata()[:-1]]
    assert list(enlarged_workers.lines[0].get_xdata()[:-1]) == in_ms
    assert list(enlarged_workers.lines[0].get_ydata()) == list(workers.lines[0].get_ydata())


def test_cost_has_a_row_per_pool_with_its_cost_and_its_bursts() -> None:
    paid, speed = charts.cost(COSTS, marked=["2 to 10"]).child_axes
    assert [label.get_text() for label in paid.get_yticklabels()] == ["fixed 2", "2 to 10"]
    assert [bar.get_width() for bar in paid.patches] == [10.0, 14.0]
    assert [text.get_text() for text in paid.texts] == ["10", "14"]
    points = [line for line in speed.lines if line.get_marker() == "o"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in points] == [(4.8, 0), (1.0, 1)]
    assert [line.get_color() for line in points] == [BLUE, VERMILLION]
    with pytest.raises(ValueError, match="7 pools; a chart has room for 6"):
        charts.cost(pd.concat([COSTS.head(1)] * 7))


def test_cost_shows_the_first_burst_as_a_hollow_mark() -> None:
    _, speed = charts.cost(COSTS.assign(first=[5.0, 2.0])).child_axes
    hollow = [line for line in speed.lines if line.get_markerfacecolor() == "white"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in hollow] == [(5.0, 0), (2.0, 1)]
    assert [text.get_text() for text in speed.get_legend().get_texts()] == ["first burst", "later bursts"]


def test_panels_have_one_scale_and_a_line_at_the_advice_of_each() -> None:
    first, second = charts.panels(PANELS).child_axes
    assert [panel.get_title(loc="left") for panel in (first, second)] == ["python", "a service"]
    assert lines(first)["python"].get_xydata().tolist() == [[1, 52], [4, 50]], "the median runs"
    assert lines(second)["a service"].get_xydata().tolist() == [[2, 200], [4, 400], [8, 800], [32, 800]]
    assert lines(first)["_runs"].get_ydata().tolist() == [50, 54, 52, 50]
    assert lines(first)["_advised"].get_xdata() == [1, 1] and lines(second)["_advised"].get_xdata() == [8, 8]
    assert words(first) == ["rule: 1"] and words(second) == ["rule: 8"]
    assert first.get_ylim() == second.get_ylim() == (0, pytest.approx(1.12 * 800))
    assert list(second.get_xticks()) == [2, 8, 32], "4 is too close to 8 for its number"
    assert first.yaxis.get_tick_params()["labelleft"] and not second.yaxis.get_tick_params()["labelleft"]


def test_panels_mark_the_limit_in_each_panel() -> None:
    first, second = charts.panels(PANELS, limit=900).child_axes
    assert words(first) == ["rule: 1", "limit: 900"] and words(second) == ["rule: 8", "limit: 900"]
    assert lines(first)["_limit: 900"].get_ydata() == [900, 900]
    assert first.get_ylim() == (0, pytest.approx(1.12 * 900)), "the line is inside the panel"
    with pytest.raises(ValueError, match="limit must be more than 0, not 0"):
        charts.panels(PANELS, limit=0)


def test_panels_refuses_more_loads_than_there_is_room_for() -> None:
    many = pd.DataFrame({"load": list("abcdef"), "workers": 1, "advised": 1, "throughput": 1.0})
    with pytest.raises(ValueError, match="6 loads; there is room for 5 panels"):
        charts.panels(many)


def test_open_connections_draws_a_panel_per_run_with_its_steps_and_the_limit() -> None:
    threads, tasks = charts.open_connections(OPEN, limit=2).child_axes
    few, many = lines(threads)["open"], lines(tasks)["open"]
    assert list(few.get_xdata()) == pytest.approx([0, 0, 1, 1, 2, 2.5, 3])
    assert list(few.get_ydata()) == [0, 1, 0, 1, 0, 1, 0], "an end comes before an opening at the same time"
    assert list(many.get_xdata()) == pytest.approx([0, 0, 0, 0.5, 2, 2, 2.5])
    assert list(many.get_ydata()) == [0, 1, 2, 3, 2, 1, 0]
    assert [panel.get_title(loc="left") for panel in (threads, tasks)] == ["threads: 1 at most", "tasks: 3 at most"]
    assert words(threads) == words(tasks) == ["limit: 2"]
    assert list(lines(tasks)["_limit: 2"].get_ydata()) == [2, 2]
    assert threads.get_xlim() == tasks.get_xlim() and threads.get_ylim() == tasks.get_ylim() == (0, 1.18 * 3)
    assert threads.get_ylabel() == "Open connections" and "(s)" in threads.get_xlabel()
    plt.close("all")
    assert words(charts.open_connections(OPEN).child_axes[0]) == []


def test_open_connections_writes_the_number_of_refused_jobs_in_the_panel_of_its_run() -> None:
    threads, tasks = charts.open_connections(OPEN, limit=2, refused={"threads": 0, "tasks": 1_900}).child_axes
    assert words(threads) == ["limit: 2", "0 jobs refused"] and words(tasks) == ["limit: 2", "1,900 jobs refused"]
    plt.close("all")
    assert words(charts.open_connections(OPEN, refused={"tasks": 5}).child_axes[0]) == []


@pytest.mark.parametrize(
    ("runs", "error", "says"),
    [
        (None, TypeError, "runs must be a mapping from the name of each run to its times, not None"),
        ({}, ValueError, "runs must be from 1 to 3 runs, not 0"),
        ({"a": ([1.0], [])}, ValueError, "every run must have at least one connection, and as many ends as opens"),
        ({"a": ([], [])}, ValueError, "every run must have at least one connection"),
        ({"a": ([1.0], [float("nan")])}, ValueError, "time"),
    ],
)
def test_open_connections_refuses_what_it_cannot_draw(runs: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        charts.open_connections(runs)


def test_open_connections_refuses_a_bad_limit() -> None:
    with pytest.raises(ValueError, match="limit must be more than 0, not 0"):
        charts.open_connections(OPEN, limit=0)


def test_depths_draws_a_line_per_run_and_names_it_at_its_end() -> None:
    ax = charts.depths({"calm": [0, 1, 0, 1], "filling": [1, 2, 3, 4, 5]})
    assert lines(ax)["calm"].get_xydata().tolist() == [[1, 0], [2, 1], [3, 0], [4, 1]]
    assert lines(ax)["filling"].get_ydata().tolist() == [1, 2, 3, 4, 5]
    assert ax.get_xlim() == (0, 5) and ax.get_ylim() == (pytest.approx(-0.2), pytest.approx(5.5))
    assert set(pieces(ax)) == {"calm", "filling"}
    same = charts.depths({"calm": [0, 0], "filling": [1, 2]})
    assert words(same) == ["calm", "filling"] and not pieces(same), "the lines themselves reach the labels"


@pytest.mark.parametrize(
    ("runs", "error", "says"),
    [
        (None, TypeError, "runs must be a mapping from the name of each run to its depths, not None"),
        ({}, ValueError, "runs must be from 1 to 4 runs, not 0"),
        ({"a": []}, ValueError, "every run must have at least one depth"),
        ({"a": [0, -1]}, ValueError, "depth must be 0 or more in every row of the table, not -1"),
        ({"a": [0, float("nan")]}, ValueError, "depth must be 0 or more in every row of the table, not nan"),
    ],
)
def test_depths_refuses_what_it_cannot_draw(runs: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        charts.depths(runs)


def test_ages_draws_a_panel_per_run_with_one_scale_and_names_the_lines_in_the_last() -> None:
    calm, busy = charts.ages({"calm": AGES, "busy": AGES.assign(age=[20.0, 40.0, 60.0])}).child_axes
    assert lines(calm)["age"].get_xydata().tolist() == [[10, 1], [20, 5], [30, 9]]
    assert lines(busy)["oldest wait"].get_ydata().tolist() == [1, 2, 2]
    assert calm.get_ylim() == busy.get_ylim() == (pytest.approx(-1.8), pytest.approx(66))
    assert (calm.get_xlabel(), calm.get_ylabel(), calm.get_title(loc="left")) == (
        "Time since the start (ms)",
        "Age, oldest wait (ms)",
        "calm",
    )
    assert not pieces(calm) and set(pieces(busy)) == {"age", "oldest wait"}


@pytest.mark.parametrize(
    ("runs", "error", "says"),
    [
        ([AGES], TypeError, "runs must be a mapping from the name of each run to its table, not "),
        ({}, ValueError, "runs must be from 1 to 3 runs, not 0"),
        ({"a": AGES.drop(columns="age")}, ValueError, "the table has no column age"),
        ({"a": AGES.assign(age=[1, -1, 1])}, ValueError, "age must be 0 or more in every row of the table, not -1"),
    ],
)
def test_ages_refuses_what_it_cannot_draw(runs: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        charts.ages(runs)


def test_shares_of_the_loop_are_medians_in_percent_of_the_first_way_of_each_case() -> None:
    ax = charts.shares_of_loop(CHOICES, ["pool"])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["pool", "processes", "pool"]
    assert [bar.get_width() for bar in ax.patches] == [150.0, 150.0, 30.0]  # the axis ends at 150%
    assert [bool(bar.get_hatch()) for bar in ax.patches] == [False, True, False]
    shown = words(ax)
    assert {"20 times as long →", "200% →", "30%", "the loop", "a few", "a crowd"} == set(shown)
    ranges = [line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 2]
    assert [25.0, 35.0] in [list(ends) for ends in ranges]  # the quartiles of 20, 30, and 40
    late = pd.DataFrame([("one", "loop", 1.0), ("one", "pool", 1.0), ("one", "pool", 1.1), ("one", "pool", 9.0)])
    arrows = [
        line
        for line in charts.shares_of_loop(late.set_axis(CHOICES.columns, axis=1), []).lines
        if line.get_marker() == ">"
    ]
    assert len(arrows) == 1 and "110%" in words(arrows[0].axes)
    far = pd.DataFrame([("one", "loop", 1.0), ("one", "pool", 101.0)], columns=CHOICES.columns)
    assert "more than 100 times as long →" in words(charts.shares_of_loop(far, ["pool"]))
    close = pd.DataFrame([("one", "loop", 1.0), ("one", "pool", 0.96)], columns=CHOICES.columns)
    [label] = [text for text in charts.shares_of_loop(close, ["pool"]).texts if text.get_text() == "96%"]
    assert label.xy[0] == 100, "the label is after the dashed line"
    with pytest.raises(ValueError, match="there is nothing to compare"):
        charts.shares_of_loop(CHOICES[CHOICES["way"] == "loop"], [])


def arrows(ax: Axes) -> list[Any]:
    return [text for text in ax.texts if getattr(text, "arrow_patch", None)]


def test_the_longest_chain_is_darker_than_the_other_tasks_and_its_length_is_marked() -> None:
    ax = charts.longest_chain(CHAIN, ["water", "soup"], 30)
    bars = {text.get_text(): bar for text, bar in zip(ax.texts, ax.patches, strict=False)}
    assert {name: to_hex(bar.get_facecolor()) for name, bar in bars.items()} == {
        "water": "#0072b2", "soup": "#0072b2", "bread": "#56b4e9",
    }  # fmt: skip
    assert [list(line.get_xdata()) for line in ax.lines] == [[30, 30]]
    assert words(ax)[-1] == "at least 30 ms: the longest chain"
    assert not arrows(ax), "both tasks are in the same row"
    [arrow] = arrows(charts.longest_chain(CHAIN, ["water", "bread"], 30))
    assert arrow.xyann == (10.0, 1.35) and arrow.xy == (0.0, 1.65)  # from the lower edge of a bar to the upper edge
    assert [label.get_text() for label in ax.get_yticklabels()] == ["worker 1", "worker 2"]


def test_attempts_are_bars_in_the_row_of_their_job_with_lines_where_it_backed_off_and_queued() -> None:
    ax = charts.attempts(ATTEMPTS)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["soup", "fish"]
    assert [(round(bar.get_x(), 3), round(bar.get_width(), 3), bool(bar.get_hatch())) for bar in ax.patches] == [
        (0.0, 0.1, True), (0.3, 0.1, True), (0.9, 0.1, False), (0.0, 0.2, False),
    ]  # fmt: skip
    waits = [(tuple(line.get_xdata()), line.get_linestyle()) for line in ax.lines]
    assert waits == [((0.1, 0.2), ":"), ((0.2, 0.3), "-"), ((0.4, 0.8), ":"), ((0.8, 0.9), "-")]
    assert legend(ax) == ["ok", "failed", "backs off", "queues"]
    many = pd.concat([ATTEMPTS.assign(job=number) for number in range(41)])
    with pytest.raises(ValueError, match="41 jobs; a chart has room for 40"):
        charts.attempts(many)


def test_a_storm_has_a_panel_per_run_with_the_calls_in_each_piece_of_time() -> None:
    ax = charts.storm(ARRIVALS, bin_width=0.1, limit=1.5, outage=(0.1, 0.3))
    panels = ax.figure.axes
    assert panels[0] is ax and [panel.get_title(loc="left") for panel in panels] == ["one", "two"]
    steps = [[p for p in panel.patches if hasattr(p, "get_data")] for panel in panels]
    assert [list(found[0].get_data().values[:4]) for found in steps] == [[2, 0, 0, 0], [1, 0, 0, 1]]
    assert len({panel.get_ylim() for panel in panels}) == len({panel.get_xlim() for panel in panels}) == 1
    assert words(ax) == ["overloaded above 1.5", "outage"] and not words(panels[1])
    assert panels[1].get_xlabel() == "Time since the start (s)" and ax.get_ylabel() == "Calls per 0.1 s"
    with pytest.raises(ValueError, match="5 runs; the chart has room for 4"):
        charts.storm(pd.DataFrame({"run": list("abcde"), "seconds": [1.0] * 5}), bin_width=0.1)


def test_a_storm_hatches_the_failed_calls_if_the_table_tells_which_calls_failed() -> None:
    ax = charts.storm(ARRIVALS.assign(ok=[True, False, True, True]), bin_width=0.1)
    steps = [[p for p in panel.patches if hasattr(p, "get_data")] for panel in ax.figure.axes]
    found = [[(bool(p.get_hatch()), list(p.get_data().values[:4])) for p in panel] for panel in steps]
    assert found == [
        [(False, [2, 0, 0, 0]), (True, [1, 0, 0, 0])],
        [(False, [1, 0, 0, 1]), (True, [0, 0, 0, 0])],
    ]
    assert legend(ax) == ["succeeded", "failed"]


def test_a_storm_marks_the_last_call_of_each_run_on_the_side_that_has_room() -> None:
    ax = charts.storm(ARRIVALS, bin_width=0.1, mark_last=True)
    ends = ARRIVALS.groupby("run", sort=False)["seconds"].max()
    for panel, end in zip(ax.figure.axes, ends, strict=True):
        assert [list(line.get_xdata()) for line in panel.lines] == [[end, end]]
        assert words(panel) == [f"last call after {end:.2f} s"]
    assert [panel.texts[0].get_ha() for panel in ax.figure.axes] == ["left", "right"]
    assert not charts.storm(ARRIVALS, bin_width=0.1).lines


def test_a_storm_leaves_the_settings_alone_and_can_be_shown_with_a_title() -> None:
    before = dict(mpl.rcParams)
    ax = charts.headline(charts.storm(ARRIVALS, bin_width=0.1), "Two storms", "Calls per piece of time")
    ax.figure.canvas.draw()
    assert dict(mpl.rcParams) == before and ax.get_title(loc="left") == "one"


def test_logarithmic_axes_have_plain_numbers_and_the_workers_that_were_measured() -> None:
    ax = charts.throughput(sweep(), ideal=0.1)
    assert ticks(ax.xaxis) == ["1", "2", "5", "10", "25", "50", "100"]
    assert ticks(ax.yaxis) == ["10", "20", "50", "100", "200", "500", "1,000"]


def test_ticks_leave_out_what_has_no_room_and_are_dense_on_a_short_axis() -> None:
    many = pd.DataFrame({"workers": range(1, 101), "throughput": [100 + n for n in range(100)]})
    ax = charts.throughput(many)
    shown = [int(text) for text in ticks(ax.xaxis)]
    assert shown[:3] == [1, 2, 3] and len(shown) < 25
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    few = many.assign(throughput=[62 + 3.5 * n for n in range(100)])
    assert ticks(charts.throughput(few).yaxis) == ["60", "80", "100", "200", "300", "400"]


def test_latency_is_in_milliseconds_and_tells_two_loads_apart_without_colour() -> None:
    ax = charts.latency(pd.concat([sweep(), sweep("stream").assign(p50=0.2, p95=0.3)]))
    drawn = {name: line for name, line in lines(ax).items() if not name.startswith("_")}
    assert set(drawn) == {"batch p50", "batch p95", "stream p50", "stream p95"}
    assert list(drawn["batch p50"].get_ydata()) == pytest.approx([1e3 * x for x in sweep()["p50"][1::3]])
    assert set(drawn["stream p95"].get_ydata()) == {300.0}
    looks = {(line.get_marker(), line.get_linestyle(), to_hex(line.get_markerfacecolor())) for line in drawn.values()}
    assert len({look[:2] for look in looks}) == 4
    assert set(drawn) <= set(words(ax))


def test_two_loads_on_top_of_each_other_both_show() -> None:
    ax = charts.throughput(pd.concat([sweep(), sweep("stream")]))
    batch, stream = lines(ax)["batch"], lines(ax)["stream"]
    assert batch.get_marker() != stream.get_marker()
    assert batch.get_linestyle() != stream.get_linestyle()
    assert stream.get_markerfacecolor() == "none" and stream.get_markersize() > batch.get_markersize()
    heights = sorted(text.get_window_extent().y0 for text in ax.texts if text.get_text() in ("batch", "stream"))
    assert len(heights) == 2
    assert all(b - a > 15 for a, b in pairwise(heights))  # pixels: two labels for one point stand one over the other


def test_a_table_without_loads_is_one_load() -> None:
    assert "p50" in lines(charts.latency(sweep().drop(columns="load")))


def test_floor_plan_has_a_bar_a_job_that_ran_and_a_hatch_for_a_failed_one() -> None:
    ax = charts.floor_plan(frame())
    bars = [bar for part in ax.containers for bar in part]
    drawn = sorted((bar.get_y() + bar.get_height() / 2, bar.get_x(), bar.get_width()) for bar in bars)
    assert drawn == [pytest.approx(bar) for bar in [(1, 0, 1), (1, 1, 0.02), (2, 0, 2)]]
    assert [bar.get_hatch() for bar in bars if bar.get_width() < 0.1] == ["////"]
    assert not any(bar.get_hatch() for bar in bars if bar.get_width() >= 1)
    assert words(ax) == ["soup", "fish"]  # the third has no room for its name
    assert legend(ax) == ["finished: 2", "failed: 1", "never started: 1"]
    top, bottom = ax.transData.transform([(0, 1), (0, 2)])
    assert top[1] > bottom[1]


def test_floor_plan_marks_a_failed_job_too_short_to_be_seen() -> None:
    rows = pd.DataFrame({"job": ["1", "2", "3"], "worker": [1, 1, 1], "ok": [True, False, False]})
    ax = charts.floor_plan(rows.assign(started=[0.0, 1.0, 1.1], finished=[1.0, 1.0001, 2.0]))
    cross = lines(ax)["_too short"]
    assert list(cross.get_xdata()) == pytest.approx([1.0], abs=0.001) and cross.get_marker() == "X"
    assert words(ax) == ["1", "3", "2"]
    many = pd.DataFrame({"job": range(100), "worker": 1, "ok": False, "started": range(100)})
    ax = charts.floor_plan(many.assign(finished=many["started"] + 0.001))
    assert len(lines(ax)["_too short"].get_xdata()) == 100 and not words(ax)
    assert not len(lines(charts.floor_plan(rows[:1].assign(started=0.0, finished=1.0)))["_too short"].get_xdata())


def test_floor_plan_of_jobs_that_never_started_only_counts_them() -> None:
    ax = charts.floor_plan(frame().iloc[3:])
    assert not ax.patches
    assert legend(ax) == ["never started: 1"]


def test_floor_plan_of_one_worker_whose_jobs_all_finished_has_one_tick_and_no_legend() -> None:
    ax = charts.floor_plan(frame().iloc[:1])
    assert ax.get_legend() is None
    assert [tick for tick in ax.get_yticks() if 0.4 <= tick <= 1.6] == [1]


def test_floor_plan_of_many_workers_leaves_the_names_out() -> None:
    many = pd.DataFrame({"job": range(400), "worker": range(1, 401), "ok": True, "started": 0.0, "finished": 1.0})
    assert not words(charts.floor_plan(many))


def test_steps_count_what_is_between_begin_and_end() -> None:
    depth = steps(pd.Series([0.0, 0.0, 1.0]), pd.Series([2.0, 1.0, 3.0]))
    assert depth.to_dict() == {0.0: 2, 1.0: 2, 2.0: 1, 3.0: 0}
    late = steps(pd.Series([1.5]), pd.Series([2.0]))
    assert late.to_dict() == {0.0: 0, 1.5: 1, 2.0: 0}
    at_once = steps(pd.Series([0.0]), pd.Series([0.0]))
    assert at_once.to_dict() == {0.0: 0}


def test_admission_counts_what_succeeded_and_was_refused_and_draws_the_limit_on_top() -> None:
    ax = charts.admission(frame(), limit=3)
    succeeded, refused, limit = (lines(ax)[name] for name in ("2 succeeded", "2 refused", "_limit"))
    assert list(succeeded.get_xdata()) == [0.0, 1.0, 2.0, 2.0] and list(succeeded.get_ydata()) == [0, 1, 2, 2]
    assert list(refused.get_xdata()) == [0.0, 1.02, 1.5, 2.0] and list(refused.get_ydata()) == [0, 1, 2, 2]
    assert set(limit.get_ydata()) == {3}
    assert limit.get_zorder() > succeeded.get_zorder() and 3 < ax.get_ylim()[1] < 4
    assert len({line.get_linestyle() for line in (succeeded, refused, limit)}) == 3
    assert {"limit of the server: 3", "2 succeeded", "2 refused"} == set(words(ax))


def test_outcomes_stack_to_all_jobs_and_the_legend_counts_the_smallest() -> None:
    ax = charts.outcomes(outcome_table())
    assert [[bar.get_width() for bar in part] for part in ax.containers] == [[117, 1000], [882, 0], [1, 0]]
    assert [part[0].get_x() for part in ax.containers] == [0, 117, 999]
    assert len({(part[0].get_hatch(), to_hex(part[0].get_facecolor())) for part in ax.containers}) == 3
    assert len({part[0].get_hatch() for part in ax.containers}) == 3
    assert sorted(words(ax)) == ["1,000", "117", "882"]  # no room for the 1, and none for a 0
    assert legend(ax) == ["succeeded: 117 (naive), 1,000 (pool)", f"{ERROR}: 882 (naive)", "MemoryError: 1 (naive)"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["naive", "pool"]


def test_outcomes_of_one_run_adds_up_rows_and_needs_no_success() -> None:
    table = pd.DataFrame({"run": "naive", "outcome": ERROR, "jobs": [800, 83]})
    assert legend(charts.outcomes(table)) == [f"{ERROR}: 883"]


def test_outcomes_of_many_runs_are_not_added_up() -> None:
    table = pd.DataFrame({"run": list("abcd"), "outcome": ["succeeded", ERROR] * 2, "jobs": 10})
    assert legend(charts.outcomes(table)) == ["succeeded", ERROR]


def test_outcomes_refuse_more_kinds_than_a_chart_can_distinguish() -> None:
    table = pd.DataFrame({"run": "naive", "outcome": [f"error {n}" for n in range(8)], "jobs": 1})
    with pytest.raises(ValueError, match="8 kinds of error; a chart can tell 7 apart"):
        charts.outcomes(table)


def test_shares_are_percent_of_the_jobs_of_their_own_run_and_say_how_many_succeed() -> None:
    ax = charts.shares(SHARES)
    succeeded, failed = ax.containers
    assert [bar.get_width() for bar in succeeded] == [25, 100, 0]
    assert [bar.get_width() for bar in failed] == pytest.approx([75, np.nan, 100], nan_ok=True)
    assert [bar.get_x() for bar in failed] == [25, 100, 0]
    assert failed[0].get_hatch() and not succeeded[0].get_hatch()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["all at once", "two workers", "all"]
    assert words(ax) == ["disk", "net", "100 succeed", "disk full", "all 200 succeed", "0 succeed"]
    first, second, third = ax.get_yticks()
    assert third - second > second - first, "groups stand apart"


def test_shares_show_the_time_of_each_run_if_the_table_has_one() -> None:
    drawn = words(charts.shares(SHARES.assign(seconds=[0.94, 1234.5, 60])))
    assert drawn[-4:] == ["time", "0.9 s", "1,234.5 s", "60.0 s"]
    with pytest.raises(ValueError, match="seconds must be 0 or more in every row of the table, not -1"):
        charts.shares(SHARES.assign(seconds=-1))


def test_lanes_put_each_job_in_the_row_of_its_worker_and_mark_the_end_of_each_way() -> None:
    ax = charts.lanes(LANES)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["worker 1", "worker 2", "worker 1"]
    bars = [(bar.get_x(), bar.get_width(), bar.get_y() + bar.get_height() / 2) for bar in ax.containers[0]]
    one, two, three = ax.get_yticks()
    expected = [(0.0, 0.1, two), (0.0, 0.2, one), (0.1, 0.2, two), (0.0, 0.6, three)]
    assert [value for bar in bars for value in bar] == pytest.approx([value for bar in expected for value in bar])
    assert [list(line.get_xdata()) for line in ax.lines] == [[0.3, 0.3], [0.6, 0.6]]
    assert words(ax) == ["pool", "loop", "b", "a", "c", "a", "0.30 s", "0.60 s"]


def test_schedules_split_each_bar_into_extra_time_and_work_and_mark_the_ends() -> None:
    ax = charts.schedules(SCHEDULES.rename(columns={"work": "server time"}), work="server time")
    ideal, real = ax.child_axes
    extra, work = ([(bar.get_x(), bar.get_width()) for bar in part] for part in real.containers)
    assert extra == [pytest.approx(bar) for bar in [(100, 100), (0, 50)]]
    assert work == [pytest.approx(bar) for bar in [(200, 300), (50, 200)]]
    assert [bar.get_width() for bar in ideal.containers[0]] == pytest.approx([0, 0])
    assert [line.get_xdata()[0] for line in real.lines] == pytest.approx([500, 300])
    assert [panel.get_title(loc="left") for panel in (ideal, real)] == ["ideal", "real"]
    assert words(ideal) == ["300 ms"] and words(real) == ["500 ms"] and ideal.get_xlim() == real.get_xlim()
    assert legend(ax) == ["server time", "extra time"]
    many = pd.concat([SCHEDULES.assign(way=name) for name in "abcde"])
    with pytest.raises(ValueError, match="5 ways; there is room for 4 panels"):
        charts.schedules(many)


def test_the_shares_of_lost_and_repeated_jobs_are_a_bar_with_its_numbers() -> None:
    program, worker = charts.survival(SURVIVAL).child_axes
    assert [(bar.get_x(), bar.get_width()) for bar in program.patches] == [(0, 50), (0, 0), (50, 0), (0, 0)]
    assert [(bar.get_x(), bar.get_width()) for bar in worker.patches] == [(0, 0.5), (0, 0), (0.5, 0), (0, 0.5)]
    assert words(program) == ["1,000 lost, 0 twice", "0 lost, 0 twice"]
    assert words(worker) == ["10 lost, 0 twice", "0 lost, 10 twice"]
    assert [label.get_text() for label in program.get_yticklabels()] == ["pool", "our table"]
    assert program.get_xlim() == worker.get_xlim(), "both panels have one scale"
    assert (program.get_title(loc="left"), worker.get_xlabel()) == ("program", "Jobs (%)")
    with pytest.raises(ValueError, match="lost"):
        charts.survival(SURVIVAL.drop(columns="lost"))
    with pytest.raises(ValueError, match="jobs"):
        charts.survival(SURVIVAL.assign(jobs=0))
    with pytest.raises(ValueError, match="same ways"):
        charts.survival(SURVIVAL[:3])


def test_the_cost_of_a_job_stands_beside_what_survives() -> None:
    costs = pd.DataFrame(
        [("pool", 0.003), ("pool", 0.004), ("pool", 0.008), ("our table", 0.3), ("other", 5.0)], columns=["way", "ms"]
    )
    cost, program, worker = charts.survival(SURVIVAL, costs).child_axes
    assert [list(line.get_xdata()) for line in cost.lines] == [[0.003, 0.004, 0.008], [0.3]]
    assert [set(line.get_ydata()) for line in cost.lines] == [{0}, {1}] and cost.get_ylim() == program.get_ylim()
    assert words(cost) == ["0.004", "0.3"] and cost.get_xscale() == "log"
    assert [label.get_text() for label in cost.get_yticklabels()] == ["pool", "our table"]
    assert not any(label.get_text() for label in program.get_yticklabels()) and program.get_xlim() == worker.get_xlim()
    with pytest.raises(ValueError, match="it has none for our table"):
        charts.survival(SURVIVAL, costs[:3])
    with pytest.raises(ValueError, match="ms must be more than 0"):
        charts.survival(SURVIVAL, costs.assign(ms=0.0))


def test_the_drawing_of_deaths_tells_the_three_promises_apart() -> None:
    found = words(charts.deaths())
    assert [text for text in found if text.endswith("once")] == ["at least once", "at most once", "exactly once"]
    assert found.count("finds no job") == 1 and found.count("delete job") == 5


def test_a_bar_is_the_best_run_and_its_limit_grows_up_to_the_number_of_cores() -> None:
    ax = charts.against_limit(CORES_USED, cores=2, core_seconds=0.03)
    assert [bar.get_height() for bar in ax.patches] == [31, 55, 54, 53]
    limits = [line.get_ydata()[0] for line in ax.lines if line.get_label() == "_limit"]
    assert limits == pytest.approx([1 / 0.03, 2 / 0.03, 2 / 0.03, 2 / 0.03])
    assert len(lines(ax)["_runs"].get_xdata()) == len(CORES_USED)
    assert {"31.0 jobs/s\n1.00 cores used", "55.0 jobs/s\n1.90 cores used", "limit 66.7"} <= set(words(ax))
    with pytest.raises(ValueError, match="core_seconds"):
        charts.against_limit(CORES_USED, cores=2, core_seconds=0)


def test_trips_are_medians_per_engine_with_units_for_the_size() -> None:
    ax = charts.trips(TRIPS)
    assert lines(ax)["threads"].get_ydata().tolist() == [0.02, 0.03, 0.03]
    assert lines(ax)["processes"].get_ydata().tolist() == [0.1, 1.5, 15.0]
    assert lines(ax)["threads"].get_linestyle() != lines(ax)["processes"].get_linestyle()
    assert ticks(ax.xaxis) == ["10 B", "1 MB", "10 MB"]
    assert bytes_in_words(2e9) == "2 GB" and bytes_in_words(1500) == "1.5 kB"
    five = pd.concat([TRIPS.assign(engine=name) for name in "abcde"])
    with pytest.raises(ValueError, match="5 engines; a chart can tell 4 apart"):
        charts.trips(five)


def test_the_kitchen_names_both_the_kitchen_and_the_pattern() -> None:
    drawn = set(words(charts.kitchen()))
    assert {"Orders", "The waiter", "The rail", "The cooks", "The counter"} <= drawn
    assert {"jobs", "producer", "bounded queue", "workers", "results"} <= drawn


def test_the_map_has_every_notebook_in_reading_order_and_marks_what_is_to_come() -> None:
    ax = charts.series_map(ready=[0, 1, 2])
    stations = [text for text in ax.texts if text.get_text().isdigit()]
    assert [text.get_text() for text in stations] == [f"{n:02}" for n in range(14)]
    places = [(-text.get_position()[1], text.get_position()[0]) for text in stations]
    assert places == sorted(places)  # rows from the top, each from the left
    after = [after for title, after in pairwise(words(ax)) if title in ("Unbounded", "Image pool")]
    assert after == ["Build it", "to come"]
    assert words(ax).count("to come") == 11
    dashed = [disc for disc in ax.patches if isinstance(disc, Circle) and disc.get_linestyle() != "-"]
    full = [disc for disc in ax.patches if isinstance(disc, Circle) and to_hex(disc.get_facecolor()) != "#ffffff"]
    assert len(dashed) == 11 and len(full) == 3
    for part in ("See it fail", "Build it", "Make it strong", "Choose and measure"):
        (ability,) = [after for name, after in pairwise(words(ax)) if name == part]
        assert ability.startswith("you can ")


def test_the_map_of_the_whole_series_has_nothing_to_come() -> None:
    assert not [text for text in words(charts.series_map(range(14))) if "to come" in text]


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    shown: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(IPython.display, "display", lambda data, **more: shown.append((data, more)))
    return shown


def test_show_displays_once_with_its_alt_text_and_leaves_no_figure(displayed: list[Any]) -> None:
    before = dict(mpl.rcParams)
    charts.show(charts.throughput(sweep()), alt="Throughput rises up to 25 workers\n    and is flat from there on.")
    [(data, more)] = displayed
    alt = "Throughput rises up to 25 workers and is flat from there on."
    assert set(data) == {"image/png", "text/plain"}  # a text/html would be compared by nbval, picture and all
    assert data["text/plain"] == alt
    assert more["raw"] is True
    png = b64decode(data["image/png"])
    assert png.startswith(b"\x89PNG")
    assert more["metadata"]["image/png"]["alt"] == alt
    assert more["metadata"]["image/png"]["width"] == pytest.approx(struct.unpack(">I", png[16:20])[0] / 1.44, abs=1)
    assert not plt.get_fignums()
    assert dict(mpl.rcParams) == before


def test_show_closes_only_its_own_figure(displayed: list[Any]) -> None:
    other = plt.figure()
    charts.show(charts.kitchen(), alt="A kitchen.")
    assert plt.get_fignums() == [other.number]
    assert len(displayed) == 1


def test_show_takes_axes_on_a_subfigure(displayed: list[Any]) -> None:
    ax = plt.figure().subfigures(1, 2)[0].subplots()
    charts.show(charts.throughput(sweep(), ax=ax), alt="Throughput.")
    assert len(displayed) == 1
    assert not plt.get_fignums()


@pytest.mark.parametrize("alt", ["", "  \n "])
def test_show_refuses_an_empty_alt_text(alt: str, displayed: list[Any]) -> None:
    ax = charts.kitchen()
    with pytest.raises(ValueError, match="alt is empty"):
        charts.show(ax, alt=alt)
    assert not displayed
    assert plt.get_fignums() == [ax.figure.number]


def test_a_caption_is_shown_below_the_picture_and_is_its_alternative_text(displayed: list[Any]) -> None:
    charts.show(charts.kitchen(), caption="Jobs wait\n in a_queue, at most 5 * 20 for 3 $.")
    (picture, more), (below, _) = displayed
    words = "Jobs wait in a_queue, at most 5 * 20 for 3 $."
    assert picture["text/plain"] == below["text/plain"] == more["metadata"]["image/png"]["alt"] == words
    assert below["text/markdown"] == r"*Jobs wait in a\_queue, at most 5 \* 20 for 3 \$.*"
    assert "image/png" not in below


def test_a_chart_has_either_a_caption_or_an_alternative_text(displayed: list[Any]) -> None:
    ax = charts.kitchen()
    with pytest.raises(TypeError, match="not both"):
        charts.show(ax, caption="A kitchen.", alt="A kitchen.")
    with pytest.raises(TypeError, match="caption must be a sentence, not None"):
        charts.show(ax)
    assert not displayed


FINDING = "Twenty-five connections cap the throughput; more workers only add waiting"
PLOTTED = "Throughput against workers, the median and the range of 3 runs of 200 jobs each, on a machine with 2 cores"


def figure_words(ax: Axes) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in ax.figure.texts]


@pytest.mark.parametrize("name", ALL)
def test_a_headline_stands_above_the_chart_and_leaves_it_its_size(name: str) -> None:
    ax = ALL[name]()
    figure = laid_out(ax)
    before = figure.get_size_inches()
    assert charts.headline(ax, FINDING, PLOTTED) is ax
    assert figure_words(ax)[-2:] == [FINDING, PLOTTED]
    assert not ax.get_title(loc="left")
    laid_out(ax)
    boxes = [text.get_window_extent() for text in figure.texts[-2:]]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1 + 1 for box in boxes)
    assert boxes[0].y0 >= boxes[1].y1 - 2, "the subtitle stands below the title"
    parts = [axes.get_tightbbox() for axes in figure.get_axes()]
    assert boxes[1].y0 >= max(box.y1 for box in parts if box is not None) - 2, "both stand above the chart"
    assert figure.get_size_inches()[0] == before[0] and figure.get_size_inches()[1] > before[1] + 0.4


def test_a_headline_leaves_the_titles_of_panels() -> None:
    figure, panels = plt.subplots(1, 2)
    for panel in panels:
        charts.admission(frame(), ax=panel)
    charts.headline(panels[0], "A finding")
    assert [panel.get_title(loc="left") for panel in panels] == ["Succeeded and refused"] * 2
    assert figure.texts[-1].get_text() == "A finding"


def test_show_writes_the_headline_into_the_picture(displayed: list[Any]) -> None:
    charts.show(charts.throughput(sweep()), caption="It rises up to 25 workers.")
    charts.show(charts.throughput(sweep()), "It rises up to 25 workers.", title=FINDING, subtitle=PLOTTED)
    heights = [
        struct.unpack(">I", b64decode(data["image/png"])[20:24])[0] for data, _ in displayed if "image/png" in data
    ]
    assert heights[1] > heights[0] + 60


@pytest.mark.parametrize(
    ("title", "subtitle", "rule"),
    [
        ("one two three four five six seven eight nine ten eleven twelve thirteen", None, "at most 12 words, not 13"),
        (None, "Throughput against workers", "a subtitle needs a title"),
        (" ", None, "title is empty"),
        ("A finding", "", "subtitle is empty"),
    ],
)
def test_show_refuses_a_headline_that_breaks_its_rule(
    title: str | None, subtitle: str | None, rule: str, displayed: list[Any]
) -> None:
    ax = charts.kitchen()
    with pytest.raises(ValueError, match=rule):
        charts.show(ax, caption="A kitchen.", title=title, subtitle=subtitle)
    assert not displayed and plt.get_fignums() == [ax.figure.number]


def test_the_range_of_the_repeats_is_drawn() -> None:
    (span,) = charts.throughput(sweep()).collections
    rates = sweep().groupby("workers")["throughput"]
    ends = np.array([line.vertices[:, 1] for line in span.get_paths()])
    assert ends[:, 0] == pytest.approx(rates.min()) and ends[:, 1] == pytest.approx(rates.max())


# What belongs to the user


def table_of_jobs(jobs):
    times = [float(n) for n in range(len(jobs))]
    frame = pd.DataFrame({"worker": 1, "ok": [n % 2 == 0 for n in range(len(jobs))], "attempt": 1, "submitted": 0.0})
    frame["due"], frame["started"], frame["finished"] = times, times, [time + 0.9 for time in times]
    cells = np.empty(len(jobs), dtype=object)
    for place, job in enumerate(jobs):
        cells[place] = job
    frame["job"] = pd.Series(cells, dtype=object)
    return frame


def test_jobs_of_any_kind_have_their_bar_and_a_name():
    jobs = [*hostile.odd_jobs(), "a$b$c^", "\x00\ud800", "x" * 10**6]
    plt.close(charts.floor_plan(table_of_jobs(jobs)).figure)
    ax = charts.attempts(table_of_jobs(jobs[:12]))
    laid_out(ax)  # draws every label
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert len(labels) == 12 and labels[1:3] == ["[1, 2]", "[1, 2]"] and "Hostile" in labels[0]
    plt.close(ax.figure)


def test_attempts_of_one_job_share_a_row_and_jobs_that_cannot_be_compared_do_not():
    one = [1, 2]
    assert same_jobs(["a", one, "a", one, [1, 2], hostile.Hostile(), 1.0, 1]) == [0, 1, 0, 1, 2, 3, 4, 4]


def test_a_label_is_short_plain_text_without_formulas():
    assert label_of("soup") == "soup" and label_of(7) == "7" and label_of(Path("a")) == "a"
    assert len(label_of("x" * 10**6)) == 120 and label_of("a\tb\nc") == "a b\nc"
    assert label_of("$x$") == r"\$x\$" and "whose repr" in label_of(hostile.Hostile())


def test_what_is_no_table_or_no_axes_is_named_even_if_it_is_hostile():
    for call in (
        lambda: charts.floor_plan(hostile.Hostile()),
        lambda: charts.floor_plan(frame(), ax=hostile.Hostile()),
        lambda: charts.admission(frame(), limit=hostile.Hostile()),
        lambda: charts.contact_sheet(hostile.Hostile()),
        lambda: charts.show(None, hostile.Hostile()),
        lambda: charts.admission(table_of_jobs([1, 2]).assign(finished=[[1], np.zeros(3)])),
        lambda: charts.crew(table_of_jobs([1, 2]).assign(started=[np.zeros(2), 1.0]), CHANGES),
    ):
        with pytest.raises((TypeError, ValueError), match="not "):
            call()
