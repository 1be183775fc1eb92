"""The notebooks with widgets in a real browser: all cells run, no error shows, a slider moves a chart."""

import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
TOKEN = "of-this-test"  # Jupyter's door stays locked here too
WITH_WIDGETS = [
    path.name
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    if "ipywidgets" in path.read_text(encoding="utf-8")
]

pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium on this machine: the notebooks are not tried in a browser"
    ),
    pytest.mark.timeout(240),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def lab(tmp_path):
    """JupyterLab on a copy of the notebooks, so that nothing a browser saves reaches the originals."""
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    port = free_port()
    command = [sys.executable, "-m", "jupyterlab", "--allow-root", "--no-browser", f"--port={port}"]
    command += ["--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}", "--LabApp.news_url=None"]
    command += [f"--ServerApp.root_dir={tmp_path}"]
    with (tmp_path / "lab.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 60
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
            server.wait(30)


@pytest.fixture
def page():
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser.new_page(viewport={"width": 1400, "height": 1000})
        browser.close()


@pytest.mark.long
@pytest.mark.parametrize("name", WITH_WIDGETS)
def test_run_all_and_move_a_slider(lab, page, name):
    page.goto(f"{lab}/lab/tree/notebooks/{name}?reset&token={TOKEN}", wait_until="domcontentloaded")
    status = page.locator(".jp-StatusBar-Widget")
    status.get_by_text(re.compile(r"\| Idle")).wait_for(timeout=90_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    slider = page.locator(".widget-slider .noUi-handle").first
    slider.wait_for(state="attached", timeout=120_000)
    wait_for_the_kernel(page, lab)
    assert page.locator('[data-mime-type="application/vnd.jupyter.stderr"], [data-mime-type*="error"]').count() == 0
    picture = page.locator(".jupyter-widgets.widget-image").first
    before = picture.get_attribute("src")
    assert before
    slider.scroll_into_view_if_needed()
    slider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "before => document.querySelector('.jupyter-widgets.widget-image').src !== before", arg=before, timeout=30_000
    )


def wait_for_the_kernel(page, lab) -> None:
    """Until the kernel has nothing left to do: all cells have run."""
    deadline = time.monotonic() + 120
    quiet = 0
    while quiet < 3:  # idle three times in a row: not just between two cells
        assert time.monotonic() < deadline, "the cells still run"
        kernels = page.request.get(f"{lab}/api/kernels").json()
        quiet = quiet + 1 if all(kernel["execution_state"] == "idle" for kernel in kernels) else 0
        page.wait_for_timeout(300)


def test_there_is_a_notebook_with_widgets():
    assert "02_basic_pool.ipynb" in WITH_WIDGETS
    assert nbformat.read(ROOT / "notebooks" / "02_basic_pool.ipynb", as_version=4).cells
