"""The console script from outside: a process of its own, its output, and its exit code."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def run_tollbook(*arguments: str, stdin: bytes = b"") -> Ended:
    """Run the console script to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "tollbook", *arguments],
        input=stdin,
        capture_output=True,
        timeout=120,
        check=False,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


class Shell:
    """Runs commands on one embedded ledger."""

    def __init__(self, folder: Path) -> None:
        """Work on the ledger in a folder."""
        self.folder = folder

    def run(self, *arguments: str, stdin: bytes = b"") -> Ended:
        """Run a command, whatever comes of it."""
        return run_tollbook(*arguments, "--data", str(self.folder), stdin=stdin)

    def text(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run a command that must succeed, and return what a person reads."""
        ended = self.run(*arguments, stdin=stdin)
        assert ended.code == 0, ended.err
        return ended.out

    def json(self, *arguments: str, code: int = 0, stdin: bytes = b"") -> Any:
        """Run a command with `--json` and return its one document."""
        ended = self.run(*arguments, "--json", stdin=stdin)
        assert ended.code == code, ended.err
        assert ended.out.count("\n") == 1
        return json.loads(ended.out)
