"""`tollbook gateway` as a process that a test kills and starts again, on the same folders."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

STOP_SECONDS = 90
_TRIES = 5


def toml(value: Any) -> str:
    """Write a value in TOML, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def document(**members: Any) -> str:
    """Write a whole file in TOML."""
    return "".join(f"{name} = {toml(value)}\n" for name, value in members.items())


class GatewayProcess:
    """A gateway; the ports that clients use stay the same over all its starts."""

    def __init__(self, folder: Path, database: str, master_key: bytes, config: str) -> None:
        """Write down what it needs; `start` starts it."""
        self.home = folder / "intents" / "gateway"
        self.log = folder / "gateway.log"
        self.found: dict[str, Any] = {}
        self._process: subprocess.Popen[str] | None = None
        key, path = folder / "master.key", folder / "gateway.toml"
        key.touch(0o600)
        key.write_text(master_key.hex(), "ascii")
        path.write_text(config, "utf-8")
        self._command = [sys.executable, "-m", "tollbook", "gateway", "--config", str(path)]
        self._command += ["--database", database, "--intents", str(self.home.parent), "--json"]
        self._environment = {**os.environ, "TOLLBOOK_MASTER_KEY_FILE": str(key)}

    def options(self, *more: str) -> None:
        """Give it more options at every start."""
        self._command += more

    def under(self, *command: str) -> None:
        """Have it started by a command that becomes it, such as one that sets its limits."""
        self._command = [*command, *self._command]

    @property
    def pid(self) -> int:
        """The number of the process."""
        assert self._process is not None
        return self._process.pid

    @property
    def members(self) -> list[int]:
        """The processes that it has started, where it is several."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("ascii")
        return [int(each) for each in children.split()]

    def start(self) -> None:
        """Start it, again and again where what it stands on is just coming back."""
        for _ in range(_TRIES):
            ports = {"--grpc-port": self._port("grpc"), "--http-port": self._port("http")}
            options = [part for pair in ports.items() for part in pair] + ["--monitor-port", "0"]
            with self.log.open("a", encoding="utf-8") as lines:
                self._process = subprocess.Popen(
                    [*self._command, *options],
                    stdout=subprocess.PIPE,
                    stderr=lines,
                    text=True,
                    env=self._environment,
                )
            assert self._process.stdout is not None
            line = self._process.stdout.readline()
            if line and "grpc" in (found := json.loads(line)):  # else why it cannot begin
                self.found = found
                return
            self.kill()
        raise AssertionError(self.log.read_text("utf-8")[-3000:])

    def _port(self, name: str) -> str:
        return str(self.found[name]).rpartition(":")[2] if self.found else "0"

    def kill(self) -> None:
        """Kill it at once."""
        process, self._process = self._process, None
        if process is not None:
            with process:
                process.kill()

    def stop(self) -> None:
        """Tell it to stop, and wait until it has told the ledger everything."""
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(STOP_SECONDS) == 0, self.log.read_text("utf-8")[-3000:]
        self.kill()

    def monitored(self, path: str) -> tuple[int, str]:
        """Ask its monitoring."""
        answer = httpx.get(f"{self.found['monitor']}{path}", timeout=20)
        return answer.status_code, answer.text
