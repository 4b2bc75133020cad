"""schemathesis finds nothing: every answer is one that docs/openapi.json describes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.serving import Served

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = str(max(1, int(os.environ.get("TOLLBOOK_EXAMPLES", "100")) // 10))
"""Cases for each path; CI asks for more."""


@pytest.mark.timeout(280)
def test_schemathesis_finds_nothing(served: Served, customer: str, tmp_path: Path) -> None:
    """It sends what the document allows and what it forbids, with an admin's key."""
    command = Path(sys.executable).with_name("schemathesis")
    finished = subprocess.run(
        [
            *(command, "--config-file", CONFIG, "run", f"{served.url}/openapi.json"),
            *("-H", f"Authorization: Bearer {served.key()}"),
            *("--max-examples", EXAMPLES, "--seed", "1", "--workers", "1", "--no-color"),
            *("--suppress-health-check", "all"),
        ],
        capture_output=True,
        text=True,
        timeout=270,
        cwd=tmp_path,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout[-6000:] + finished.stderr[-2000:]
