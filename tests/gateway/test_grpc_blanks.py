"""Words of an error that end in a blank, as some of Triton's do: they arrive, and end one call."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import ngh2
import pytest
from tritonclient.grpc import service_pb2 as pb

from adapters.grpc import header_blocks
from adapters.grpc.messages import framed, quoted
from adapters.triton.grpc_client import SERVICE, ServerError, ServerLost, TritonGrpc
from tests.gateway.fake_grpc_server import FakeGrpc, Peer, echo, lost, run
from tests.gateway.grpc_serving import before, grpc_serving, metadata
from tests.gateway.rig import Rig
from tests.support.triton import shared_triton

INVALID = grpc.StatusCode.INVALID_ARGUMENT
WORDS = ["got [1,1]. ", " got it", "  both  ", " ", "none"]


async def refused(client: TritonGrpc) -> ServerError:
    """Ask, and return the server's error."""
    with pytest.raises(ServerError) as raised:
        await client.infer(b"asked", 10)
    return raised.value


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("has_begun", [False, True])
def test_a_status_with_such_words_is_the_servers_own_error(words: str, has_begun: bool) -> None:
    status = [(b"grpc-status", b"3"), (b"grpc-message", words.encode())]

    def refuse(peer: Peer, stream: int) -> None:
        if has_begun:
            peer.say(stream, end=None)
            peer.h2.send_trailers(stream, status)
        else:
            head = [(b":status", b"200"), (b"content-type", b"application/grpc")]
            peer.refuse(stream, *head, *status)

    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        found = [await refused(client) for _ in range(3)]
        assert [(each.code, each.details) for each in found] == [(INVALID, words)] * 3
        server.answer = echo
        assert await client.infer(b"next", 10) == b"next"
        assert len(server.peers) == 1

    run(refuse, work)


def test_an_answer_whose_trailers_have_a_blank_at_an_end_is_taken() -> None:
    def answer(peer: Peer, stream: int) -> None:
        peer.say(stream, framed(peer.bodies[stream][5:]), end=None)
        peer.h2.send_trailers(stream, [(b"grpc-status", b"0"), (b"x-of-a-proxy", b"word ")])

    async def work(_server: FakeGrpc, client: TritonGrpc) -> None:
        assert await client.infer(b"asked", 10) == b"asked"

    run(answer, work)


@pytest.mark.parametrize(
    "headers",
    [
        [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"x", b"no status ")],
        [(b":status", b"200"), (b"content-type", b"text/plain"), (b"grpc-status", b"3 ")],
    ],
)
def test_what_tells_no_status_leaves_open_what_became_of_the_call(
    headers: list[tuple[bytes, bytes]],
) -> None:
    async def work(_server: FakeGrpc, client: TritonGrpc) -> None:
        assert (await lost(client)).sent

    run(lambda peer, stream: peer.refuse(stream, *headers), work)


def test_headers_that_end_nothing_leave_open_what_became_of_the_call() -> None:
    def begin(peer: Peer, stream: int) -> None:
        peer.h2.send_response(stream, [(b":status", b"200"), (b"grpc-status", b"3 ")])

    async def work(_server: FakeGrpc, client: TritonGrpc) -> None:
        assert (await lost(client)).sent

    run(begin, work)


@pytest.mark.parametrize("words", WORDS)
def test_the_words_of_grpcs_own_server_arrive_and_those_of_ours_need_no_such_care(
    words: str,
) -> None:
    refusing = grpc.unary_unary_rpc_method_handler(lambda _, call: call.abort(INVALID, words))
    handlers = [grpc.method_handlers_generic_handler(SERVICE, {"ModelInfer": refusing})]

    async def work(address: str) -> ServerError:
        client = TritonGrpc(address, 1_000_000)
        try:
            return await refused(client)
        finally:
            await client.close()

    server = grpc.server(ThreadPoolExecutor(1), handlers=handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        found = asyncio.run(work(f"127.0.0.1:{port}"))
    finally:
        server.stop(None)
    assert (found.code, found.details) == (INVALID, words)
    assert quoted(words) == quoted(words).strip()


def test_a_wrong_shape_is_refused_in_tritons_own_words_and_its_hold_is_given_back(
    rig: Rig, pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    triton, who = shared_triton(pytestconfig), rig.licensee()
    made = pb.ModelInferRequest(model_name="identity")
    made.inputs.add(name="IN", datatype="FP32", shape=[1, 1])
    made.raw_input_contents.append(bytes(4))
    said = []
    with grpc_serving(rig, tmp_path, before(triton)) as served:
        for address in (served.address, triton.grpc_address):
            with grpc.insecure_channel(address) as channel:
                call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
                with pytest.raises(grpc.RpcError) as raised:
                    call(made.SerializeToString(), metadata=metadata(who.headers))
            said.append((raised.value.code(), raised.value.details()))
        served.idle()
    assert said[0] == said[1]
    assert said[0][0] is INVALID
    assert said[0][1].endswith("got [1,1]. ")
    assert who.names() == ["reservation_held", "reservation_released"]


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


BLOCK = b"\x00\x01a\x02b "


@pytest.mark.parametrize(
    ("frames", "found"),
    [
        (frame(1, 5, 3, BLOCK), ((b"a", b"b "),)),
        (frame(0, 1, 3, b"x" * 40) + frame(1, 5, 3, b"\x20" + BLOCK), ((b"a", b"b "),)),
        (frame(1, 5, 1, BLOCK), None),
        (frame(1, 4, 3, BLOCK), None),
        (frame(1, 1, 3, BLOCK), None),
        (frame(1, 5 | 8, 3, b"\0" + BLOCK), None),
        (frame(0, 1, 1, frame(1, 5, 3, BLOCK)), None),
        (frame(1, 5, 3, b"\xff\xff\xff"), None),
        (frame(1, 5, 3, b"\xc6"), None),
        (b"", None),
        (frame(1, 5, 3, BLOCK)[:12], None),
    ],
)
def test_the_last_headers_of_a_stream_are_found_among_whole_frames(
    frames: bytes, found: header_blocks.Headers | None
) -> None:
    assert header_blocks.last_of(frames, 3) == found


def test_the_server_is_told_to_use_no_table() -> None:
    async def work(server: FakeGrpc, client: TritonGrpc) -> None:
        await client.infer(b"asked", 10)
        (peer,) = server.peers
        assert peer.h2.remote_settings[ngh2.Setting.HEADER_TABLE_SIZE] == 0

    run(echo, work)


def test_an_error_of_the_protocol_that_is_none_of_these_leaves_a_call_open() -> None:
    def break_off(peer: Peer, stream: int) -> None:
        peer.h2.reset_stream(stream, ngh2.ErrorCode.PROTOCOL_ERROR)

    async def work(_server: FakeGrpc, client: TritonGrpc) -> None:
        with pytest.raises(ServerLost) as raised:
            await client.infer(b"asked", 10)
        assert raised.value.sent

    run(break_off, work)
