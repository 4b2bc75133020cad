"""A Triton of our own: started on loopback, watched until it serves, stopped, killed, restarted.

Everything that it writes lies in one private folder. Its addresses stay the same for its life, so
that what stands before it finds it again after a restart.
"""

import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from adapters.triton import keeper
from adapters.triton.command import LOOPBACK, Ports, command_line, free_ports
from adapters.triton.errors import TritonUnavailable
from adapters.triton.installation import CHECKOUT, Installation, find

MODELS = Path(__file__).resolve().parent / "models"
"""Our own model repository."""
MODEL_LOG = "TOLLBOOK_MODEL_LOG"
"""Where our models write what they did, when it names a folder: one file for each model."""

_STOP_SECONDS = 20.0
_LOCK_SECONDS = 10.0
_PAUSE_SECONDS = 0.02
_LOG_LINES = 12


class TritonServer:
    """One Triton and its folder; a context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        repository: Path = MODELS,
        models: Sequence[str] = (),
        traces: Path | None = None,
        model_log: Path | None = None,
        cache_bytes: int = 1 << 20,
        start_seconds: float = 120,
        installation: Installation | None = None,
    ) -> None:
        """Prepare a server in a folder of its own; no models named means the whole repository."""
        self.folder = folder.absolute()
        self.repository = repository.absolute()
        self.models = tuple(models)
        self.traces = traces
        self.model_log = model_log
        self.cache_bytes = cache_bytes
        self.start_seconds = start_seconds
        self.trace_folder: Path | None = None
        self.pid = 0
        self._installation = installation
        self._ports: Ports | None = None
        self._keeper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the server and wait until it serves."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.stop()

    @property
    def ports(self) -> Ports:
        """The ports it serves on, from the first start on."""
        if self._ports is None:
            raise TritonUnavailable("the server was never started")
        return self._ports

    @property
    def http_address(self) -> str:
        """Where it answers HTTP, as host and port."""
        return f"{LOOPBACK}:{self.ports.http}"

    @property
    def grpc_address(self) -> str:
        """Where it answers gRPC, as host and port."""
        return f"{LOOPBACK}:{self.ports.grpc}"

    @property
    def metrics_address(self) -> str:
        """Where it answers with its metrics, as host and port."""
        return f"{LOOPBACK}:{self.ports.metrics}"

    @property
    def log(self) -> Path:
        """The file that the server writes its messages to, over all its starts."""
        return self.folder / "server.log"

    @property
    def shared_memory(self) -> str:
        """How the names of its shared memory begin; the same after every start in its folder."""
        place = os.fsencode(self.folder.resolve())
        return f"tollbook_triton_{hashlib.sha256(place).hexdigest()[:16]}"

    def start(self) -> None:
        """Start the server and wait until every model is ready; free ports at the first start."""
        if self.is_running():
            return
        installation = self._installation or find()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked() as lock:
            keeper.remove_shared_memory(self.shared_memory)
            self._lay_out(installation)
            self._ports = self._ports or free_ports()
            begin = self.log.stat().st_size if self.log.exists() else 0
            self._launch(installation, lock)
        try:
            self._wait_until_ready(begin)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Let the server finish what it does, for three seconds, and end it."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server at once, as a power cut or the kernel would."""
        self._end(signal.SIGUSR1)

    def restart(self) -> None:
        """Stop the server if it runs, and start it again on the same ports."""
        self.stop()
        self.start()

    def is_running(self) -> bool:
        """Tell whether the server's process lives."""
        return self._keeper is not None and self._keeper.poll() is None

    def is_ready(self) -> bool:
        """Ask the server whether it and all its models are ready."""
        return _answers(self.ports.http, "/v2/health/ready")

    def _lay_out(self, installation: Installation) -> None:
        """Put the backend and the one stub of our Python side by side, where Triton wants them."""
        backend = self.folder / "backends" / "python"
        backend.mkdir(parents=True, exist_ok=True)
        files = (installation.wheel / "backends" / "python").iterdir()
        for source in (*(path for path in files if path.is_file()), installation.stub):
            _link(backend / source.name, source)
        # A stub heeds no PYTHONPATH, but it imports from the folder of its backend: this is how
        # our models find what they share.
        _link(backend / "adapters", CHECKOUT / "adapters")
        if self.model_log is not None:
            self.model_log.mkdir(parents=True, exist_ok=True)

    def _launch(self, installation: Installation, lock: int) -> None:
        environment = installation.environment()
        if self.model_log is not None:
            environment[MODEL_LOG] = str(self.model_log.absolute())
        if self.traces is not None:
            # A restart counts its files and its ids from the beginning again.
            self.trace_folder = self.traces.absolute() / f"boot-{secrets.token_hex(8)}"
            self.trace_folder.mkdir(parents=True)
        order = {
            "command": self._command(installation),
            "environment": environment,
            "shared_memory": self.shared_memory,
        }
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        log = os.open(self.log, flags, 0o600)
        try:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", keeper.__file__, json.dumps(order)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.folder,  # from which a stub imports before anything else
                pass_fds=(lock,),
                start_new_session=True,
            )
        finally:
            os.close(log)
        assert self._keeper.stdout is not None
        self.pid = int(self._keeper.stdout.readline() or 0)

    def _command(self, installation: Installation) -> list[str]:
        return command_line(
            installation,
            backends=self.folder / "backends",
            repository=self.repository,
            models=self.models,
            ports=self.ports,
            shared_memory=self.shared_memory,
            cache_bytes=self.cache_bytes,
            traces=self.trace_folder,
        )

    def _wait_until_ready(self, begin: int) -> None:
        deadline = time.monotonic() + self.start_seconds
        # The metrics come up last, after the server has called itself ready.
        while not (self.is_ready() and _answers(self.ports.metrics, "/metrics")):
            if not self.is_running():
                raise TritonUnavailable(f"Triton has ended; its log says:\n{self._words(begin)}")
            if time.monotonic() >= deadline:
                raise TritonUnavailable(
                    f"Triton is not ready after {self.start_seconds:.0f} s; its log says:\n"
                    f"{self._words(begin)}"
                )
            time.sleep(_PAUSE_SECONDS)

    def _words(self, begin: int) -> str:
        """Return the errors in the log since a place, else its last lines."""
        with self.log.open("rb") as file:
            file.seek(begin)
            lines = file.read().decode(errors="replace").splitlines()
        errors = [line for line in lines if line.startswith(("E1", "E0", "error"))]
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
                        raise TritonUnavailable(f"a Triton runs in {self.folder} already") from None
                    time.sleep(_PAUSE_SECONDS)
            yield lock
        finally:
            os.close(lock)


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
