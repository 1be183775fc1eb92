"""Write results: a tidy CSV file into this folder, and a table between two markers of README.md."""

import os
import platform
import re
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from helpers import charts

HERE = Path(__file__).parent


def machine() -> str:
    """Return one line about the machine and the Python of a measurement."""
    return (
        f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores"
    )


def markdown(table: pd.DataFrame) -> str:
    """Return the table as Markdown, with its index as the first column."""
    table = table.reset_index()
    lines = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    lines += [
        [f"{value:g}" if isinstance(value, float) else str(value) for value in row]
        for row in table.to_numpy(dtype=object)
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write(name: str, raw: pd.DataFrame, shown: pd.DataFrame) -> None:
    """Write NAME.csv, put the table between its markers in README.md, and print it. Raises KeyError without markers."""
    raw.to_csv(HERE / f"{name}.csv", index=False, float_format="%.4g")
    readme = HERE / "README.md"
    text = readme.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if begin not in text:
        raise KeyError(f"benchmarks/README.md has no marker {begin}")
    block = f"{begin}\n{markdown(shown)}\n\n{machine()}\n{end}"
    readme.write_text(re.sub(f"{begin}.*?{end}", lambda _: block, text, flags=re.S), encoding="utf-8")
    print(f"\n{name}\n{shown.to_string()}\n", flush=True)


def draw(name: str, ax: Axes) -> None:
    """Write the chart to NAME.png."""
    (HERE / f"{name}.png").write_bytes(charts.png(ax))
