"""The control room as a widget: a saved notebook, its messages, and a kernel that is interrupted or ends."""

import os
import re
import textwrap
import time
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest
from conftest import wait_until
from jupyter_client.manager import start_new_kernel

from helpers.charts.style import BLUE
from helpers.control_room import ControlRoom, Room, charts, picture, sentences
from helpers.control_room.history import Sample
from helpers.control_room.marks import WIDTH
from helpers.control_room.widget import CAPTION

ROOT = Path(__file__).parents[1]
SVG = "{http://www.w3.org/2000/svg}"
FAST = {"rate": 200.0, "seconds": 0.01, "workers": 2}


@pytest.fixture
def widget():
    found = ControlRoom(**FAST)
    yield found
    found.close()


def press(widget, name, value=None):
    """Do what the browser does when a control is used."""
    data = {"method": "custom", "content": {"do": name, "value": value}}
    widget.comm.handle_msg({"content": {"data": data}, "buffers": []})


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


# --- the pictures and the words -------------------------------------------------------------------------------------


def snapshot(**changes):
    return Room().snapshot() | changes


def test_the_numbers_of_a_snapshot_are_in_its_pictures_and_its_words():
    snap = snapshot(queued=7, running=3, submitted=1234, succeeded=1200, failed=24, finished=1224, oldest_wait=1.5)
    snap |= {"throughput": 38.2, "alert": "firing", "state": "running", "turned_away": 9}
    history = [Sample(t / 5, t % 8, t / 50, 38.2, 40.0, 4) for t in range(100)]
    words = texts(picture.whole(snap, history, "A caption"))
    expected = {"7 of 60 jobs", "3 of 4 busy", "1,200", "24", "9", "Oldest wait: 1.5 s", "succeeded: 38"}
    assert expected <= set(words)
    assert "1,234 jobs = 7 queued + 3 running + 1,224 finished" in words
    assert words[words.index("Turned away") :][1:3] == ["↩", "9"], "not among the results"
    said = sentences.status(snap)
    assert said.startswith("The alert fires. Running") and "1,200 succeeded, 24 failed." in said
    assert "9 jobs turned away." in said
    assert sentences.alert(snap) == "Alert firing: oldest wait over 1 s for 3 s"
    assert "alert firing: above 1 s for 3 s" in words


@pytest.mark.parametrize(("later", "depth"), [(0.1, 60), (-0.1, 10)])
def test_the_curves_of_a_file_end_at_the_snapshot_unless_a_sample_is_newer(later, depth):
    history = [Sample(t / 4, 10, 1.0, 5.0, 40.0, 4) for t in range(21)]
    snap = snapshot(time=5.0 + later, queued=60, window=5.0)
    drawn = ElementTree.fromstring(picture.whole(snap, history, "", names=["waits"]))
    curve = next(line for line in drawn.iter(f"{SVG}polyline") if line.get("stroke") == BLUE)
    points = [tuple(map(float, point.split(","))) for point in curve.get("points").split()]
    assert (
        points[-1] == pytest.approx((WIDTH - charts.RIGHT, 28 + 62 * (1 - depth / 60)), abs=0.1)
        and points[0][0] >= charts.LEFT
    )


@pytest.mark.parametrize(("queued", "filled"), [(0, 0), (1, 1), (60, 60)])
def test_each_queued_job_fills_a_cell(queued, filled):
    drawn = ElementTree.fromstring(picture.whole(snapshot(queued=queued), [], ""))
    cells = [box for box in drawn.iter(f"{SVG}rect") if box.get("width") == "12"]
    assert len(cells) == 60 and sum(box.get("fill") != "none" for box in cells) == filled


@pytest.mark.parametrize("size", [1, 59, 61, 1000, 10**6])
def test_a_queue_of_any_length_fits_into_the_picture(size):
    drawn = ElementTree.fromstring(picture.whole(snapshot(queue_size=size, queued=size), [], ""))
    cells = [box for box in drawn.iter(f"{SVG}rect") if box.get("width") == "12"]
    assert 1 <= len(cells) <= 60 and all(box.get("fill") != "none" for box in cells)


def test_lines_stay_inside_of_their_charts_also_if_a_value_is_too_large():
    history = [Sample(t / 5, 500, 1e6, 1e6, 1e6, 4) for t in range(150)]
    drawn = ElementTree.fromstring(picture.whole(snapshot(), history, ""))
    points = [
        tuple(map(float, p.split(","))) for line in drawn.iter(f"{SVG}polyline") for p in line.get("points").split()
    ]
    assert points and all(0 <= x <= picture.WIDTH and 0 <= y <= picture.HEIGHT for x, y in points)


def test_an_error_text_cannot_become_markup():
    drawn = picture.whole(snapshot(), [], "<script>&")
    assert ElementTree.fromstring(drawn).find(f"{SVG}title").text == "<script>&"


def test_the_moves_are_those_of_the_jobs_between_two_frames_but_at_most_a_few():
    before = snapshot(submitted=10, queued=2, succeeded=5, failed=1, finished=6)
    assert picture.moves(before, before) == []
    after = before | {"submitted": 11, "queued": 2, "succeeded": 6, "finished": 7}
    assert len(picture.moves(before, after)) == 3, "one arrives, one starts, and one succeeds"
    many = before | {"submitted": 900, "queued": 50, "succeeded": 700, "failed": 101, "finished": 801}
    assert len(picture.moves(before, many)) == 4 * picture.MOST_MOVES


# --- a saved notebook -----------------------------------------------------------------------------------------------


