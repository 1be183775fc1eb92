"""The form of the notebooks: rules that strict nbval does not check, and that nbval really compares outputs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from helpers.self_check import PACKAGES

ROOT = Path(__file__).parents[1] / "notebooks"
CHAPTERS = sorted(ROOT.glob("[0-9]*.ipynb"))
SOLUTIONS = sorted(ROOT.glob("solutions/*.ipynb"))
GLOSSARY = ROOT / "glossary.ipynb"
TAGS = {"nbval-ignore-output", "nbval-check-output", "nbval-skip", "raises-exception", "exercise"}
UNCOMPARED = {"nbval-ignore-output", "nbval-skip"}
FORBIDDEN = {
    r"clear_output": "nbval cannot compare what is cleared",
    r"^%+time": "timings differ on every run",
    r";\s*\Z": "a semicolon does not suppress output under nbval",
    r"\binteract\(": "its outputs do not compare",
    r"warnings\.filter": "a warning is to be cured, not hidden",
}
METADATA = {  # as JupyterLab writes it; otherwise opening a notebook would change it
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
    },
}
MOST_LINES = 15
MOST_CHARACTERS = 88  # in a line of code: JupyterLab on a laptop shows this many
MOST_BYTES = 1_500_000


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


every = pytest.mark.parametrize("path", [*CHAPTERS, *SOLUTIONS, GLOSSARY], ids=name_of)
chapters = pytest.mark.parametrize("path", CHAPTERS, ids=name_of)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def tags(cell) -> set[str]:
    return set(cell.metadata.get("tags", []))


def test_there_are_notebooks_and_each_has_its_solutions():
    assert [p.name[:2] for p in CHAPTERS] == [f"{n:02}" for n in range(len(CHAPTERS))] and len(CHAPTERS) >= 3
    assert [p.name for p in SOLUTIONS] == [p.name for p in CHAPTERS]


@every
def test_every_cell_was_executed_in_one_run_from_top_to_bottom(path):
    assert [cell.execution_count for cell in code_cells(path)] == list(range(1, len(code_cells(path)) + 1))


@every
def test_metadata_and_ids_are_normal(path):
    notebook = read(path)
    language = dict(notebook.metadata["language_info"])
    assert re.fullmatch(r"3\.\d+\.\d+", language.pop("version"))
    assert {"kernelspec": notebook.metadata["kernelspec"], "language_info": language} == METADATA
    assert set(notebook.metadata) == set(METADATA), "no state of widgets, whose kernel has ended"
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[a-z0-9-]{3,40}", name) for name in ids)
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)
    assert path.stat().st_size < MOST_BYTES


@every
def test_tags_come_from_the_list_and_at_most_a_third_of_the_cells_is_not_compared(path):
    cells = code_cells(path)
    assert set().union(*map(tags, cells)) <= TAGS
    assert 3 * sum(bool(tags(cell) & UNCOMPARED) for cell in cells) <= len(cells)


@every
def test_a_cell_that_is_not_compared_still_asserts(path):
    for cell in code_cells(path):
        if tags(cell) & UNCOMPARED:
            assert re.search(r"^\s*assert\b", cell.source, re.M), f"{cell.id} checks nothing"


@every
def test_cells_are_short_and_have_nothing_that_nbval_cannot_handle(path):
    for cell in code_cells(path):
        assert len(cell.source.splitlines()) <= MOST_LINES, cell.id
        for pattern, reason in FORBIDDEN.items():
            assert not re.search(pattern, cell.source, re.M), f"{cell.id}: {reason}"


@chapters
def test_no_line_of_code_is_wider_than_the_page(path):
    if read(path).cells[0].id == "cell-00":
        pytest.skip("this chapter still has numbered cells: it has not been revised yet")
    for cell in code_cells(path):
        assert max(map(len, cell.source.splitlines())) <= MOST_CHARACTERS, cell.id


@every
def test_no_output_is_an_error_a_warning_or_the_address_of_an_object(path):
    for cell in code_cells(path):
        for output in cell.outputs:
            assert output.output_type != "error" or "raises-exception" in tags(cell), cell.id
            assert output.get("name") != "stderr", cell.id
            assert not re.search(r" at 0x[0-9a-f]{6,}", str(output.get("text", "") or output.get("data", {}))), cell.id


@every
def test_no_output_needs_a_running_kernel(path):
    for cell in code_cells(path):
        for output in cell.outputs:
            data = output.get("data", {})
            assert "application/vnd.jupyter.widget-view+json" not in data, cell.id
            assert "Box(children=" not in str(data.get("text/plain", "")), cell.id


@every
def test_every_picture_has_an_alternative_text(path):
    for cell in code_cells(path):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert len(output.metadata["image/png"]["alt"]) > 40, cell.id


@chapters
def test_a_chapter_has_the_usual_sections(path):
    notebook = read(path)
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert re.match(r"# \d\d · .+\n\n\*\*You will\*\* .+\n\n\*\*Time\*\*: \d+ minutes\.", prose[0], re.S)
    text = "\n".join(prose)
    assert "## Exercises" in text and "## Summary" in text and "**Next:**" in text
    assert 2 <= sum("exercise" in tags(cell) for cell in code_cells(path)) <= 3


@chapters
def test_a_chapter_names_its_prerequisites_and_links_to_its_neighbors(path):
    prose = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    assert "**You need**:" in prose[0]
    number = CHAPTERS.index(path)
    if number:
        assert f"**Back:** [{CHAPTERS[number - 1].stem[:2]} · " in prose[-1]
        assert f"]({CHAPTERS[number - 1].name})" in prose[-1]
        assert f"[here](solutions/{path.name})" in prose[-1]
    if path != CHAPTERS[-1]:
        assert f"]({CHAPTERS[number + 1].name})" in prose[-1].partition("**Next:**")[2]


@chapters
def test_every_exercise_describes_its_task(path):
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    asked = re.findall(r"^\*\*(\d)\. .+\*\* \((read|change|complete|find the bug|design)\)\. ", text, re.M)
    exercises = sum("exercise" in tags(cell) for cell in code_cells(path))
    assert [int(number) for number, _ in asked] == list(range(1, exercises + 1))


def test_the_instructors_page_lists_the_exercises_of_each_chapter():
    page = (ROOT / "INSTRUCTORS.md").read_text(encoding="utf-8")
    kinds = ["read", "change", "complete", "find the bug", "design"]
    for path in CHAPTERS:
        text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
        asked = re.findall(r"^\*\*(\d)\. .+\*\* \((" + "|".join(kinds) + r")\)\. ", text, re.M)
        row = " | ".join(", ".join(number for number, kind in asked if kind == column) for column in kinds)
        assert re.sub(" +", " ", f"| {path.stem[:2]} | {row} |") in page


def test_the_instructors_page_names_existing_sections():
    page = (ROOT / "INSTRUCTORS.md").read_text(encoding="utf-8")
    headings = {
        re.sub(r"^\d+\. |\?$", "", heading)
        for path in CHAPTERS
        for cell in read(path).cells
        if cell.cell_type == "markdown"
        for heading in re.findall(r"^##+ (.+)$", cell.source, re.M)
    }
    tables = page.partition("## Two timetables")[2].partition("## The exercises")[0]
    for name in re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", tables):
        assert any(heading.startswith(name.rstrip("?")) for heading in headings), name


@every
def test_no_link_is_broken(path):
    for cell in read(path).cells:
        for target in re.findall(r"\]\(([^)#]+)\)", cell.source) if cell.cell_type == "markdown" else []:
            if not target.startswith(("http", "mailto")):
                assert (path.parent / target).exists(), target


# What chapter 00 says of the others


def test_the_self_check_imports_every_package_that_a_chapter_imports():
    names = set()
    for path in CHAPTERS:
        for cell in code_cells(path):
            names |= set(re.findall(r"^(?:import|from) (\w+)", cell.source, re.MULTILINE))
    others = names - set(sys.stdlib_module_names) - {"helpers"}
    assert {"pandas", "scipy", "prometheus_client"} <= others <= set(PACKAGES)


SERVICES = {"database": "Database(", "API": "Api(", "mail server": "MailServer(", "sandbox": "run_in_sandbox("}


@pytest.mark.parametrize("service", SERVICES)
def test_chapter_00_names_the_chapters_that_need_a_service(service):
    using = [path.name[:2] for path in CHAPTERS if any(SERVICES[service] in cell.source for cell in code_cells(path))]
    [text] = [cell.source for cell in read(CHAPTERS[0]).cells if cell.id == "what-is-missing"]
    assert f"| {service} | {', '.join(using)} |" in text


# The glossary


def terms() -> list[tuple[str, str, str]]:
    """Return the rows of the glossary: term, meaning, and links to chapters."""
    text = "\n".join(cell.source for cell in read(GLOSSARY).cells)
    return re.findall(r"^\| \*\*(.+?)\*\* \| (.+?) \| (.+) \|$", text, re.M)


def test_the_glossary_is_a_page_of_text_in_alphabetical_order():
    assert not code_cells(GLOSSARY)
    names = [term.lower() for term, _, _ in terms()]
    assert len(names) >= 40 and names == sorted(set(names))


def test_each_term_of_the_glossary_occurs_in_the_chapters_that_it_names():
    texts = {path.name: "\n".join(cell.source for cell in read(path).cells).lower() for path in CHAPTERS}
    for term, _, links in terms():
        word = re.split(r"[ ,-]", term.lower())[0][:5]  # a chapter may write it in another form: retry, retries
        found = re.findall(r"\[(\d\d)\]\((.+?)\)", links)
        assert found and ", ".join(f"[{number}]({name})" for number, name in found) == links, term
        for number, name in found:
            assert name.startswith(f"{number}_") and word in texts[name], f"{term} does not occur in {name}"


@chapters
def test_a_chapter_that_mentions_the_glossary_links_to_it(path):
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    assert text.lower().count("glossary") == text.count("glossary](glossary.ipynb)") + text.count("](glossary.ipynb)")


def run_nbval(path: Path) -> subprocess.CompletedProcess:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "--nbval-current-env",
        "-p",
        "no:cacheprovider",
        "-q",
        str(path),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=path.parent)


CELL = tuple[str, str, list[str]]  # the source of a cell, its stored output, and its tags
MEASURED = ["nbval-ignore-output"]
NOTEBOOKS: dict[str, tuple[str, list[CELL]]] = {  # per name: a part of the report of the failure, and the cells
    "equal": ("", [("print('succeeded', 1 + 1)", "succeeded 2\n", [])]),
    "changed": ("succeeded 3", [("print('succeeded', 1 + 1)", "succeeded 3\n", [])]),
    "leaves_a_pool": (
        "WorkerPool-1-worker-1",
        [("from helpers.pools import WorkerPool; pool = WorkerPool(print, workers=1)", "", [])],
    ),
    "leaves_a_socket": (
        "listening on port",
        [("import socket; server = socket.create_server(('127.0.0.1', 0))", "", [])],
    ),
    "leaves_a_process": (
        "child process sleep",
        [("import subprocess; process = subprocess.Popen(['sleep', '30'])", "", [])],
    ),
    "third_measurement": ("", [("n = 0", "", []), ("n = n + 1", "", MEASURED), ("assert n >= 3", "", MEASURED)]),
    "in_a_new_kernel": (
        "",
        [
            ("import pathlib; runs = pathlib.Path('in_a_new_kernel.txt')", "", []),
            ("text = runs.read_text() if runs.exists() else ''; runs.write_text(text + 'x'); n = len(text)", "", []),
            ("print('a compared cell')", "a compared cell\n", []),
            ("assert n == 1", "", MEASURED),
            ("print('afterwards', n)", "afterwards 1\n", []),
        ],
    ),
    "no_measurement": (
        "assert n >= 5",
        [("n = 0", "", []), ("n = n + 1", "", MEASURED), ("assert n >= 5", "", MEASURED)],
    ),
    "compared_again": (
        "assert n >= 2",
        [("n = 0", "", []), ("n = n + 1", "", []), ("assert n >= 2", "", [])],
    ),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> str:
    """Run nbval once on all NOTEBOOKS, beside the additions to nbval, and return what it prints."""
    folder = tmp_path_factory.mktemp("notebooks")
    shutil.copy(ROOT / "conftest.py", folder)
    for name, (_, cells) in NOTEBOOKS.items():
        notebook = read(ROOT / "solutions" / "00_start_here.ipynb")
        notebook.cells = []
        for source, printed, marks in cells:
            outputs = [nbformat.v4.new_output("stream", name="stdout", text=printed)] if printed else []
            cell = nbformat.v4.new_code_cell(source, execution_count=1, outputs=outputs, metadata={"tags": marks})
            notebook.cells.append(cell)
        nbformat.write(notebook, folder / f"{name}.ipynb")
    return run_nbval(folder).stdout


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_nbval_fails_for_changed_outputs_things_left_behind_and_claims_that_are_false_again(report, name):
    words, _ = NOTEBOOKS[name]
    assert len(re.findall(rf"^FAILED \S*{name}\.ipynb::", report, re.MULTILINE)) == bool(words), report
    assert words in report


def test_a_measured_cell_is_run_again_with_the_measured_cells_before_it(report):
    assert "Cell 2 passed in measurement number 3" in report


def test_a_measured_cell_is_at_last_run_again_with_the_whole_notebook_in_a_new_kernel(report):
    assert "Cell 3 passed in measurement number 4" in report


@pytest.mark.long
def test_nbval_fails_for_a_changed_copy_of_a_real_notebook(tmp_path):
    """Change the first digit of the first compared output in a copy of 00, which has only the data that it reads."""
    notebook = read(ROOT / "00_start_here.ipynb")
    for cell in notebook.cells:
        if cell.cell_type == "code" and not tags(cell) & UNCOMPARED and cell.outputs:
            text = cell.outputs[0].get("text", "")
            if re.search(r"submitted \d", text):
                cell.outputs[0].text = re.sub(r"submitted \d", "submitted 9", text)
                break
    else:
        pytest.fail("no output to alter")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "benchmarks").mkdir()
    shutil.copy(ROOT.parent / "benchmarks" / "outcome.csv", tmp_path / "benchmarks")
    nbformat.write(notebook, tmp_path / "notebooks" / "altered.ipynb")
    red = run_nbval(tmp_path / "notebooks" / "altered.ipynb")
    assert red.returncode == 1 and red.stdout.count("FAILED") == 1 and "submitted 9" in red.stdout
