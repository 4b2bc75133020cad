"""`tollbook stream run` as processes that a test kills, and a supervisor that starts them again."""

import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Self

START_SECONDS = 0.2


class StreamWorker:
    """A worker that is started again whenever it ends, until it is told to stop."""

    def __init__(
        self, folder: Path, name: str, database: str, master_key: bytes, kafka: str, topic: str
    ) -> None:
        """Write down what it needs."""
        self.log = folder / f"{name}.log"
        key = folder / "master.key"
        key.touch(0o600)
        key.write_text(master_key.hex(), "ascii")
        command = (sys.executable, "-m", "tollbook", "stream", "run", "--kafka", kafka)
        self._command = [*command, "--topic", topic, "--database", database]
        self._command += ["--stuck-seconds", "15"]
        self._environment = {
            **os.environ,
            "TOLLBOOK_MASTER_KEY_FILE": str(key),
            "TOLLBOOK_LOG_LEVEL": "info",
        }
        self.codes: Counter[int] = Counter()
        """How often it ended in which way."""
        self._process: subprocess.Popen[bytes] | None = None
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

    def kill(self) -> None:
        """Kill it at once."""
        if self._process is not None:
            self._process.kill()

    def stop(self, seconds: float = 90) -> int:
        """Tell it to stop; return how it ended."""
        self._stopping.set()
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(seconds)

    def _supervise(self) -> None:
        while not self._stopping.is_set():
            with self.log.open("ab") as lines:
                self._process = subprocess.Popen(
                    self._command, stdout=lines, stderr=lines, env=self._environment
                )
            self.codes[self._process.wait()] += 1
            self._stopping.wait(START_SECONDS)
