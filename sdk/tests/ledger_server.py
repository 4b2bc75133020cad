"""A small server over real sockets that keeps the ledger's contract and breaks the network's.

It remembers every command by its id: the same id and body gets the same answer, another body a
refusal. Before each request it takes the next fault from a list, so that a test can lose answers,
cut connections and be busy at chosen moments. What it did not understand it lists in `complaints`.
"""

import json
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

KEY = "tb_service_k1_secret"
USD = {"amount": "1.000000000000", "currency": "USD"}
ANSWER = {"held": USD, "released": USD, "expires_at": "2026-01-01T00:05:00.000000Z"}
CHARGE = {
    "charged": USD,
    "from_balance": USD,
    "receivable": {**USD, "amount": "0.000000000000"},
    "price_version": 1,
    "grants": [{"id": "g-1", "amount": USD}],
}
BUSY = {"code": "overloaded", "detail": "try again later"}
SLOW_SECONDS = 0.5

# Each fault: the status and body that it answers, and whether the command is carried out first.
ANSWERED: dict[str, tuple[int, bytes, bool]] = {
    "overloaded": (503, json.dumps(BUSY).encode(), False),
    "unavailable": (503, b'{"code":"unavailable"}', False),
    "rate_limited": (429, b'{"code":"rate_limited"}', False),
    "unknown, done": (504, b'{"code":"unknown"}', True),
    "unknown, not done": (504, b'{"code":"unknown"}', False),
    "proxy, done": (502, b"<h1>Bad Gateway</h1>", True),
    "proxy, not done": (504, b"", False),
    "internal": (500, b'{"code":"internal"}', False),
    "not json, done": (200, b"<h1>Welcome to the hotel</h1>", True),
    "half an answer, done": (200, b'{"id":', True),
    "unauthorized": (401, b'{"code":"unauthorized"}', False),
}


class LedgerServer(ThreadingHTTPServer):
    """Serves on a free port of this machine; a context manager."""

    daemon_threads = True

    def __init__(self) -> None:
        """Listen, and have nothing recorded."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.faults: list[str] = []
        self.done: dict[str, tuple[Any, dict[str, Any]]] = {}
        """Commands by id: their body and their answer."""
        self.effects: Counter[str] = Counter()
        self.tries: list[tuple[str, str, bytes]] = []
        """Method, path and body of each request."""
        self.connections = 0
        self.complaints: list[str] = []
        self.refusals: dict[str, tuple[int, dict[str, Any]]] = {}
        """Paths that answer with a problem."""
        self.documents: dict[str, Any] = {}
        """What GET answers, by path."""
        self._mutex = threading.Lock()

    def __enter__(self) -> Self:
        """Start serving."""
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving."""
        self.shutdown()
        self.server_close()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Count the connections, refused handshakes included."""
        self.connections += 1
        return super().get_request()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about connections that a client has cut."""

    def carry_out(self, path: str, body: Any) -> tuple[int, Any]:
        """Do what a command asks, once."""
        with self._mutex:
            if path in self.refusals:
                return self.refusals[path]
            if path == "/v1/usage":
                return 200, {"results": [self._record(event) for event in body]}
            if path == "/v1/commands":
                return 200, {"results": [self._one(each) for each in body["commands"]]}
            name = body["id"]
            if name in self.done and self.done[name][0] != body:
                return 409, {"code": "id_reused", "detail": "another body", "field": "usage"}
            return 200, self._one(body)

    def _one(self, body: Any) -> dict[str, Any]:
        name = body["id"]
        if name not in self.done:
            self.effects[name] += 1
            answer = {"id": name, "position": len(self.done) + 1, "status": "done"}
            self.done[name] = body, {**answer, **ANSWER, **CHARGE}
        return self.done[name][1]

    def _record(self, event: Any) -> dict[str, Any]:
        name = f"{event['source']} {event['id']}"
        status = "duplicate" if name in self.done else "accepted"
        position = self._one({**event, "id": name})["position"]
        same = {"id": event["id"], "source": event["source"]}
        return {**same, "status": status, "position": position, **CHARGE}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LedgerServer

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers["Content-Length"])))

    def do_PATCH(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _serve(self, body: bytes) -> None:
        self._check(body)
        self.server.tries.append((self.command, self.path, body))
        fault = self.server.faults.pop(0) if self.server.faults else ""
        if fault == "cut before":
            return self._cut()
        if fault in ANSWERED:
            status, answer, done = ANSWERED[fault]
            if done:
                self._carry_out(body)
            return self._answer(status, answer, short=fault.startswith("half"))
        status, document = self._carry_out(body)
        if fault == "answer lost":
            return self._cut()
        if fault == "slow":
            time.sleep(SLOW_SECONDS)
        return self._answer(status, json.dumps(document).encode(), dripping=fault == "dripping")

    def _carry_out(self, body: bytes) -> tuple[int, Any]:
        if self.command == "GET":
            if self.path in self.server.documents:
                return 200, self.server.documents[self.path]
            return 404, {"code": "not_found", "detail": "nothing there", "field": "id"}
        return self.server.carry_out(self.path, json.loads(body))

    def _check(self, body: bytes) -> None:
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            self.server.complaints.append("no key")
        if body and "json" not in self.headers.get("Content-Type", ""):
            self.server.complaints.append("no content type")
        if not self.path.startswith("/v1/"):
            self.server.complaints.append(f"no such path: {self.path}")

    def _answer(
        self, status: int, body: bytes, *, short: bool = False, dripping: bool = False
    ) -> None:
        self.send_response(status)
        self.send_header(
            "Content-Type", "application/json" if status < 400 else "application/problem+json"
        )
        self.send_header("Content-Length", str(len(body) + (10 if short else 0)))
        if status in (429, 503):
            self.send_header("Retry-After", "0")
        self.end_headers()
        for start in range(0, len(body), 1 if dripping else len(body)):
            self.wfile.write(body[start : start + 1] if dripping else body)
            if dripping:
                time.sleep(0.02)
        if short:
            self._cut()

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
