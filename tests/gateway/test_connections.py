"""Clients have so many connections together, over both protocols; one more finds no place."""

import json
import logging
import re
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tollbook.errors import Invalid
from tritonclient.utils import InferenceServerException

from adapters.grpc.messages import framed
from adapters.triton.grpc_client import SERVICE
from adapters.triton.server import TritonServer
from entrypoints.gateway.descriptors import RESERVE, connections_within, fitted
from tests.faults.gateway_process import GatewayProcess, document
from tests.gateway.both_fronts import Both, serving_both
from tests.gateway.grpc_serving import before, public_client, request
from tests.gateway.http_serving import ask, wait
from tests.gateway.raw_grpc import OK, Client, asked
from tests.gateway.rig import METERS, Rig, configured
from tests.support.databases import MASTER_KEY
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name

LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"
SERVER_LIVE = asked(f"/{SERVICE}/ServerLive")
BODY = {"TEXT": "a b", "MAX_TOKENS": 3}


@contextmanager
def connected(address: str) -> Iterator[socket.socket]:
    host, _, port = address.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), 20) as client:
        yield client


def all_of(client: socket.socket) -> bytes:
    """Return what comes until the other end closes."""
    found = b""
    while piece := client.recv(65_536):
        found += piece
    return found


def lives(client: socket.socket) -> None:
    client.sendall(LIVE)
    assert client.recv(1_000).startswith(b"HTTP/1.1 200 ")


def taken(both: Both, count: int) -> None:
    """Wait until so many places are taken."""
    wait(lambda: both.gateway.places.taken == count)


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_both_protocols_share_the_places_and_who_ends_gives_one_back(
    rig: Rig, tmp_path: Path
) -> None:
    with serving_both(rig, tmp_path, configured(connections=2)) as both, ExitStack() as opened:
        http = opened.enter_context(connected(both.http))
        lives(http)
        with Client(port_of(both.grpc)) as first:
            assert first.call(SERVER_LIVE, b"").status == OK
            for address in (both.http, both.grpc):
                with connected(address) as late:
                    found = all_of(late)
                head, _, body = found.partition(b"\r\n\r\n")
                if address == both.http:
                    assert head.startswith(b"HTTP/1.1 503 ")
                    assert json.loads(body)["code"] == "overloaded"
                else:
                    assert found == b""
            assert both.gateway.places.refused == 2
            assert first.call(SERVER_LIVE, b"").status == OK
            lives(http)
        taken(both, 1)
        with connected(both.http) as second:  # in the place of one that spoke gRPC
            lives(second)
            taken(both, 2)
        taken(both, 1)
        with Client(port_of(both.grpc)) as second:  # and the other way round
            assert second.call(SERVER_LIVE, b"").status == OK
            http.close()
            taken(both, 1)
        taken(both, 0)
        assert both.gateway.places.refused == 2


