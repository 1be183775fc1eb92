"""Estimate the minutes that a class needs for each section: print a Markdown table for notebooks/INSTRUCTORS.md.

The run time is measured on this machine. The reading time is computed from 150 words per minute and 5 seconds per line
of code, and an exercise takes five minutes. These three numbers are estimates; change them for your class.
"""

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat
from kernels import QUIET
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1] / "notebooks"
WORDS, LINE, EXERCISE = 150.0, 5.0, 5.0  # words per minute; seconds per line; minutes per exercise


class Section(NamedTuple):
    title: str
    minutes: float
    seconds: float  # run time, which is included in the minutes


def sections(path: Path) -> Iterator[Section]:
    """Run a notebook and yield its sections. The part before the first heading is called "(opening)"."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}}, config=QUIET)
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
    """Print the table for the named chapters, or for all."""
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
