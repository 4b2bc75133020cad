"""`generate_stream`: each event is metered as it passes, whoever leaves when."""

import asyncio
import hashlib
import itertools
import json
import socket
import time
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook import receipt
from tollbook.tokens import TrustedKeys

from adapters.triton.http_client import AnswerLost, HttpStream
from adapters.triton.server import TritonServer
from domain.events import ReservationSettled
from entrypoints.gateway.core import RECEIPT, REMAINING, REQUEST_ID, USAGE
from entrypoints.gateway.http_streams import events
from tests.gateway.http_serving import (
    HttpServed,
    ask,
    before,
    http_serving,
    raw_request,
    wait,
)
from tests.gateway.http_serving import served as served  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.http_serving import triton as triton  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.http_serving import trusted as trusted  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.rig import METERS, Rig
from tests.support.triton import a_triton, account

HELD, CHARGED, RELEASED = "reservation_held", "reservation_settled", "reservation_released"
STREAM = "textgen_stream/generate_stream"


def usage(charge: ReservationSettled) -> tuple[int, int]:
    return charge.usage["input_tokens"], charge.usage["output_tokens"]


def told(body: bytes) -> list[dict[str, Any]]:
    """Read events as their readers do: comments are nothing."""
    lines = body.decode().split("\n")
    return [json.loads(line[len("data: ") :]) for line in lines if line.startswith("data: ")]


def comments(body: bytes) -> dict[str, str]:
    """Read what stands in comments."""
    lines = body.decode().split("\n")
    found = (line[2:].partition(" ") for line in lines if line.startswith(": "))
    return {name: value for name, _, value in found}


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


def made(triton: TritonServer, id: str) -> list[dict[str, Any]]:
    """Return what the model itself says of an inference."""
    return [each for each in account(triton, "textgen_stream") if each["request_id"] == id]


@pytest.mark.parametrize("id", [None, "mine"])
def test_the_events_are_the_servers_but_for_the_id_that_the_model_saw(
    rig: Rig, triton: TritonServer, served: HttpServed, id: str | None
) -> None:
    who = rig.licensee()
    asked: dict[str, Any] = {"TEXT": "a b c", "MAX_TOKENS": 7}
    if id is not None:
        asked["id"] = id
    through = served.post(who, STREAM, asked)
    direct = ask(triton.http_address, "POST", f"/v2/models/{STREAM}", asked)
    assert through.headers["content-type"] == direct.headers["content-type"]
    (charge,) = who.until(1)
    found = told(through.body)
    assert {each["REQUEST_ID"] for each in found} == {charge.reservation}
    assert [without(each, "REQUEST_ID") for each in found] == [
        without(each, "REQUEST_ID") for each in told(direct.body)
    ]
    assert len(found) == 7
    assert usage(charge) == (3, 7)
    (line,) = made(triton, charge.reservation)
    assert (line["input_tokens"], line["output_tokens"]) == usage(charge)


def test_a_stream_ends_with_usage_and_a_receipt_over_its_events(
    rig: Rig, served: HttpServed, trusted: TrustedKeys
) -> None:
    who = rig.licensee()
    answer = served.post(who, STREAM, {"TEXT": "a b c", "MAX_TOKENS": 4})
    (charge,) = who.until(1)
    assert answer.headers[REQUEST_ID] == charge.reservation
    assert isinstance(json.loads(answer.headers[REMAINING]), list)
    found = comments(answer.body)
    assert json.loads(found[USAGE]) == charge.usage
    signed = receipt.verify(found[RECEIPT], trusted, charge.reservation)
    events_alone = answer.body[: answer.body.index(b": tollbook")]
    assert signed.response_hash == hashlib.sha256(events_alone).hexdigest()


def test_an_ordinary_model_answers_on_a_stream_as_well(rig: Rig, served: HttpServed) -> None:
    who = rig.licensee()
    answer = served.post(who, "textgen/generate_stream", {"TEXT": "a b", "MAX_TOKENS": 3})
    assert [each["OUTPUT_TOKENS"] for each in told(answer.body)] == [3]
    assert usage(who.until(1)[0]) == (2, 3)


def test_a_stream_that_fails_half_way_is_charged_for_what_it_produced(
    rig: Rig, served: HttpServed
) -> None:
    who = rig.licensee()
    answer = served.post(who, STREAM, {"TEXT": "crumble now", "MAX_TOKENS": 8})
    *words, last = told(answer.body)
    assert len(words) == 4
    assert "boom" in last["error"]
    assert usage(who.until(1)[0]) == (2, 4)


def test_a_stream_of_nothing_is_charged_nothing(rig: Rig, served: HttpServed) -> None:
    who = rig.licensee()
    answer = served.post(who, STREAM, {"TEXT": "a", "MAX_TOKENS": 0})
    assert (answer.status, told(answer.body)) == (200, [])
    assert usage(who.until(1)[0]) == (0, 0)


@pytest.mark.parametrize(("after_cancel", "is_drained"), [("stop", False), ("drain", True)])
def test_a_client_that_leaves_a_stream_pays_once_for_what_its_meter_says(
    rig: Rig, triton: TritonServer, tmp_path: Path, after_cancel: str, is_drained: bool
) -> None:
    who = rig.licensee()
    meters = [
        {**each, "after_cancel": after_cancel}
        for each in METERS
        if each["name"] == "textgen_stream"
    ]
    asked = {"TEXT": "a b", "MAX_TOKENS": 40, "DELAY_MS": 75}
    with http_serving(rig, tmp_path, before(triton, meters=meters)) as serving:
        with serving.socket() as client:
            client.sendall(raw_request(f"/v2/models/{STREAM}", asked, who))
            read_events(client, 3)
        (charge,) = who.until(1)
        serving.idle()
    assert who.names() == [HELD, CHARGED]
    wait(lambda: made(triton, charge.reservation) != [])
    (line,) = made(triton, charge.reservation)
    words = usage(charge)[1]
    if is_drained:
        assert (words, line["outcome"]) == (40, "ok")
    else:
        assert 3 <= words <= line["chunks"] < 40
        assert line["outcome"] == "cancelled"