def test_a_stream_goes_on_while_others_find_no_place(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    who = rig.licensee()
    message = framed(request("textgen_stream", "a b c").SerializeToString())
    with (
        serving_both(rig, tmp_path, before(triton, connections=1)) as both,
        Client(port_of(both.grpc)) as client,
    ):
        call = client.ask(
            asked(f"/{SERVICE}/ModelStreamInfer", tollbook_license_key=who.key),
            message[:2],
            end=False,
        )
        client.settle()
        for _ in range(50):
            with connected(both.http) as late:
                assert all_of(late).startswith(b"HTTP/1.1 503 ")
        client.send(call, message[2:], end=True)
        assert client.answer(call).status == OK
        assert len(who.until(1)) == 1
        assert both.gateway.places.taken == 1
    taken(both, 0)


def test_an_http_client_that_asks_at_once_reads_that_there_are_too_many(
    rig: Rig, tmp_path: Path
) -> None:
    with (
        serving_both(rig, tmp_path, configured(connections=1)) as both,
        connected(both.http) as here,
    ):
        lives(here)
        answer = ask(both.http, "GET", "/v2/health/live")
        assert (answer.status, answer.json["code"]) == (503, "overloaded")
        assert answer.headers["retry-after"] == "1"
        assert answer.json["error"] == "too many connections: try later"


def test_grpcs_own_client_waits_before_it_tries_again_and_then_gets_in(
    rig: Rig, tmp_path: Path
) -> None:
    with serving_both(rig, tmp_path, configured(connections=1)) as both, ExitStack() as opened:
        opened.enter_context(connected(both.http))
        taken(both, 1)
        with public_client(both.grpc) as client:
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                with pytest.raises(InferenceServerException, match="UNAVAILABLE"):
                    client.is_server_live()
            assert both.gateway.places.refused < 5
            opened.close()
            wait(lambda: is_live(client))
        taken(both, 0)


def is_live(client: Any) -> bool:
    try:
        return bool(client.is_server_live())
    except InferenceServerException:
        return False


@pytest.mark.parametrize("connections", [0, -1, 1_000_001, "many"])
def test_a_number_of_connections_that_cannot_be_is_refused(connections: object) -> None:
    with pytest.raises(Invalid) as caught:
        configured(connections=connections)
    assert caught.value.facts["field"] == "connections"


def test_without_a_word_ten_thousand_idle_clients_find_a_place() -> None:
    assert configured().connections == 12_000


@pytest.mark.parametrize(
    ("files", "connections"),
    [
        (12_000 + 1_000 + RESERVE, 12_000),
        (12_000 + 1_000 + RESERVE - 1, 11_999),
        (4_096, 4_096 - 1_000 - RESERVE),
        (1_024, (1_024 - RESERVE) // 2),  # as many inferences run as clients are there
        (RESERVE, 1),
        (64, 1),
    ],
)
def test_with_fewer_files_there_are_fewer_connections(files: int, connections: int) -> None:
    assert connections_within(files, configured()) == connections


def soft() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@pytest.fixture
def few_files() -> Iterator[None]:
    """Let this process open few files by itself, as systems do, and more if it asks."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1_024, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("few_files")
def test_the_process_may_open_as_many_files_as_it_needs_and_says_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = configured(connections=700, at_once=100)
    with caplog.at_level(logging.INFO):
        assert fitted(config) is config
        assert soft() == 700 + 100 + RESERVE
        assert fitted(configured(connections=10, at_once=10)).connections == 10
    assert soft() == 700 + 100 + RESERVE  # what it has is not taken away
    assert caplog.records == []


FILES = 620
"""So many a process of these tests may open: fewer than there are clients."""
AWAY = 1_000
"""So many clients come at once."""


@pytest.mark.timeout(120)
def test_clients_without_a_key_leave_a_gateway_the_files_that_it_needs(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    who = rig.licensee()
    pool = {"name": "shared", "grpc": triton.grpc_address, "http": triton.http_address}
    config = document(pool=[pool], model=METERS)
    gateway = GatewayProcess(tmp_path, rig.database.owner_url, MASTER_KEY, config)
    gateway.under("sh", "-c", f'ulimit -Sn 100; ulimit -Hn {FILES} && exec "$@"', "sh")
    gateway.start()
    try:
        most = (FILES - RESERVE) // 2
        (line,) = [each for each in gateway.log.read_text().splitlines() if "connections" in each]
        assert f"only {most} connections" in line
        assert f"may open {FILES} files" in line
        address = gateway.found["http"].removeprefix("http://")
        with connected(gateway.found["http"]) as client, ExitStack() as opened:
            lives(client)
            threads = [
                threading.Thread(target=knock, args=(gateway.found[way], AWAY // 2, opened))
                for way in ("http", "grpc")
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            wait(lambda: counted(gateway, "connections_refused_total") == AWAY + 1 - most)
            assert counted(gateway, "connections") == most
            head = "\r\n".join(f"{name}: {value}" for name, value in who.headers.items())
            data = json.dumps(BODY).encode()
            client.sendall(
                f"POST /v2/models/textgen/generate HTTP/1.1\r\nHost: a\r\n{head}\r\n"
                f"Content-Length: {len(data)}\r\n\r\n".encode()
                + data
            )
            assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
            assert len(who.until(1)) == 1
            files = len(list(Path(f"/proc/{gateway.pid}/fd").iterdir()))
            assert files < most + 100
        wait(lambda: counted(gateway, "connections") == 0)
        assert ask(address, "GET", "/v2/health/live").status == 200
        gateway.stop()
    finally:
        gateway.kill()
    assert "Traceback" not in gateway.log.read_text()


def knock(address: str, count: int, opened: ExitStack) -> None:
    for _ in range(count):
        opened.enter_context(connected(address))


def counted(gateway: GatewayProcess, name: str) -> int:
    found = re.search(
        rf"^tollbook_gateway_{name} (\d+)", gateway.monitored("/metrics")[1], re.MULTILINE
    )
    assert found is not None
    return int(found[1])
