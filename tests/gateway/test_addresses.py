"""A host that has several addresses: the gateway is at all of them, by the ports that it tells."""

import socket
from pathlib import Path

import httpx
import pytest

from adapters.triton.server import TritonServer
from entrypoints.gateway.server import Ports, fronts_on
from tests.faults.gateway_process import GatewayProcess, document
from tests.gateway.rig import METERS, Rig, configured
from tests.support.databases import MASTER_KEY
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name

EVERYWHERE = ""
"""A host that has an address of each family on every machine that has both."""
FAMILIES = ("127.0.0.1", "::1")
FRONTS = ("grpc", "http", "monitor")


@pytest.fixture(autouse=True)
def both_families() -> None:
    """Skip where the machine has no IPv6."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"there is no IPv6 here: {error}")


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_free_ports_are_the_same_at_every_address_of_the_host(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    config = configured(triton.grpc_address, triton.http_address)

    async def connect() -> None:
        ports = Ports(EVERYWHERE, 0, 0, 0)
        async with fronts_on(rig.database, rig.tollbook, config, tmp_path, ports) as found:
            for front in FRONTS:
                for address in FAMILIES:
                    socket.create_connection((address, port_of(found[front])), 10).close()

    rig.call(connect())


def test_an_address_of_ipv6_is_told_as_clients_write_it(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    config = configured(triton.grpc_address, triton.http_address)

    async def asked() -> tuple[dict[str, str], int]:
        ports = Ports("::1", 0, 0, 0)
        async with fronts_on(rig.database, rig.tollbook, config, tmp_path, ports) as found:
            async with httpx.AsyncClient() as client:
                answer = await client.get(f"{found['monitor']}/healthz")
            return found, answer.status_code

    found, status = rig.call(asked())
    assert status == 200
    assert found["grpc"].startswith("[::1]:")
    assert found["http"].startswith("http://[::1]:")


@pytest.mark.timeout(120)
def test_a_crew_is_at_every_address_of_its_host(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    pool = {"name": "shared", "grpc": triton.grpc_address, "http": triton.http_address}
    config = document(pool=[pool], model=METERS)
    gateway = GatewayProcess(tmp_path, rig.database.owner_url, MASTER_KEY, config)
    gateway.options("--processes", "2", "--host", EVERYWHERE)
    gateway.start()
    try:
        told = [gateway.found["grpc"], gateway.found["http"], *gateway.found["monitors"]]
        assert len(set(told)) == 4
        for each in told:
            for address in FAMILIES:
                socket.create_connection((address, port_of(each)), 10).close()
        gateway.stop()
    finally:
        gateway.kill()
