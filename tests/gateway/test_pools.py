"""Pools: each inference goes to the servers that its licence's policy names, and to no others."""

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb

from adapters.grpc.messages import framed
from adapters.triton.grpc_client import SERVICE
from entrypoints.gateway.config import GatewayConfig, config_from
from tests.gateway.both_fronts import Both, serving_both
from tests.gateway.fake_grpc_server import FakeGrpc, Peer
from tests.gateway.fake_http_server import FakeServer, fake_server, whole
from tests.gateway.grpc_serving import CALL_SECONDS, metadata, request
from tests.gateway.http_serving import ask, document
from tests.gateway.rig import METERS, Licensee, Rig
from tests.support.triton import wait_until

OK = 200
SHARED, DEDICATED = "shared", "dedicated"
ALSO = {SHARED: ["moon"], DEDICATED: ["mars"]}
NAMED: dict[str, tuple[dict[str, Any], str]] = {
    "names none": ({}, SHARED),
    "names the shared one": ({"overrides": {"pool": "shared"}}, SHARED),
    "names the dedicated one": ({"overrides": {"pool": "dedicated"}}, DEDICATED),
    "is of a tier that names it": ({"template": "enterprise"}, DEDICATED),
    "names what the shared one stands in for": ({"overrides": {"pool": "moon"}}, SHARED),
    "names what the dedicated one stands in for": ({"overrides": {"pool": "mars"}}, DEDICATED),
}
"""What licences say of their pool, and which servers that means here."""

TOLD: dict[str, Any] = {"OUT": "w", "INPUT_TOKENS": 2, "OUTPUT_TOKENS": 1, "REQUEST_ID": "x"}
USAGE = {"input_tokens": 2, "output_tokens": 1}


def over_http() -> bytes:
    kinds = {"OUT": "BYTES", "REQUEST_ID": "BYTES"}
    outputs = [
        {"name": name, "datatype": kinds.get(name, "INT64"), "shape": [1, 1], "data": [value]}
        for name, value in TOLD.items()
    ]
    return whole(json.dumps({"model_name": "textgen", "outputs": outputs}).encode())


def as_events() -> bytes:
    event = b"data: " + json.dumps({"model_name": "textgen", **TOLD}).encode() + b"\n\n"
    return whole(event, "Content-Type: text/event-stream")


def over_grpc() -> pb.ModelInferResponse:
    made = pb.ModelInferResponse(model_name="textgen")
    for name, value in TOLD.items():
        output = made.outputs.add(name=name, shape=[1, 1])
        if isinstance(value, str):
            output.datatype = "BYTES"
            output.contents.bytes_contents.append(value.encode())
        else:
            output.datatype = "INT64"
            output.contents.int64_contents.append(value)
    return made


def in_a_stream() -> pb.ModelStreamInferResponse:
    made = pb.ModelStreamInferResponse(infer_response=over_grpc())
    made.infer_response.parameters["triton_final_response"].bool_param = True
    return made


class Servers:
    """What stands behind one pool: a server of each protocol that keeps what it was asked."""

    def __init__(self, rig: Rig, stack: ExitStack) -> None:
        self._over_grpc: list[bytes] = []
        self._grpc = FakeGrpc(self._answer)
        rig.call(self._grpc.start())
        stack.callback(lambda: rig.call(self._grpc.stop()))
        self._http: FakeServer = stack.enter_context(fake_server(self._send))

    @property
    def addresses(self) -> dict[str, str]:
        return {"grpc": self._grpc.address, "http": self._http.address}

    def has_had(self, who: Licensee) -> int:
        """Count the inferences of a customer, each of which says whose it is."""
        return sum(words(who).encode() in body for body in self._bodies)

    def has_had_in_all(self) -> int:
        return len(self._bodies)

    @property
    def _bodies(self) -> list[bytes]:
        return [*self._over_grpc, *(got.body for got in self._http.got)]

    def _send(self, connection: socket.socket) -> None:
        is_stream = "generate_stream" in self._http.got[-1].line
        connection.sendall(as_events() if is_stream else over_http())

    def _answer(self, peer: Peer, stream: int) -> None:
        self._over_grpc.append(peer.bodies[stream])
        is_stream = self._grpc.headers[-1][b":path"].endswith(b"/ModelStreamInfer")
        told = in_a_stream() if is_stream else over_grpc()
        peer.say(stream, framed(told.SerializeToString()))


def words(who: Licensee) -> str:
    return f"of-{who.license}-here words"


def http_unary(both: Both, who: Licensee) -> bool:
    asked = document(words(who))
    return ask(both.http, "POST", "/v2/models/textgen/infer", asked, who.headers).status == OK


def http_stream(both: Both, who: Licensee) -> bool:
    path, asked = "/v2/models/textgen/generate_stream", {"TEXT": words(who)}
    answer = ask(both.http, "POST", path, asked, who.headers)
    return answer.status == OK and b": tollbook-receipt " in answer.body


