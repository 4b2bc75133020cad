"""No module lies idle: each is imported, step by step, from an entry point, a benchmark or a test.

The graph is read from the source, so that imports inside functions count as well.
"""

import ast
import tomllib
from collections.abc import Iterable
from pathlib import Path

from tests.architecture.source_files import (
    ROOMS,
    ROOT,
    imported_by,
    module_name,
    python_files,
    repository_files,
)


def modules() -> dict[str, Path]:
    """Map every module of the rooms and of the SDK to its file."""
    return {module_name(path): path for path in python_files(*ROOMS, "sdk/src")}


def entry_points() -> set[str]:
    """Name the modules that an installed command starts from."""
    started: set[str] = set()
    for path in (ROOT / "pyproject.toml", ROOT / "sdk" / "pyproject.toml"):
        project = tomllib.loads(path.read_text("utf-8"))["project"]
        groups = [*project.get("entry-points", {}).values(), project.get("scripts", {})]
        started.update(target.split(":")[0] for group in groups for target in group.values())
    return started


def served_models() -> set[str]:
    """Name the modules that Triton starts: the folder of each has a configuration."""
    folders = (path.parent for path in repository_files() if path.name == "config.pbtxt")
    return {module_name(path) for folder in folders for path in folder.glob("*/model.py")}


def mentioned_in(path: Path) -> set[str]:
    """Name what a file imports, or names in a string (`python -m`, packaged data)."""
    names: set[str] = set()
    # Not `tree_of`: the garbage collector would look at all trees again and again.
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                names.add(node.value)
        else:
            names.update(imported_by(node))
    return names


def reached_from(starts: Iterable[str], known: dict[str, Path]) -> set[str]:
    """Follow imports; importing a module imports the packages around it."""
    reached: set[str] = set()
    waiting = list(starts)
    while waiting:
        parts = waiting.pop().split(".")
        for name in (".".join(parts[: length + 1]) for length in range(len(parts))):
            if name in known and name not in reached:
                reached.add(name)
                waiting.extend(mentioned_in(known[name]))
    return reached


def test_every_module_is_reached() -> None:
    known = modules()
    starts = (
        entry_points() | served_models() | {name for name in known if name.endswith(".__main__")}
    )
    for path in python_files("tests", "sdk/tests", "benchmarks"):
        starts |= mentioned_in(path)
    idle = known.keys() - reached_from(starts, known)
    assert not idle, "\n".join(sorted(idle))


def test_every_entry_point_exists() -> None:
    missing = entry_points() - modules().keys()
    assert not missing, "\n".join(sorted(missing))
