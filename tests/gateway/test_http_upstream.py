"""What reaches the server of what a client says, and answers that no sound server gives."""

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from entrypoints.gateway import sequences
from entrypoints.gateway.core import REQUEST_ID
from entrypoints.gateway.http_bodies import Patience
from tests.gateway.fake_http_server import fake_server, whole
from tests.gateway.http_serving import (
    BYTES_MAX,
    Answer,
    HttpServed,
    document,
    http_serving,
    raw_request,
    wait,
)
from tests.gateway.rig import Licensee, Rig, configured

HELD, RELEASED, PARKED = "reservation_held", "reservation_released", "usage_parked"
INFER = "/v2/models/textgen/infer"


def posted(served: HttpServed, who: Licensee, body: Any, **headers: str) -> Answer:
    return served.post(who, "textgen/infer", body, **headers)


GOOD = json.dumps(
    {
        "id": "theirs",
        "model_name": "textgen",
        "outputs": [
            {"name": "OUT", "datatype": "BYTES", "shape": [1, 1], "data": ["w"]},
            {"name": "INPUT_TOKENS", "datatype": "INT64", "shape": [1, 1], "data": [3]},
            {"name": "OUTPUT_TOKENS", "datatype": "INT64", "shape": [1, 1], "data": [1]},
            {"name": "REQUEST_ID", "datatype": "BYTES", "shape": [1, 1], "data": ["x"]},
        ],
    }
).encode()


def test_what_a_client_forges_never_reaches_the_server(rig: Rig, tmp_path: Path) -> None:
    who = rig.licensee()
    asked = document(
        id="mine",
        parameters={"priority": 1, "mine": "x", "timeout": 5, "sequence_id": 7},
        outputs=[{"name": "OUT"}],
    )
    with (
        fake_server(whole(GOOD)) as server,
        http_serving(rig, tmp_path, configured(http=server.address)) as serving,
    ):
        posted(
            serving,
            who,
            asked,
            traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01",
            triton_grpc_compression="gzip",
            X_Forwarded_For="10.0.0.1",
            priority="1",
            Cookie="a=b",
            Accept_Encoding="gzip",
        )
        (charge,) = who.until(1)
    (got,) = server.got
    sent = json.loads(got.body)
    assert sent["id"] == charge.reservation
    assert sent["parameters"].pop("priority") > 1
    own_sequence = sequences.own(who.customer, 7)
    assert sent["parameters"] == {"mine": "x", "timeout": 5, "sequence_id": own_sequence}
    assert [each["name"] for each in sent["outputs"]] == [
        "OUT",
        "INPUT_TOKENS",
        "OUTPUT_TOKENS",
        "REQUEST_ID",
    ]
    assert got.headers.pop("traceparent").startswith("00-111")
    assert got.headers.keys() == {"host", "accept-encoding", "content-type", "content-length"}
    assert got.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 1_000,
        whole(b"no JSON"),
        whole(b"\x1f\x8b" + b"x" * 50, "Content-Encoding: gzip"),
        whole(b'{"outputs":[{"name":"OUT"}]}'),
        whole(b'{"outputs":{}}'),
        whole(GOOD, "Inference-Header-Content-Length: 10"),
        whole(GOOD + b"rest", f"Inference-Header-Content-Length: {len(GOOD)}"),
        whole(GOOD.replace(b"OUTPUT_TOKENS", b"OTHER")),
    ],
)
def test_an_answer_that_is_none_parks_the_inference_with_its_reason(
    rig: Rig, tmp_path: Path, answer: bytes
) -> None:
    who = rig.licensee()
    with (
        fake_server(answer) as server,
        http_serving(rig, tmp_path, configured(http=server.address)) as serving,
    ):
        told = posted(serving, who, document())
        wait(lambda: who.names()[-1] == PARKED)
    assert who.names() == [HELD, PARKED]
    assert told.status in (200, 504)
    if told.status == 504:
        assert told.json["request"].startswith("inf")
    else:
        assert told.headers[REQUEST_ID].startswith("inf")


