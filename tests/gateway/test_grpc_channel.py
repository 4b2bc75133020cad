"""The channel to a server: whether a request went out, whatever becomes of its connection."""

import asyncio
import time
from typing import Any

import grpc
import ngh2
import pytest

from adapters.grpc.messages import framed
from adapters.triton.grpc_client import TritonGrpc
from tests.gateway.fake_grpc_server import FakeGrpc, Peer, echo, lost, run, silence, until

GONE = grpc.StatusCode.UNAVAILABLE


class _UsedUp:
    """HTTP/2 after as many calls as a connection takes: two weeks of them."""

    def __init__(self, h2: ngh2.Connection) -> None:
        self._h2 = h2

    def __getattr__(self, name: str) -> Any:
        return getattr(self._h2, name)

    def send_request(self, *_: Any) -> int:
        raise ngh2.NoAvailableStreamIDError("no stream is left")


def test_a_call_is_asked_as_grpc_asks() -> None:
    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        assert await client.infer(b"asked", 2.5, (("traceparent", " 00-ab "),)) == b"asked"
        (found,) = server.headers
        assert found[b":method"] == b"POST"
        assert found[b":path"] == b"/inference.GRPCInferenceService/ModelInfer"
        assert found[b":authority"] == server.address.encode()
        assert found[b"te"] == b"trailers"
        assert found[b"content-type"] == b"application/grpc"
        assert 2000 < int(found[b"grpc-timeout"].removesuffix(b"m")) <= 2500
        assert found[b"grpc-accept-encoding"] == b"identity, deflate, gzip"
        assert found[b"traceparent"] == b"00-ab"
        assert len(server.peers) == 1

    run(echo, work)


def test_many_calls_share_a_connection() -> None:
    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        asked = [str(each).encode() * 1000 for each in range(300)]
        assert await asyncio.gather(*(client.infer(each, 10) for each in asked)) == asked
        assert len(server.peers) == 1

    run(echo, work)


def test_metadata_that_grpc_does_not_carry_is_not_sent() -> None:
    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        for value in ("a\nb", "\u00e9", "\x7f"):
            found = await lost(client, traceparent=value)
            assert not found.sent
        assert server.headers == []

    run(echo, work)


def test_a_call_that_a_server_refuses_is_not_sent() -> None:
    def refuse(peer: Peer, stream: int) -> None:
        peer.h2.reset_stream(stream, ngh2.ErrorCode.REFUSED_STREAM)

    async def work(_server: FakeGrpc, client: TritonGrpc) -> None:
        found = await lost(client)
        assert (found.code, found.sent) == (GONE, False)

    run(refuse, work)


def test_a_server_that_refuses_a_call_which_it_has_begun_to_answer_is_not_believed() -> None:
    def refuse(peer: Peer, stream: int) -> None:
        peer.say(stream, end=None)
        peer.flush()
        peer.h2.reset_stream(stream, ngh2.ErrorCode.REFUSED_STREAM)

    async def work(_server: FakeGrpc, client: TritonGrpc) -> None:
        assert (await lost(client)).sent

    run(refuse, work)


def test_calls_above_the_last_of_a_server_that_goes_are_not_sent_and_those_below_are_answered() -> (
    None
):
    def go(peer: Peer, stream: int) -> None:
        if len(peer.bodies) == 2:
            peer.h2.send_goaway(0, last_stream_id=1)
            peer.say(1, framed(b"first"))

    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        first = asyncio.create_task(client.infer(b"asked", 10))
        await until(lambda: bool(server.headers))
        found = await lost(client)
        assert (found.code, found.sent) == (GONE, False)
        assert await first == b"first"
        server.answer = echo
        assert await client.infer(b"next", 10) == b"next"
        assert len(server.peers) == 2

    run(go, work)


