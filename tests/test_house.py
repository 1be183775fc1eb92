"""Rules for the files of the package: imports between the layers, what an import loads, and the form of helpers/pools.

The rules for helpers/pools have no exceptions. Split or rewrite a file that breaks one.
"""

import ast
import graphlib
import io
import json
import os
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import helpers

ROOT = Path(__file__).parents[1]
LAYERS = ["services", "pools", "measure", "charts", "control_room"]  # the lowest one first
MAY_IMPORT = {
    "services": set(),
    "pools": set(),
    "measure": {"pools"},
    "charts": {"measure"},
    "control_room": {"pools", "charts"},
}

POOLS = sorted((ROOT / "helpers" / "pools").glob("*.py"))
MAX_LINES_PER_FILE, MAX_METHODS, MAX_LINES_OF_CODE = 250, 20, 15
OUTSIDE = {"PIL"}  # the packages that helpers/pools may import; only the image pool needs this one

# The restaurant is an analogy of the notebooks. Code uses the standard terms: job, worker, queue, start, stop.
KITCHEN = re.compile(
    r"(?<![a-z])(kitchens?|cook(s|ed|ing)?|rails?|dish(es)?|chefs?|stoves?s?|hire[sd]?|hiring|home)(?![a-z])"
)
# "In the order in which they were sent" and "in this order" are allowed. "An order" and "orders" would mean jobs.
ORDERED = re.compile(r"(?<!in )\b(orders|(an|bad|each|every|new|next|no|one|other|per|this|whose) order)\b")

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
each_file_of_pools = pytest.mark.parametrize("path", POOLS, ids=lambda path: path.name)


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


# --- the layers of the package ------------------------------------------------------------------------------------


def imported_layers(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("helpers.")} & set(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_the_layers_below_it(layer):
    files = list((ROOT / "helpers" / layer).glob("*.py"))
    assert files
    for path in files:
        assert imported_layers(path) <= MAY_IMPORT[layer] | {layer}, path


def test_importing_the_pools_imports_only_the_standard_library():
    code = (
        "import json, sys; before = set(sys.modules); import helpers.pools; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    packages = {name.split(".")[0] for name in json.loads(out)}
    strangers = packages - set(sys.stdlib_module_names) - {"helpers"}
    assert not strangers
    assert not packages & {"asyncio", "smtplib", "ssl", "logging"}, "each of these costs more than all of the pools"


# --- the form of helpers/pools ------------------------------------------------------------------------------------


def code_lines(path: Path) -> set[int]:
    """Return the numbers of the lines that are neither blank nor only a comment. They include docstrings."""
    no_code = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type not in no_code:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return lines


def docstring_lines(tree: ast.AST) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Module)) and ast.get_docstring(node) is not None:
            lines |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return lines


def long_functions(path: Path) -> dict[str, int]:
    """Return the functions with too many lines of code in their body, and the number of these lines."""
    tree = parse(path)
    counted = code_lines(path) - docstring_lines(tree)
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            body = range(node.body[0].lineno, (node.end_lineno or 0) + 1)
            if (lines := len(counted & set(body))) > MAX_LINES_OF_CODE:
                found[f"line {node.lineno}: {node.name}"] = lines
    return found


