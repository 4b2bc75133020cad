"""The gRPC server and its wire: what it answers, and what it withstands, from whoever connects."""

import gzip
import socket
import struct
import time
from typing import Any

import grpc
import pytest

from adapters.grpc import connection, server
from adapters.grpc.messages import framed
from tests.gateway import raw_grpc as raw
from tests.gateway.raw_grpc import OK, Client, asked
from tests.gateway.raw_grpc_served import MESSAGE_BYTES, Served
from tests.gateway.raw_grpc_served import nothing_left as nothing_left  # noqa: PLC0414 - a fixture
from tests.gateway.raw_grpc_served import served as served  # noqa: PLC0414 - a fixture

UNIMPLEMENTED, INTERNAL, EXHAUSTED, LATE = 12, 13, 8, 4


def flagged(flag: int, data: bytes) -> bytes:
    return struct.pack(">BI", flag, len(data)) + data


ANSWERS: dict[str, tuple[raw.Pairs, bytes, int, bytes]] = {
    "a message": (asked(), framed(b"hi"), OK, b"hi"),
    "no message": (asked(), b"", OK, b""),
    "a type of its own": (asked(content_type="application/grpc+x"), framed(b"a"), OK, b"a"),
    "more messages than are read": (asked(), framed(b"a") * 9000, OK, b"a"),
    "no te": (asked(te=None), framed(b"a"), OK, b"a"),
    "gzip": (asked(grpc_encoding="gzip"), flagged(1, gzip.compress(b"a")), OK, b"a"),
    "gzip of nothing": (asked(grpc_encoding="gzip"), flagged(1, b""), OK, b""),
    "a long time": (asked(grpc_timeout="99999999H"), framed(b"a"), OK, b"a"),
    "no time": (asked(grpc_timeout="0n"), framed(b"a"), LATE, b""),
    "a time that is none": (asked(grpc_timeout="soon"), framed(b"a"), INTERNAL, b""),
    "a method that there is not": (asked("/test/other"), framed(b"a"), UNIMPLEMENTED, b""),
    "an encoding that there is not": (
        asked(grpc_encoding="br"),
        flagged(1, b"a"),
        UNIMPLEMENTED,
        b"",
    ),
    "a flag without an encoding": (asked(), flagged(1, b"a"), INTERNAL, b""),
    "a gzip cut off": (
        asked(grpc_encoding="gzip"),
        flagged(1, gzip.compress(b"x" * 99)[:-4]),
        INTERNAL,
        b"",
    ),
    "a bomb": (
        asked(grpc_encoding="gzip"),
        flagged(1, gzip.compress(b"x" * 2**26)),
        EXHAUSTED,
        b"",
    ),
    "a message too large": (asked(), framed(b"x" * (MESSAGE_BYTES + 1)), EXHAUSTED, b""),
    "half a message": (asked(), framed(b"hello")[:-1], INTERNAL, b""),
    "half a length": (asked(), b"\0\0", INTERNAL, b""),
    "half a message behind one": (asked("/test/each"), framed(b"a") + b"\0", INTERNAL, b"a"),
    "broken binary metadata": (asked(x_bin="a*b"), framed(b"a"), INTERNAL, b""),
    "metadata that is no ASCII": (asked(x="\u00e9"), framed(b"a"), OK, b"a"),
    "large metadata": (asked(x="x" * 15_000), framed(b"a"), OK, b"a"),
    "metadata too large": (asked(x="x" * 17_000), framed(b"a"), EXHAUSTED, b""),
    "many headers": ([*asked(), *[(b"x", b"")] * 450], framed(b"a"), OK, b"a"),
    "too many headers": ([*asked(), *[(b"x", b"")] * 550], framed(b"a"), EXHAUSTED, b""),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_each_call_ends_with_the_status_that_grpc_has_for_it(served: Served, what: str) -> None:
    headers, body, status, message = ANSWERS[what]
    with served.client() as client:
        for _ in range(2):  # the second time on the same connection
            found = client.answer(client.ask(headers, body))
            assert (found.status, found.body[5:]) == (status, message), found
            assert found.headers[b":status"] == b"200"
            assert found.headers[b"grpc-accept-encoding"] == b"identity, deflate, gzip"


@pytest.mark.parametrize("kind", ["text/plain", "application/grpc-web", "", None])
@pytest.mark.parametrize("method", ["POST", "GET", "PUT"])
def test_what_is_no_call_is_told_so_by_http(served: Served, kind: str | None, method: str) -> None:
    with served.client() as client:
        found = client.call(asked(content_type=kind, pseudo_method=method))
        assert (found.headers[b":status"], found.status) == (b"415", None)
        found = client.answer(client.ask(asked(content_type=kind), end=False))
        assert found.headers[b":status"] == b"415"


def test_connect_has_no_path_and_is_no_call(served: Served) -> None:
    with served.client() as client:
        connect = asked(pseudo_method="CONNECT", pseudo_path=None, pseudo_scheme=None)
        assert client.answer(client.ask(connect, end=False)).headers[b":status"] == b"415"
        assert client.call().status == OK


BROKEN = {
    "no path": asked(pseudo_path=None),
    "no method": asked(pseudo_method=None),
    "two paths": [*asked()[:3], (b":path", b"/test/echo"), *asked()[3:]],
    "a pseudo header that there is not": [(b":other", b"x"), *asked()],
    "a pseudo header behind others": [*asked(), (b":status", b"200")],
    "a name in upper case": [*asked(), (b"Name", b"x")],
    "a name with a space": [*asked(), (b"a name", b"x")],
    "a value with a line's end": [*asked(), (b"name", b"a\r\nb")],
    "a header of a connection": [*asked(), (b"connection", b"close")],
    "another te": asked(te="gzip"),
    "a length that is not the body's": asked(content_length="3"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_http2_forbids_ends_its_stream_alone(served: Served, what: str) -> None:
    good, bad, begun = raw.block(asked()), raw.block(BROKEN[what]), served.begun
    with socket.create_connection(("127.0.0.1", served.port), 10) as client:
        client.sendall(
            raw.PREFACE
            + raw.frame(raw.SETTINGS, 0, 0)
            + raw.frame(raw.HEADERS, raw.END_HEADERS, 1, good)
            + raw.frame(raw.HEADERS, raw.END_HEADERS, 3, bad)
            + raw.frame(raw.DATA, raw.END_STREAM, 3, framed(b"hello"))
            + raw.frame(raw.DATA, raw.END_STREAM, 1, framed(b"still here"))
        )
        came = b""
        while framed(b"still here") not in came:
            piece = client.recv(65_536)
            assert piece
            came += piece
    assert raw.frame(raw.RESET, 0, 3, (1).to_bytes(4, "big")) in came
    assert served.begun - begun <= 2


ENDS: dict[str, bytes] = {
    "HTTP/1.1": b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "TLS": bytes.fromhex("160301020001000001fc0303") + bytes(500),
    "another preface": b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n",
    "no settings first": raw.PREFACE + raw.frame(raw.PING, 0, 0, bytes(8)),
    "zeros": raw.PREFACE + raw.frame(raw.SETTINGS, 0, 0) + bytes(9_000),
    "data on no stream": raw.PREFACE
    + raw.frame(raw.SETTINGS, 0, 0)
    + raw.frame(raw.DATA, 0, 0, b"x"),
    "a frame too large": raw.PREFACE
    + raw.frame(raw.SETTINGS, 0, 0)
    + raw.frame(raw.HEADERS, 4, 1, bytes(20_000)),
    "headers that are none": raw.PREFACE
    + raw.frame(raw.SETTINGS, 0, 0)
    + raw.frame(raw.HEADERS, 4, 1, b"\xff" * 40),
    "a call and then junk": raw.PREFACE
    + raw.frame(raw.SETTINGS, 0, 0)
    + raw.frame(raw.HEADERS, 4, 1, raw.block(asked("/test/hold")))
    + raw.frame(raw.DATA, 0, 1, framed(b"x"))
    + raw.frame(raw.PING, 0, 0, b"junk"),
    "a call and a farewell": raw.PREFACE
    + raw.frame(raw.SETTINGS, 0, 0)
    + raw.frame(raw.HEADERS, 4, 1, raw.block(asked("/test/hold")))
    + raw.frame(raw.DATA, 0, 1, framed(b"x"))
    + raw.frame(raw.RESET, 0, 1, bytes(4))
    + raw.frame(7, 0, 0, bytes(8)),
    "settings without end": raw.PREFACE + raw.frame(raw.SETTINGS, 0, 0) * 5_000,
    "pings without end": raw.PREFACE
    + raw.frame(raw.SETTINGS, 0, 0)
    + raw.frame(raw.PING, 0, 0, bytes(8)) * 5_000,
    "headers without end": raw.PREFACE
    + raw.frame(raw.SETTINGS, 0, 0)
    + raw.frame(raw.HEADERS, 0, 1, raw.block(asked()))
    + raw.frame(raw.CONTINUATION, 0, 1, raw.block([(b"x", b"x")])) * 2_000,
    "empty pieces of headers without end": raw.PREFACE
    + raw.frame(raw.SETTINGS, 0, 0)
    + raw.frame(raw.HEADERS, 0, 1, raw.block(asked()))
    + raw.frame(raw.CONTINUATION, 0, 1) * 2_000,
    "a header that repeats a large one": raw.PREFACE
    + raw.frame(raw.SETTINGS, 0, 0)
    + raw.frame(raw.HEADERS, 4, 1, b"\x40\x01x\x7f\xa1\x1e" + b"x" * 4_000 + b"\xbe" * 12_000),
}


@pytest.mark.parametrize("what", ENDS)
def test_what_is_no_http2_ends_its_connection_and_nothing_else(served: Served, what: str) -> None:
    with served.client() as other:
        stream = other.ask(asked(), end=False)
        with socket.create_connection(("127.0.0.1", served.port), 10) as client:
            client.sendall(ENDS[what])
            _until_it_ends(client)
        other.send(stream, framed(b"still here"), end=True)
        assert other.answer(stream).body[5:] == b"still here"


def _until_it_ends(client: socket.socket) -> None:
    try:
        while client.recv(65_536):
            pass
    except ConnectionResetError:
        pass


@pytest.mark.parametrize("said", [b"", raw.PREFACE[:9], raw.PREFACE])
def test_a_connection_that_does_not_greet_is_left(
    served: Served, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(server, "GREETING_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", served.port), 10) as client:
        client.sendall(said)
        began = time.monotonic()
        _until_it_ends(client)
        assert 0.2 < time.monotonic() - began < 5


def test_a_peer_that_is_silent_is_asked_whether_it_lives_and_left_if_not(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "KEEPALIVE_SECONDS", 0.3)
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.2)
    with served.client() as dead, served.client() as alive:
        dead.ask(asked("/test/hold"), end=False)
        held = alive.ask(asked("/test/hold"), end=False)
        _answering(alive, 1.5)
        _until_it_ends(dead.socket)
        alive.reset(held)
        alive.settle()


def _answering(client: Client, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        client.settle()
        time.sleep(0.01)


def test_a_client_that_pings_without_pause_is_answered(served: Served) -> None:
    with served.client() as client:
        for _ in range(1_000):
            client.settle()
        assert client.goaway is None
        assert client.call().status == OK


def test_grpcs_own_client_is_served(served: Served) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{served.port}") as channel:
        each: Any = channel.stream_stream("/test/each")
        for packing in grpc.Compression:
            said = [bytes([number]) * 50_000 for number in range(30)]
            assert list(each(iter(said), compression=packing, timeout=20)) == said
        echo: Any = channel.unary_unary("/test/echo")
        large = b"x" * MESSAGE_BYTES
        assert echo(large, timeout=20) == large
        with pytest.raises(grpc.RpcError) as raised:
            echo(large + b"x", timeout=20)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary("/test/hold")(b"", timeout=0.2)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