def test_a_saved_notebook_keeps_the_same_picture_and_sentence_each_time():
    bundles = []
    for _ in range(2):
        widget = ControlRoom()
        bundles.append(widget._repr_mimebundle_())
        widget.close()
    (data, metadata), (again, _) = bundles
    assert data["text/plain"] == CAPTION == metadata["image/svg+xml"]["alt"] == again["text/plain"]
    assert data["image/svg+xml"] == again["image/svg+xml"]
    assert "application/vnd.jupyter.widget-view+json" in data
    root = ElementTree.fromstring(data["image/svg+xml"])
    assert root.find(f"{SVG}title").text == CAPTION
    addresses = re.findall(r"https?://[^\"]+", data["image/svg+xml"])
    assert set(addresses) == {"http://www.w3.org/2000/svg"}, "the name of the format; nothing is fetched"


def test_a_room_that_has_run_keeps_the_picture_of_its_run(widget):
    widget.room.start()
    wait_until(lambda: widget.room.snapshot()["succeeded"] > 20)
    widget.room.close()
    data, _ = widget._repr_mimebundle_()
    count = widget.room.snapshot()["succeeded"]
    assert f"{count:,}" in texts(data["image/svg+xml"])


def test_the_script_of_the_browser_asks_for_nothing_else():
    script = (ROOT / "helpers" / "control_room" / "control_room.js").read_text("utf-8")
    assert set(re.findall(r"https?://[\w./]+", script)) == {"http://www.w3.org/2000/svg"}
    assert not re.findall(r"\b(import|fetch|XMLHttpRequest|url)\b *[({\"']", script)
    assert len(script.splitlines()) <= 250


# --- the buttons ----------------------------------------------------------------------------------------------------


def test_the_messages_of_the_controls_do_what_they_say(widget):
    press(widget, "start")
    assert widget.frame["state"] == "running" and not widget.frame["may_start"]
    press(widget, "pause")
    assert widget.frame["state"] == "paused"
    press(widget, "pause")
    assert widget.frame["state"] == "running"
    press(widget, "workers", 5)
    press(widget, "rate", 50)
    press(widget, "mode", "slow")
    assert [widget.frame[name] for name in ("min_workers", "rate", "mode")] == [5, 50, "slow"]
    press(widget, "stop")
    wait_until(lambda: widget.frame["state"] == "stopped")
    assert widget.frame["may_start"]
    press(widget, "engine", "processes")
    assert widget.room.engine == "processes"


def test_the_two_sliders_of_a_pool_that_scales_itself_never_cross():
    widget = ControlRoom(workers=2, max_workers=6)
    press(widget, "workers", 9)
    assert (widget.room.workers, widget.room.max_workers) == (9, 9)
    press(widget, "max_workers", 4)
    assert (widget.room.workers, widget.room.max_workers) == (4, 4)
    widget.close()


def test_a_problem_is_shown_and_an_unknown_message_does_nothing(widget):
    press(widget, "kill")
    assert "a thread cannot be killed" in widget.frame["status"]
    press(widget, "engine", "fibers")
    assert "engine must be one of" in widget.frame["status"]
    before = widget.frame
    for message in ("explode", None, "__init__"):
        press(widget, message)
    assert widget.frame == before


def test_about_ten_frames_per_second_and_the_last_one_is_that_of_the_end(widget):
    seen = []
    widget.observe(lambda change: seen.append(change.new["state"]), "frame")
    widget.room.start()
    wait_until(lambda: widget.room.snapshot()["time"] > 2)
    widget.room.close()
    assert 5 <= len(seen) <= 25 and seen[-1] == "stopped" == widget.frame["state"]


def test_another_control_room_stops_the_first(widget):
    widget.room.start()
    other = ControlRoom()
    assert widget.room.state == "stopped"
    other.close()


# --- in a kernel ----------------------------------------------------------------------------------------------------

IN_KERNEL = """
import threading, time
from helpers.charts.style import BLUE
from helpers.control_room import ControlRoom
room = ControlRoom(engine="processes")
room.room.start()
while room.room.snapshot()["succeeded"] < 3:
    time.sleep(0.05)
"""
LEFT = "print(room.room.state, [t.name for t in threading.enumerate() if 'control' in t.name or 'Pool' in t.name])"


@pytest.fixture
def kernel(tmp_path):
    manager, client = start_new_kernel(env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=str(tmp_path))
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def execute(client, code: str) -> str:
    """Run a cell and return what it prints, or the name of its error."""
    said = []

    def note(message):
        content = message["content"]
        said.append(content.get("text") or content.get("ename") or "")

    client.execute_interactive(textwrap.dedent(code), output_hook=note, timeout=60, store_history=True)
    return "".join(said).strip()


def test_an_interrupted_cell_stops_the_room_and_leaves_no_thread(kernel):
    manager, client = kernel
    assert execute(client, IN_KERNEL) == ""
    assert execute(client, LEFT).startswith("running ['")
    waiting = client.execute("time.sleep(60)")
    time.sleep(0.5)
    manager.interrupt_kernel()
    assert client.get_shell_msg(timeout=60)["parent_header"]["msg_id"] == waiting
    assert execute(client, LEFT).endswith("stopped []")


def test_a_cell_that_is_run_again_leaves_one_run_and_a_kernel_that_ends_no_process(kernel):
    manager, client = kernel
    assert execute(client, IN_KERNEL) == ""
    assert execute(client, IN_KERNEL) == ""
    assert execute(client, LEFT).count("control-room") == 1
    pid = int(execute(client, "import os; print(os.getpid())"))
    children = psutil.Process(pid).children(recursive=True)
    assert children
    manager.shutdown_kernel()
    wait_until(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children))
