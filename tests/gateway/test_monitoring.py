"""The gateway as its operators see it."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from tollbook.errors import NotFound

from domain import meters
from entrypoints.gateway.admission import Asked
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.monitoring import CONNECTIONS_MAX, Monitor
from entrypoints.gateway.trace_batches import Totals
from tests.gateway.rig import Rig


@contextmanager
def monitored(
    rig: Rig, gateway: Gateway, missing: str | None, totals: Totals
) -> Iterator[httpx.Client]:
    async def is_missing() -> str | None:
        return missing

    monitor = rig.now(lambda: Monitor(gateway, is_missing, totals))
    port = rig.call(monitor.start("127.0.0.1", 0))
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        rig.call(monitor.stop())


@pytest.mark.parametrize(("missing", "status"), [(None, 200), ("the ledger", 503)])
def test_readiness_names_what_is_missing(
    rig: Rig, tmp_path: Path, missing: str | None, status: int
) -> None:
    with (
        rig.gateway(tmp_path) as gateway,
        monitored(rig, gateway, missing, Totals()) as client,
    ):
        found = client.get("/readyz")
        assert (found.status_code, found.json().get("missing")) == (status, missing)
        assert client.get("/healthz").status_code == 200


def test_what_became_of_inferences_is_counted_without_naming_anybody(
    rig: Rig, tmp_path: Path
) -> None:
    who = rig.licensee()
    totals = Totals()
    totals.charged = 250_000
    with rig.gateway(tmp_path) as gateway, monitored(rig, gateway, None, totals) as client:
        empty = meters.Request({}, {})
        with pytest.raises(NotFound):
            rig.call(gateway.admit(Asked("nobody's", who.key, empty, "0" * 64)))
        for end in ("failed", "charged", "charged"):
            running = rig.call(gateway.admit(Asked("slow", who.key, empty, "0" * 64)))
            rig.now(lambda now=running: gateway.begin(now))  # type: ignore[misc]
            if end == "failed":
                rig.now(lambda now=running: gateway.failed(now, "boom"))  # type: ignore[misc]
            else:
                rig.now(lambda now=running: gateway.finish(now))  # type: ignore[misc]
        told = client.get("/metrics").text
    assert 'tollbook_gateway_ended_total{how="charged"} 2.0' in told
    assert 'tollbook_gateway_ended_total{how="released"} 1.0' in told
    assert 'tollbook_gateway_refused_total{code="not_found"} 1.0' in told
    assert "tollbook_gateway_running 0.0" in told
    assert "tollbook_gateway_traced_charged_total 250000.0" in told
    assert who.customer not in told
    assert who.license not in told


def test_it_has_so_many_connections_and_one_that_ends_makes_room(rig: Rig, tmp_path: Path) -> None:
    with rig.gateway(tmp_path) as gateway, monitored(rig, gateway, None, Totals()) as client:
        where = (client.base_url.host, client.base_url.port or 0)
        assert client.get("/healthz").status_code == 200
        with ExitStack() as opened:
            for _ in range(CONNECTIONS_MAX - 1):
                opened.enter_context(socket.create_connection(where, 20))
            with socket.create_connection(where, 20) as late:
                assert late.recv(1) == b""
            assert client.get("/healthz").status_code == 200  # on the connection that it has
        end = time.monotonic() + 20
        while not answers(where):
            assert time.monotonic() < end


def answers(where: tuple[str, int]) -> bool:
    with socket.create_connection(where, 20) as again:
        again.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        try:
            return again.recv(100).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False
