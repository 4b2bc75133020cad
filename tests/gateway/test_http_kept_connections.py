"""The gateway's own connections to a server over HTTP: whole answers, and whatever else comes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest

from adapters.triton import http_connections
from adapters.triton.http_connections import (
    BrokenError,
    Connections,
    HttpAnswer,
    NotConnectedError,
)

MOST = 1_000
OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"Content-Length: 2\r\n\r\nok"
NEVER = b"never"
"""In place of an answer: none comes, and the connection stays."""


class Seen(NamedTuple):
    """What the server saw."""

    connections: list[asyncio.StreamWriter]
    requests: list[bytes]
    first: asyncio.Event
    """Set when a request has come."""


async def served(
    answers: list[bytes | None], use: Callable[[Connections, Seen], Awaitable[None]]
) -> None:
    """Serve each request by the next answer, and end the connection after None."""
    seen, left = Seen([], [], asyncio.Event()), iter(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                seen.requests.append(head + await reader.readexactly(int(length or 0)))
                seen.first.set()
                while (answer := next(left)) is not None and answer.endswith(b"..."):
                    writer.write(answer[:-3])
                    await writer.drain()
                    await asyncio.sleep(0)
                if answer is None:
                    break
                if answer == NEVER:
                    await reader.read()
                    break
                writer.write(answer)
                await writer.drain()
        except (OSError, EOFError, StopIteration, RuntimeError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    connections = Connections(f"{host}:{port}", MOST)
    try:
        await asyncio.wait_for(use(connections, seen), 30)
    finally:
        connections.close()
        server.close()


async def asked(connections: Connections, body: bytes = b"") -> HttpAnswer:
    return await connections.ask("POST", "/v2/models/m/infer", body, {"X-One": "1"})


@pytest.mark.parametrize(
    ("parts", "status", "body"),
    [
        ([WHOLE], 200, b"ok"),
        ([OK + b"Content-Le...", b"ngth: 2\r\n\r\no...", b"k"], 200, b"ok"),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"], 200, b"ok"),
        ([OK + b"\r\nuntil the end...", None], 200, b"until the end"),
        ([b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"], 200, b"ok"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE], 200, b"ok"),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], 204, b""),
        ([b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"], 503, b"busy"),
        ([OK + b"Content-Length: 1000\r\n\r\n" + b"x" * MOST], 200, b"x" * MOST),
    ],
)
def test_an_answer_comes_whole_however_it_is_sent(
    parts: list[bytes | None], status: int, body: bytes
) -> None:
    async def use(connections: Connections, _: Seen) -> None:
        answer = await asked(connections)
        assert (answer.status, answer.body) == (status, body)

    asyncio.run(served(parts, use))


@pytest.mark.parametrize(
    "parts",
    [
        [None],
        [OK + b"Content-Length: 500\r\n\r\n{...", None],
        [OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{...", None],
        [OK + b"X-Half: ...", None],
        [b"no HTTP at all\r\n\r\n"],
        [OK + b"Content-Length: 1001\r\n\r\n"],
        [OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nokk"],
        [OK + b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1_001],
        [OK + b"\r\n" + b"x" * 1_001],
        [OK + b"X-Large: " + b"x" * 70_000 + b"\r\n\r\n"],
        [b"HTTP/1.1 101 Other\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n"],
        [b"HTTP/1.1 100 Continue\r\n\r\n...", None],
    ],
)
def test_what_is_no_whole_answer_is_told_and_ends_the_connection(
    parts: list[bytes | None],
) -> None:
    async def use(connections: Connections, seen: Seen) -> None:
        with pytest.raises(BrokenError):
            await asked(connections)
        assert (await asked(connections)).body == b"ok"
        assert len(seen.connections) == 2

    asyncio.run(served([*parts, WHOLE], use))


def test_requests_go_out_as_they_are_over_one_connection() -> None:
    async def use(connections: Connections, seen: Seen) -> None:
        for body in (b"", b"x" * 3, b"y" * 300_000):
            assert (await asked(connections, body)).body == b"ok"
        await connections.ask("GET", "/v2", b"", {})
        assert len(seen.connections) == 1
        host = connections_address(seen)
        head = f"POST /v2/models/m/infer HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: identity\r\n"
        assert seen.requests[1] == f"{head}X-One: 1\r\nContent-Length: 3\r\n\r\nxxx".encode()
        assert seen.requests[2].endswith(b"\r\n\r\n" + b"y" * 300_000)
        assert b"Content-Length" not in seen.requests[3]

    asyncio.run(served([WHOLE] * 4, use))


def connections_address(seen: Seen) -> str:
    """Return where the server listens."""
    host, port = seen.connections[0].get_extra_info("sockname")
    return f"{host}:{port}"


def test_two_at_once_have_a_connection_each_and_both_are_kept() -> None:
    async def use(connections: Connections, seen: Seen) -> None:
        for _ in range(3):
            await asyncio.gather(asked(connections), asked(connections))
        assert len(seen.connections) == 2

    asyncio.run(served([WHOLE] * 6, use))


@pytest.mark.parametrize("unasked", [WHOLE + WHOLE, WHOLE + b"more"])
def test_a_connection_on_which_more_comes_than_was_asked_for_is_not_used_again(
    unasked: bytes,
) -> None:
    async def use(connections: Connections, seen: Seen) -> None:
        assert (await asked(connections)).body == b"ok"
        assert (await asked(connections)).body == b"ok"
        assert len(seen.connections) == 2

    asyncio.run(served([unasked, WHOLE], use))


def test_a_connection_that_its_server_has_ended_is_replaced() -> None:
    async def use(connections: Connections, seen: Seen) -> None:
        await asked(connections)
        seen.connections[0].close()
        await seen.connections[0].wait_closed()
        await asyncio.sleep(0.1)
        assert (await asked(connections)).body == b"ok"
        assert len(seen.connections) == 2

    asyncio.run(served([WHOLE] * 2, use))


def test_a_connection_that_nobody_used_for_long_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_connections, "KEPT_SECONDS", -1.0)

    async def use(connections: Connections, seen: Seen) -> None:
        await asked(connections)
        await asked(connections)
        assert len(seen.connections) == 2

    asyncio.run(served([WHOLE] * 2, use))


def test_who_waits_no_more_ends_the_connection() -> None:
    async def use(connections: Connections, seen: Seen) -> None:
        task = asyncio.create_task(asked(connections))
        await seen.first.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await asked(connections)).body == b"ok"
        assert len(seen.connections) == 2

    asyncio.run(served([NEVER, WHOLE], use))


def test_nothing_goes_out_where_there_is_no_server_or_a_header_is_two() -> None:
    async def use(connections: Connections, seen: Seen) -> None:
        with pytest.raises(NotConnectedError):
            await connections.ask("GET", "/v2", b"", {"X-One": "1\r\nX-Two: 2"})
        assert seen.requests == []
        for address in ("127.0.0.1:1", "nowhere.invalid:80", "no port"):
            with pytest.raises(NotConnectedError):
                await Connections(address, MOST).ask("GET", "/v2", b"", {})

    asyncio.run(served([], use))
