"""The widgets in a real JupyterLab: `make lab` with a new profile, in windows of several sizes, used with the mouse.

For each notebook with widgets, the test runs the cells with imports and those that display widgets; these need no other
cells. SCREENSHOTS=folder stores pictures of the windows.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import matplotlib
import nbformat
import pytest

ROOT = Path(__file__).parents[1]
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
TOKEN = "of-this-test"  # Jupyter's token is required here too
WAIT = 120_000  # milliseconds after which a wait fails; passing tests never wait that long
LAPTOP, NARROW = {"width": 1366, "height": 768}, {"width": 800, "height": 768}
DISPLAYED = re.compile(r"^display\((panel|\w+\.box)\)$", re.M)  # a helpers.panel.Panel

pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium on this machine: the notebooks are not tested in a browser"
    ),
    pytest.mark.timeout(400),
]


def cells_to_run(path: Path) -> list[str]:
    """Return the ids of the cells with imports and of those that display widgets; empty if there are no widgets."""
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    shown = [cell.id for cell in code if DISPLAYED.search(cell.source)]
    return [code[0].id, *shown] if shown else []


WITH_WIDGETS = [path.name for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if cells_to_run(path)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def lab(tmp_path):
    """Start JupyterLab like `make lab`, but with a copy of the notebooks and an empty home folder."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    (tmp_path / "home").mkdir()
    port = free_port()
    command = [sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser", "--expose-app-in-browser"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"]
    command += [f"--ServerApp.root_dir={tmp_path}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "IPYTHON"))}
    environment |= {"HOME": str(tmp_path / "home"), "JUPYTER_CONFIG_PATH": str(ROOT / "tools" / "jupyter")}
    environment |= {"MPLCONFIGDIR": matplotlib.get_cachedir()}  # building this cache takes long
    with (tmp_path / "lab.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, env=environment)
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + WAIT / 1000
            while True:
                try:
                    urllib.request.urlopen(f"{url}/api", timeout=5).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline and server.poll() is None, (tmp_path / "lab.log").read_text()
                    time.sleep(0.1)
            yield url
        finally:
            server.terminate()
            server.wait(60)


@pytest.fixture
def page():
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page(viewport=LAPTOP)
        page.set_default_timeout(WAIT)
        yield page
        browser.close()


def test_make_lab_uses_the_settings_that_are_tested_here():
    command = subprocess.run(["make", "-n", "lab"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert 'JUPYTER_CONFIG_PATH="tools/jupyter' in command


def test_every_notebook_with_widgets_is_tested():
    assert {"02_basic_pool.ipynb", "05_dynamic_pool.ipynb"} <= set(WITH_WIDGETS)
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        assert path.name in WITH_WIDGETS or not re.search(r"import ipywidgets|helpers\.(panel|live)", text), path.name


def test_widgets_with_the_mouse(lab, page, tmp_path):
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    for name in WITH_WIDGETS:
        file = tmp_path / "notebooks" / name
        before = file.read_bytes()
        page.set_viewport_size(LAPTOP)
        open_notebook(page, lab, name)
        assert page.locator(".lm-TabBar-tab.jp-mod-dirty").count() == 0, "JupyterLab marks the notebook as changed"
        page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
        assert file.read_bytes() == before, "opening and saving has changed the file"
        imports, *shown = cells_to_run(file)
        run(page, imports)
        for cell in shown:
            try_widgets(page, cell, f"{name[:2]}-{cell}")
    assert page.locator(".Toastify__toast").count() == 0, "a pop-up"
    assert not [url for url in requests if not url.startswith((lab, "data:", "blob:"))]
    lines = (tmp_path / "lab.log").read_text().splitlines(keepends=True)
    log = "".join(line for line in lines if "WebSocket ping timeout" not in line)  # a busy machine causes this warning
    assert not re.search(r"^\[[WE] |Traceback|warning", log, re.M | re.I), log


def open_notebook(page, lab, name) -> None:
    page.goto(f"{lab}/lab/tree/notebooks/{name}?reset&token={TOKEN}", wait_until="domcontentloaded")
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
        size = whole(picture)
        start = output.get_by_role("button", name="Start")
        if start.count():
            changes(page, picture, start.click)
            assert whole(picture) == size, "the picture changes its size"
        else:
            changes(page, picture, lambda: drag(page, output.locator(".widget-slider").first))
        for slider in output.locator(".widget-slider").all():
            drag(page, slider)
        whole(picture)
        keep(page, f"{name}-{window['width']}")
        stop = output.get_by_role("button", name="Stop")
        if stop.count():
            stop.click()
            start.wait_for()


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
