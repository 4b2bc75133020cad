"""Clients over HTTP that take no answers, or leave while a gateway stops: neither is waited for."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from adapters.places import Places
from entrypoints.gateway.http_bodies import Patience
from entrypoints.gateway.http_connections import Connections
from tests.gateway.raw_grpc_served import LOOPS

ASKED = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWER_BYTES = 60_000
"""Less than is sent piece by piece."""
ASKS = 120

Handler = Callable[[web.BaseRequest], Awaitable[web.Response]]


@asynccontextmanager
async def listening(handler: Handler, write: float) -> AsyncIterator[tuple[Connections, int]]:
    """Serve with a handler, and with so much patience for who takes nothing."""
    connections = Connections(handler, Patience(write=write), Places(10))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(connections, "127.0.0.1", 0)
    try:
        yield connections, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await connections.shutdown(1)


async def has(wanted: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(seconds):
        while not wanted():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


def slow_reader(port: int) -> socket.socket:
    """Connect with little room for answers, and ask for many of them at once."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.connect(("127.0.0.1", port))
    client.sendall(ASKED * ASKS)
    return client


async def answer(_request: web.BaseRequest) -> web.Response:
    return web.Response(body=b"x" * ANSWER_BYTES)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_takes_no_small_answers_gives_its_place_back(loop: str) -> None:
    async def work() -> None:
        async with listening(answer, 0.3) as (connections, port):
            with slow_reader(port):
                await has(lambda: connections.places.taken == 1)
                await has(lambda: connections.places.taken == 0)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(work())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_takes_small_answers_slowly_gets_all_of_them(loop: str) -> None:
    def read(client: socket.socket) -> int:
        count = 0
        while count < ASKS * ANSWER_BYTES:
            upto = count + 1_000_000
            while count < min(upto, ASKS * ANSWER_BYTES):
                got = len(client.recv(200_000))
                assert got, f"it was left after {count} bytes"
                count += got
            time.sleep(0.4)
        return count

    async def work() -> None:
        async with listening(answer, 1) as (connections, port):
            with slow_reader(port) as client:
                begun = time.monotonic()
                await asyncio.to_thread(read, client)
                assert time.monotonic() - begun > 2, "longer than it may take nothing at all"
                assert connections.places.taken == 1

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(work())


@pytest.mark.parametrize("loop", LOOPS)
def test_what_goes_on_for_a_client_that_leaves_during_the_stop_ends_with_it(loop: str) -> None:
    under_way: list[asyncio.Task[None]] = []

    async def endless(_request: web.BaseRequest) -> web.Response:
        task = asyncio.current_task()
        assert task is not None
        under_way.append(task)
        await asyncio.Event().wait()
        raise AssertionError

    async def work() -> None:
        async with listening(endless, 60) as (connections, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(ASKED)
            await has(lambda: bool(under_way))
            connections.pre_shutdown()
            stopping = asyncio.create_task(connections.shutdown(0.5))
            await asyncio.sleep(0.2)
            writer.close()
            await stopping
            assert under_way[0].done()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(work())


@pytest.mark.parametrize("loop", LOOPS)
def test_who_was_connected_just_before_the_stop_and_came_too_late_begins_nothing(loop: str) -> None:
    asked: list[str] = []

    async def note(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.Response()

    async def work() -> None:
        async with listening(note, 60) as (connections, port):
            connections.pre_shutdown()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(ASKED)
            with suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
        assert not asked
        assert connections.places.taken == 0

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(work())


@pytest.mark.parametrize("loop", LOOPS)
def test_kept_connections_end_when_the_stop_begins_or_their_last_answer_is_given(loop: str) -> None:
    under_way, may_end = asyncio.Event(), asyncio.Event()

    async def slowly(request: web.BaseRequest) -> web.Response:
        if request.path == "/slow":
            under_way.set()
            await may_end.wait()
        return web.Response(body=b"done")

    async def ended(reader: asyncio.StreamReader) -> bytes:
        return await asyncio.wait_for(reader.read(), 5)

    async def work() -> None:
        async with listening(slowly, 60) as (connections, port):
            other = await asyncio.open_connection("127.0.0.1", port)
            fresh, idle, busy = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            for (_, writer), path in ((idle, b"/"), (busy, b"/slow"), (other, b"/slow")):
                writer.write(ASKED.replace(b"/", path, 1))
            await idle[0].readuntil(b"done")
            await under_way.wait()
            connections.pre_shutdown()
            stopping = asyncio.create_task(connections.have_ended(60))
            assert await ended(fresh[0]) == await ended(idle[0]) == b""
            assert not stopping.done()
            may_end.set()
            assert (await ended(busy[0])).endswith(b"done")
            assert (await ended(other[0])).endswith(b"done")
            assert await stopping
            for _, writer in (fresh, idle, busy, other):
                writer.close()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(work())
