"""Imports go one way, from the entry points down to the SDK, and the domain stays pure.

import-linter reads the contracts in pyproject.toml; here they are run, and shown to bite.
"""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.source_files import ROOMS, ROOT, imported_names, named, python_files

LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
BUILT = [room for room in ROOMS if (ROOT / room / "__init__.py").exists()]

# All that a rule may stand on: the language, its one library of data types, and our codecs.
PURE = {*sys.stdlib_module_names, "domain", "pydantic", "pydantic_core", "annotated_types"}
WORLDLY = {"socket", "subprocess", "threading", "asyncio", "urllib", "http", "sqlite3", "logging"}
NOT_CODECS = {"tollbook.recompute", "tollbook.cli", "tollbook.cli_support", "tollbook.commands"}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter as `make check` does, in a folder of its own."""
    command = [sys.executable, "-c", LINT, "--no-cache", "--no-logo"]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the root packages to where they may be spoilt."""
    folder = tmp_path_factory.mktemp("layers")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in (*(ROOT / room for room in BUILT), ROOT / "sdk" / "src" / "tollbook"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(package, folder / package.name, ignore=ignored)
    return folder


def test_imports_go_one_way() -> None:
    outcome = lint(ROOT)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("domain", "application"),
        ("domain", "adapters"),
        ("domain", "tollbook.recompute"),
        ("domain", "psycopg"),
        ("domain", "eventsourcing"),
        ("application", "adapters"),
        ("application", "tollbook.recompute"),
        ("application", "stripe"),
        ("adapters", "entrypoints"),
        ("tollbook", "domain"),
        ("tollbook/recompute", "application"),
    ],
)
def test_an_import_the_wrong_way_is_found(copy: Path, package: str, forbidden: str) -> None:
    offender = copy / package / "offender.py"
    offender.write_text(f"import {forbidden}\n", encoding="utf-8")
    try:
        outcome = lint(copy)
    finally:
        offender.unlink()
    assert outcome.returncode == 1
    assert f"{package.replace('/', '.')}.offender" in outcome.stdout


def test_the_contracts_name_every_root_package() -> None:
    """A new room is checked only once it is listed among import-linter's root packages."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert set(settings["tool"]["importlinter"]["root_packages"]) == {*BUILT, "tollbook"}


def test_the_domain_stands_on_pure_ground_alone() -> None:
    offences = []
    for path in python_files("domain"):
        for name in imported_names(path):
            top = name.split(".")[0]
            is_codec = top == "tollbook" and ".".join(name.split(".")[:2]) not in NOT_CODECS
            if not (is_codec or top in PURE - WORLDLY):
                offences.append(f"{named(path)} imports {name}")
    assert not offences, "\n".join(offences)
