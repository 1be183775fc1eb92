"""Build the web pages of the series from the stored outputs. The folder can be published without changes.

    python tools/pages.py                                             into pages/
    python tools/pages.py some/folder --repository https://host/me/it

Every notebook, solution, and document that matches SOURCES becomes a page, so a new file needs no change here. The
first page is the README, with the map and an abstract of each chapter. Links between pages are relative. A link to
another file of the repository leads to `--repository`, whose default is [project.urls] in pyproject.toml. Without an
address, such a link becomes plain text. The build uses no network, runs no cell, and fails if a link is broken.
"""

import argparse
import base64
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_output

ROOT = Path(__file__).parents[1]
SITE = ROOT / "tools" / "site"
SOURCES = ["notebooks/*.ipynb", "notebooks/solutions/*.ipynb", "notebooks/*.md", "docs/**/*.md", "benchmarks/README.md"]
PICTURES = {".png", ".jpg", ".svg", ".gif"}  # copied if they are in the folder of a document
WIDGET = "application/vnd.jupyter.widget-view+json"
NO_WIDGET = "*Run this notebook in JupyterLab to use the controls that appear here.*"
TOCTREE = "```{{toctree}}\n:{}:\n\n{}\n```\n"
EXERCISE = re.compile(r"\*\*(\d+\. [^*]+?)\.?\*\*\s*")  # the start of a solution: **1. The title.** Text …
CHAPTERS = re.compile(r"^## The notebooks\n.*?(?=^## |\Z)", flags=re.M | re.S)  # of the README


def sources(root: Path = ROOT) -> list[Path]:
    """Return the files that become pages, relative to `root`, in the order of SOURCES. The README is not among them."""
    return [path.relative_to(root) for pattern in SOURCES for path in sorted(root.glob(pattern))]


def title_and_abstract(notebook: NotebookNode) -> tuple[str, str]:
    """Return the heading of a notebook and the paragraph below it. Raises ValueError if it begins otherwise."""
    found = re.match(r"# (.+)\n\s*((?:.+\n?)*)", notebook.cells[0].source)
    if found is None:
        raise ValueError("a notebook must begin with a heading, `# title`, and a paragraph")
    return found[1].strip(), found[2].strip()


# --- differences between a page and JupyterLab ----------------------------------------------------------------------


def describe_pictures(notebook: NotebookNode) -> None:
    """Copy the alternative texts and widths of a cell's pictures to the cell's metadata, where conf.py finds them."""
    for cell in notebook.cells:
        kinds = [(kind, output) for output in cell.get("outputs", []) for kind in output.get("data", {})]
        found = [output.metadata.get(kind, {}) for kind, output in kinds if kind.startswith("image/")]
        if found:
            cell.metadata["pictures"] = [{"alt": one.get("alt", ""), "width": one.get("width")} for one in found]


def replace_widgets(notebook: NotebookNode) -> None:
    """Replace the text of each widget, such as `HBox(children=…`, with a note that the widget needs a kernel."""
    for cell in notebook.cells:
        for number, output in enumerate(cell.get("outputs", [])):
            data = output.get("data", {})
            if (
                data.pop(WIDGET, None)
                and set(data) <= {"text/plain"}
                and re.match(r"\w+\(", data.get("text/plain", ""))
            ):
                cell.outputs[number] = new_output("display_data", data={"text/markdown": NO_WIDGET})


def fold_solutions(notebook: NotebookNode) -> None:
    """Show only the titles of the solutions. A click opens one of them: its text, its code, and its output."""
    cells, is_open = [], False
    for cell in notebook.cells:
        begins = EXERCISE.match(cell.source) if cell.cell_type == "markdown" else None
        if is_open and (begins or (cell.cell_type == "markdown" and cell.source.startswith("#"))):
            cells.append(new_markdown_cell("</details>"))
            is_open = False
        if begins:
            cells.append(new_markdown_cell(f'<details class="solution"><summary>{begins[1]}</summary>'))
            cell.source = cell.source[begins.end() :]
            is_open = True
        elif not is_open and "exercise" in cell.metadata.get("tags", []):
            cell.metadata.tags.append("hide-input")  # a solution in another form: fold only its code
        cells.append(cell)
    notebook.cells = cells + [new_markdown_cell("</details>")] * is_open


