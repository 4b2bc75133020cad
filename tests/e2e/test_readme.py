"""The README's own commands and program, run as a new user would, in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.serve_process import serve_process

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    """Return the README's blocks of one language, in order."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return [body for kind, body in BLOCK.findall(text) if kind == language]


def test_the_tours_commands_work_one_after_another(tmp_path: Path) -> None:
    commands = blocks("sh")
    assert len(commands) >= 3
    script = tmp_path / "tour.sh"
    script.write_text("set -e\n" + "\n".join(commands), encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", str(script)],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Clean" in done.stdout
    assert "state_hash" in done.stdout


def test_the_program_works_against_a_server_and_prints_exact_amounts(
    tmp_path: Path,
) -> None:
    (program,) = blocks("python")
    with serve_process(tmp_path / "ledger") as served:
        assert served.admin_key is not None
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={**os.environ, "TOLLBOOK_URL": served.url, "TOLLBOOK_KEY": served.admin_key},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    # 1,200 input tokens at 0.50 and 250 output tokens at 1.50 USD per million.
    assert "charged 0.000975000000 USD" in done.stdout
    assert "available 4.999025000000 USD" in done.stdout
