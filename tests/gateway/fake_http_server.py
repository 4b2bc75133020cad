"""A server that is no Triton: it answers with the bytes that it was given, and keeps what it got.

For what a real one never does on request: break off, lie about a size, send without an end.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

METADATA = {
    "name": "textgen",
    "inputs": [{"name": "TEXT", "datatype": "BYTES", "shape": [-1, 1]}],
    "outputs": [
        {"name": "OUT", "datatype": "BYTES", "shape": [-1, 1]},
        {"name": "INPUT_TOKENS", "datatype": "INT64", "shape": [-1, 1]},
        {"name": "OUTPUT_TOKENS", "datatype": "INT64", "shape": [-1, 1]},
        {"name": "REQUEST_ID", "datatype": "BYTES", "shape": [-1, 1]},
    ],
}


class Got(NamedTuple):
    """One request, as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


class FakeServer:
    """It listens on a free port; each connection serves one inference, and then ends."""

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        """Answer inferences by calling this with their connection."""
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.got: list[Got] = []
        """The inferences."""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines, suppress(OSError):
            while line := lines.readline().decode().strip():
                headers: dict[str, str] = {}
                while header := lines.readline().decode().strip():
                    name, _, value = header.partition(": ")
                    headers[name.lower()] = value
                body = lines.read(int(headers.get("content-length", "0")))
                if line.startswith("POST"):
                    self.got.append(Got(line, headers, body))
                    self._answer(connection)
                    return
                connection.sendall(whole(json.dumps(METADATA).encode()))


def whole(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return an answer with its length."""
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


@contextmanager
def fake_server(answer: bytes | Callable[[socket.socket], None]) -> Iterator[FakeServer]:
    """Run a server that answers every inference with these bytes, and closes."""
    if isinstance(answer, bytes):
        data = answer
        server = FakeServer(lambda connection: connection.sendall(data))
    else:
        server = FakeServer(answer)
    try:
        yield server
    finally:
        server.close()
