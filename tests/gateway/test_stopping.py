"""A gateway that is told to stop waits for what runs, also where the client is gone."""

import re
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from adapters.grpc.messages import framed
from adapters.intent_log import left_behind
from adapters.triton.grpc_client import SERVICE
from adapters.triton.server import TritonServer
from tests.faults.gateway_process import GatewayProcess, document
from tests.gateway.grpc_serving import add_number, grpc_serving, request
from tests.gateway.grpc_streaming import asking
from tests.gateway.http_serving import before as in_front_of
from tests.gateway.http_serving import document as question
from tests.gateway.http_serving import http_serving, raw_request, wait
from tests.gateway.raw_grpc import Client, asked
from tests.gateway.rig import METERS, Licensee, Rig
from tests.support.databases import MASTER_KEY
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name

DELAY_MS = 3_000
"""So long the server works: longer than a stop takes that waits for nothing."""
WORDS = 6
UNAVAILABLE = 14


def delayed(milliseconds: int) -> dict[str, Any]:
    """Return a question to the slow model."""
    asked = question("a b")
    delay = {"name": "DELAY_MS", "shape": [1, 1], "datatype": "INT32", "data": [milliseconds]}
    asked["inputs"].append(delay)
    return asked


def over_http(path: str, body: dict[str, Any]) -> Callable[[GatewayProcess, Licensee], Any]:
    def ask(gateway: GatewayProcess, who: Licensee) -> socket.socket:
        host, _, port = gateway.found["http"].rpartition("/")[2].partition(":")
        client = socket.create_connection((host, int(port)), 30)
        client.sendall(raw_request(f"/v2/models/{path}", body, who))
        return client

    return ask


def over_grpc(gateway: GatewayProcess, who: Licensee) -> Client:
    return begun(gateway.found["grpc"], who, "ModelInfer", slow())


def slow() -> bytes:
    """Return a question to the slow model."""
    made = request("slow", "a b")
    add_number(made, "DELAY_MS", DELAY_MS)
    return bytes(made.SerializeToString())


def begun(address: str, who: Licensee, method: str, data: bytes) -> Client:
    """Begin a call."""
    client = Client(int(address.rpartition(":")[2]))
    headers = asked(f"/{SERVICE}/{method}", tollbook_license_key=who.key)
    client.ask(headers, framed(data))
    client.settle()
    return client


WAYS: dict[str, Callable[[GatewayProcess, Licensee], AbstractContextManager[Any]]] = {
    "infer": over_http("slow/infer", delayed(DELAY_MS)),
    "generate": over_http("slow/generate", {"TEXT": "a b", "DELAY_MS": DELAY_MS}),
    "generate_stream": over_http(
        "textgen_stream/generate_stream",
        {"TEXT": "a b", "MAX_TOKENS": WORDS, "DELAY_MS": DELAY_MS // WORDS},
    ),
    "ModelInfer": over_grpc,
}


def counted(gateway: GatewayProcess, name: str) -> int:
    found = re.search(
        rf"^tollbook_gateway_{name} (\d+)", gateway.monitored("/metrics")[1], re.MULTILINE
    )
    assert found is not None
    return int(found[1])


@pytest.mark.timeout(120)
@pytest.mark.parametrize("way", WAYS)
def test_what_runs_for_a_client_that_is_gone_is_settled_when_the_process_has_stopped(
    rig: Rig, triton: TritonServer, tmp_path: Path, way: str
) -> None:
    who = rig.licensee()
    pool = {"name": "shared", "grpc": triton.grpc_address, "http": triton.http_address}
    meters = [{**each, "after_cancel": "drain"} for each in METERS]
    config = document(pool=[pool], model=meters)
    gateway = GatewayProcess(tmp_path, rig.database.owner_url, MASTER_KEY, config)
    gateway.start()
    try:
        with WAYS[way](gateway, who):
            wait(lambda: counted(gateway, "running") == 1)
        wait(lambda: counted(gateway, "connections") == 0)
        assert counted(gateway, "running") == 1
        assert who.names() == ["reservation_held"]
        gateway.stop()
    finally:
        gateway.kill()
    assert who.names() == ["reservation_held", "reservation_settled"]
    assert list(left_behind(gateway.home)) == []
    (charge,) = who.charges()
    if way == "generate_stream":
        assert "'output_tokens': 6" in str(charge)


def test_what_does_not_end_in_time_is_ended_and_told_though_its_client_is_gone(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    who = rig.licensee()
    with http_serving(rig, tmp_path, in_front_of(triton)) as served:
        with served.socket() as client:
            client.sendall(raw_request("/v2/models/slow/infer", delayed(DELAY_MS), who))
            wait(lambda: len(served.gateway.running) == 1)
        wait(lambda: served.gateway.places.taken == 0)
        rig.call(served.front.stop(0.1), 2)
        assert not served.gateway.running
    # Its server had it, and nobody has seen what came of it.
    assert who.names() == ["reservation_held", "usage_parked"]


@pytest.mark.parametrize("method", ["ModelInfer", "ModelStreamInfer"])
@pytest.mark.parametrize("is_gone", [False, True])
def test_what_does_not_end_in_time_over_grpc_is_ended_and_told(
    rig: Rig, triton: TritonServer, tmp_path: Path, method: str, is_gone: bool
) -> None:
    who = rig.licensee()
    with grpc_serving(rig, tmp_path, in_front_of(triton)) as served:
        with begun(served.address, who, method, slow()) as client:
            wait(lambda: len(served.gateway.running) == 1)
            if is_gone:
                client.reset(1)
                client.settle()
            rig.call(served.front.stop(0.1), 8)
            if method == "ModelStreamInfer" and not is_gone:
                assert client.answer(1).status == UNAVAILABLE
        assert not served.gateway.running
    assert who.names() == ["reservation_held", "usage_parked"]
    assert list(left_behind(tmp_path)) == []


def test_a_stream_that_does_not_end_in_time_is_charged_for_what_came_of_it(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    who = rig.licensee()
    meters = [{**each, "after_cancel": "drain"} for each in METERS]
    with grpc_serving(rig, tmp_path, in_front_of(triton, meters=meters)) as served:
        asking_for_long = asking("a b", 400, 20)
        with begun(served.address, who, "ModelStreamInfer", asking_for_long) as client:
            client.until(lambda: len(client.answers[1].body) > 1_000)
        rig.call(served.front.stop(0.1), 8)
        assert not served.gateway.running
    assert who.names() == ["reservation_held", "reservation_settled"]
    (charge,) = who.charges()
    assert 0 < charge.usage["output_tokens"] < 400
