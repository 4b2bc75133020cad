"""The channel to a server that is away, comes back, or is none; and its end."""

import asyncio
import time
from contextlib import suppress

import grpc
import pytest

from adapters.grpc import connection
from adapters.triton.grpc_client import TritonGrpc
from tests.gateway.fake_grpc_server import FakeGrpc, echo, lost, run, silence, until

GONE = grpc.StatusCode.UNAVAILABLE


def test_a_port_that_says_nothing_is_no_server() -> None:
    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        server.is_silent = True
        at_first = client.reachable
        assert at_first
        short = await lost(client, 0.1)
        assert (short.code, short.sent) == (grpc.StatusCode.DEADLINE_EXCEEDED, False)
        begun = time.monotonic()
        found = await lost(client)
        assert (found.code, found.sent) == (GONE, False)
        assert time.monotonic() - begun < 1.5
        assert not client.reachable
        await asyncio.sleep(0.2)  # the next attempt runs
        begun = time.monotonic()
        assert not (await lost(client)).sent
        assert time.monotonic() - begun < 0.3

    run(echo, work)


def test_a_server_of_another_protocol_is_none() -> None:
    async def asked() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            with suppress(OSError):
                await reader.read()
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            client = TritonGrpc(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", 1000)
            found = await lost(client)
            assert (found.code, found.sent) == (GONE, False)
            await client.close()

    asyncio.run(asked())


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:70000", "no.such.host.invalid:1"])
def test_an_address_where_nobody_listens_is_told_at_once(address: str) -> None:
    async def asked() -> None:
        client = TritonGrpc(address, 1000)
        found = await lost(client)
        assert (found.code, found.sent) == (GONE, False)
        assert not await client.is_ready()
        await client.close()

    asyncio.run(asked())


def test_a_server_that_comes_back_is_found_by_itself() -> None:
    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        await client.infer(b"asked", 10)
        await server.stop()
        assert not (await lost(client)).sent
        is_away = not client.reachable
        assert is_away
        await server.start()
        await asyncio.sleep(1.2)  # nobody asks meanwhile
        assert client.reachable
        assert await client.infer(b"again", 10) == b"again"

    run(echo, work)


def test_a_name_with_several_addresses_is_reached_by_the_one_that_answers() -> None:
    async def work(server: FakeGrpc, _client: TritonGrpc) -> None:
        client = TritonGrpc(f"localhost:{server.port}", 1000)
        assert await client.infer(b"asked", 10) == b"asked"
        await client.close()

    run(echo, work)


def test_a_server_is_not_asked_for_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of gRPC's own ends a connection for them, where it sends nothing itself."""
    monkeypatch.setattr(connection, "KEEPALIVE_SECONDS", 0.05)
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.01)

    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        await client.infer(b"asked", 10)
        await asyncio.sleep(0.3)
        assert server.pings == 0

    run(echo, work)


def test_calls_on_a_channel_that_is_closed_are_lost() -> None:
    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        task = asyncio.create_task(lost(client))
        await until(lambda: bool(server.headers))
        await client.close()
        assert (await task).sent
        server.is_silent = True
        another = TritonGrpc(server.address, 1000)
        task = asyncio.create_task(lost(another, 60))
        await asyncio.sleep(0.05)
        await another.close()
        assert not (await task).sent
        assert not (await lost(client)).sent
        assert not client.reachable

    run(silence, work)