def grpc_unary(both: Both, who: Licensee) -> bool:
    asked = request("textgen", words(who)).SerializeToString()
    with grpc.insecure_channel(both.grpc) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        try:
            call(asked, metadata=metadata(who.headers), timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
    return True


def grpc_stream(both: Both, who: Licensee) -> bool:
    asked = request("textgen", words(who)).SerializeToString()
    with grpc.insecure_channel(both.grpc) as channel:
        call = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
        pieces = call(iter([asked]), metadata=metadata(who.headers), timeout=CALL_SECONDS)
        (message,) = [pb.ModelStreamInferResponse.FromString(piece) for piece in pieces]
    return not message.error_message


Way = Callable[[Both, Licensee], bool]
WAYS: dict[str, Way] = {
    "HTTP": http_unary,
    "a stream over HTTP": http_stream,
    "gRPC": grpc_unary,
    "a stream over gRPC": grpc_stream,
}
by_every_way = pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))


@pytest.fixture
def servers(rig: Rig) -> Iterator[dict[str, Servers]]:
    """Run the servers of two pools."""
    with ExitStack() as stack:
        yield {name: Servers(rig, stack) for name in (SHARED, DEDICATED)}


def configured(addresses: dict[str, dict[str, str]]) -> GatewayConfig:
    pools = [{"name": name, "also": ALSO[name], **each} for name, each in addresses.items()]
    return config_from({"pool": pools, "model": METERS})


@contextmanager
def serving(
    rig: Rig, home: Path, servers: dict[str, Servers], down: str | None = None
) -> Iterator[Both]:
    """Serve both pools; behind the one that is down nobody listens."""
    with ExitStack() as stack:
        addresses = {name: each.addresses for name, each in servers.items()}
        if down is not None:
            addresses[down] = {"grpc": nowhere(stack), "http": nowhere(stack)}
        yield stack.enter_context(serving_both(rig, home, configured(addresses)))


def nowhere(stack: ExitStack) -> str:
    """Return an address that is taken, and where nobody listens."""
    taken = stack.enter_context(socket.socket())
    taken.bind(("127.0.0.1", 0))
    return f"127.0.0.1:{taken.getsockname()[1]}"


@by_every_way
def test_each_server_sees_the_inferences_of_its_own_licences_alone(
    rig: Rig, tmp_path: Path, servers: dict[str, Servers], way: Way
) -> None:
    licensees = [(rig.licensee(**terms), pool) for terms, pool in NAMED.values()]
    with serving(rig, tmp_path, servers) as both:
        for _ in range(2):
            for who, _pool in licensees:
                assert way(both, who)
        for who, _pool in licensees:
            assert [charge.usage for charge in who.until(2)] == [USAGE] * 2
    for name, each in servers.items():
        seen = [each.has_had(who) for who, _ in licensees]
        assert seen == [2 if pool == name else 0 for _, pool in licensees], name
        assert each.has_had_in_all() == sum(seen)


@pytest.mark.parametrize("down", [SHARED, DEDICATED])
@by_every_way
def test_a_pool_that_is_down_leaves_the_other_one_serving(
    rig: Rig, tmp_path: Path, servers: dict[str, Servers], way: Way, down: str
) -> None:
    licensees = {pool: rig.licensee(overrides={"pool": pool}) for pool in servers}
    (up,) = servers.keys() - {down}
    with serving(rig, tmp_path, servers, down) as both:
        for _ in range(3):
            assert not way(both, licensees[down])
            assert way(both, licensees[up])
        assert [charge.usage for charge in licensees[up].until(3)] == [USAGE] * 3
        wait_until(lambda: rig.tollbook.balance(licensees[down].customer).held == 0)
    assert (servers[up].has_had(licensees[up]), servers[up].has_had_in_all()) == (3, 3)
    assert servers[down].has_had_in_all() == 0
    assert set(licensees[down].names()) == {"reservation_held", "reservation_released"}


def test_inferences_at_once_do_not_mix_the_pools(
    rig: Rig, tmp_path: Path, servers: dict[str, Servers]
) -> None:
    licensees = {pool: rig.licensee(overrides={"pool": pool}) for pool in servers}

    async def all_at_once(both: Both) -> list[bool]:
        calls = (
            asyncio.to_thread(way, both, who)
            for who in licensees.values()
            for way in (http_unary, grpc_unary)
            for _ in range(12)
        )
        return await asyncio.gather(*calls)

    with serving(rig, tmp_path, servers) as both:
        assert all(grpc_unary(both, who) for who in licensees.values())  # and it is connected
        assert all(asyncio.run(all_at_once(both)))
        for who in licensees.values():
            who.until(25)
    for name, each in servers.items():
        assert (each.has_had(licensees[name]), each.has_had_in_all()) == (25, 25)
