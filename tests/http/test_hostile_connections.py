"""Whatever comes through the socket: slow, huge, cut off, many, or no HTTP at all."""

import asyncio
import json
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from entrypoints.http.server import SPARE_FILES, allow_many_files
from tests.support.serve_process import ServeProcess, serve_process
from tests.support.sizes import in_full_or

SHORT = {
    "TOLLBOOK_HEADER_SECONDS": "1",
    "TOLLBOOK_BODY_SECONDS": "1",
    "TOLLBOOK_IDLE_SECONDS": "3",
    "TOLLBOOK_BODY_BYTES": "1048576",
}
IDLE = in_full_or(2_000, 10_000)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """Serve with little patience."""
    with serve_process(tmp_path_factory.mktemp("short") / "ledger", environment=SHORT) as served:
        yield served


class Raw:
    """A connection on which a test says whatever it likes."""

    def __init__(self, served: ServeProcess) -> None:
        parts = urlsplit(served.url)
        self.socket = socket.create_connection((parts.hostname, parts.port or 0), 20)
        self.key = served.admin_key

    def say(self, text: str | bytes) -> None:
        """Send bytes."""
        self.socket.sendall(text.encode() if isinstance(text, str) else text)

    def post(self, headers: str, body: str | bytes = b"") -> None:
        """Send a POST with an admin's key."""
        begin = f"POST /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.key}\r\n"
        self.say(f"{begin}Content-Type: application/json\r\n{headers}\r\n")
        self.say(body)

    def drip(self, text: str) -> None:
        """Send a little again and again, for as long as anybody could stand it."""
        for _ in range(600):
            time.sleep(0.05)
            self.say(text)

    def rest(self) -> bytes:
        """Read until the server closes the connection."""
        pieces = []
        while piece := self.socket.recv(65_536):
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


@pytest.fixture
def raw(short: ServeProcess) -> Iterator[Raw]:
    """Give the test a connection of its own, and see that the server lives on."""
    connection = Raw(short)
    yield connection
    connection.close()
    assert httpx.get(f"{short.url}/healthz").json() == {"status": "ok"}


def problem(answer: bytes) -> dict[str, Any]:
    """Read the last answer as the problem that it must be."""
    head, _, body = answer.rpartition(b"\r\n\r\n")
    lines = head.lower().rpartition(b"http/1.1 ")[2]
    assert b"content-type: application/problem+json" in lines
    assert b"connection: close" in lines
    assert b"\r\nserver:" not in lines
    found: dict[str, Any] = json.loads(body)
    assert found["status"] == int(lines[:3])
    return found


@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"\x00" * 1000,
    ],
)
def test_bytes_that_are_no_http_are_answered_and_cut_off(raw: Raw, garbage: bytes) -> None:
    raw.say(garbage)
    assert problem(raw.rest())["status"] in (400, 401, 404)


def test_a_head_that_drips_is_cut_off(raw: Raw) -> None:
    raw.say("GET /healthz HTTP/1.1\r\nHost: x\r\n")
    with pytest.raises(ConnectionError):
        raw.drip("X-More: y\r\n")


def test_a_head_that_stops_is_told_that_it_timed_out(raw: Raw) -> None:
    raw.say("GET /healthz HTTP/1.1\r\nHos")
    assert problem(raw.rest())["code"] == "timeout"


def test_the_second_head_on_a_connection_has_a_deadline_as_well(raw: Raw) -> None:
    raw.say("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /heal")
    answer = raw.rest()
    assert answer.startswith(b"HTTP/1.1 200")
    assert problem(answer)["code"] == "timeout"


def test_silence_is_cut_off_without_a_word(raw: Raw) -> None:
    assert raw.rest() == b""


def test_empty_lines_for_ever_are_no_request(raw: Raw) -> None:
    with pytest.raises(ConnectionError):
        raw.drip("\r\n")


@pytest.mark.parametrize(
    "headers",
    [
        f"X-Long: {'y' * 40_000}\r\n",
        "".join(f"X-{number}: y\r\n" for number in range(200)),
        f"X-Endless: {'y' * 40_000}",
    ],
)
def test_a_head_that_is_too_long_is_refused(raw: Raw, headers: str) -> None:
    raw.say(f"GET /healthz HTTP/1.1\r\nHost: x\r\n{headers}\r\n")
    assert problem(raw.rest())["status"] == 431


def test_a_long_path_is_refused(raw: Raw) -> None:
    raw.say(f"GET /{'x' * 60_000} HTTP/1.1\r\nHost: x\r\n\r\n")
    assert problem(raw.rest())["status"] == 431


