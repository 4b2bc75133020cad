"""The files of the repository, and the Python modules among them, for the tests of its shape."""

import ast
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SDK_SOURCE = ROOT / "sdk" / "src"

# The rooms of the house, from the bottom up; some are built later than others.
ROOMS = ("domain", "application", "projections", "adapters", "streams", "entrypoints")

# What a walk passes by where there is no git to ask: everything that .gitignore names.
IGNORED_FOLDERS = {
    *(".git", ".venv", ".triton", ".kafka", ".redis", "__pycache__", "build", "dist"),
    *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".import_linter_cache", ".hypothesis"),
}


@cache
def repository_files() -> tuple[Path, ...]:
    """List the files that are committed or would be, as absolute paths."""
    files = _listed_by_git() if (ROOT / ".git").exists() else None
    return tuple(sorted(_walked() if files is None else files))


def python_files(*folders: str) -> list[Path]:
    """List the Python files below the given folders, or all of them."""
    return [
        path
        for path in repository_files()
        if path.suffix == ".py"
        and (not folders or any(path.is_relative_to(ROOT / folder) for folder in folders))
    ]


def shipped_files() -> list[Path]:
    """List the Python files that run in production: the rooms and the SDK, without tests."""
    return python_files(*ROOMS, "sdk/src", "benchmarks")


def named(path: Path) -> str:
    """Name a file by its path in the repository."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    """Parse a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=named(path))


def module_name(path: Path) -> str:
    """Name a Python file as an import would."""
    base = SDK_SOURCE if path.is_relative_to(SDK_SOURCE) else ROOT
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(path: Path) -> set[str]:
    """Name all that a file imports: ``from a.b import c`` gives ``a.b`` and ``a.b.c``."""
    return {name for node in ast.walk(tree_of(path)) for name in imported_by(node)}


def imported_by(node: ast.AST) -> list[str]:
    """Name all that one statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _listed_by_git() -> list[Path] | None:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        return None  # no git here, or another user's checkout: the walk finds the same files
    paths = (ROOT / name.decode() for name in listed.stdout.split(b"\0") if name)
    return [path for path in paths if path.is_file()]


def _walked() -> list[Path]:
    return [
        path
        for path in ROOT.rglob("*")
        if path.is_file()
        and not any(
            part in IGNORED_FOLDERS or part.endswith(".egg-info")
            for part in path.relative_to(ROOT).parts
        )
    ]
