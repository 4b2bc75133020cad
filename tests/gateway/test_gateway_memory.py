"""Many idle clients and many requests: what they cost the gateway in memory, as a process."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from adapters.triton.grpc_client import SERVICE
from adapters.triton.server import TritonServer
from benchmarks.gateway import driven
from entrypoints.http.server import SPARE_FILES, allow_many_files
from tests.faults.gateway_process import GatewayProcess, document
from tests.gateway.grpc_serving import metadata
from tests.gateway.http_serving import ask
from tests.gateway.rig import METERS, Licensee, Rig
from tests.support.databases import MASTER_KEY
from tests.support.sizes import in_full_or
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name

IDLE = in_full_or(1_000, 10_000)
STREAMS_EACH = 100
REQUESTS = in_full_or(2_000, 20_000)
KIB = 1024
STREAM_KIB, CONNECTION_KIB = 48, 12
"""Twice what a stream and a connection were measured to cost."""
GROWTH_KIB = in_full_or(16, 76) * KIB
"""Twice what was measured: the ledger's caches fill up to their bounds, which are beyond this."""


def resident(gateway: GatewayProcess) -> int:
    """Return the resident memory of the gateway, in KiB."""
    text = Path(f"/proc/{gateway.pid}/status").read_text("utf-8")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:"))


@contextmanager
def serving(rig: Rig, triton: TritonServer, folder: Path) -> Iterator[GatewayProcess]:
    pool = {"name": "shared", "grpc": triton.grpc_address, "http": triton.http_address}
    config = document(pool=[pool], model=METERS)
    gateway = GatewayProcess(folder, rig.database.owner_url, MASTER_KEY, config)
    gateway.start()
    try:
        yield gateway
        gateway.stop()
    finally:
        gateway.kill()


def loaded(gateway: GatewayProcess, who: Licensee, count: int) -> None:
    for protocol in ("grpc", "http"):
        driven(protocol, gateway.found[protocol], who.key, count // 2, 16)


def answers(gateway: GatewayProcess, who: Licensee) -> None:
    address = gateway.found["http"].removeprefix("http://")
    body = {"TEXT": "a b"}
    answer = ask(address, "POST", "/v2/models/textgen/generate", body, who.headers)
    assert answer.status == 200


async def streaming(gateway: GatewayProcess, who: Licensee, count: int) -> int:
    """Hold so many streams on which nothing is asked; return what they cost, in KiB."""
    before = resident(gateway)
    channels = [
        grpc.aio.insecure_channel(
            gateway.found["grpc"], options=[("grpc.use_local_subchannel_pool", 1)]
        )
        for _ in range(count // STREAMS_EACH)
    ]
    calls: list[Any] = []
    for channel in channels:
        stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
        sent = metadata(who.headers)
        # A machine with much to do may be slow to connect: that is no stream's end.
        made = [stream(metadata=sent, wait_for_ready=True) for _ in range(STREAMS_EACH)]
        await asyncio.sleep(0.02)
        calls += made
    await asyncio.to_thread(answers, gateway, who)
    ended = [call for call in calls if call.done()]
    told = [(await call.code(), await call.details()) for call in ended[:3]]
    assert not ended, f"{len(ended)} streams ended: {told}"
    cost = resident(gateway) - before
    for call in calls:
        call.cancel()
    for channel in channels:
        await channel.close()
    return cost


def connected(gateway: GatewayProcess, who: Licensee, count: int) -> int:
    """Hold so many connections on which nothing is asked; return what they cost, in KiB."""
    before = resident(gateway)
    host, _, port = gateway.found["http"].rpartition("/")[2].partition(":")
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(closing(socket.create_connection((host, int(port)), 20)))
        answers(gateway, who)
        return resident(gateway) - before


@pytest.mark.timeout(280)
def test_idle_clients_and_many_requests_cost_little_memory(
    rig: Rig, triton: TritonServer, tmp_path: Path
) -> None:
    who = rig.licensee("1000", template="enterprise", overrides={"pool": "shared"})
    count = min(IDLE, allow_many_files() - SPARE_FILES)
    with serving(rig, triton, tmp_path) as gateway:
        loaded(gateway, who, REQUESTS // 10)
        before = resident(gateway)
        loaded(gateway, who, REQUESTS)
        growth = resident(gateway) - before
        connections = connected(gateway, who, count)
        streams = asyncio.run(streaming(gateway, who, IDLE))
    print(f"in KiB: {growth} for requests, {connections} for connections, {streams} for streams")
    assert growth < GROWTH_KIB
    assert connections < count * CONNECTION_KIB
    assert streams < IDLE * STREAM_KIB
