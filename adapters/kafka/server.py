"""A Kafka of our own: one node in KRaft mode on loopback, started, stopped, killed, restarted.

Everything that it writes lies in one private folder. Its address stays the same for its life, and
its records do as well, so that what stands before it finds both again after a restart.
"""

import base64
import re
import shutil
import socket
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from adapters.child_servers.child import ChildServer, Program
from adapters.child_servers.ports import LOOPBACK, free_ports
from adapters.kafka.command import Ports, java, settings
from adapters.kafka.errors import KafkaUnavailable
from adapters.kafka.installation import Installation, find

_FORMAT_SECONDS = 60
_ANSWER_SECONDS = 2.0

# The request that every client sends first (ApiVersions, version 0, number 1, from nobody), and
# how its answer begins: the length, then the same number, then no error.
_HELLO = bytes.fromhex("0000000a 0012 0000 00000001 ffff")
_NUMBER_AND_NO_ERROR = bytes.fromhex("00000001 0000")


class KafkaServer:
    """One Kafka and its folder; a context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        more: Mapping[str, str | int] | None = None,
        start_seconds: float = 120,
        installation: Installation | None = None,
    ) -> None:
        """Prepare a server in a folder of its own, with more of Kafka's settings when they tell."""
        errors = r"\[[^]]*\] (ERROR|FATAL)|Error|Exception|Caused by|java\.|kafka\."
        self._child = ChildServer("Kafka", folder, unavailable=KafkaUnavailable, errors=errors)
        self.folder = self._child.folder
        self.more = dict(more or {})
        self.start_seconds = start_seconds
        self._installation = installation
        self._record = False
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
            raise KafkaUnavailable("the server was never started")
        return self._ports

    @property
    def address(self) -> str:
        """Where clients reach it, as host and port."""
        return f"{LOOPBACK}:{self.ports.clients}"

    @property
    def data(self) -> Path:
        """Where its records lie."""
        return self.folder / "data"

    @property
    def cluster_id(self) -> str:
        """The name that its data bears for ever."""
        told = (self.data / "meta.properties").read_text("utf-8")
        found = re.search(r"^cluster\.id=(\S+)$", told, re.MULTILINE)
        assert found is not None, told
        return found[1]

    @property
    def log(self) -> Path:
        """The file that the server writes its messages to, over all its starts."""
        return self._child.log

    @property
    def pid(self) -> int:
        """The number of the server's process while it runs, else zero."""
        return self._child.pid

    def start(self) -> None:
        """Start the server and wait until it serves; free ports at the first start."""
        if self.is_running():
            return
        installation = self._installation or find()
        self._child.start(lambda: self._prepare(installation), self.is_ready, self.start_seconds)

    def stop(self) -> None:
        """Let the server write what it holds, and end it."""
        self._child.stop()

    def kill(self) -> None:
        """Kill the server at once, as the kernel would."""
        self._child.kill()

    def restart(self) -> None:
        """Stop the server if it runs, and start it again on the same ports."""
        self.stop()
        self.start()

    def record_classes(self) -> None:
        """Start and stop the server once, and leave the archive that makes later starts quicker."""
        self._record = True
        try:
            self.restart()
            self.stop()
        finally:
            self._record = False

    def is_running(self) -> bool:
        """Tell whether the server's process lives."""
        return self._child.is_running()

    def is_ready(self) -> bool:
        """Ask the server what every client asks it first."""
        where = (LOOPBACK, self.ports.clients)
        try:
            with socket.create_connection(where, timeout=_ANSWER_SECONDS) as connection:
                connection.sendall(_HELLO)
                return connection.recv(10, socket.MSG_WAITALL)[4:] == _NUMBER_AND_NO_ERROR
        except OSError:
            return False

    def _prepare(self, installation: Installation) -> Program:
        """Write the settings, format the folder of a first start, and say how it is started."""
        self._ports = self._ports or Ports(*free_ports(len(Ports._fields)))
        file = self.folder / "server.properties"
        file.write_text(settings(self._ports, self.data, self.more), encoding="utf-8")
        formatted = self.folder / "formatted"
        if not formatted.exists():
            self._format(installation, file)
            formatted.touch()
        run = java(installation, self.folder, "kafka.Kafka", str(file), record=self._record)
        return Program(run)

    def _format(self, installation: Installation, file: Path) -> None:
        """Give the data its name; what an earlier try has left was never served."""
        shutil.rmtree(self.data, ignore_errors=True)
        # Kafka itself takes no name that begins with a hyphen: its programs would take it for an
        # option.
        name = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
        arguments = ("format", "--cluster-id", name, "--config", str(file))
        command = java(installation, self.folder, "kafka.tools.StorageTool", *arguments)
        try:
            subprocess.run(command, capture_output=True, check=True, timeout=_FORMAT_SECONDS)
        except subprocess.CalledProcessError as error:
            words = (error.stderr or error.stdout).decode(errors="replace").strip()
            raise KafkaUnavailable(f"Kafka's folder does not format: {words[-2000:]}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise KafkaUnavailable(f"{installation.java} does not run: {error}") from error
