"""One server program of our own: started in a folder, watched until it serves, stopped, killed.

What it says goes into one file of its folder, over all its starts. A lock in the folder lets one
server at a time run in it: all processes of a server inherit it.
"""

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adapters.child_servers import keeper

_STOP_SECONDS = 20.0
_LOCK_SECONDS = 10.0
_PAUSE_SECONDS = 0.02
_LOG_LINES = 12
_CODES, _SIGNALS = 256, 64
"""A keeper exits with the byte that its server's end fits in; a signal's is counted from above."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: the command, and what must stand in its environment."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    shared_memory: str = ""
    """How the names of its shared memory begin, when it has any."""


class ChildServer:
    """The process of one server, and the folder that it runs in."""

    def __init__(
        self, name: str, folder: Path, *, unavailable: type[Exception], errors: str
    ) -> None:
        """Name the server, what to raise when it does not serve, and how its error lines begin."""
        self.name = name
        self.folder = folder.absolute()
        self.pid = 0
        self._unavailable = unavailable
        self._errors = re.compile(errors)
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """The file that the server writes its messages to, over all its starts."""
        return self.folder / "server.log"

    def start(
        self, prepare: Callable[[], Program], is_ready: Callable[[], bool], seconds: float
    ) -> None:
        """Start the server that was prepared with the folder locked, and wait until it serves."""
        self.kill()  # what is left of one that died by itself
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked() as lock:
            program = prepare()
            begin = self.log.stat().st_size if self.log.exists() else 0
            self._launch(program, lock)
        try:
            self._wait_until(is_ready, seconds, begin)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Let the server finish what it does, and end it."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server at once, as a power cut or the kernel would."""
        self._end(signal.SIGUSR1)

    def is_running(self) -> bool:
        """Tell whether the server's process lives."""
        return self._keeper is not None and self._keeper.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How the server ended that nobody ended: a code, or minus the number of a signal."""
        code = None if self._keeper is None else self._keeper.poll()
        return code if code is None or code < _CODES - _SIGNALS else code - _CODES

    def _launch(self, program: Program, lock: int) -> None:
        order = {
            "command": list(program.command),
            "environment": dict(program.environment),
            "shared_memory": program.shared_memory,
        }
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        log = os.open(self.log, flags, 0o600)
        try:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", keeper.__file__, json.dumps(order)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.folder,  # where a server drops what it drops, and may import from
                pass_fds=(lock,),
                start_new_session=True,
            )
        finally:
            os.close(log)
        assert self._keeper.stdout is not None
        self.pid = int(self._keeper.stdout.readline() or 0)

    def _wait_until(self, is_ready: Callable[[], bool], seconds: float, begin: int) -> None:
        deadline = time.monotonic() + seconds
        while not is_ready():
            if not self.is_running():
                raise self._unavailable(
                    f"{self.name} has ended; its log says:\n{self._words(begin)}"
                )
            if time.monotonic() >= deadline:
                raise self._unavailable(
                    f"{self.name} is not ready after {seconds:.0f} s; its log says:\n"
                    f"{self._words(begin)}"
                )
            time.sleep(_PAUSE_SECONDS)

    def _words(self, begin: int) -> str:
        """Return the errors in the log since a place, else its last lines."""
        with self.log.open("rb") as file:
            file.seek(begin)
            lines = file.read().decode(errors="replace").splitlines()
        errors = [line for line in lines if self._errors.match(line)]
        return "\n".join((errors or lines)[-_LOG_LINES:]) or "nothing"

    def _end(self, number: signal.Signals) -> None:
        process, self._keeper, self.pid = self._keeper, None, 0
        if process is None:
            return
        with process:
            process.send_signal(number)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGUSR1)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Hold the lock that all processes of a server of this folder inherit."""
        deadline = time.monotonic() + _LOCK_SECONDS
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise self._unavailable(
                            f"a {self.name} runs in {self.folder} already"
                        ) from None
                    time.sleep(_PAUSE_SECONDS)
            yield lock
        finally:
            os.close(lock)
