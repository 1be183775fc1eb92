"""Find flaky notebooks: run strict nbval on the whole series five times in a row, while every core is kept busy.

    python tools/flakiness.py                   continue where the last call stopped, until all rounds are done
    python tools/flakiness.py --minutes 8       start no further notebook after eight minutes
    python tools/flakiness.py --rounds 1

The outcomes are kept in .flakiness.json, together with a digest of the notebooks and of `helpers`. After a change of
either, all rounds start again. Exit code 0: all runs passed; 1: a run failed; 3: not finished yet.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
STATE = ROOT / ".flakiness.json"
COMMAND = [sys.executable, "-m", "pytest", "-q", "--nbval"]
GREEN, RED, UNFINISHED = 0, 1, 3


def notebooks() -> list[str]:
    """Return every chapter and solution as a path relative to the root."""
    return [str(path.relative_to(ROOT)) for path in sorted((ROOT / "notebooks").rglob("[0-9]*.ipynb"))]


def mark() -> str:
    """Return a digest of everything that an outcome depends on: `helpers`, and the cells with the outputs compared."""
    parts = [path.read_text("utf-8") for path in sorted((ROOT / "helpers").rglob("*.py"))]
    for notebook in notebooks():
        for cell in json.loads((ROOT / notebook).read_text("utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                compared = "nbval-ignore-output" not in cell["metadata"].get("tags", [])
                shown = [
                    {**output, "data": None} if "image/png" in output.get("data", {}) else output
                    for output in cell["outputs"]
                ]
                parts.append(json.dumps([cell["source"], cell["metadata"], shown if compared else []]))
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def load() -> dict[str, str]:
    """Return the outcomes so far, "round notebook" -> "passed" or the failure. Empty if the digest has changed."""
    state = json.loads(STATE.read_text()) if STATE.exists() else {}
    return state["outcomes"] if state.get("mark") == mark() else {}


def spin(parent: int) -> None:
    """Keep a core busy until this process is killed or the parent is gone."""
    while os.getppid() == parent:
        pass


@contextmanager
def busy_cores() -> Iterator[None]:
    """Run one process per core that computes all the time."""
    spinners = [
        multiprocessing.get_context("spawn").Process(target=spin, args=(os.getpid(),), daemon=True)
        for _ in range(os.cpu_count() or 1)
    ]
    for spinner in spinners:
        spinner.start()
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.join()


def run(notebook: str) -> str:
    done = subprocess.run([*COMMAND, notebook], cwd=ROOT, capture_output=True, text=True)
    return "passed" if done.returncode == 0 else done.stdout[-4000:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    outcomes, digest = load(), mark()
    todo = [f"{n} {notebook}" for n in range(1, options.rounds + 1) for notebook in notebooks()]
    with busy_cores():
        for key in todo:
            if key in outcomes:
                continue
            if time.monotonic() > until:
                break
            outcomes[key] = run(key.split(" ", 1)[1])
            STATE.write_text(json.dumps({"mark": digest, "outcomes": outcomes}, indent=1))
            print(f"{key}: {outcomes[key][-1000:]}", flush=True)
    failed = [key for key in todo if outcomes.get(key, "passed") != "passed"]
    missing = [key for key in todo if key not in outcomes]
    print(f"{len(todo) - len(missing)} of {len(todo)} runs, {len(failed)} failed: {', '.join(failed) or 'none'}")
    return RED if failed else UNFINISHED if missing else GREEN


if __name__ == "__main__":
    sys.exit(main())
