"""Write docs/api.md, the page of signatures of the public names. tests/test_package.py fails while the page is old.

    python tools/api.py

The signatures come from the source text and not from `inspect.signature`, whose output differs between versions of
Python. A class is listed with its constructor, its fields, and the public methods that it defines itself.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "api.md"
PACKAGES = {
    "helpers.pools": "The pools. They need the standard library only; `ImageProcessor` also needs Pillow.",
    "helpers.services": "The servers that the notebooks use. They need the extra `services`.",
    "helpers.measure": "Tables of results, and the laws of queues. They need the extra `notebooks`.",
    "helpers.charts": "The charts of the notebooks. They need the extra `notebooks`.",
    "helpers.control_room": "A pool to run by hand and to watch in JupyterLab. It needs the extra `notebooks`.",
}
HEAD = """\
# The public names

This page lists the signature of each public name. `tools/api.py` writes the page, and a test checks that the page is
current. For arguments, units, and errors, call `help()` on a name or read its docstring. What the pools promise beyond
their signatures is in [promises.md](promises.md).
"""
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def definition(thing: Any) -> Definition:
    """Return the syntax tree of a function or class. Raises TypeError if `thing` is neither."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(thing))).body
    if not isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        raise TypeError(f"a public name must be a function or a class: {ast.unparse(node)[:80]}")
    return node


def summary(node: Definition) -> str:
    """Return the first paragraph of the docstring in one line."""
    return " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())


def arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Return the arguments as the caller sees them, without `self` and `cls`."""
    positional = node.args.posonlyargs or node.args.args
    if positional and positional[0].arg in ("self", "cls"):
        del positional[0]
    return ast.unparse(node.args)


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef, prefix: str = "") -> str:
    """Return the name, the arguments, and the return type as one line."""
    keyword = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{keyword}{prefix}{node.name}({arguments(node)}){returned}"


def is_property(node: ast.AST) -> bool:
    return any(ast.unparse(decorator) == "property" for decorator in getattr(node, "decorator_list", []))


def public_fields(node: ast.ClassDef) -> list[str]:
    """Return the annotated names in the body of a class."""
    fields = [member for member in node.body if isinstance(member, ast.AnnAssign)]
    return [ast.unparse(field) for field in fields if not ast.unparse(field.target).startswith("_")]


def constructor(node: ast.ClassDef) -> tuple[str, list[str]]:
    """Return the call that creates an object, and the attributes that are not arguments of this call."""
    fields = public_fields(node)
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            return f"{node.name}({arguments(member)})", fields
    return f"{node.name}({', '.join(fields)})" if fields else node.name, []


def class_lines(node: ast.ClassDef) -> Iterator[str]:
    call, attributes = constructor(node)
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    yield f"- `class {call}`" + (f", based on `{bases}`" if bases else "")
    yield f"  {summary(node)}"
    for attribute in attributes:
        yield f"  - `.{attribute}`"
    for member in node.body:
        if isinstance(member, FUNCTIONS) and not member.name.startswith("_"):
            read = f".{member.name}: {ast.unparse(member.returns or ast.Constant(...))}"
            yield f"  - `{read if is_property(member) else signature(member, '.')}`: {summary(member)}"


def entry(module: Any, name: str) -> str:
    """Return the lines for one public name."""
    thing = getattr(module, name)
    if isinstance(thing, Path):
        return f"- `{name}: Path`"
    node = definition(thing)
    if isinstance(node, ast.ClassDef):
        return "\n".join(class_lines(node))
    return f"- `{signature(node)}`\n  {summary(node)}"


def page() -> str:
    """Return the text of the whole page."""
    parts = [HEAD]
    for package, about in PACKAGES.items():
        module = import_module(package)
        parts.append(f"## {package}\n\n{about}\n")
        parts.append("\n".join(entry(module, name) for name in module.__all__) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
    print(f"{PAGE}: {len(page().splitlines())} lines")
