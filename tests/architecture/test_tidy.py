"""The style rules of the house that no linter knows, over every file of the repository.

Each rule is a function from a file to its offences, so that one test can show that it bites.
"""

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.architecture.source_files import (
    ROOT,
    named,
    python_files,
    repository_files,
    shipped_files,
    tree_of,
)

FUNCTION_LINES = 50
FILE_LINES = 300
COLUMNS = 100

# In pieces, so that this file does not accuse itself.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")

# What would make a decision depend on more than its inputs; the Clock and id ports give these.
IMPURE_MODULES = {"random", "secrets"}
IMPURE_CALLS = {
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
    *("time.time", "time.time_ns", "uuid.uuid1", "uuid.uuid4", "os.urandom"),
}
IMPURE_NAMES = {"uuid1", "uuid4", "urandom", "time_ns"}

FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
Offences = Iterator[str]


def long_functions(tree: ast.Module) -> Offences:
    """Find the functions above the limit, counted from `def` to their last line."""
    for node in ast.walk(tree):
        if isinstance(node, FUNCTION):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"line {node.lineno}: {node.name} has {lines} lines, not {FUNCTION_LINES}"


def missing_module_docstring(tree: ast.Module) -> Offences:
    """Find a module that does not say which concept lives in it."""
    if not ast.get_docstring(tree):
        yield "line 1: no module docstring"


def untold_public_names(tree: ast.Module) -> Offences:
    """Find public functions and classes whose docstring does not begin with a whole sentence."""
    for node in public_definitions(tree.body):
        first = (ast.get_docstring(node) or "").split("\n", 1)[0]
        if not first.endswith("."):
            yield f"line {node.lineno}: {node.name} has no sentence as its first docstring line"


def relative_imports(tree: ast.Module) -> Offences:
    """Find imports that begin with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"line {node.lineno}: a relative import"


def impurities(tree: ast.Module) -> Offences:
    """Find clocks and randomness."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            taken = {alias.name for alias in node.names} & IMPURE_MODULES
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            whole = {f"{node.module}.{name}" for name in names} & IMPURE_CALLS
            taken = ({str(node.module)} & IMPURE_MODULES) | (names & IMPURE_NAMES) | whole
        elif isinstance(node, ast.Attribute):
            taken = {call for call in IMPURE_CALLS if f".{ast.unparse(node)}".endswith(f".{call}")}
        else:
            continue
        for name in taken:
            yield f"line {node.lineno}: {name} belongs behind a port"


def floats(tree: ast.Module) -> Offences:
    """Find float literals, the type float (but where it is refused by isinstance), and `/`."""
    refusals = {
        id(name)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "isinstance"
        for name in ast.walk(call)
    }
    for node in ast.walk(tree):
        is_literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
        is_type = isinstance(node, ast.Name) and node.id == "float" and id(node) not in refusals
        is_division = isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)
        if is_literal or is_type or is_division:
            yield f"line {getattr(node, 'lineno', 0)}: a float"


def public_definitions(
    body: Iterable[ast.stmt],
) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """Walk the public functions and classes of a module, and the methods of those classes."""
    for node in body:
        if not isinstance(node, FUNCTION | ast.ClassDef) or node.name.startswith("_"):
            continue
        marks = {ast.unparse(mark).rpartition(".")[2] for mark in node.decorator_list}
        if marks & {"overload", "override", "setter"}:
            continue
        yield node
        if isinstance(node, ast.ClassDef):
            yield from public_definitions(node.body)


def offences_in(paths: Iterable[Path], rule: Callable[[ast.Module], Offences]) -> str:
    """Apply a rule to files, and list the offences, one a line."""
    return "\n".join(
        f"{named(path)}: {offence}" for path in paths for offence in rule(tree_of(path))
    )


@pytest.mark.parametrize("rule", [long_functions, missing_module_docstring, relative_imports])
def test_every_python_file_obeys(rule: Callable[[ast.Module], Offences]) -> None:
    assert offences_in(python_files(), rule) == ""


def test_every_public_name_is_told_in_a_sentence() -> None:
    assert offences_in(shipped_files(), untold_public_names) == ""


def test_rules_and_use_cases_have_no_clock_and_no_chance() -> None:
    assert offences_in(python_files("domain", "application"), impurities) == ""


def test_money_never_meets_a_float() -> None:
    assert offences_in(python_files("domain", "sdk/src/tollbook/recompute"), floats) == ""


def test_no_file_is_too_long_or_too_wide() -> None:
    offences = []
    for path in python_files():
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > FILE_LINES:
            offences.append(f"{named(path)}: {len(lines)} lines, not {FILE_LINES}")
        wide = [number for number, line in enumerate(lines, 1) if len(line) > COLUMNS]
        offences.extend(f"{named(path)}: line {number} is over {COLUMNS} wide" for number in wide)
    assert not offences, "\n".join(offences)


def test_nothing_is_left_for_later_in_the_code() -> None:
    code = {".py", ".sql", ".toml", ".sh", ".html", ".css", ".js", ""}
    offences = [
        named(path)
        for path in repository_files()
        if path.suffix in code and UNFINISHED.search(path.read_text("utf-8", errors="replace"))
    ]
    assert not offences, "\n".join(offences)


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (long_functions, "def f():\n" + "    pass\n" * FUNCTION_LINES),
        (missing_module_docstring, "x = 1"),
        (relative_imports, "from . import money"),
        (untold_public_names, "def f():\n    'no full stop'"),
        (untold_public_names, "class C:\n    'It is told.'\n    def f(self): ..."),
        (impurities, "import random"),
        (impurities, "import datetime\ndatetime.datetime.now()"),
        (impurities, "from time import time"),
        (impurities, "from uuid import uuid4"),
        (floats, "price = 0.1"),
        (floats, "def f(x: float) -> int: ..."),
        (floats, "half = 1 / 2"),
    ],
)
def test_the_rule_bites(rule: Callable[[ast.Module], Offences], source: str) -> None:
    assert list(rule(ast.parse(source)))


def test_the_files_are_found() -> None:
    """An empty list would let every rule above pass."""
    assert ROOT / "tests" / "architecture" / "test_tidy.py" in python_files()
    assert shipped_files()
