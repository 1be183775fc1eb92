"""The web pages: they are built once, checked as files, and opened in a real browser from a server on 127.0.0.1."""

import functools
import http.server
import posixpath
import re
import shutil
import sys
import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from axe import serious_faults
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import pages  # noqa: E402

REPOSITORY = "https://repository.example/series"
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
ONE_OF_EACH = [
    "index.html",
    "search.html",
    "docs/promises.html",
    "notebooks/02_basic_pool.html",
    "notebooks/solutions/02_basic_pool.html",
]
PYTHON = {"language_info": {"name": "python"}}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

pytestmark = pytest.mark.timeout(300)
in_a_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: the pages are not opened in it"
)


# --- the pages as files -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Build all pages with an address of the public repository, and return their folder."""
    output = tmp_path_factory.mktemp("pages") / "site"
    assert pages.build(output, REPOSITORY) == 0
    return output


@pytest.fixture(scope="module")
def parsed(site) -> dict[str, BeautifulSoup]:
    """Return each parsed page by its path relative to the root of the site."""
    return {
        path.relative_to(site).as_posix(): BeautifulSoup(path.read_text("utf-8"), "html.parser")
        for path in sorted(site.rglob("*.html"))
    }


def test_every_notebook_and_document_is_a_page_and_the_navigation_shows_all_but_the_solutions(parsed):
    expected = {path.with_suffix(".html").as_posix() for path in pages.sources()}
    assert len(list((ROOT / "notebooks").rglob("*.ipynb"))) < len(expected)
    assert set(parsed) == expected | {"index.html", "search.html", "notebooks/solutions/index.html"}
    for name, page in parsed.items():
        links = [urlsplit(link["href"]).path for link in page.select('nav[aria-label="Chapters"] a')]
        there = {posixpath.normpath(posixpath.join(posixpath.dirname(name), link)) if link else name for link in links}
        assert there == {path for path in expected if "solutions" not in path} | {"notebooks/solutions/index.html"}, (
            name
        )


def test_every_page_has_a_title_of_its_own_and_a_list_of_its_contents(parsed):
    titles = {name: page.title.get_text() for name, page in parsed.items()}
    assert titles.pop("index.html") == "The worker pool in Python"
    assert len(set(titles.values())) == len(titles)
    for name, title in titles.items():
        heading = parsed[name].h1.get_text().removesuffix("#")
        own = re.split(r" [·-] The worker pool in Python$", title)[0]
        assert own != title and own.replace("'", "’") == heading.replace("'", "’"), name
        sections = parsed[name].select("article section section")
        contents = parsed[name].select(".page-toc a[href^='#']")
        assert bool(sections) == bool(contents), name


def test_every_link_leads_to_a_page_and_a_place_in_it_or_to_a_file_of_the_repository(parsed, site):
    ids = {name: {tag["id"] for tag in page.select("[id]")} for name, page in parsed.items()}
    counted = 0
    for name, page in parsed.items():
        for tag in page.select("[href], [src]"):
            url = urlsplit(tag.get("href") or tag.get("src"))
            if url.scheme == "data":
                continue
            if url.scheme or url.netloc:
                assert tag.name == "a", f"{name} requests {tag} from another server"
                if url.netloc == urlsplit(REPOSITORY).netloc and url.path.strip("/") != "series":
                    assert (ROOT / unquote(url.path).removeprefix("/series/blob/HEAD/")).exists(), f"{name}: {tag}"
                continue
            target = (site / name).parent.joinpath(unquote(url.path)).resolve() if url.path else site / name
            assert target.is_file() and target.is_relative_to(site.resolve()), f"{name}: {tag}"
            if url.fragment:
                path = target.resolve().relative_to(site.resolve()).as_posix()
                assert unquote(url.fragment) in ids[path], f"{name}: {tag}"
            counted += 1
    assert counted > 20 * len(parsed)


def test_no_style_sheet_requests_anything_from_another_server(site):
    sheets = list(site.rglob("*.css"))
    assert len(sheets) > 3
    for sheet in sheets:
        text = re.sub(r"/\*.*?\*/", "", sheet.read_text("utf-8"), flags=re.S)
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)\s]*", text), sheet


def test_the_front_page_shows_the_map_and_the_abstract_of_every_chapter(parsed):
    page = parsed["index.html"]
    assert page.select_one('img[src$="map.png"]')["alt"]
    text = " ".join(page.article.get_text().split())
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        title, abstract = pages.title_and_abstract(nbformat.read(path, as_version=4))
        words = re.sub(r"[*`]|\]\([^)]*\)|\[", "", " ".join(abstract.split())).replace("'", "’")
        assert title in text and words[:60] in text.replace("'", "’"), path