def read_events(client: socket.socket, count: int) -> bytes:
    """Read until so many events have come."""
    found = b""
    while found.count(b"data: ") < count:
        piece = client.recv(65_536)
        assert piece, found
        found += piece
    return found


def test_a_client_that_leaves_between_two_events_is_noticed_at_once(
    rig: Rig, triton: TritonServer, served: HttpServed
) -> None:
    who = rig.licensee()
    asked = {"TEXT": "a b", "MAX_TOKENS": 3, "DELAY_MS": 600_000}
    with served.socket() as client:
        client.sendall(raw_request(f"/v2/models/{STREAM}", asked, who))
        read_events(client, 1)
    # The next event is ten minutes away.
    assert usage(who.until(1)[0]) == (2, 1)


def test_leaving_before_anything_came_does_not_make_the_servers_work_free(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    who = rig.licensee()
    asked = {"TEXT": "a b", "MAX_TOKENS": 3, "DELAY_MS": 2_000}
    slow = [{"name": "slow", "usage": {"requests": {"constant": 1}}}]
    with http_serving(rig, tmp_path, before(triton, meters=slow)) as serving:
        with serving.socket() as client:
            client.sendall(raw_request("/v2/models/slow/generate_stream", asked, who))
            wait(lambda: who.names() == [HELD])
            time.sleep(1)  # the server has it now, and works for another second
        assert who.until(1)[0].usage == {"requests": 1}


def test_a_stream_that_takes_too_long_is_charged_so_far_and_its_reader_told(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    who = rig.licensee()
    meters = [{**each, "seconds": 1} for each in METERS if each["name"] == "textgen_stream"]
    asked = {"TEXT": "a b", "MAX_TOKENS": 3, "DELAY_MS": 600_000}
    with http_serving(rig, tmp_path, before(triton, meters=meters)) as serving:
        found = told(serving.post(who, STREAM, asked).body)
    assert found[0]["OUTPUT_TOKENS"] == 1
    assert "longer than 1 s" in found[1]["error"]
    assert usage(who.until(1)[0]) == (2, 1)


def test_a_server_killed_in_a_stream_is_told_in_it_and_charged_so_far(
    rig: Rig, tmp_path: Path
) -> None:
    who = rig.licensee()
    asked = {"TEXT": "a b", "MAX_TOKENS": 3, "DELAY_MS": 600_000}
    with (
        a_triton(tmp_path / "triton", models=["textgen_stream"]) as server,
        http_serving(rig, tmp_path / "home", before(server)) as serving,
        serving.socket() as client,
    ):
        client.sendall(raw_request(f"/v2/models/{STREAM}", asked, who))
        found = read_events(client, 1)
        server.kill()
        found += read_events(client, 1)
        assert "broke off" in told(found)[-1]["error"]
        assert usage(who.until(1)[0]) == (2, 1)


def test_a_stopping_gateway_lets_a_stream_end(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    who = rig.licensee()
    asked = {"TEXT": "a b", "MAX_TOKENS": 20, "DELAY_MS": 25}
    with http_serving(rig, tmp_path, before(triton)) as serving, serving.socket() as client:
        client.sendall(raw_request(f"/v2/models/{STREAM}", asked, who))
        found = read_events(client, 1)
        stopping = asyncio.run_coroutine_threadsafe(serving.front.stop(20), rig.loop)
        while piece := client.recv(65_536):
            found += piece
        stopping.result(20)
    assert len(told(found)) == 20
    assert usage(who.until(1)[0]) == (2, 20)


class _Pieces:
    """An answer in pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._left = [*pieces, b""]

    async def piece(self) -> bytes:
        return self._left.pop(0)


def read(pieces: list[bytes], limit: int = 1_000) -> list[bytes]:
    async def work() -> list[bytes]:
        upstream = cast("HttpStream", _Pieces([piece for piece in pieces if piece]))
        return [event async for event in events(upstream, limit)]

    return asyncio.run(work())


@given(st.data())
def test_events_are_found_wherever_the_network_cuts_them(data: st.DataObject) -> None:
    texts = [b'{"a":1}', b'{"b":"x y"}', b'{"c":[]}']
    whole = b"".join(b"data: " + text + b"\n\n" for text in texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    places = [0, *cuts, len(whole)]
    pieces = [whole[begin:end] for begin, end in itertools.pairwise(places)]
    assert read(pieces) == texts


def test_a_large_event_that_comes_in_small_pieces_takes_no_longer_than_its_size() -> None:
    """Whoever asks for an image in an event would hold up everybody else for a minute."""
    size, piece = 32_000_000, 65_536
    whole = b"data: " + b"x" * size + b"\n\n"
    pieces = [whole[begin : begin + piece] for begin in range(0, len(whole), piece)]
    begun = time.process_time()
    (event,) = read(pieces, 2 * size)
    assert time.process_time() - begun < 5
    assert len(event) == size


def test_an_event_without_an_end_is_no_event() -> None:
    with pytest.raises(AnswerLost, match="no end"):
        read([b"data: {}\n\n", b'data: {"a":1}'])
    with pytest.raises(AnswerLost, match="larger"):
        read([b"data: " + b"x" * 2_000])
