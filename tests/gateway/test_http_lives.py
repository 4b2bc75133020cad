"""Inferences over HTTP whose client leaves, whose server dies, or who take too long."""

import time
from pathlib import Path

import pytest

from adapters.triton import http_client
from adapters.triton.server import TritonServer
from tests.gateway.http_serving import (
    HttpServed,
    before,
    document,
    http_serving,
    raw_request,
    texts,
    wait,
)
from tests.gateway.http_serving import served as served  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.http_serving import triton as triton  # noqa: PLC0414 - a fixture, by its name
from tests.gateway.rig import METERS, Rig, configured
from tests.support.triton import a_triton, account

HELD = "reservation_held"


def has_connection_to(port: int) -> bool:
    """Say whether this process is connected to a local port."""
    lines = Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
    connected = f"0100007F:{port:04X}"
    return any(line.split()[2:4] == [connected, "01"] for line in lines)


def test_a_client_that_leaves_a_unary_call_pays_for_it_once(
    rig: Rig, triton: TritonServer, served: HttpServed
) -> None:
    who = rig.licensee()
    asked = document("a b")
    asked["inputs"].append(
        {"name": "DELAY_MS", "shape": [1, 1], "datatype": "INT32", "data": [300]}
    )
    with served.socket() as client:
        client.sendall(raw_request("/v2/models/slow/infer", asked, who))
        wait(lambda: len(served.gateway.running) == 1)
        wait(lambda: who.names() == ["reservation_held"])
    (charge,) = who.until(1)
    lines = [each for each in account(triton, "slow") if each["request_id"] == charge.reservation]
    assert len(lines) == 1
    served.idle()
    assert who.names() == ["reservation_held", "reservation_settled"]


def test_a_client_that_leaves_at_once_leaves_nothing_held(rig: Rig, served: HttpServed) -> None:
    who = rig.licensee()
    for _ in range(10):
        with served.socket() as client:
            client.sendall(raw_request("/v2/models/textgen/infer", document(), who))
    served.ask("GET", "/v2/health/live")
    served.idle()
    ends = {"reservation_settled", "reservation_released"}
    wait(lambda: sum(name in ends for name in who.names()) == who.names().count(HELD))


def test_an_answer_is_never_compressed_though_the_client_would_take_it(
    rig: Rig, served: HttpServed
) -> None:
    who = rig.licensee()
    answer = served.post(who, "textgen/infer", document(), Accept_Encoding="gzip, deflate, br")
    assert "content-encoding" not in answer.headers
    assert answer.json["model_name"] == "textgen"
    for algorithm in ("gzip", "deflate"):
        with served.client() as client:
            found = client.infer(
                "textgen",
                texts("a b", 2),
                headers=who.headers,
                request_compression_algorithm=algorithm,
                response_compression_algorithm=algorithm,
            )
            assert len(found.as_numpy("OUT")[0][0].split()) == 2
    assert len(who.until(3)) == 3


def test_a_version_may_be_named(rig: Rig, served: HttpServed) -> None:
    who = rig.licensee()
    found = served.post(who, "textgen/versions/1/infer", document())
    assert found.json["model_version"] == "1"
    assert served.post(who, "textgen/versions/7/infer", document()).status == 404
    who.until(1)
    wait(lambda: "reservation_released" in who.names())


def test_a_body_that_is_waited_for_is_told_to_come(rig: Rig, served: HttpServed) -> None:
    who = rig.licensee()
    request = raw_request("/v2/models/textgen/infer", document(), who, Expect="100-continue")
    head, body = request.split(b"\r\n\r\n", 1)
    with served.socket() as client:
        client.sendall(head + b"\r\n\r\n")
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_an_inference_that_takes_too_long_is_parked(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    meters = [{**each, "seconds": 1} for each in METERS if each["name"] == "slow"]
    asked = document()
    asked["inputs"].append(
        {"name": "DELAY_MS", "shape": [1, 1], "datatype": "INT32", "data": [1_500]}
    )
    who = rig.licensee()
    with http_serving(rig, tmp_path, before(triton, meters=meters)) as serving:
        answer = serving.post(who, "slow/infer", asked)
        assert answer.status == 504
        assert answer.json["request"].startswith("inf")
        wait(lambda: who.names()[-1] == "usage_parked")
        assert who.charged_after_all() == {"requests": 1}, "what the request told is known"


def test_a_server_that_cannot_be_reached_holds_no_money(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "DOWN_SECONDS", 60.0)  # it is not looked for again meanwhile
    who = rig.licensee()
    with http_serving(rig, tmp_path, configured()) as serving:
        for _ in range(3):
            answer = serving.post(who, "textgen/infer", document())
            assert answer.status == 503
            assert answer.headers["retry-after"] == "1"
        wait(lambda: who.names() == ["reservation_held", "reservation_released"])
        assert serving.ask("GET", "/v2/health/live").status == 200
        assert serving.ask("GET", "/v2/health/ready").status == 503


def test_a_server_that_is_killed_leaves_a_parked_record(rig: Rig, tmp_path: Path) -> None:
    who = rig.licensee()
    asked = document()
    asked["inputs"].append(
        {"name": "DELAY_MS", "shape": [1, 1], "datatype": "INT32", "data": [20_000]}
    )
    with (
        a_triton(tmp_path / "triton", models=["slow"]) as server,
        http_serving(rig, tmp_path / "home", before(server)) as serving,
        serving.socket() as client,
    ):
        client.sendall(raw_request("/v2/models/slow/infer", asked, who))
        wait(lambda: has_connection_to(server.ports.http))
        time.sleep(1)  # from the connection to the request
        server.kill()
        assert client.recv(100).startswith(b"HTTP/1.1 504 ")
        wait(lambda: who.names()[-1] == "usage_parked")
        assert who.charged_after_all() == {"requests": 1}, "what the request told is known"
        server.start()
        assert serving.post(who, "slow/infer", document()).status == 200
        who.until(2)
