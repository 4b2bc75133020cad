"""A gateway that fails with an inference over HTTP ends it all the same: once, wherever it was."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from entrypoints.gateway import http_infer, http_prompts
from tests.gateway import fake_http_server
from tests.gateway.fake_http_server import FakeServer, fake_server, whole
from tests.gateway.http_serving import HttpServed, document, http_serving, raw_request, wait
from tests.gateway.rig import Licensee, Rig, configured

HELD, RELEASED, PARKED = "reservation_held", "reservation_released", "usage_parked"
WAYS = ["infer", "generate", "generate of many", "generate_stream"]
EVENT = {"model_name": "textgen", "OUT": "w", "INPUT_TOKENS": 3, "OUTPUT_TOKENS": 1}


def fail(*_: Any, **__: Any) -> NoReturn:
    raise RuntimeError("nobody foresaw it")


@pytest.fixture(params=WAYS)
def verb(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a way to ask; the server's description says for one that it gives many answers."""
    if request.param == "generate of many":
        policy = {"model_transaction_policy": {"decoupled": True}}
        monkeypatch.setattr(fake_http_server, "METADATA", fake_http_server.METADATA | policy)
    return str(request.param).partition(" ")[0]


@pytest.fixture
def server(verb: str) -> Iterator[FakeServer]:
    """Answer by two events."""
    data = b"data: " + json.dumps(EVENT).encode() + b"\n\n"
    with fake_server(whole(2 * data, "Content-Type: text/event-stream")) as made:
        yield made


def body_for(verb: str) -> dict[str, Any]:
    return document() if verb == "infer" else {"TEXT": "a"}


def ended(served: HttpServed, who: Licensee, how: str) -> list[str]:
    """Return what happened to the customer, once an inference has ended in one way, and once."""
    assert served.gateway.running == {}
    assert dict(served.gateway.ended) == {how: 1}
    wait(lambda: len(who.names()) > 1)
    return who.names()


def test_what_fails_before_its_server_has_it_is_given_back(
    rig: Rig, tmp_path: Path, server: FakeServer, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = rig.licensee()
    monkeypatch.setattr(http_infer, "forwarded", fail)
    monkeypatch.setattr(http_prompts, "forwarded", fail)
    with http_serving(rig, tmp_path, configured(http=server.address)) as served:
        answer = served.post(who, f"textgen/{verb}", body_for(verb))
        assert (answer.status, answer.json["error"][:18]) == (500, "the gateway failed")
        assert ended(served, who, "released") == [HELD, RELEASED]
    assert server.got == []


def test_what_fails_with_its_answer_is_parked_and_its_client_told(
    rig: Rig, tmp_path: Path, server: FakeServer, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = rig.licensee()
    monkeypatch.setattr(http_infer, "restored", fail)
    monkeypatch.setattr(http_prompts, "told", fail)
    with http_serving(rig, tmp_path, configured(http=server.address)) as served:
        answer = served.post(who, f"textgen/{verb}", body_for(verb))
        told = answer.body.removeprefix(b"data: ")
        assert json.loads(told)["error"] == "the gateway failed: its log says why"
        assert ended(served, who, "parked") == [HELD, PARKED]


def test_a_stream_that_fails_half_way_in_the_gateway_is_charged_so_far_and_its_reader_told(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = rig.licensee()
    told = http_prompts.told
    calls: list[Any] = []

    def fail_later(*given: Any) -> Any:
        calls.append(given)
        return told(*given) if len(calls) == 1 else fail()

    monkeypatch.setattr(http_prompts, "told", fail_later)
    data = b"data: " + json.dumps(EVENT).encode() + b"\n\n"
    with (
        fake_server(whole(3 * data, "Content-Type: text/event-stream")) as server,
        http_serving(rig, tmp_path, configured(http=server.address)) as served,
    ):
        answer = served.post(who, "textgen/generate_stream", {"TEXT": "a"})
        first, last = answer.body.strip().split(b"\n\n")
        assert json.loads(first.removeprefix(b"data: ")) == EVENT
        assert "the gateway failed" in json.loads(last.removeprefix(b"data: "))["error"]
        (charge,) = who.until(1)
        assert charge.usage == {"input_tokens": 3, "output_tokens": 1}
        assert dict(served.gateway.ended) == {"charged": 1}
        assert served.gateway.running == {}


@pytest.mark.parametrize("has_begun", [False, True])
def test_what_is_cancelled_by_a_stop_is_parked(
    rig: Rig, tmp_path: Path, verb: str, has_begun: bool
) -> None:
    who = rig.licensee()
    is_over = threading.Event()

    def hang(connection: socket.socket) -> None:
        if has_begun:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        is_over.wait(60)

    with (
        fake_server(hang) as server,
        http_serving(rig, tmp_path, configured(http=server.address)) as served,
        served.socket() as client,
    ):
        client.sendall(raw_request(f"/v2/models/textgen/{verb}", body_for(verb), who))
        wait(lambda: len(server.got) == 1)
        rig.call(served.front.stop(0.1), 8)
        is_over.set()
        assert ended(served, who, "parked") == [HELD, PARKED]