@pytest.mark.parametrize("trace", ["0" * 12_000, "\xff\xfe", "00-a\tb"])
def test_a_trace_that_is_none_is_kept_from_the_server(rig: Rig, tmp_path: Path, trace: str) -> None:
    """Triton breaks the connection over a long one, and nobody knows then what it did."""
    who = rig.licensee()
    with (
        fake_server(whole(GOOD)) as server,
        http_serving(rig, tmp_path, configured(http=server.address)) as serving,
    ):
        assert posted(serving, who, document(), traceparent=trace).status == 200
        who.until(1)
    assert "traceparent" not in server.got[0].headers


def test_a_quantity_that_no_ledger_takes_is_parked_and_never_lost(rig: Rig, tmp_path: Path) -> None:
    """The estimate is bounded: so the inference is admitted, whatever its client says."""
    said = {"parameter": "count"}
    held = {"output_tokens": {**said, "most": 4}}
    meter = {"name": "textgen", "usage": {"output_tokens": said}, "estimate": held}
    who = rig.licensee()
    with (
        fake_server(whole(GOOD)) as server,
        http_serving(rig, tmp_path, configured(http=server.address, meters=[meter])) as serving,
    ):
        assert posted(serving, who, document(parameters={"count": 10**18})).status == 200
        wait(lambda: who.names() == [HELD, PARKED])


def test_a_client_that_takes_nothing_is_left_and_pays_for_what_was_made(
    rig: Rig, tmp_path: Path
) -> None:
    who = rig.licensee()
    event = {"model_name": "textgen", "OUT": "w" * 50_000, "INPUT_TOKENS": 0, "OUTPUT_TOKENS": 1}
    data = b"data: " + json.dumps(event).encode() + b"\n\n"

    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while True:
            connection.sendall(data)

    with (
        fake_server(endless) as server,
        http_serving(
            rig, tmp_path, configured(http=server.address), Patience(write=0.3)
        ) as serving,
        serving.socket() as client,
    ):
        asked = {"TEXT": "a"}
        client.sendall(raw_request("/v2/models/textgen/generate_stream", asked, who))
        (charge,) = who.until(1)
        serving.idle()
        assert 1 < charge.usage["output_tokens"] < 10_000


def test_an_event_without_an_end_takes_no_memory_for_ever(rig: Rig, tmp_path: Path) -> None:
    who = rig.licensee()

    def endless(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: ")
        while True:
            connection.sendall(b"x" * 10_000)

    with (
        fake_server(endless) as server,
        http_serving(
            rig, tmp_path, configured(http=server.address, message_bytes=BYTES_MAX)
        ) as serving,
    ):
        answer = serving.post(who, "textgen/generate_stream", {"TEXT": "a"})
        assert "larger than" in json.loads(answer.body[len(b"data: ") :])["error"]
        wait(lambda: who.names() == [HELD, PARKED])


def test_a_client_that_takes_no_whole_answer_is_left_though_it_was_charged(
    rig: Rig, tmp_path: Path
) -> None:
    who = rig.licensee()
    large = whole(GOOD.replace(b'["w"]', b'["' + b"w" * 30_000_000 + b'"]'))
    patience = Patience(write=2.0)  # the second client takes its answer, if slowly
    with (
        fake_server(large) as server,
        http_serving(rig, tmp_path, configured(http=server.address), patience) as serving,
    ):
        with serving.socket() as client:
            client.sendall(raw_request(INFER, document(), who))
            who.until(1)
            wait(lambda: serving.front.connections == 0)
        answer = posted(serving, who, document())
        assert len(answer.json["outputs"][0]["data"][0]) == 30_000_000
        assert answer.headers["content-length"] == str(len(answer.body))


def test_a_gateway_that_stops_waits_once_for_what_does_not_end(rig: Rig, tmp_path: Path) -> None:
    seconds, is_over = 5.0, threading.Event()
    who = rig.licensee()

    def hang(_connection: socket.socket) -> None:
        is_over.wait(60)

    with (
        fake_server(hang) as server,
        http_serving(rig, tmp_path, configured(http=server.address)) as serving,
        serving.socket() as client,
    ):
        client.sendall(raw_request(INFER, document(), who))
        wait(lambda: len(server.got) == 1)
        begin = time.monotonic()
        rig.call(serving.front.stop(seconds))
        assert seconds <= time.monotonic() - begin < 1.8 * seconds
        is_over.set()
        wait(lambda: who.names()[-1] == PARKED)