def test_every_picture_has_an_alternative_text(parsed):
    images = [(name, image) for name, page in parsed.items() for image in page.select("article img")]
    assert len(images) > 20
    assert not [(name, image["src"]) for name, image in images if len(image.get("alt", "")) < 10]


def test_solutions_are_folded(parsed):
    for path in sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb")):
        page = parsed[path.relative_to(ROOT).with_suffix(".html").as_posix()]
        cells = [
            cell for cell in nbformat.read(path, as_version=4).cells if "exercise" in cell.metadata.get("tags", [])
        ]
        folded = [fold for fold in page.select("details") if not fold.has_attr("open")]
        assert cells and folded
        shown = page.article.get_text()
        for fold in folded:
            assert fold.summary.get_text().strip()
            shown = shown.replace(fold.get_text(), "")
        for cell in cells:
            assert max(cell.source.splitlines(), key=len).strip() not in shown, path


# --- small sites for special cases --------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path) -> Path:
    """Return a repository with one document and one chapter, which has a map, a formula, a widget, and two pictures."""
    picture = {"image/png": PNG}
    the_map = new_output("display_data", picture, metadata={"image/png": {"alt": "the map"}})
    chart = new_output("display_data", picture, metadata={"image/png": {"alt": "a chart", "width": 300}})
    controls = new_output("display_data", {pages.WIDGET: {"model_id": "0"}, "text/plain": "HBox(children=(Button()))"})
    cells = [
        new_markdown_cell(
            "# 00 · First\n\nHow $N = \\lambda W$ [helps](../docs/words.md#the-law).\n\n**Time**: 1 minute."
        ),
        new_code_cell("charts.series_map()", outputs=[the_map, chart], execution_count=1),
        new_code_cell("controls", outputs=[controls], execution_count=2),
        new_markdown_cell("[a file](../pool.py), [here](#Why-not?), [all](solutions)\n\n## Why not?"),
    ]
    solution = [
        new_markdown_cell("# Solutions · 00 · First"),
        new_markdown_cell("**1. The answer.** It is easy."),
        new_code_cell("answer = 42", metadata={"tags": ["exercise"]}, execution_count=1),
        new_markdown_cell("## More"),
        new_code_cell("other = 43", metadata={"tags": ["exercise"]}, execution_count=2),
    ]
    root = tmp_path / "a repository"
    for folder in ("notebooks/solutions", "docs"):
        (root / folder).mkdir(parents=True)
    nbformat.write(new_notebook(cells=cells, metadata=PYTHON), root / "notebooks" / "00_first.ipynb")
    nbformat.write(new_notebook(cells=solution, metadata=PYTHON), root / "notebooks" / "solutions" / "00_first.ipynb")
    (root / "docs" / "words.md").write_text("# Words\n\n## The law\n\n[back](../README.md)\n", encoding="utf-8")
    (root / "README.md").write_text("# Small\n\nHello.\n\n[first](notebooks/00_first.ipynb)\n", encoding="utf-8")
    (root / "pool.py").touch()
    return root


def test_a_site_without_a_public_repository(small, tmp_path):
    output = tmp_path / "site"
    assert pages.build(output, "", small) == 0
    page = BeautifulSoup((output / "notebooks" / "00_first.html").read_text("utf-8"), "html.parser")
    links = {link.get_text(): link["href"] for link in page.select("article p a")}
    assert links == {"helps": "../docs/words.html#the-law", "here": "#why-not", "all": "solutions/index.html"}
    assert page.select_one("#why-not") and "a file" in page.article.get_text()
    assert page.article.math.get_text().replace(" ", "") == "N=λW" and not page.select('script[src*="mathjax" i]')
    assert [(image["alt"], image.get("style", "")) for image in page.select("article img")] == [
        ("the map", ""),
        ("a chart", "width: 300px;"),
    ]
    assert "HBox" not in page.get_text() and "in JupyterLab to use the controls" in page.article.get_text()
    solved = BeautifulSoup((output / "notebooks" / "solutions" / "00_first.html").read_text("utf-8"), "html.parser")
    first, second = solved.article.select("details")
    assert first.summary.get_text() == "1. The answer"
    assert "It is easy." in first.get_text() and "answer = 42" in first.get_text()
    assert "other = 43" in second.get_text() and not second.has_attr("open")
    front = BeautifulSoup((output / "index.html").read_text("utf-8"), "html.parser")
    assert front.select_one('article a[href="docs/words.html#the-law"]'), (
        "a link of an abstract, relative to the front page"
    )


