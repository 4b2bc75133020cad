"""A proxy before PostgreSQL's socket that cuts connections right before or after a commit.

It reads just enough of the wire protocol (message types and lengths) to know when a transaction
commits: a call of `append_events` outside a transaction, or the COMMIT of one that made a call.
"""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

CUTS = ("before", "half", "fatal", "during", "after")
"""Before the server hears of it; after its row was passed on, but before it could commit; the same,
followed by a fatal error; after it heard, not waiting; after its answer, which is not passed on."""

_LAST_WORDS = {
    "half": [],
    "fatal": [(b"E", b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0")],
    "error": [(b"E", b"SERROR\0VERROR\0C53100\0MNo space left on device\0\0"), (b"Z", b"I")],
}
"""What follows the row of an append that is never committed; `error` fails without a cut before."""


class CuttingProxy:
    """Stands between clients and a server; `choose` is asked at each commit how to cut it."""

    def __init__(self, url: str, folder: Path, choose: Callable[[], str | None]) -> None:
        """Listen in a folder of its own; None from `choose` lets a commit pass."""
        parts = urlsplit(url)
        user, _, host = parts.netloc.partition("@")
        server, _, port = host.partition(":")
        self._server = f"{unquote(server)}/.s.PGSQL.{port}"
        self.url = urlunsplit(parts._replace(netloc=f"{user}@{quote(str(folder), safe='')}:{port}"))
        self.choose = choose
        self.refusing = False
        """While true, nobody gets a connection."""
        self.cuts = 0
        folder.mkdir(mode=0o700)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / f".s.PGSQL.{port}"))
        self._listener.listen(64)
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def cut_everybody(self) -> None:
        """Cut every connection that is open."""
        while self._open:
            _shut(self._open.pop())

    def close(self) -> None:
        """Cut everybody off and stop."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_everybody()
        for thread in self._threads:
            thread.join(30)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refusing:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            self._open += [client, server]
            session = _Session(self, client, server)
            for work in (session.forward, session.backward):
                thread = threading.Thread(target=work)
                self._threads.append(thread)
                thread.start()


class _Session:
    """One connection: what the client says goes forward, what the server answers goes backward."""

    def __init__(self, proxy: CuttingProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._appends: set[bytes] = set()
        self._in_transaction = False
        self._swallow = threading.Event()
        self._half = threading.Event()
        self._mute = threading.Event()
        self._last_words = b""

    def forward(self) -> None:
        """Pass messages to the server until a commit is to be cut."""
        try:
            self._server.sendall(_startup(self._client))
            for kind, body in _messages(self._client):
                if kind == b"S" and self._half.is_set():
                    # Executed, but never synchronised: the row comes back without a commit.
                    self._server.sendall(_packed(b"H", b""))
                    return
                cut = self._proxy.choose() if self._commits(kind, body) else None
                if cut in _LAST_WORDS:
                    cut = self._halve(cut, kind)
                if cut == "after":
                    self._swallow.set()
                if cut == "during":
                    self._mute.set()  # the server may answer before this end is cut
                if cut is not None:
                    self._proxy.cuts += 1  # before the server can answer, and whoever asks can look
                if cut != "before":
                    self._server.sendall(_packed(kind, body))
                if cut in {"before", "during"}:
                    break
        except OSError:
            pass
        if not self._swallow.is_set():
            self._end()

    def backward(self) -> None:
        """Pass answers to the client; swallow the one that a cut is meant for."""
        try:
            for kind, body in _messages(self._server):
                if self._mute.is_set():
                    break
                if self._swallow.is_set():
                    if kind == b"Z":  # ready for the next query: this one is committed
                        break
                    continue
                if kind == b"Z":
                    self._in_transaction = body != b"I"
                self._client.sendall(_packed(kind, body))
                if kind == b"C" and self._half.is_set():
                    self._client.sendall(self._last_words)
                    break
        except OSError:
            pass
        self._end()

    def _halve(self, cut: str, kind: bytes) -> str:
        """Prepare to cut within an append; a COMMIT has no row, so it is cut before instead."""
        if kind != b"B":
            return "before"
        self._last_words = b"".join(_packed(*message) for message in _LAST_WORDS[cut])
        self._half.set()
        return cut

    def _commits(self, kind: bytes, body: bytes) -> bool:
        """Say whether a message makes the server commit an append."""
        if kind == b"P":
            name, query = body.split(b"\0")[:2]
            if b"append_events(" in query:
                self._appends.add(name)
            return query.startswith(b"COMMIT")
        if kind == b"B":
            return body.split(b"\0")[1] in self._appends and not self._in_transaction
        return kind == b"Q" and body.startswith(b"COMMIT")

    def _end(self) -> None:
        _shut(self._client)
        _shut(self._server)


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the other side was faster
    end.close()


def _exactly(end: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = end.recv(size - len(data))
        if not more:
            raise OSError("the other side hung up")
        data += more
    return data


def _startup(end: socket.socket) -> bytes:
    """Read the first message of a client, which alone has no type."""
    head = _exactly(end, 4)
    return head + _exactly(end, struct.unpack(">i", head)[0] - 4)


def _messages(end: socket.socket) -> Iterator[tuple[bytes, bytes]]:
    while True:
        head = _exactly(end, 5)
        yield head[:1], _exactly(end, struct.unpack(">i", head[1:])[0] - 4)


def _packed(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">i", len(body) + 4) + body
