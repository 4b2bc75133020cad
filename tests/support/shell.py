"""The console script: its output and its exit code, in this process or in one of its own.

A process of its own takes half a second to start. So the commands of a `Shell` run in this one,
through the same `main` that the script calls, on streams of their own; that both ways say the
same is a test (tests/e2e/test_cli_processes.py). `run_tollbook` always starts a process.
"""

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from tollbook import cli


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def run_tollbook(*arguments: str, stdin: bytes = b"") -> Ended:
    """Run the console script to its end, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tollbook", *arguments],
        input=stdin,
        capture_output=True,
        timeout=120,
        check=False,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def run_here(*arguments: str, stdin: bytes = b"") -> Ended:
    """Run a command to its end in this process, as the console script would."""
    given, out, err = (
        io.TextIOWrapper(io.BytesIO(content), "utf-8") for content in (stdin, b"", b"")
    )
    with redirect_stdout(out), redirect_stderr(err), mock.patch.object(sys, "stdin", given):
        code = cli.main(arguments)
    return Ended(code, _written(out), _written(err))


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()


class Shell:
    """Runs commands on one embedded ledger."""

    def __init__(self, folder: Path) -> None:
        """Work on the ledger in a folder."""
        self.folder = folder

    def run(self, *arguments: str, stdin: bytes = b"") -> Ended:
        """Run a command, whatever comes of it."""
        return run_here(*arguments, "--data", str(self.folder), stdin=stdin)

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
