"""The one list of our environment variables has all that are read or told of, and no other."""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from tollbook.variables import KNOWN, PREFIX

from entrypoints.settings import ServeSettings
from tests.architecture.source_files import (
    ROOT,
    named,
    python_files,
    repository_files,
    shipped_files,
    tree_of,
)

NAME = re.compile(r"\bTOLLBOOK_[A-Z0-9_]*[A-Z0-9]\b")
BEGUN = re.compile(r"TOLLBOOK_[A-Z0-9_]*")
LIST = ROOT / "sdk" / "src" / "tollbook" / "variables.py"
SETTINGS = ROOT / "entrypoints" / "settings.py"
SCRIPTS = ("Makefile", "Dockerfile", "docker-compose.yml", ".ci/run", "pyproject.toml")
OF_THE_SERVER = {f"{PREFIX}{each.name.upper()}" for each in fields(ServeSettings)}
READERS = {"get", "getenv", "setdefault", "pop"}


def texts_in(tree: ast.AST) -> Iterator[str]:
    """Yield the texts that are a name of ours and nothing else; docstrings are no such texts."""
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and NAME.fullmatch(text):
            yield text


def made_names(tree: ast.AST) -> Iterator[str]:
    """Yield the places where a name of ours is put together, so that no list can know it."""
    for node in ast.walk(tree):
        first = node.values[0] if isinstance(node, ast.JoinedStr) and node.values else None
        if isinstance(first, ast.Constant) and BEGUN.fullmatch(str(first.value)):
            yield f"line {first.lineno}"


def read_in(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a file asks an environment for, by themselves or by a constant."""
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        asked: ast.expr | None = None
        if isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Attribute):
            asked = node.args[0] if node.func.attr in READERS else None
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            asked = node.slice
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            asked = node.left
        if isinstance(asked, ast.Name):
            asked = constants.get(asked.id)
        if isinstance(asked, ast.Constant):
            yield from texts_in(asked)


def files_of_tests() -> list[Path]:
    """List the Python files of all tests."""
    return python_files("tests", "sdk/tests")


def pages() -> list[Path]:
    """List the documents, and the files that start something."""
    documents = [path for path in repository_files() if path.suffix == ".md"]
    return [*documents, *(ROOT / name for name in SCRIPTS)]


def names_on(page: Path) -> set[str]:
    """Return the names of ours that a page has, wherever they stand in it."""
    return set(NAME.findall(page.read_text("utf-8")))


def test_every_variable_that_the_program_names_is_in_the_list() -> None:
    unknown = {
        f"{named(path)}: {name}"
        for path in shipped_files()
        if path != LIST
        for name in texts_in(tree_of(path))
        if name not in KNOWN
    }
    assert unknown == set()


def test_the_settings_of_the_server_alone_make_their_names_and_all_are_in_the_list() -> None:
    makers = {path for path in shipped_files() if list(made_names(tree_of(path)))}
    assert makers == {SETTINGS}
    assert OF_THE_SERVER <= KNOWN


def test_every_variable_that_a_test_reads_is_in_the_list() -> None:
    read = {name for path in files_of_tests() for name in read_in(tree_of(path))}
    assert {"TOLLBOOK_REQUIRE", "TOLLBOOK_SEED", "TOLLBOOK_TEST_FOLDER"} <= read
    assert read - KNOWN == set()


@pytest.mark.parametrize("page", pages(), ids=named)
def test_every_variable_that_a_page_names_is_in_the_list(page: Path) -> None:
    assert names_on(page) - KNOWN == set()


def test_the_list_has_no_variable_that_nothing_reads() -> None:
    program = {name for path in shipped_files() if path != LIST for name in texts_in(tree_of(path))}
    tests = {name for path in files_of_tests() for name in read_in(tree_of(path))}
    compose = set(re.findall(r"\$\{(TOLLBOOK_[A-Z_]+)", (ROOT / SCRIPTS[2]).read_text("utf-8")))
    assert KNOWN - program - tests - compose - OF_THE_SERVER == set()


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.environ.get('TOLLBOOK_NEW')",
        "import os\nos.getenv('TOLLBOOK_NEW', '')",
        "import os\nos.environ['TOLLBOOK_NEW']",
        "import os\nfound = 'TOLLBOOK_NEW' in os.environ",
        "import os\nNAME = 'TOLLBOOK_NEW'\ndef ask():\n    return os.environ.get(NAME)",
    ],
)
def test_a_variable_is_seen_however_it_is_read(source: str) -> None:
    assert list(read_in(ast.parse(source))) == ["TOLLBOOK_NEW"]
    assert list(texts_in(ast.parse(source))) == ["TOLLBOOK_NEW"]


def test_a_name_that_is_put_together_is_seen() -> None:
    assert list(made_names(ast.parse("f'TOLLBOOK_{name}'"))) == ["line 1"]
