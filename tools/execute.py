"""Run the notebooks from top to bottom and write their outputs back, so that two runs differ only in what was measured.

    python tools/execute.py                    every notebook
    python tools/execute.py notebooks/01*      these

Normalised: kernel and language metadata, execution counts, no time stamps, streams in one piece. Cell ids stay.
"""

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1] / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(path: Path) -> float:
    """Run one notebook in its own folder, as JupyterLab would. Returns seconds. Raises CellExecutionError."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata = nbformat.from_dict(METADATA)
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False,
        coalesce_streams=True,
    )
    begun = time.monotonic()
    client.execute()
    seconds = time.monotonic() - begun
    notebook.metadata = nbformat.from_dict(METADATA)  # the kernel has added its version
    normalise(notebook)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
    return seconds


def normalise(notebook: nbformat.NotebookNode) -> None:
    """No metadata but tags; no widgets, which die with their kernel, except where nbval asks for them."""
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if "nbval-ignore-output" in (tags or []):
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
        for output in cell.get("outputs", []):
            output.pop("transient", None)


def main(names: list[str]) -> None:
    paths = [Path(name) for name in names] or sorted(ROOT.glob("*.ipynb")) + sorted(ROOT.glob("solutions/*.ipynb"))
    for path in paths:
        print(f"{path.name}: {execute(path.resolve()):.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
