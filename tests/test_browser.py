"""The widgets in a real JupyterLab: `make lab` with a new profile, in windows of several sizes, used with the mouse.

For each notebook with widgets, the test runs the cells with imports and those that display widgets; these need no other
cells. SCREENSHOTS=folder stores pictures of the windows.
"""

import ast
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import matplotlib
import nbformat
import pytest
from axe import serious_faults

ROOT = Path(__file__).parents[1]
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
TOKEN = "of-this-test"  # Jupyter's token is required here too
WAIT = 120_000  # milliseconds after which a wait fails; passing tests never wait that long
LAPTOP, NARROW = {"width": 1366, "height": 768}, {"width": 800, "height": 768}
PHONE = {"width": 390, "height": 844}
IMPORTS = (ast.Import, ast.ImportFrom)
DISPLAYED = re.compile(r"^display\(panel\)$", re.M)  # a helpers.panel.Panel
CONTROL_ROOM = re.compile(r"\bControlRoom\(|^(control|display\(control\))$", re.M)  # made, or displayed, in this cell

pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium on this machine: the notebooks are not tested in a browser"
    ),
    pytest.mark.timeout(400),
]


def cells_to_run(path: Path, displayed: re.Pattern[str] = DISPLAYED) -> list[str]:
    """Return the ids of the cells with imports and of those that display widgets; empty if there are no widgets."""
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    shown = [cell.id for cell in code if displayed.search(cell.source)]
    imports = [cell.id for cell in code if all(isinstance(node, IMPORTS) for node in ast.parse(cell.source).body)]
    return [*imports, *shown] if shown else []


def source_of(path: Path) -> dict[str, str]:
    """Return the source of each cell of a notebook by its id."""
    return {cell.id: cell.source for cell in nbformat.read(path, as_version=4).cells}


NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
WITH_WIDGETS = [path.name for path in NOTEBOOKS if cells_to_run(path)]
WITH_ROOMS = [path.name for path in NOTEBOOKS if cells_to_run(path, CONTROL_ROOM)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Lab(NamedTuple):
    """A JupyterLab that runs: its address, and its root folder, which has a copy of the notebooks."""

    url: str
    root: Path

    @property
    def log(self) -> str:
        """The lines that it has printed, without a warning that a busy machine causes."""
        lines = (self.root / "lab.log").read_text().splitlines(keepends=True)
        return "".join(line for line in lines if "WebSocket ping timeout" not in line)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Start JupyterLab like `make lab`, but with a copy of the notebooks and an empty home folder."""
    root = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", root / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    (root / "home").mkdir()
    port = free_port()
    command = [sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser", "--expose-app-in-browser"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"]
    command += [f"--ServerApp.root_dir={root}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "IPYTHON"))}
    environment |= {"HOME": str(root / "home"), "JUPYTER_CONFIG_PATH": str(ROOT / "tools" / "jupyter")}
    environment |= {"MPLCONFIGDIR": matplotlib.get_cachedir()}  # building this cache takes long
    with (root / "lab.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=root, stdout=log, stderr=log, env=environment)
        try:
            found = Lab(f"http://127.0.0.1:{port}", root)
            deadline = time.monotonic() + WAIT / 1000
            while True:
                try:
                    urllib.request.urlopen(f"{found.url}/api", timeout=5).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline and server.poll() is None, found.log
                    time.sleep(0.1)
            yield found
        finally:
            server.terminate()
            server.wait(60)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture
def page(lab, browser):
    """Open a new page, and list the addresses that it requests in `page.requested`. End all kernels afterwards."""
    page = browser.new_page(viewport=LAPTOP)
    page.set_default_timeout(WAIT)
    page.requested = []
    page.on("request", lambda request: page.requested.append(request.url))
    yield page
    page.close()
    end_kernels(lab)


def end_kernels(lab) -> None:
    """Shut down the kernels of the notebooks that a test has opened."""
    headers = {"Authorization": f"token {TOKEN}"}
    with urllib.request.urlopen(urllib.request.Request(f"{lab.url}/api/sessions", headers=headers)) as answer:
        sessions = json.load(answer)
    for session in sessions:
        request = urllib.request.Request(f"{lab.url}/api/sessions/{session['id']}", headers=headers, method="DELETE")
        urllib.request.urlopen(request).close()


def only_local(page, lab) -> None:
    """Assert that the page has requested nothing from another server."""
    assert not [url for url in page.requested if not url.startswith((lab.url, "data:", "blob:"))]


def test_make_lab_uses_the_settings_that_are_tested_here():
    command = subprocess.run(["make", "-n", "lab"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert 'JUPYTER_CONFIG_PATH="tools/jupyter' in command


def test_every_notebook_with_widgets_is_tested():
    assert "02_basic_pool.ipynb" in WITH_WIDGETS and "05_dynamic_pool.ipynb" in WITH_ROOMS
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        assert path.name in WITH_WIDGETS or not re.search(r"import ipywidgets|helpers\.panel", text), path.name


def test_widgets_with_the_mouse(lab, page):
    for name in WITH_WIDGETS:
        file = lab.root / "notebooks" / name
        before = file.read_bytes()
        page.set_viewport_size(LAPTOP)
        open_notebook(page, lab, name)
        assert page.locator(".lm-TabBar-tab.jp-mod-dirty").count() == 0, "JupyterLab marks the notebook as changed"
        page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
        assert file.read_bytes() == before, "opening and saving has changed the file"
        cells, sources = cells_to_run(file), source_of(file)
        for cell in cells:
            if DISPLAYED.search(sources[cell]):
                try_widgets(page, cell, f"{name[:2]}-{cell}")
            else:
                run(page, cell)
    assert page.locator(".Toastify__toast").count() == 0, "a pop-up"
    only_local(page, lab)
    assert not re.search(r"^\[[WE] |Traceback|warning", lab.log, re.M | re.I), lab.log


def open_notebook(page, lab, name) -> None:
    page.goto(f"{lab.url}/lab/tree/notebooks/{name}?reset&token={TOKEN}", wait_until="domcontentloaded")
    page.locator(".jp-StatusBar-Widget").get_by_text(re.compile(r"\| Idle")).wait_for()
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()


def show(page, cell) -> None:
    """Scroll to the cell and make it the active cell."""
    page.evaluate(
        """async id => {
            const notebook = jupyterapp.shell.currentWidget.content;
            const index = notebook.widgets.findIndex(cell => cell.model.id === id);
            notebook.activeCellIndex = index;
            await notebook.scrollToItem(index, 'start');
        }""",
        cell,
    )


def run(page, cell) -> None:
    """Run the cell and wait until it is done. It must show no error and no warning."""
    show(page, cell)
    page.evaluate("() => jupyterapp.commands.execute('notebook:run-cell')")
    wrong = page.locator('[data-mime-type="application/vnd.jupyter.stderr"], [data-mime-type*="error"]')
    assert wrong.count() == 0, wrong.first.inner_text()


def try_widgets(page, cell, name) -> None:
    output = page.locator(".jp-Cell.jp-mod-active .jp-Cell-outputArea")
    show(page, cell)
    whole(output.locator("img"))  # the stored picture, before the cell is run
    keep(page, f"{name}-before")
    run(page, cell)
    show(page, cell)
    picture = output.locator(".widget-image")
    for window in (LAPTOP, {"width": 1400, "height": 900}, NARROW):
        page.set_viewport_size(window)
        output.locator(".widget-slider").first.scroll_into_view_if_needed()
        changes(page, picture, lambda: drag(page, output.locator(".widget-slider").first))
        for slider in output.locator(".widget-slider").all():
            drag(page, slider)
        whole(picture)
        keep(page, f"{name}-{window['width']}")


def whole(picture) -> tuple[int, int]:
    """Assert that the picture is not broken, is large enough to be read, and fits in its cell. Return its size."""
    picture.wait_for()
    width, height, natural, room = picture.evaluate(
        """async image => {
            await image.decode();
            const room = image.closest('.jp-OutputArea-output').clientWidth;
            return [image.clientWidth, image.clientHeight, image.naturalWidth, room];
        }"""
    )
    assert natural > 0 and 300 <= width <= room and height >= 150, (width, height, natural, room)
    return width, height


def changes(page, picture, act) -> None:
    """Run the block, and wait until the picture has changed."""
    before = picture.get_attribute("src")
    act()
    deadline = time.monotonic() + WAIT / 1000
    while picture.get_attribute("src") == before:
        assert time.monotonic() < deadline, "the picture does not change"
        page.wait_for_timeout(50)


def drag(page, slider) -> None:
    """Drag the handle of the slider to the end that is farther away. Its number must change."""
    readout = slider.locator(".widget-readout")
    before = readout.inner_text()
    handle, track = slider.locator(".noUi-handle").bounding_box(), slider.locator(".slider-container").bounding_box()
    window = page.viewport_size
    assert track["width"] >= 80 and track["x"] >= 0 and track["x"] + track["width"] <= window["width"], track
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    middle = track["x"] + track["width"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + (50 if x < middle else -50), y, steps=4)
    page.mouse.up()
    deadline = time.monotonic() + WAIT / 1000
    while readout.inner_text() == before:
        assert time.monotonic() < deadline, "the mouse does not move the slider"
        page.wait_for_timeout(50)


def keep(page, name) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


# --- the control room ---------------------------------------------------------------------------------------------

ROOM = "from helpers.control_room import ControlRoom\nControlRoom(seed=1)"
# Note when the text for screen readers changes, in milliseconds.
WATCH_STATUS = """element => {
    window.spoken = [];
    const note = () => spoken.push(performance.now());
    new MutationObserver(note).observe(element, { childList: true, characterData: true, subtree: true });
}"""
# What sticks out of the window, or cannot be reached: the distances in pixels.
OUTSIDE = """root => [...root.querySelectorAll("button, input, select, svg, p")]
    .filter(e => e.offsetParent !== null || e.tagName === "svg")
    .filter(e => e.getBoundingClientRect().left < 0 || e.getBoundingClientRect().right > innerWidth + 1)
    .map(e => e.outerHTML.slice(0, 100))"""


def open_room(lab, page):
    """Open a new notebook with a control room, run its cell, and return the control room."""
    cell = nbformat.v4.new_code_cell(ROOM, id="room")
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel})
    nbformat.write(notebook, lab.root / "notebooks" / "room.ipynb")
    open_notebook(page, lab, "room.ipynb")
    run(page, "room")
    room = page.locator(".control-room")
    room.wait_for()
    return room


def test_the_control_room_with_the_mouse_and_the_keyboard(lab, page):
    room = open_room(lab, page)
    use_the_keyboard(page, room)
    use_the_mouse(page, room)
    assert not room.evaluate(OUTSIDE), "a control or a picture is cut"
    assert not serious_faults(page, ".control-room")  # while the alert is firing
    keep(page, "room-laptop-alert")
    kill_a_worker(room)
    times = page.evaluate("() => spoken")
    gaps = [after - before for before, after in pairwise(times)]
    assert len(gaps) >= 2 and min(gaps) > 1900, "a screen reader needs two seconds between two texts"
    only_local(page, lab)
    assert page.locator(".jp-Notebook .jp-Cell").count() == 1, "no key was taken for a command of JupyterLab"


def test_the_control_room_on_a_phone_and_in_dark_colors(lab, page):
    room = open_room(lab, page)
    page.evaluate("() => jupyterapp.commands.execute('application:toggle-left-area')")
    dark = "JupyterLab Dark"
    page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', { theme })", dark)
    page.locator(f"body[data-jp-theme-name='{dark}']").wait_for(state="attached")
    page.set_viewport_size(PHONE)
    room.get_by_role("button", name="Start").click()
    shown(room, re.compile(r"[1-4] of 4 busy"))
    use_the_mouse(page, room)
    assert not room.evaluate(OUTSIDE), "a control or a picture is cut"
    assert not serious_faults(page, ".control-room")
    keep(page, "room-phone-alert")


def test_each_control_room_of_the_chapters_starts(lab, page):
    for name in WITH_ROOMS:
        file = lab.root / "notebooks" / name
        open_notebook(page, lab, name)
        for cell in cells_to_run(file, CONTROL_ROOM):
            show(page, cell)
            for picture in page.locator(".jp-Cell.jp-mod-active .jp-RenderedSVG img").all():
                whole(picture)  # the stored picture, before the cell is run
            run(page, cell)
        room = page.locator(".control-room").last
        room.get_by_role("button", name="Start").click()
        room.locator("button[aria-disabled=false]", has_text="Pause").wait_for()
        keep(page, f"room-{name[:2]}")
        room.get_by_role("button", name="Stop").click()
        room.locator("button[aria-disabled=false]", has_text="Start").wait_for()


def use_the_keyboard(page, room) -> None:
    """Start, pause, resume, and change a slider, with the keys that everybody uses."""
    room.locator(".status").evaluate(WATCH_STATUS)
    start, pause = (room.get_by_role("button", name=name) for name in ("Start", "Pause"))
    start.focus()
    page.keyboard.press("Enter")
    shown(room, re.compile(r"[1-4] of 4 busy"))
    assert start.evaluate("button => button === document.activeElement"), "a button that cannot be used keeps the focus"
    page.keyboard.press("Tab")
    assert pause.evaluate("button => button === document.activeElement"), "the next control is the next stop of Tab"
    page.keyboard.press("Space")
    room.get_by_role("button", name="Resume").wait_for()
    shown(room, re.compile(r"0 of 4 busy"))
    page.keyboard.press("Space")
    pause.wait_for()
    workers = room.get_by_role("slider", name="Workers")
    workers.focus()
    page.keyboard.press("ArrowRight")
    shown(room, re.compile(r"\d of 5 busy"))
    page.keyboard.press("ArrowLeft")
    shown(room, re.compile(r"\d of 4 busy"))


def use_the_mouse(page, room) -> None:
    """Make the service slow until the alert fires, and drag the slider of the arrivals."""
    room.get_by_label("slow").click()
    alert = room.locator(".alert[data-state=firing]")
    alert.wait_for()
    assert "Alert firing" in alert.inner_text()
    room.get_by_label("failing").click()
    counted(room, "failed", 1)
    slider = room.get_by_role("slider", name="Jobs per second")
    box = slider.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert int(slider.input_value()) > 70


def kill_a_worker(room) -> None:
    """Stop, choose processes, start, and kill the process of a worker."""
    kill = room.get_by_role("button", name="Kill a worker")
    assert kill.is_disabled(), "a thread cannot be killed"
    room.get_by_role("button", name="Stop").click()
    room.get_by_label("Engine").select_option("processes")
    room.get_by_label("normal").click()
    room.get_by_role("button", name="Start").click()
    counted(room, "succeeded", 1)
    kill.click()
    counted(room, "failed", 1)
    room.get_by_role("button", name="Stop").click()
    room.locator("button[aria-disabled=false]", has_text="Start").wait_for()


def shown(room, words) -> None:
    """Wait until the picture of the jobs has these words in it."""
    room.get_by_role("img", name="The way of the jobs").get_by_text(words).first.wait_for()


def counted(room, outcome, least) -> None:
    """Wait until the picture of the jobs, where a number stands above its name, has at least this number."""
    script = """([outcome, least]) => {
        const texts = [...document.querySelectorAll('.control-room svg text')].map(e => e.textContent);
        return Number(texts[texts.indexOf(outcome) - 1]) >= least;
    }"""
    room.page.wait_for_function(script, arg=[outcome, least])
