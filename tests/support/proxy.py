"""A proxy in front of a server's socket that loses a request, or an answer, at a chosen moment."""

import select
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote, urlsplit, urlunsplit

Loss = Literal["request", "answer"]


class Proxy:
    """Passes every byte on, until it is told what to lose; then that connection is cut.

    Losing an answer means that the server has done what was asked and said so.
    """

    def __init__(self, url: str, folder: Path) -> None:
        """Stand in front of the server that a URL names, on a socket in a folder."""
        parts = urlsplit(url)
        role, _, host = parts.netloc.rpartition("@")
        directory, _, port = host.partition(":")
        name = f".s.PGSQL.{port or 5432}"
        self._server = str(Path(unquote(directory)) / name)
        netloc = f"{role}@{quote(str(folder), safe='')}:{port or 5432}"
        self.url = urlunsplit(parts._replace(netloc=netloc))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / name))
        self._listener.listen()
        self._armed: tuple[Loss, bytes] | None = None
        self._stay_down = False
        self.down = False
        """While true, the server cannot be reached at all."""
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, what: Loss, marker: bytes, *, stay_down: bool = False) -> None:
        """Lose the next request that holds a marker, or its answer; `stay_down` ends service."""
        self._armed, self._stay_down = (what, marker), stay_down

    @property
    def has_lost(self) -> bool:
        """Say whether what was to be lost is lost."""
        return self._armed is None

    def close(self) -> None:
        """Accept nobody any more."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.down:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with client, server, suppress(OSError):
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(1 << 20)
                    if not data or self._loses(source is client, data, server):
                        return
                    (server if source is client else client).sendall(data)

    def _loses(self, is_request: bool, data: bytes, server: socket.socket) -> bool:
        """Say whether this is where the connection is cut; see to it that the server is done."""
        if self._armed is None or not is_request or self._armed[1] not in data:
            return False
        what, self._armed = self._armed[0], None
        if what == "answer":
            server.sendall(data)
            server.recv(1 << 20)
        self.down = self._stay_down
        return True
