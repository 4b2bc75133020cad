"""Answers of a server over gRPC: errors, what is no answer, and streams with backpressure."""

import asyncio
import gc

import grpc
import ngh2
import pytest

from adapters.grpc.channel import STREAM_WINDOW
from adapters.grpc.messages import framed
from adapters.triton.grpc_client import ServerError, ServerLost, ServerStopped, TritonGrpc
from tests.gateway.fake_grpc_server import (
    HEAD,
    MESSAGE_BYTES,
    WELL,
    Answer,
    FakeGrpc,
    Peer,
    compressed,
    echo,
    ending,
    run,
    saying,
    silence,
    until,
)

UNKNOWN, INTERNAL = grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL
AWAY, TOO_LARGE = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED
PIECE = framed(b"x" * 10_000)


async def error_of(client: TritonGrpc) -> ServerError:
    """Return the error that a server answers with."""
    with pytest.raises(ServerError) as raised:
        await client.infer(b"asked", 10)
    return raised.value


async def _read(client: TritonGrpc) -> None:
    stream = client.stream(b"asked", 10)
    while await stream.read() is not None:
        pass


async def lost(client: TritonGrpc, *, stream: bool) -> ServerLost:
    """Return how an answer is lost."""
    with pytest.raises(ServerLost) as raised:
        await (_read(client) if stream else client.infer(b"asked", 10))
    return raised.value


def test_an_error_may_come_with_the_first_headers_or_after_a_message() -> None:
    error = (b"grpc-status", b"5")
    words = (b"grpc-message", "50%25 of “text%C3%A9” %E2%82%AC %zz".encode())

    def late(peer: Peer, stream: int) -> None:
        peer.h2.send_response(stream, HEAD)
        peer.h2.send_data(stream, framed(b"some"))
        peer.h2.send_trailers(stream, [error, words])

    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        for answer in (ending(*HEAD, error, words), late):
            server.answer = answer
            found = await error_of(client)
            assert found.code is grpc.StatusCode.NOT_FOUND
            assert found.details == str(found) == "50% of “texté” € %zz"

    run(silence, work)


def test_a_status_that_nobody_knows_is_an_error_all_the_same() -> None:
    async def work(_server: FakeGrpc, client: TritonGrpc) -> None:
        assert (await error_of(client)).code is UNKNOWN

    run(ending(*HEAD, (b"grpc-status", b"99")), work)


def test_an_overloaded_server_has_answered_and_a_proxy_whose_connection_broke_has_not() -> None:
    def saying_so(words: bytes) -> Answer:
        return ending(*HEAD, (b"grpc-status", b"14"), (b"grpc-message", words))

    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        assert (await error_of(client)).code is AWAY
        for words, sent in (
            (b"Socket closed", True),
            (b"failed to connect to all addresses; last error: x", False),
        ):
            server.answer = saying_so(words)
            found = await lost(client, stream=False)
            assert (found.code, found.sent) == (AWAY, sent)

    run(saying_so(b"Exceeds maximum queue size"), work)


def _no_trailers(peer: Peer, stream: int) -> None:
    peer.say(stream, framed(b"x"), end=None)
    peer.h2.end_stream(stream)


