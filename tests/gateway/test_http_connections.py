"""Connections that are slow, many, or no HTTP at all: none of them is waited for."""

import json
import os
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from adapters.triton.server import TritonServer
from entrypoints.gateway import http_models
from entrypoints.gateway.config import GatewayConfig
from tests.gateway.fake_http_server import whole
from tests.gateway.http_serving import (
    Answer,
    HttpServed,
    before,
    document,
    http_serving,
    raw_request,
    wait,
)
from tests.gateway.http_serving import strict as strict  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.http_serving import triton as triton  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.rig import Licensee, Rig, configured

INFER = "/v2/models/textgen/infer"
LENGTH = "Inference-Header-Content-Length"


def texted(**more: Any) -> dict[str, Any]:
    """Return a whole input with something else about it."""
    return {"name": "TEXT", "shape": [1, 1], "datatype": "BYTES", "data": ["a b"], **more}


def whole_inputs(*more: dict[str, Any], **beside: Any) -> bytes:
    return json.dumps({"inputs": [texted(), *more], **beside}).encode()


@pytest.mark.parametrize(
    "header", ["tollbook-license-key", LENGTH, "Content-Length", "Content-Encoding"]
)
def test_a_header_that_is_given_twice_is_refused(rig: Rig, strict: HttpServed, header: str) -> None:
    who = rig.licensee()
    request = raw_request(INFER, whole_inputs(), who)
    head, body = request.split(b"\r\n\r\n", 1)
    first, second = {
        "tollbook-license-key": ("", f"\r\n{header}: {who.key}"),
        "Content-Length": ("", f"\r\n{header}: 7"),
    }.get(header, (f"\r\n{header}: identity", f"\r\n{header}: gzip"))
    with strict.socket() as client:
        client.sendall(head + first.encode() + second.encode() + b"\r\n\r\n" + body)
        assert client.recv(100).split(b" ")[1] == b"400"
    assert who.names() == []


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /v2/mod",
        f"POST {INFER} HTTP/1.1\r\nHost: a\r\n".encode(),
        b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\nGET /v2/hea",
    ],
)
def test_a_head_that_does_not_come_is_not_waited_for(strict: HttpServed, sent: bytes) -> None:
    with strict.socket() as client:
        client.sendall(sent)
        while client.recv(1_000):
            pass
    wait(lambda: strict.front.connections == 0)


def test_a_head_that_comes_byte_by_byte_is_not_waited_for(strict: HttpServed) -> None:
    with strict.socket() as client:
        sent = 0
        client.settimeout(0.2)
        ended = False
        for byte in f"POST {INFER} HTTP/1.1\r\nHost: a\r\nX: ".encode() + b"x" * 1_000:
            try:
                client.sendall(bytes([byte]))
                sent += 1
                ended = client.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                ended = True
            if ended:
                break
        assert ended
        assert sent < 100


@pytest.mark.parametrize("body", [b"", b'{"inputs":'])
def test_a_body_that_does_not_come_is_not_waited_for(
    rig: Rig, strict: HttpServed, body: bytes
) -> None:
    who = rig.licensee()
    request = raw_request(INFER, whole_inputs(), who)
    head = request.split(b"\r\n\r\n", 1)[0]
    with strict.socket() as client:
        client.sendall(head + b"\r\n\r\n" + body)
        assert client.recv(100).startswith(b"HTTP/1.1 408 ")
    assert who.names() == []
    with strict.socket() as client:
        client.sendall(head + b"\r\n\r\n" + body)  # and goes
    wait(lambda: strict.front.connections == 0)
    assert strict.front.held == 0


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
        b"POST " + INFER.encode() + b" HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST " + INFER.encode() + b" HTTP/1.1\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_or_cut(strict: HttpServed, sent: bytes) -> None:
    with strict.socket() as client:
        client.sendall(sent)
        try:
            found = client.recv(100)
        except ConnectionResetError:
            found = b""
        assert found == b"" or found.split(b" ")[1] in (b"400", b"401", b"404")
    assert strict.ask("GET", "/v2/health/live").status == 200


def posted(strict: HttpServed, who: Licensee, body: Any, **headers: str) -> Answer:
    return strict.post(who, "textgen/infer", body, **headers)


def before_one(server: socket.socket) -> GatewayConfig:
    return configured(http=f"127.0.0.1:{server.getsockname()[1]}")


@pytest.mark.parametrize("path", ["/v2", "/v2/health/ready"])
def test_what_needs_no_key_is_asked_over_one_connection_however_many_ask(
    rig: Rig, tmp_path: Path, path: str
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        http_serving(rig, tmp_path, before_one(server)) as serving,
        ExitStack() as opened,
    ):
        clients = [opened.enter_context(serving.socket()) for _ in range(20)]
        for client in clients:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        asked, _ = server.accept()
        with asked:
            assert asked.recv(1_000).startswith(f"GET {path} ".encode())
            server.settimeout(0.5)
            with pytest.raises(TimeoutError):
                server.accept()
            asked.sendall(whole(b"{}"))
            for client in clients:
                assert client.recv(1_000).startswith(b"HTTP/1.1 200 ")
        if path == "/v2":  # the next one asks anew
            clients[0].sendall(b"GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n")
            server.settimeout(30)
            again, _ = server.accept()
            with again:
                assert again.recv(1_000).startswith(b"GET /v2 ")
                again.sendall(whole(b"{}"))
                assert clients[0].recv(1_000).startswith(b"HTTP/1.1 200 ")


def test_questions_about_models_have_only_so_many_connections_to_a_server(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_models, "AT_ONCE", 2)
    who = rig.licensee()
    head = f"GET /v2/models/textgen/config HTTP/1.1\r\nHost: a\r\ntollbook-license-key: {who.key}"
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        http_serving(rig, tmp_path, before_one(server)) as serving,
        ExitStack() as opened,
    ):
        clients = [opened.enter_context(serving.socket()) for _ in range(5)]
        for client in clients:
            client.sendall(f"{head}\r\n\r\n".encode())
        server.settimeout(30)
        asked = [opened.enter_context(server.accept()[0]) for _ in range(2)]
        server.settimeout(0.5)
        with pytest.raises(TimeoutError):
            server.accept()
        asked[0].recv(1_000)
        asked[0].sendall(whole(b"{}"))
        server.settimeout(30)
        opened.enter_context(server.accept()[0])  # the turn of the next one


def resident() -> int:
    """Return how many bytes of this process are in memory."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_two_thousand_idle_connections_cost_little_and_hinder_nobody(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    who = rig.licensee()
    count = 2_000
    with http_serving(rig, tmp_path, before(triton)) as serving, ExitStack() as opened:
        posted(serving, who, document())
        before_them = resident()
        for _ in range(count):
            opened.enter_context(serving.socket())
        wait(lambda: serving.front.connections >= count)
        grown = resident() - before_them
        assert posted(serving, who, document()).status == 200
        assert len(who.until(2)) == 2
        # Both ends of each, as the clients live in this process too.
        assert grown / count < 20_000, grown / count
    wait(lambda: serving.front.connections == 0)
