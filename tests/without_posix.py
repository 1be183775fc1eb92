"""Remove names that Windows does not have. Use it as a plugin of pytest (`-p without_posix`), or import it first.

Files of this repository can then not import `resource` or `fcntl`. Other packages still can: they have other code for
Windows, which they choose by the name of the platform. `os.fork`, `os.sched_getaffinity`, and `signal.SIGKILL` are
removed for all code.
"""

import builtins
import os
import signal
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = str(Path(__file__).resolve().parents[1])
MODULES = {"resource", "fcntl"}

import_anything = builtins.__import__


def is_ours(namespace: Any) -> bool:
    """Return whether code with these globals is in the repository, but not in a virtual environment inside it."""
    file = str((namespace or {}).get("__file__") or "")
    return file.startswith(ROOT) and "site-packages" not in file


def import_as_on_windows(name: str, globals: Any = None, *rest: Any, **options: Any) -> ModuleType:
    if name.partition(".")[0] in MODULES and is_ours(globals):
        raise ModuleNotFoundError(f"No module named {name!r}, as on Windows", name=name)
    return import_anything(name, globals, *rest, **options)


builtins.__import__ = import_as_on_windows
for module, names in ((os, ("fork", "sched_getaffinity")), (signal, ("SIGKILL",))):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
if hasattr(os, "process_cpu_count"):  # from Python 3.13 on; elsewhere, it calls `sched_getaffinity`
    os.process_cpu_count = os.cpu_count
