"""A server that takes its time to answer a connection: far away, or on a busy machine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress

import pytest

from adapters.triton.grpc_client import ServerLost, TritonGrpc
from adapters.triton.server import TritonServer
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
    sink.close()


@asynccontextmanager
async def far(address: str, seconds: float) -> AsyncIterator[str]:
    """Stand before a server and pass everything on, from so long after each connection on."""
    host, _, port = address.rpartition(":")
    under_way: set[asyncio.Task[None]] = set()

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        theirs, ours = await asyncio.open_connection(host, int(port))
        with closing(ours):
            await asyncio.gather(_pass_on(reader, ours), _pass_on(theirs, writer))

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(passed(reader, writer))
        # Also where it is cancelled before it has begun.
        task.add_done_callback(lambda _: writer.close())
        under_way.add(task)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.sleep(0.1)  # what was accepted just before has its task then
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await asyncio.sleep(0.1)  # the sockets close at the loop's next turn


def test_a_server_whose_connection_takes_half_a_second_is_asked_all_the_same(
    triton: TritonServer,
) -> None:
    async def inputs() -> list[str]:
        async with far(triton.grpc_address, 0.5) as address:
            client = TritonGrpc(address, 1 << 20)
            try:
                return [each.name for each in (await client.metadata("textgen")).inputs]
            finally:
                await client.close()

    assert "TEXT" in asyncio.run(inputs())


def test_what_a_server_that_answers_no_connection_is_asked_never_reached_it(
    triton: TritonServer,
) -> None:
    """Whoever asks with a limit of time is told so before that has passed."""

    async def asked() -> ServerLost:
        async with far(triton.grpc_address, 600) as address:
            client = TritonGrpc(address, 1 << 20)
            try:
                with pytest.raises(ServerLost) as raised:
                    await client.infer(b"", 2.0)
            finally:
                await client.close()
            return raised.value

    lost = asyncio.run(asked())
    assert not lost.sent, lost
