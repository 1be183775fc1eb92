"""Run the notebooks from top to bottom and write their outputs to the files.

    python tools/execute.py                    every notebook
    python tools/execute.py notebooks/01*      these notebooks

Two runs differ only in measured values. To ensure this, the tool writes the metadata of the kernel and the language as
JupyterLab does, writes no time stamps, joins the pieces of a stream, and keeps the ids of the cells. Widgets exist only
while their kernel runs, so for a cell that displays them the file has their picture and caption (helpers/panel.py).
"""

import sys
import time
from pathlib import Path

import nbformat
from kernels import QUIET
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1] / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def execute(path: Path) -> float:
    """Run one notebook in its own folder, like JupyterLab. Return the seconds it took. Raises CellExecutionError."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False,
        coalesce_streams=True,
        config=QUIET,
    )
    begun = time.monotonic()
    client.execute()
    seconds = time.monotonic() - begun
    normalise(notebook)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    return seconds


def normalise(notebook: nbformat.NotebookNode) -> None:
    """Remove all metadata but the kernel, the language, and the cells' tags, and remove the views of widgets."""
    language = notebook.metadata.get("language_info", {})  # the kernel has set it
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": language})
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if "nbval-ignore-output" in tags:  # a progress bar; in a compared cell its text must stay
            cell.outputs = [output for output in cell.outputs if not only_a_widget(output.get("data", {}))]
        for output in cell.get("outputs", []):
            output.pop("transient", None)
            output.get("data", {}).pop(WIDGET, None)


def only_a_widget(data: dict[str, object]) -> bool:
    """Return whether an output is a widget without a picture for readers who have no kernel."""
    return WIDGET in data and not any(kind.startswith("image/") for kind in data)


def main(names: list[str]) -> None:
    paths = [Path(name) for name in names] or sorted(ROOT.glob("*.ipynb")) + sorted(ROOT.glob("solutions/*.ipynb"))
    for path in paths:
        print(f"{path.name}: {execute(path.resolve()):.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
