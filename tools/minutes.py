"""How long a class needs for each section of each chapter: a Markdown table for notebooks/INSTRUCTORS.md.

Run time is measured here and now. Reading is counted: 150 words a minute, 5 seconds a line of code; an exercise is five
minutes. Those three are estimates; change them to what your class is like.
"""

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1] / "notebooks"
WORDS, LINE, EXERCISE = 150.0, 5.0, 5.0  # words a minute; seconds a line; minutes an exercise


class Section(NamedTuple):
    title: str
    minutes: float
    seconds: float  # of run time, in the minutes too


def sections(path: Path) -> Iterator[Section]:
    """Run a notebook and yield its sections; what stands before the first heading is called "(opening)"."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}})
    title, reading, running = "(opening)", 0.0, 0.0
    with client.setup_kernel():
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type == "markdown":
                parts = re.split(r"^## (.+)$", cell.source, flags=re.M)
                reading += len(parts[0].split()) / WORDS
                for name, text in zip(parts[1::2], parts[2::2], strict=True):
                    yield Section(title, reading + running / 60, running)
                    title, reading, running = name, len(text.split()) / WORDS, 0.0
                continue
            began = time.perf_counter()
            client.execute_cell(cell, number)
            running += time.perf_counter() - began
            exercise = "exercise" in cell.metadata.get("tags", [])
            reading += EXERCISE if exercise else len(cell.source.splitlines()) * LINE / 60
    yield Section(title, reading + running / 60, running)


def main(names: list[str]) -> None:
    """Print the table, for all chapters or those named."""
    print("| chapter | minutes | machine, s | of those minutes, by section |\n| --- | --- | --- | --- |")
    for path in sorted(ROOT.glob("[0-9]*.ipynb")):
        if names and path.name not in names:
            continue
        found = list(sections(path))
        whole, running = sum(s.minutes for s in found), sum(s.seconds for s in found)
        parts = " · ".join(f"{s.title.rstrip('?')} {s.minutes:.0f}" for s in found if s.minutes >= 0.5)
        print(f"| [{path.stem[:2]}]({path.name}) | {whole:.0f} | {running:.0f} | {parts} |")


if __name__ == "__main__":
    main(sys.argv[1:])
