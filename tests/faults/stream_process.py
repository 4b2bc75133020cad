"""`tollbook stream run` as processes that a test kills, and a supervisor that starts them again."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

START_SECONDS = 0.2


class StreamWorker:
    """A worker that is started again whenever it ends, until it is told to stop."""

    def __init__(
        self,
        folder: Path,
        name: str,
        database: str,
        master_key: bytes,
        kafka: str,
        topic: str,
        *,
        stuck_seconds: int = 15,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Write down what it needs."""
        self.log = folder / f"{name}.log"
        key = folder / "master.key"
        key.touch(0o600)
        key.write_text(master_key.hex(), "ascii")
        command = (sys.executable, "-m", "tollbook", "stream", "run", "--kafka", kafka)
        self._command = [*command, "--topic", topic, "--database", database]
        self._command += ["--stuck-seconds", str(stuck_seconds)]
        self._environment = {
            **os.environ,
            "TOLLBOOK_MASTER_KEY_FILE": str(key),
            "TOLLBOOK_LOG_LEVEL": "info",
            **(environment or {}),
        }
        self.codes: Counter[int] = Counter()
        """How often it ended in which way."""
        self._process: subprocess.Popen[bytes] | None = None
        self._killed: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)

    def __enter__(self) -> Self:
        """Start it."""
        self._supervisor.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it for good."""
        self._stopping.set()
        self.kill()
        self._supervisor.join(30)

    def beside(self, module: str = "entrypoints.fraud_process") -> list[int]:
        """Return the numbers of the processes of a module that it has started and that live."""
        if self._process is None:
            return []
        found: list[int] = []
        for thread in Path(f"/proc/{self._process.pid}/task").glob("*"):
            with suppress(OSError):  # it has just ended
                found += map(int, (thread / "children").read_text("ascii").split())
        return [each for each in found if module.encode() in command_of(each)]

    def has_scoring(self) -> bool:
        """Say whether its process that scores has begun."""
        return len(self.beside()) == 1

    def kill(self) -> None:
        """Kill it at once."""
        if self._process is not None:
            self._killed = self._process
            self._process.kill()

    def stop(self, seconds: float = 90) -> int:
        """Tell it to stop; return how it ended, once `codes` has that as well.

        One that has just ended is started again first.
        """
        end = time.monotonic() + seconds
        while (process := self._process) in (None, self._killed) or process.poll() is not None:
            assert time.monotonic() < end, "it was not started again"
            time.sleep(0.05)
        self._stopping.set()
        process.terminate()
        code = process.wait(seconds)
        self._supervisor.join(seconds)
        return code

    def _supervise(self) -> None:
        while not self._stopping.is_set():
            with self.log.open("ab") as lines:
                self._process = subprocess.Popen(
                    self._command, stdout=lines, stderr=lines, env=self._environment
                )
            self.codes[self._process.wait()] += 1
            self._stopping.wait(START_SECONDS)


def command_of(pid: int) -> bytes:
    """Return what a process was started with; nothing of one that has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