def test_a_server_that_goes_ends_what_it_has_begun_and_others_go_elsewhere() -> None:
    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        server.settings = {ngh2.Setting.MAX_CONCURRENT_STREAMS: 1}
        first = asyncio.create_task(client.infer(b"asked", 60))
        await until(lambda: bool(server.headers))
        waiting = asyncio.create_task(lost(client, 60))
        await asyncio.sleep(0.05)
        going = server.peers[0]
        going.h2.send_goaway(0, last_stream_id=1)
        going.flush()
        assert not (await waiting).sent
        server.answer = echo
        assert await client.infer(b"next", 10) == b"next"
        going.say(1, framed(b"first"))
        going.flush()
        assert await first == b"first"

    run(silence, work)


def test_an_answer_counts_that_comes_in_the_same_bytes_as_the_servers_leave() -> None:
    def go(peer: Peer, stream: int) -> None:
        peer.say(stream, framed(b"last"))
        said = peer.h2.data_to_send()
        peer.h2.terminate_connection(last_stream_id=stream)
        peer.transport.write(said + peer.h2.data_to_send())

    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        for _ in range(3):
            assert await client.infer(b"asked", 10) == b"last"
        assert len(server.peers) == 3

    run(go, work)


@pytest.mark.parametrize("begun", [False, True])
def test_a_call_that_is_broken_off_in_the_middle_is_sent(begun: bool) -> None:
    def reset(peer: Peer, stream: int) -> None:
        if begun:
            peer.say(stream, framed(b"answer")[:-1], end=None)
            peer.flush()
        peer.h2.reset_stream(stream, ngh2.ErrorCode.INTERNAL_ERROR)

    async def work(_server: FakeGrpc, client: TritonGrpc) -> None:
        found = await lost(client)
        assert (found.code, found.sent) == (GONE, True)

    run(reset, work)


def test_a_call_is_sent_whose_connection_breaks_and_the_next_has_another() -> None:
    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        server.answer = lambda peer, _: peer.transport.abort()
        found = await lost(client)
        assert (found.code, found.sent) == (GONE, True)
        server.answer = echo
        assert client.reachable
        assert await client.infer(b"next", 10) == b"next"

    run(silence, work)


def test_a_connection_that_takes_no_more_calls_is_left_for_another() -> None:
    """As one of which all numbers of streams are used."""

    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        await client.infer(b"asked", 10)
        used_up = client._channel._connection
        assert used_up is not None
        used_up.h2 = _UsedUp(used_up.h2)  # type: ignore[assignment]
        assert not (await lost(client)).sent
        assert await client.infer(b"next", 10) == b"next"
        assert len(server.peers) == 2

    run(echo, work)


def test_a_call_takes_no_longer_than_it_may_and_the_server_hears_of_it() -> None:
    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        await client.infer(b"asked", 10)
        server.answer = silence
        begun = time.monotonic()
        found = await lost(client, 0.2)
        assert (found.code, found.sent) == (grpc.StatusCode.DEADLINE_EXCEEDED, True)
        assert 0.15 < time.monotonic() - begun < 2
        await until(lambda: server.resets == [ngh2.ErrorCode.CANCEL])

    run(echo, work)


def test_a_call_whose_task_is_cancelled_is_cancelled_at_the_server() -> None:
    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        task = asyncio.create_task(client.infer(b"asked", 60))
        await until(lambda: bool(server.headers))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: server.resets == [ngh2.ErrorCode.CANCEL])

    run(silence, work)


def test_a_call_that_waits_for_others_to_end_is_not_sent() -> None:
    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        server.settings = {ngh2.Setting.MAX_CONCURRENT_STREAMS: 1}
        first = asyncio.create_task(client.infer(b"asked", 10))
        await until(lambda: bool(server.headers))
        found = await lost(client, 0.1)
        assert (found.code, found.sent) == (grpc.StatusCode.DEADLINE_EXCEEDED, False)
        second = asyncio.create_task(client.infer(b"second", 10))
        await asyncio.sleep(0.05)
        server.answer = echo
        server.peers[0].say(1, framed(b"first"))
        server.peers[0].flush()
        assert await first == b"first"
        assert await second == b"second"
        assert len(server.headers) == 2

    run(silence, work)