@pytest.mark.long
def test_a_broken_link_fails_the_build_and_is_named(small, tmp_path, capfd):
    links = ["../pool.go", "../docs/words.md#the-rule", "#nowhere"]
    text = "\n\n".join(f"[lost]({link})" for link in links)
    (small / "docs" / "more.md").write_text(f"# More\n\n{text}\n", encoding="utf-8")
    earlier = tmp_path / "site"
    earlier.mkdir()
    (earlier / ".buildinfo").touch()
    (earlier / "old.html").touch()
    assert pages.build(earlier, "", small) != 0
    said = re.findall(r"more\.md.*the link to (\S+) leads nowhere", capfd.readouterr().err)
    assert said == links
    assert not (earlier / "old.html").exists(), "an earlier build is replaced"


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("my only copy", encoding="utf-8")
    with pytest.raises(ValueError, match="name another folder"):
        pages.build(tmp_path, "")
    assert (tmp_path / "thesis.txt").exists()


def test_a_notebook_without_a_heading_and_an_abstract_is_refused():
    with pytest.raises(ValueError, match="must begin with a heading"):
        pages.title_and_abstract(new_notebook(cells=[new_markdown_cell("Hello.")]))


# --- the pages in a browser ---------------------------------------------------------------------------------------


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def address(site):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


# Elements that are wider than the window, or that are cut off in a box. Both are measured in pixels.
CUT = """() => [...document.querySelectorAll("article pre, article table, article img, article p")]
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1
        || (e.matches("pre") && e.scrollWidth > e.clientWidth + 1))
    .map(e => e.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def visited(address, browser, parsed) -> dict[str, dict]:
    """Open each page in a phone's window and print it on A4. Return its requests, its errors, and measurements."""
    seen = {}
    page = browser.new_page()
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    for name in parsed:
        requests.clear()
        errors.clear()
        page.emulate_media(media="screen")
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(f"{address}/{name}")
        width = page.evaluate("() => Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)")
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 718, "height": 1000})  # A4 without the browser's margins
        folded = page.evaluate(
            "() => [...document.querySelectorAll('details pre')].filter(e => !e.offsetHeight).length"
        )
        seen[name] = {
            "requests": list(requests),
            "errors": list(errors),
            "width": width,
            "cut": page.evaluate(CUT),
            "folded": folded,
        }
    page.close()
    return seen


@in_a_browser
def test_no_page_sends_a_request_to_another_server_or_raises_an_error(visited, address):
    for name, seen in visited.items():
        assert len(seen["requests"]) > 5, name
        assert not [url for url in seen["requests"] if not url.startswith((f"{address}/", "data:"))], name
        assert not seen["errors"], name


@in_a_browser
def test_no_page_scrolls_sideways_in_a_window_of_390_pixels(visited):
    assert not {name: seen["width"] for name, seen in visited.items() if seen["width"] > 390}


@in_a_browser
def test_nothing_is_cut_or_folded_on_paper(visited):
    assert not {name: seen["cut"] for name, seen in visited.items() if seen["cut"]}
    assert not {name: seen["folded"] for name, seen in visited.items() if seen["folded"]}


@in_a_browser
def test_dark_pages_are_printed_with_the_colors_for_paper(address, browser):
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(f"{address}/docs/promises.html")
    for media, theme in (("screen", "dark"), ("print", "light"), ("screen", "dark")):
        page.emulate_media(media=media)
        page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)
    context.close()


@in_a_browser
def test_the_navigation_opens_on_a_phone_and_the_search_finds_a_word_of_the_text(address, browser):
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(f"{address}/index.html")
    chapter = page.get_by_role("navigation", name="Chapters").get_by_role("link", name="02 · The basic pool")
    assert not chapter.is_visible()
    page.get_by_role("button", name="Site navigation").click()
    chapter.click()
    page.wait_for_url("**/02_basic_pool.html")
    page.goto(f"{address}/search.html?q=backpressure")
    page.get_by_role("link", name="00 · Start here").first.wait_for()
    page.close()


# --- axe, a checker of accessibility ------------------------------------------------------------------------------


@in_a_browser
@pytest.mark.parametrize(
    ("which", "scheme"),
    [
        ("one of each", "light"),
        pytest.param("all", "light", marks=pytest.mark.long),
        pytest.param("all", "dark", marks=pytest.mark.long),
    ],
)
def test_axe_finds_no_serious_fault(address, browser, parsed, which, scheme):
    context = browser.new_context(viewport={"width": 1366, "height": 768}, color_scheme=scheme)
    page = context.new_page()
    faults = {}
    for name in ONE_OF_EACH if which == "one of each" else parsed:
        page.goto(f"{address}/{name}")
        faults[name] = serious_faults(page)
    context.close()
    assert not {name: found for name, found in faults.items() if found}


@in_a_browser
def test_axe_finds_a_fault(browser):
    page = browser.new_page()
    page.set_content('<html lang="en"><title>A page</title><h1 style="color: #ccc">pale</h1><a href="/x"></a></html>')
    assert {found[0] for found in serious_faults(page)} == {"color-contrast", "link-name"}
    page.close()