def imports_at_run_time(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield all imports, including those inside functions, but not those under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in node.orelse:
                yield from imports_at_run_time(ast.Module([other], []))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        else:
            yield from imports_at_run_time(node)


def imported_neighbors(path: Path) -> set[str]:
    """Return the files of the same folder that this file imports. A name that is not a file comes from `__init__`."""
    names = set()
    files = {file.stem for file in path.parent.glob("*.py")}
    for node in imports_at_run_time(parse(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            found = {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
            names |= {name if name in files else "__init__" for name in found}
    return names


def public_definitions(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the public functions and classes of a module, and the public methods of its public classes."""
    for node in tree.body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (n for n in node.body if isinstance(n, FUNCTIONS) and not n.name.startswith("_"))


@each_file_of_pools
def test_a_file_of_the_pools_has_at_most_250_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES_PER_FILE


@each_file_of_pools
def test_a_class_of_the_pools_has_at_most_20_methods(path):
    classes = [node for node in ast.walk(parse(path)) if isinstance(node, ast.ClassDef)]
    methods = {node.name: sum(isinstance(member, FUNCTIONS) for member in node.body) for node in classes}
    assert not {name: count for name, count in methods.items() if count > MAX_METHODS}


@each_file_of_pools
def test_a_function_of_the_pools_has_at_most_15_lines_of_code(path):
    assert not long_functions(path)


def generators_left_early(tree: ast.AST) -> list[str]:
    """Return the calls that may leave a generator expression before its end."""
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("all", "any", "next")
        and any(isinstance(found, ast.GeneratorExp) for found in ast.walk(node))
    ]


@each_file_of_pools
def test_no_generator_expression_of_the_pools_is_left_early(path):
    assert not generators_left_early(parse(path)), "an exception of a signal handler gets lost there: see interrupts.py"


def test_a_generator_expression_that_may_be_left_early_is_found():
    tree = ast.parse(
        "any(x for x in y)\nnext(filter(None, (x for x in y)), None)\nall([x for x in y])\nmax(x for x in y)"
    )
    assert [found.split(":")[0] for found in generators_left_early(tree)] == ["line 1", "line 2"]


@each_file_of_pools
def test_every_import_within_the_pools_is_relative(path):
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1, f"line {node.lineno} leaves the folder, which can then not be copied"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names) | OUTSIDE, node.lineno


@each_file_of_pools
def test_no_string_in_the_code_of_the_pools_names_the_package(path):
    """A copy of the folder has another name, so the code must use `__name__` or `__package__`."""
    tree = parse(path)
    described = docstring_lines(tree)
    strings = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert not [node.lineno for node in strings if "helpers.pools" in node.value and node.lineno not in described]


def test_the_imports_within_the_pools_go_one_way():
    graph = {path.stem: imported_neighbors(path) for path in POOLS}
    assert graph["__init__"] and graph["channel"] == {"checks", "words"}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


@each_file_of_pools
def test_the_pools_use_the_standard_terms_and_not_those_of_a_kitchen(path):
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", path.read_text(encoding="utf-8")).lower()
    lines = enumerate(text.splitlines(), 1)
    assert not [f"line {n}: {line.strip()}" for n, line in lines if KITCHEN.search(line) or ORDERED.search(line)]


@each_file_of_pools
def test_every_public_name_of_the_pools_has_a_docstring(path):
    tree = parse(path)
    assert ast.get_docstring(tree)
    assert not [f"line {node.lineno}: {node.name}" for node in public_definitions(tree) if not ast.get_docstring(node)]


@pytest.mark.parametrize(
    ("text", "kitchen"),
    [
        ("class HeadChef:", True),
        ("_HOME = {}", True),
        ("# The cooks wait.", True),
        ("def hire_one(self):", True),
        ('raise ValueError("bad order")', True),
        ("# A worker takes the orders.", True),
        ("# Results come in the order in which the jobs finish.", False),
        ("# Read the files in this order.", False),
        ("from http.cookies import SimpleCookie", False),
        ("guardrail = homework = trailing", False),
    ],
)
def test_kitchen_terms_are_found_in_names_strings_and_comments(text, kitchen, tmp_path):
    path = tmp_path / "some.py"
    path.write_text(text, encoding="utf-8")
    if kitchen:
        with pytest.raises(AssertionError, match="line 1"):
            test_the_pools_use_the_standard_terms_and_not_those_of_a_kitchen(path)
    else:
        test_the_pools_use_the_standard_terms_and_not_those_of_a_kitchen(path)


@pytest.mark.parametrize("extra", [0, 1])
def test_only_lines_of_code_count_as_the_length_of_a_function(extra, tmp_path):
    path = tmp_path / "some.py"
    docstring = ['    """A docstring', '    of two lines."""']
    signature = ["@decorator", "def some(", "    first,", "    second,", "):", *docstring]
    code = ["", "    # A comment.", "    total = sum(", "        [first, second]", "    )"]
    lines = signature + code + ["    total += 1"] * (MAX_LINES_OF_CODE - 3 + extra)
    path.write_text("\n".join(lines), encoding="utf-8")
    assert long_functions(path) == ({"line 2: some": MAX_LINES_OF_CODE + 1} if extra else {})


def test_a_cycle_of_imports_is_found_unless_it_is_only_for_type_checkers(tmp_path):
    (tmp_path / "first.py").write_text("def run():\n    from .second import two\n", encoding="utf-8")
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .first import run\n"
    (tmp_path / "second.py").write_text(typed, encoding="utf-8")
    assert imported_neighbors(tmp_path / "first.py") == {"second"}
    assert imported_neighbors(tmp_path / "second.py") == set()
    (tmp_path / "second.py").write_text("from . import first\n", encoding="utf-8")
    assert imported_neighbors(tmp_path / "second.py") == {"first"}


# --- what is installed --------------------------------------------------------------------------------------------

# Print the version and the data files as setuptools reads them from pyproject.toml. It builds and installs nothing.
READ_SETTINGS = """
import json
from setuptools.config.pyprojecttoml import apply_configuration
from setuptools.dist import Distribution
found = apply_configuration(Distribution(), "pyproject.toml")
print(json.dumps({"version": found.get_version(), "data": found.package_data}))
"""
# A release as in PEP 440, without an epoch or a local version, which a released package does not have.
RELEASE = r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?"


def test_the_version_is_stated_once_and_the_type_hints_are_installed():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in settings["project"] and settings["project"]["dynamic"] == ["version"]
    assert settings["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "helpers.__version__"}
    assert re.fullmatch(RELEASE, helpers.__version__)
    assert "py.typed" in settings["tool"]["setuptools"]["package-data"]["helpers"]
    assert (ROOT / "helpers" / "py.typed").is_file()


@pytest.mark.skipif(not find_spec("setuptools"), reason="setuptools, which builds the package, is not installed here")
def test_the_version_that_is_installed_is_that_of_the_package():
    command = [sys.executable, "-c", READ_SETTINGS]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=ROOT).stdout
    found = json.loads(out.splitlines()[-1])
    assert found["version"] == helpers.__version__
    assert "py.typed" in found["data"]["helpers"]


# --- the tests ----------------------------------------------------------------------------------------------------


def test_the_page_about_the_tests_names_every_file():
    page = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+\.py)` \|", page, flags=re.M)
    assert sorted(named) == sorted(path.name for path in (ROOT / "tests").glob("*.py"))


# --- the shell scripts in tools/ ----------------------------------------------------------------------------------


def run_sh(script: str, *args: str, **env: str) -> subprocess.CompletedProcess:
    command = ["sh", str(ROOT / "tools" / script), *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | env, timeout=60)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no make and no sh; the README has commands for it")
def test_the_scripts_name_an_unknown_platform_and_a_missing_folder(tmp_path):
    refused = run_sh("wheelhouse.sh", str(tmp_path / "wheels"), "amiga")
    assert refused.returncode == 2
    assert "no platform amiga: it is one of linux, macos, macos-intel, windows" in refused.stderr
    refused = run_sh("install.sh", "requirements.txt", WHEELS=str(tmp_path / "nowhere"))
    assert refused.returncode == 2
    assert "nowhere to install from: make wheelhouse fills one" in refused.stderr
