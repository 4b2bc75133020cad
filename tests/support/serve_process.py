"""`tollbook serve` as users start it: a process of its own, on a free port."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

STOP_SECONDS = 60


class ServeProcess(NamedTuple):
    """A server that takes requests."""

    process: subprocess.Popen[str]
    url: str
    admin_key: str | None
    """Shown by the first start on a ledger, and by no other."""


@contextmanager
def serve_process(
    data: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[ServeProcess]:
    """Serve an embedded ledger for the length of the block; it must then stop when it is told."""
    command = [sys.executable, "-m", "tollbook", "serve", "--data", str(data), "--port", "0"]
    log = data.with_name(f"{data.name}.serve.log")
    with (
        log.open("a", encoding="utf-8") as lines,
        subprocess.Popen(
            [*command, "--json", *arguments],
            stdout=subprocess.PIPE,
            stderr=lines,
            text=True,
            env={**os.environ, "TOLLBOOK_LOG_LEVEL": "warning", **(environment or {})},
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, log.read_text("utf-8")
            start = json.loads(line)
            yield ServeProcess(process, start["url"], start.get("admin_key"))
            process.terminate()
            assert process.wait(STOP_SECONDS) == 0, log.read_text("utf-8")
        finally:
            process.kill()
