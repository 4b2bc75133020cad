"""The root packages have plain names, and a stranger's package of the same name must not win.

A package named `adapters` exists among the public ones; a dependency could bring it one day.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source_files import ROOMS, ROOT

BUILT = [room for room in ROOMS if (ROOT / room / "__init__.py").exists()]


@pytest.mark.parametrize("package", [*BUILT, "tollbook"])
def test_a_root_package_is_ours(package: str) -> None:
    """A fresh, isolated interpreter finds it as the console script does: by installation alone."""
    program = f"import {package}; print({package}.__file__)"
    command = [sys.executable, "-I", "-c", program]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 0, f"{found.stderr}\nrun `make venv`"
    assert Path(found.stdout.strip()).is_relative_to(ROOT)
