"""A receiver of webhooks on this machine, which checks signatures as Standard Webhooks says."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

SECRET_BYTES = b"a secret of 24 bytes, ok"
SECRET = "whsec_" + base64.b64encode(SECRET_BYTES).decode()


class Received(NamedTuple):
    """A notice as it came in, its signature found right."""

    id: str
    timestamp: int
    body: dict[str, Any]


class Receiver:
    """Keeps what came, and answers as it is told."""

    def __init__(self) -> None:
        """Answer 200 to everything."""
        self.url = ""
        self.status = 200
        self.received: list[Received] = []
        self.wrong: list[str] = []
        self._news = threading.Condition()
        self.open = threading.Event()
        """Cleared, answers wait until it is set."""
        self.open.set()

    def take(self, headers: Any, body: bytes) -> int:
        """Check and keep a notice; return the status to answer with."""
        name, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
        signed = f"{name}.{timestamp}.".encode() + body
        mac = base64.b64encode(hmac.new(SECRET_BYTES, signed, hashlib.sha256).digest()).decode()
        with self._news:
            if headers["webhook-signature"] != f"v1,{mac}":
                self.wrong.append(name)
            self.received.append(Received(name, int(timestamp), json.loads(body)))
            self._news.notify_all()
        self.open.wait(60)
        return self.status

    def wait_for(self, count: int, seconds: float = 60) -> list[Received]:
        """Return what came once there are so many notices, on whichever try."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.received) >= count, seconds), self.received
            return list(self.received)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Listen on a free port of this machine for the length of the block."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            status = found.take(self.headers, self.rfile.read(length))
            try:
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()
            except OSError:
                return  # the sender was killed meanwhile

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_port}/hooks"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.open.set()
        server.shutdown()
        thread.join()
        server.server_close()
