"""The demo's processes: our own commands, each started as by an operator, and stopped in order."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tollbook.errors import Unavailable

START_SECONDS, STOP_SECONDS = 60.0, 60.0

_TOLD_BYTES = 500
_ENDINGS = signal.SIGTERM, signal.SIGHUP


class Process:
    """One of our commands while it runs."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", folder: Path) -> None:
        """Stand for a process that has been started; what it writes lies in a folder."""
        self.name = name
        self._process = process
        self._out, self._log = _files(folder, name)

    def check(self) -> None:
        """Raise Unavailable, with its last words, when it has ended."""
        if self._process.poll() is not None:
            raise Unavailable(f"{self.name} has ended: {self.last_words()}")

    def last_words(self) -> str:
        """Return the end of its log."""
        return self._log.read_text("utf-8", errors="replace")[-_TOLD_BYTES:]

    def told(self) -> dict[str, Any]:
        """Wait for the one document that it prints when it serves, and return it."""
        end = time.monotonic() + START_SECONDS
        while not (text := self._out.read_text("utf-8")).endswith("\n"):
            self.check()
            if time.monotonic() > end:
                raise Unavailable(f"{self.name} does not start: {self.last_words()}")
            time.sleep(0.05)
        found: dict[str, Any] = json.loads(text)
        return found

    def stop(self) -> None:
        """Tell it to stop, and wait until it has; raises Unavailable where that goes wrong."""
        self._process.terminate()
        try:
            status = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{self.name} does not stop: {self.last_words()}") from None
        if status:
            raise Unavailable(f"{self.name} ended with status {status}: {self.last_words()}")


@contextmanager
def started(folder: Path, name: str, *arguments: str) -> Iterator[Process]:
    """Run a command as a process of its own, and stop it in order after the block."""
    out, log = _files(folder, name)
    with out.open("wb") as document, log.open("wb") as lines:
        process = subprocess.Popen(
            [sys.executable, "-m", "tollbook", *arguments, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=document,
            stderr=lines,
            # A Ctrl-C is for the demo: it would take their end for a fault.
            start_new_session=True,
        )
    try:
        running = Process(name, process, folder)
        yield running
        running.stop()
    finally:
        process.kill()
        process.wait()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let whoever ends the demo end the block as a Ctrl-C does, and so what was started in it."""
    mine = [each for each in _ENDINGS if signal.getsignal(each) is signal.SIG_DFL]
    for number in mine:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.out", folder / f"{name}.log"
