"""A command in a process of its own that heeds SIGINT, whoever started the tests."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Whoever runs the tests in the background has had it ignored for all that is started from there.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from tollbook.cli import main
sys.exit(main())
"""


@contextmanager
def begun(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Start a command with `--json`, and let it not outlive the block."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: "subprocess.Popen[str]") -> tuple[int, Any, str]:
    """Wait for its end; return its code, its one document and its lines for people."""
    out, err = process.communicate(timeout=60)
    assert out.count("\n") == 1, (out, err)
    return process.returncode, json.loads(out), err
