"""A Triton of our own: started on loopback, watched until it serves, stopped, killed, restarted.

Everything that it writes lies in one private folder. Its addresses stay the same for its life, so
that what stands before it finds it again after a restart.
"""

import hashlib
import http.client
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from adapters.child_servers import keeper
from adapters.child_servers.child import ChildServer, Program
from adapters.child_servers.ports import LOOPBACK, free_ports
from adapters.triton.command import Ports, command_line
from adapters.triton.errors import TritonUnavailable
from adapters.triton.installation import CHECKOUT, Installation, find

MODELS = Path(__file__).resolve().parent / "models"
"""Our own model repository."""
MODEL_LOG = "TOLLBOOK_MODEL_LOG"
"""Where our models write what they did, when it names a folder: one file for each model."""
TUNABLES = "GLIBC_TUNABLES"
TRACED = "glibc.malloc.tcache_count=65535"
"""What lets a server live that writes traces: as a trace ends, this Triton unlocks a lock in
memory that it has just freed. With this the thread that freed it keeps it, and no other one gets
it meanwhile: so many blocks of a size, the most that glibc allows (docs/decisions/device-time.md).
"""


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
        self._child = ChildServer(
            "Triton", folder, unavailable=TritonUnavailable, errors="E0|E1|error"
        )
        self.folder = self._child.folder
        self.repository = repository.absolute()
        self.models = tuple(models)
        self.traces = traces
        self.model_log = model_log
        self.cache_bytes = cache_bytes
        self.start_seconds = start_seconds
        self.trace_folder: Path | None = None
        self._installation = installation
        self._ports: Ports | None = None

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
        return self._child.log

    @property
    def pid(self) -> int:
        """The number of the server's process while it runs, else zero."""
        return self._child.pid

    @property
    def shared_memory(self) -> str:
        """How the names of its shared memory begin; the same after every start in its folder."""
        place = os.fsencode(self.folder.resolve())
        return f"tollbook_triton_{hashlib.sha256(place).hexdigest()[:16]}"

    @property
    def exit_code(self) -> int | None:
        """How the server ended that nobody ended: a code, or minus the number of a signal."""
        return self._child.exit_code

    def start(self) -> None:
        """Start the server and wait until every model is ready; free ports at the first start."""
        if self.is_running():
            return
        installation = self._installation or find()
        self._child.start(lambda: self._prepare(installation), self._serves, self.start_seconds)

    def stop(self) -> None:
        """Let the server finish what it does, for three seconds, and end it."""
        self._child.stop()

    def kill(self) -> None:
        """Kill the server at once, as a power cut or the kernel would."""
        self._child.kill()

    def restart(self) -> None:
        """Stop the server if it runs, and start it again on the same ports."""
        self.stop()
        self.start()

    def is_running(self) -> bool:
        """Tell whether the server's process lives."""
        return self._child.is_running()

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

    def _prepare(self, installation: Installation) -> Program:
        """Lay out what the server wants to find, and say how it is started."""
        keeper.remove_shared_memory(self.shared_memory)
        self._lay_out(installation)
        self._ports = self._ports or Ports(*free_ports(len(Ports._fields)))
        environment = installation.environment()
        if self.model_log is not None:
            environment[MODEL_LOG] = str(self.model_log.absolute())
        if self.traces is not None:
            environment[TUNABLES] = ":".join(filter(None, (os.environ.get(TUNABLES), TRACED)))
            # A restart counts its files and its ids from the beginning again.
            self.trace_folder = self.traces.absolute() / f"boot-{secrets.token_hex(8)}"
            self.trace_folder.mkdir(parents=True)
        return Program(self._command(installation), environment, self.shared_memory)

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

    def _serves(self) -> bool:
        # The metrics come up last, after the server has called itself ready.
        return self.is_ready() and _answers(self.ports.metrics, "/metrics")


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
