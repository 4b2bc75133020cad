"""Two processes as one gateway before a real Triton: both serve, and both are paid for."""

import re
from pathlib import Path

import httpx
import pytest

from adapters.triton.server import TritonServer
from tests.faults.gateway_process import GatewayProcess, document
from tests.gateway.http_serving import ask
from tests.gateway.rig import METERS, Rig
from tests.support.databases import MASTER_KEY
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name
from tests.support.triton import wait_until

ASKED = 48
"""Each on a connection of its own: all of them come to one with a chance of 2^-47."""


def charged(gateway: GatewayProcess) -> list[int]:
    """Return how many inferences each process has charged."""
    found = [httpx.get(f"{each}/metrics", timeout=20).text for each in gateway.found["monitors"]]
    counts = [re.search(r'_ended_total\{how="charged"\} (\d+)', each) for each in found]
    return [int(each[1]) for each in counts if each is not None]


@pytest.mark.timeout(120)
def test_connections_are_dealt_to_all_processes_of_a_gateway(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    who = rig.licensee()
    pool = {"name": "shared", "grpc": triton.grpc_address, "http": triton.http_address}
    config = document(pool=[pool], model=METERS)
    gateway = GatewayProcess(tmp_path, rig.database.owner_url, MASTER_KEY, config)
    gateway.options("--processes", "2")
    gateway.start()
    try:
        address = gateway.found["http"].removeprefix("http://")
        for _ in range(ASKED):
            body = {"TEXT": "a b", "MAX_TOKENS": 3}
            answer = ask(address, "POST", "/v2/models/textgen/generate", body, who.headers)
            assert answer.status == 200
        wait_until(lambda: sum(charged(gateway)) == ASKED)
        assert len(charged(gateway)) == 2
        assert min(charged(gateway)) > 0
        told = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in gateway.members]
        assert len(told) == 2
        # Any user of a machine may read it, and the address may hold a password.
        assert not any(rig.database.owner_url.encode() in each for each in told)
        gateway.stop()
    finally:
        gateway.kill()
    assert len(who.charges()) == ASKED
