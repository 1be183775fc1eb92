"""Takes away what Windows does not have: a plugin for pytest (`-p without_posix`), or a module to import first.

No file of this repository can then import `resource` or `fcntl`. Packages of others still can, because they have other
code for Windows, and choose it by the name of the platform. `os.fork`, `os.sched_getaffinity`, and `signal.SIGKILL` are
gone for all.
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
    """Whether code with these globals lies in the repository, but not in an environment inside of it."""
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
