"""Gateway, Triton, Kafka and two Faust workers: what ran is charged once, by the stream alone."""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from adapters.kafka import topics
from adapters.kafka.server import KafkaServer
from adapters.triton.server import TritonServer
from entrypoints.streaming import TOPIC
from streams.dead_letters import SUFFIX
from tests.faults.gateway_process import GatewayProcess, document
from tests.faults.invariants import assert_sound
from tests.faults.own_server import OwnServer
from tests.faults.stream_process import StreamWorker
from tests.gateway import model_accounts as counting
from tests.gateway.http_serving import ask
from tests.gateway.rig import METERS, Licensee, Rig, rig_on
from tests.support.databases import MASTER_KEY
from tests.support.kafka import a_kafka
from tests.support.triton import a_triton

INFERENCES = 40


@pytest.fixture
def own_server(tmp_path: Path) -> "OwnServer":
    """Start a PostgreSQL of this test's own."""
    return OwnServer(tmp_path / "ledger")


def asked(gateway: GatewayProcess, who: Licensee, number: int) -> int:
    """Have one inference run; every tenth fails in the model."""
    address = gateway.found["http"].removeprefix("http://")
    body = {"TEXT": "boom a" if number % 10 == 9 else f"word {number}"}
    return ask(address, "POST", "/v2/models/textgen/generate", body, who.headers).status


def gateway_of(
    folder: Path, server: OwnServer, triton: TritonServer, kafka: KafkaServer
) -> GatewayProcess:
    """Return a gateway that publishes."""
    pool = {"name": "shared", "grpc": triton.grpc_address, "http": triton.http_address}
    config = document(pool=[pool], model=METERS)
    made = GatewayProcess(folder, server.parts.owner_url, MASTER_KEY, config)
    made.options("--kafka", kafka.address)
    return made


def settled(rig: Rig, licensees: list[Licensee]) -> bool:
    """Say whether no money is held any more."""
    return not any(rig.tollbook.balance(who.customer).held for who in licensees)


def patiently(is_true: Callable[[], bool]) -> None:
    """Wait for what may take a worker's start, and the end of a killed one's session."""
    end = time.monotonic() + 180
    while not is_true():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.2)


@pytest.mark.timeout(400)
def test_with_kafka_the_stream_settles_and_nobody_else(
    own_server: OwnServer, tmp_path: Path
) -> None:
    with (
        rig_on(own_server.parts) as rig,
        a_triton(tmp_path / "triton") as triton,
        a_kafka(tmp_path / "kafka") as kafka,
        ExitStack() as stack,
    ):
        stack.callback(own_server.close)
        asyncio.run(topics.make_topics(kafka.address, {TOPIC: 4, TOPIC + SUFFIX: 1}, 1, 1))
        licensees = [rig.licensee() for _ in range(4)]
        gateway = gateway_of(tmp_path, own_server, triton, kafka)
        gateway.start()
        stack.callback(gateway.kill)
        for number in range(INFERENCES // 2):
            asked(gateway, licensees[number % 4], number)
        assert not settled(rig, licensees), "without a worker nothing is settled"
        owner = own_server.parts.owner_url
        workers = [
            stack.enter_context(
                StreamWorker(tmp_path, f"worker-{n}", owner, MASTER_KEY, kafka.address, TOPIC)
            )
            for n in range(2)
        ]
        kafka.kill()
        codes = [asked(gateway, licensees[n % 4], n) for n in range(INFERENCES // 2, INFERENCES)]
        assert codes.count(200) == INFERENCES // 2 - 2, "no client waits for Kafka"
        gateway.kill()
        kafka.start()
        gateway.start()
        patiently(lambda: settled(rig, licensees))
        gateway.stop()
        assert [worker.stop() for worker in workers] == [0, 0]
        assert triton.model_log is not None
        lines = counting.accounts(triton.model_log)
        ledger = counting.ledgered(licensees)
        charged = {id: entry.charge for id, entry in ledger.items() if entry.charge is not None}
        ran = {id for id, line in lines.items() if line["outcome"] == "ok"}
        assert charged.keys() == ran
        for id, charge in charged.items():
            assert dict(charge.usage) == counting.used(lines[id])
        assert_sound(own_server.super_url)