# --- pages that are generated ---------------------------------------------------------------------------------------


def save_map(notebook: NotebookNode, path: Path) -> str:
    """Save the map that the first chapter draws and return its alternative text. Raises ValueError without a map."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []) if "series_map(" in cell.source else []:
            if "image/png" in output.get("data", {}):
                path.write_bytes(base64.b64decode(output.data["image/png"]))
                return str(output.metadata["image/png"]["alt"])
    raise ValueError("no cell of the first chapter calls series_map() and stores its picture")


def front_page(readme: str, chapters: dict[Path, NotebookNode], others: list[str], map_alt: str) -> str:
    """Return the README, with the map and the abstracts in place of its table of notebooks, and a list of all pages."""
    lines = ["## The chapters", f"![{map_alt}](map.png)"]
    for path, notebook in chapters.items():
        title, abstract = title_and_abstract(notebook)
        abstract = re.sub(r"\]\((?!\w+:|#)", f"]({path.parent.as_posix()}/", abstract)  # relative to the front page
        lines.append(f"**[{title}]({path.as_posix()})**\\\n{abstract}")
    text = "\n\n".join(lines) + "\n\n"
    readme, replaced = CHAPTERS.subn(lambda _: text, readme, count=1)
    readme = readme if replaced else f"{readme}\n\n{text}"
    pages = [*(path.with_suffix("").as_posix() for path in chapters), *others]
    return readme + "\n\n" + TOCTREE.format("hidden", "\n".join(pages))


def stage(target: Path, root: Path = ROOT) -> None:
    """Copy all sources to `target`, prepared for Sphinx, and write the front page and the list of the solutions."""
    chapters: dict[Path, NotebookNode] = {}
    solutions, others = [], ["notebooks/solutions/index"]
    for path in sources(root):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            shutil.copy(root / path, target / path)
            for picture in (root / path).parent.iterdir():
                if picture.suffix in PICTURES:
                    shutil.copy(picture, target / path.parent)
            others.append(path.with_suffix("").as_posix())
            continue
        notebook = nbformat.read(root / path, as_version=4)
        describe_pictures(notebook)
        replace_widgets(notebook)
        if path.parent.name == "solutions":
            fold_solutions(notebook)
            solutions.append(path.stem)
        elif path.stem[0].isdigit():
            chapters[path] = notebook
        else:
            others.insert(0, path.with_suffix("").as_posix())
        nbformat.write(notebook, target / path)
    map_alt = save_map(next(iter(chapters.values())), target / "map.png")
    front = front_page((root / "README.md").read_text("utf-8"), chapters, others, map_alt)
    (target / "index.md").write_text(front, "utf-8")
    text = "# Solutions\n\nTry the exercises first. Each solution is folded: a click on its title opens it.\n\n"
    text += TOCTREE.format("titlesonly", "\n".join(solutions))
    (target / "notebooks" / "solutions" / "index.md").write_text(text, "utf-8")


# --- the build ------------------------------------------------------------------------------------------------------


def repository() -> str:
    """Return the address of the public repository from pyproject.toml, or "" if there is none yet."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project.get("urls", {}).get("Repository", ""))


def build(output: Path, address: str, root: Path = ROOT) -> int:
    """Build the pages of `root` into `output`, which is replaced. Returns the exit code of Sphinx.

    Raises ValueError if the folder has files that do not come from an earlier build.
    """
    if output.exists() and any(output.iterdir()) and not (output / ".buildinfo").exists():
        raise ValueError(f"{output} holds files that are not pages of an earlier build: name another folder")
    shutil.rmtree(output, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        staged, cache = Path(folder, "source"), Path(folder, "cache")
        stage(staged, root)
        command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning"]
        command += ["--conf-dir", str(SITE), "--doctree-dir", str(cache), str(staged), str(output)]
        environment = os.environ | {"SERIES_ROOT": str(root), "SERIES_REPOSITORY": address.rstrip("/")}
        return subprocess.run(command, env=environment).returncode


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, nargs="?", default=ROOT / "pages")
    parser.add_argument("--repository", default="", help="the address of the public repository")
    options = parser.parse_args(arguments)
    if code := build(options.output, options.repository or repository()):
        return code
    print(f"{len(list(options.output.rglob('*.html')))} pages in {options.output}: open {options.output}/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