def test_a_body_that_says_it_is_too_long_is_refused_before_it_comes(raw: Raw) -> None:
    raw.post("Content-Length: 1048577\r\n")
    assert problem(raw.rest())["code"] == "too_large"


def test_who_sends_a_huge_body_at_once_can_still_read_the_answer(raw: Raw) -> None:
    raw.post("Content-Length: 1100000\r\n", b"x" * 1_100_000)
    assert problem(raw.rest())["code"] == "too_large"


def test_chunks_are_counted(raw: Raw) -> None:
    raw.post("Transfer-Encoding: chunked\r\n")
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    try:
        for _ in range(40):
            raw.say(chunk)
    except ConnectionError:
        pass  # the server has heard enough
    answer = raw.rest()
    assert problem(answer)["code"] == "too_large"


@pytest.mark.parametrize("headers", ["Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"])
def test_a_body_that_does_not_come_is_told_that_it_timed_out(raw: Raw, headers: str) -> None:
    raw.post(headers, b"{" if "Length" in headers else b"1\r\n{\r\n")
    assert problem(raw.rest())["code"] == "timeout"


def test_a_body_that_drips_is_cut_off(raw: Raw) -> None:
    raw.post("Content-Length: 10000\r\n")
    with pytest.raises(ConnectionError):
        raw.drip("{")


def test_a_body_that_is_cut_off_does_nothing(raw: Raw, short: ServeProcess) -> None:
    raw.post("Content-Length: 100\r\n", b'{"id": "cut-off", "name": "N", "currency": "USD"}')
    raw.close()
    headers = {"Authorization": f"Bearer {short.admin_key}"}
    assert httpx.get(f"{short.url}/v1/customers/cut-off", headers=headers).status_code == 404


def test_a_slow_body_without_a_key_costs_no_patience(short: ServeProcess) -> None:
    raw = Raw(short)
    raw.key = "none"
    raw.post("Content-Length: 100000\r\n")
    assert problem(raw.rest())["code"] == "unauthorized"
    raw.close()


def test_a_small_body_that_nobody_wants_leaves_the_connection_open(short: ServeProcess) -> None:
    with httpx.Client(base_url=short.url) as client:
        for _ in range(2):
            answer = client.post("/v1/customers", content=b"{" * 1000)
            assert answer.status_code == 401
            assert "connection" not in answer.headers


def test_many_requests_sent_ahead_are_all_answered_in_order(raw: Raw) -> None:
    for number in range(20):
        raw.say(f"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: n{number}\r\n\r\n")
    answer = raw.rest()
    order = [answer.index(f"x-request-id: n{number}\r\n".encode()) for number in range(20)]
    assert order == sorted(order)


def test_what_was_asked_before_nonsense_is_still_answered(raw: Raw) -> None:
    raw.say(
        f"GET /v1/customers HTTP/1.1\r\nAuthorization: Bearer {raw.key}\r\n\r\nnonsense\r\n\r\n"
    )
    assert raw.rest().startswith(b"HTTP/1.1 200")


def test_an_upgrade_is_answered_and_not_made(raw: Raw) -> None:
    raw.say("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert raw.rest().startswith(b"HTTP/1.1 200")


def test_thousands_of_idle_connections_hurt_nobody(tmp_path: Path) -> None:
    """As many as this machine allows, of ten thousand in CI; requests beside them are answered."""
    count = min(IDLE, allow_many_files() - SPARE_FILES)
    print(f"{count} idle connections")
    patient = {"TOLLBOOK_IDLE_SECONDS": "600"}  # the last one may be made long after the first
    with serve_process(tmp_path / "ledger", environment=patient) as served:
        found = asyncio.run(_beside_idle(served, count))
    assert found == {"open": count, "answered": 200}


async def _beside_idle(served: ServeProcess, count: int) -> dict[str, int]:
    """Open connections, each of which asked once, and then ask beside them."""
    parts = urlsplit(served.url)
    assert parts.hostname is not None
    assert parts.port is not None
    writers = []
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    readers = []
    for number in range(count):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        if number % 2:  # half of them have never said anything
            writer.write(request)
            await reader.readuntil(b'{"status": "ok"}')
        readers.append(reader)
        writers.append(writer)
    headers = {"Authorization": f"Bearer {served.admin_key}"}
    async with httpx.AsyncClient(base_url=served.url, headers=headers, timeout=20) as client:
        answers = [await client.get("/v1/customers") for _ in range(200)]
    still = sum(not reader.at_eof() for reader in readers)
    for writer in writers:
        writer.transport.abort()
    return {"open": still, "answered": sum(each.status_code == 200 for each in answers)}


def test_the_limit_of_open_files_is_what_the_machine_allows() -> None:
    assert allow_many_files() >= resource.getrlimit(resource.RLIMIT_NOFILE)[0]
