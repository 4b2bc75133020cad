"""The load over HTTP, as a process of its own: keep-alive connections, each one pair after another.

`python -m benchmarks.http_client URL KEY CONNECTIONS PAIRS BATCH PREFIX` prints one JSON document:
`seconds`, `p99_ms` and `median_ms` over all requests. With BATCH 1 a pair is two requests (reserve,
then settle); with more, a request to /v1/commands carries so many commands, half of each kind.
It speaks HTTP by hand and reads answers no further than it must, to leave the cores to the server.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import cast
from urllib.parse import urlsplit

import uvloop

from benchmarks.load import ESTIMATE, USAGE
from benchmarks.pairs import HOT
from entrypoints.demo.job import MODEL

Request = tuple[str, bytes]
"""The path and the body of a POST."""


class Connection(asyncio.Protocol):
    """One keep-alive connection that sends the next request when the last one is answered."""

    def __init__(self, head: bytes, requests: Iterator[Request], latencies: list[float]) -> None:
        """Send what `requests` yields until it ends."""
        self._head = head
        self._requests = requests
        self._latencies = latencies
        self._received = b""
        self._sent = 0.0
        self._transport: asyncio.Transport
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to send."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail, unless everything was answered."""
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        """Take an answer, once it is whole."""
        received = self._received = self._received + data
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = received[:end].lower()
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        if len(received) < end + 4 + length:
            return
        self._latencies.append(time.perf_counter() - self._sent)
        body, self._received = received[end + 4 :], b""
        if received[9:10] != b"2" or b'"status":"refused"' in body:
            failure = RuntimeError(f"a request of the load failed: {received[:2000]!r}")
            self.done.set_exception(failure)
            self._transport.close()
            return
        self._next()

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self.done.set_result(None)
            self._transport.close()
            return
        path, body = request
        self._sent = time.perf_counter()
        line = f"POST {path} HTTP/1.1\r\ncontent-length: {len(body)}\r\n".encode()
        self._transport.write(line + self._head + body)


def pairs_of(prefix: str, pairs: int) -> Iterator[Request]:
    """Yield a reserve and its settle, pair by pair."""
    for number in range(pairs):
        name = f"{prefix}{number:08d}"
        yield "/v1/reservations", json.dumps({"id": name, **_reserve()}).encode()
        settle = {"id": f"s{name}", "usage": USAGE}
        yield f"/v1/reservations/{name}/settle", json.dumps(settle).encode()


def batches_of(prefix: str, pairs: int, size: int) -> Iterator[Request]:
    """Yield requests of so many commands, each reserve before its settle."""
    for start in range(0, pairs, size // 2):
        commands = []
        for number in range(start, min(start + size // 2, pairs)):
            name = f"{prefix}{number:08d}"
            commands.append({"kind": "reserve", "id": name, **_reserve()})
            settle = {"id": f"s{name}", "reservation": name, "usage": USAGE}
            commands.append({"kind": "settle", **settle})
        yield "/v1/commands", json.dumps({"atomic": False, "commands": commands}).encode()


def _reserve() -> dict[str, object]:
    return {"customer": HOT, "model": MODEL, "estimate": ESTIMATE}


def _itself(connection: Connection) -> Connection:
    return connection


async def drive(
    url: str, key: str, connections: int, requests: Callable[[int], Iterator[Request]]
) -> tuple[float, list[float]]:
    """Run all connections to their end; return the seconds and every latency, sorted."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    head = (
        f"host: {parts.netloc}\r\nauthorization: Bearer {key}\r\n"
        "content-type: application/json\r\n\r\n"
    ).encode()
    latencies: list[float] = []
    loop = asyncio.get_running_loop()
    begin = time.perf_counter()
    opened = []
    for number in range(connections):
        connection = Connection(head, requests(number), latencies)
        await loop.create_connection(partial(_itself, connection), host, port)
        opened.append(connection.done)
    await asyncio.gather(*opened)
    return time.perf_counter() - begin, sorted(latencies)


def main(url: str, key: str, connections: int, pairs: int, batch: int, prefix: str) -> None:
    """Drive the load and print what it took."""
    share = pairs // connections

    def requests(number: int) -> Iterator[Request]:
        own = f"{prefix}{number:04d}-"
        return pairs_of(own, share) if batch == 1 else batches_of(own, share, batch)

    seconds, latencies = uvloop.run(drive(url, key, connections, requests))
    found = {
        "pairs": share * connections,
        "seconds": seconds,
        "median_ms": statistics.median(latencies) * 1000,
        "p99_ms": latencies[len(latencies) * 99 // 100] * 1000,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    _, where, secret, at_once, number_of_pairs, commands, ids = sys.argv
    main(where, secret, int(at_once), int(number_of_pairs), int(commands), ids)