NO_ANSWERS: dict[str, tuple[Answer, grpc.StatusCode]] = {
    "no status": (ending(*HEAD), UNKNOWN),
    "a message and no status": (_no_trailers, UNKNOWN),
    "trailers without a status": (saying(framed(b"x"), end=(b"x", b"y")), UNKNOWN),
    "HTTP 503": (ending((b":status", b"503")), AWAY),
    "HTTP 404": (ending((b":status", b"404"), HEAD[1]), UNKNOWN),
    "no gRPC": (ending(HEAD[0], (b"content-type", b"text/html"), WELL), UNKNOWN),
    "half a message": (saying(framed(b"answer")[:-1]), INTERNAL),
    "half a head": (saying(b"\x00\x00"), INTERNAL),
    "no message that is compressed as it says": (saying(b"\x01" + framed(b"x")[1:]), INTERNAL),
    "one too large": (saying(framed(b"x" * (MESSAGE_BYTES + 1))), TOO_LARGE),
    "one too large, compressed": (compressed(b"x" * (MESSAGE_BYTES + 1), "gzip"), TOO_LARGE),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", NO_ANSWERS)
def test_what_is_no_answer_leaves_the_request_sent(name: str, stream: bool) -> None:
    answer, code = NO_ANSWERS[name]

    async def work(_server: FakeGrpc, client: TritonGrpc) -> None:
        found = await lost(client, stream=stream)
        assert (found.code, found.sent) == (code, True)
        if code is TOO_LARGE:
            assert str(found) == "the answer is larger than is carried here"

    run(answer, work)


@pytest.mark.parametrize("answer", [saying(), saying(framed(b"one"), framed(b"two"))])
def test_an_inference_has_one_answer(answer: Answer) -> None:
    async def work(_server: FakeGrpc, client: TritonGrpc) -> None:
        assert (await lost(client, stream=False)).sent

    run(answer, work)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_answers_are_understood(encoding: str) -> None:
    async def work(_server: FakeGrpc, client: TritonGrpc) -> None:
        assert await client.infer(b"asked", 10) == b"a" * 5000
        stream = client.stream(b"asked", 10)
        assert await stream.read() == b"a" * 5000
        assert await stream.read() is None

    run(compressed(b"a" * 5000, encoding), work)


@pytest.mark.parametrize("size", [0, 1, 300_000, MESSAGE_BYTES])
def test_messages_of_all_sizes_go_both_ways(size: int) -> None:
    async def work(_server: FakeGrpc, client: TritonGrpc) -> None:
        asked = bytes(size)
        assert await client.infer(asked, 10) == asked
        stream = client.stream(asked, 10)
        await asyncio.sleep(0.1)  # as much has come as nobody wants
        assert await stream.read() == asked
        assert await stream.read() is None

    run(echo, work)


def test_a_server_that_answers_before_it_has_the_request_gets_no_more_of_it() -> None:
    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        server.is_hasty = True
        with pytest.raises(ServerError):
            await client.infer(bytes(1_000_000), 10)
        await until(lambda: bool(server.resets))
        assert len(server.peers[0].bodies[1]) < 500_000

    run(ending(*HEAD, (b"grpc-status", b"8")), work)


def test_messages_of_a_stream_are_let_in_as_they_are_read() -> None:
    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        stream = client.stream(b"asked", 10)
        await until(lambda: bool(server.headers))
        await asyncio.sleep(0.2)
        waits = server.peers[0].h2.queued_body_size(1)
        assert waits >= 100 * len(PIECE) - STREAM_WINDOW
        assert await client.infer(b"another", 10) == b"another"
        for _ in range(100):
            assert await stream.read() == b"x" * 10_000
        assert await stream.read() is None
        assert server.peers[0].h2.queued_body_size(1) == 0

    def answer(peer: Peer, stream: int) -> None:
        pieces = [PIECE] * 100 if stream == 1 else [peer.bodies[stream]]
        peer.say(stream, *pieces)

    run(answer, work)


def test_what_came_of_a_stream_before_it_was_lost_is_read() -> None:
    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        stream = client.stream(b"asked", 10)
        await until(lambda: bool(server.headers))
        await asyncio.sleep(0.05)
        server.peers[0].h2.reset_stream(1, ngh2.ErrorCode.INTERNAL_ERROR)
        server.peers[0].flush()
        await asyncio.sleep(0.05)
        assert [await stream.read(), await stream.read()] == [b"one", b"two"]
        for _ in range(2):
            with pytest.raises(ServerLost) as raised:
                await stream.read()
            assert (raised.value.code, raised.value.sent) == (AWAY, True)

    run(saying(framed(b"one"), framed(b"two") + b"\x00", end=None), work)


def test_a_stream_takes_no_longer_than_it_may() -> None:
    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        stream = client.stream(b"asked", 0.2)
        assert await stream.read() == b"one"
        with pytest.raises(ServerLost) as raised:
            await stream.read()
        assert raised.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert raised.value.sent
        await until(lambda: server.resets == [ngh2.ErrorCode.CANCEL])

    run(saying(framed(b"one"), end=None), work)


def test_whoever_reads_a_stream_that_is_stopped_is_told() -> None:
    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        stream = client.stream(b"asked", 10)
        assert await stream.read() == b"one"
        reading = asyncio.create_task(stream.read())
        await asyncio.sleep(0.01)
        for _ in range(2):
            stream.stop()
        with pytest.raises(ServerStopped):
            await reading
        with pytest.raises(ServerStopped):
            await stream.read()
        await until(lambda: server.resets == [ngh2.ErrorCode.CANCEL])

    run(saying(framed(b"one"), end=None), work)


def test_a_stream_that_is_stopped_before_there_is_a_connection_is_never_sent() -> None:
    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        stream = client.stream(b"asked", 10)
        stream.stop()
        with pytest.raises(ServerStopped):
            await stream.read()
        await client.infer(b"next", 10)
        assert len(server.headers) == 1

    run(echo, work)


@pytest.mark.parametrize("how", ["cancelled", "forgotten"])
def test_a_stream_whose_reader_leaves_is_cancelled_at_the_server(how: str) -> None:
    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        kept = []

        async def read() -> None:
            stream = client.stream(b"asked", 60)
            await stream.read()
            if how == "cancelled":
                kept.append(stream)
                await stream.read()

        reading = asyncio.create_task(read())
        await until(lambda: bool(server.headers))
        await asyncio.sleep(0.05)
        reading.cancel()
        await asyncio.wait([reading])
        del reading
        gc.collect()
        await until(lambda: server.resets == [ngh2.ErrorCode.CANCEL])

    run(saying(framed(b"one"), end=None), work)


def test_streams_that_nobody_reads_to_their_end_do_not_fill_the_connection() -> None:
    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        await client.infer(b"asked", 10)
        server.answer = saying(*[PIECE] * 100)
        for _ in range(20):
            stream = client.stream(b"asked", 10)
            await stream.read()
            stream.stop()
        connection = client._channel._connection
        assert connection is not None
        await until(lambda: len(server.resets) == 20)
        server.answer = echo
        for _ in range(3):
            await client.infer(b"asked", 10)
        assert connection.streams == {}
        for stream_id in range(3, 43, 2):
            with pytest.raises(ValueError, match="exceeds unacknowledged"):
                connection.h2.acknowledge_received_data(1, stream_id)

    run(echo, work)
