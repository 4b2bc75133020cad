"""Kafka with TLS, client certificates and passwords: every command reaches it, and nobody else."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tollbook.errors import EXIT_DONE, EXIT_UNAVAILABLE

from adapters.triton.server import TritonServer
from streams.dead_letters import SUFFIX
from tests.faults.gateway_process import GatewayProcess, document
from tests.faults.invariants import assert_sound
from tests.faults.stream_process import StreamWorker
from tests.gateway.http_serving import ask
from tests.gateway.rig import METERS, Rig, rig_on
from tests.support.databases import MASTER_KEY, TestDatabase
from tests.support.databases import embedded_database as embedded_database  # noqa: PLC0414
from tests.support.kafka import read, send
from tests.support.secured_kafka import PASSWORD, Secured, a_secured_kafka
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name

INFERENCES = 6


def patiently(is_true: Callable[[], bool]) -> None:
    """Wait for what may take a worker's start."""
    end = time.monotonic() + 90
    while not is_true():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.2)


class Cluster:
    """A secured Kafka, and the ledger behind it."""

    def __init__(self, folder: Path, database: TestDatabase, kafka: Secured) -> None:
        """Name a topic."""
        self.topic = f"usage-{secrets.token_hex(6)}"
        self.kafka = kafka
        self._folder, self._database = folder, database
        self.said = ""
        """What commands have said, errors included."""

    def command(self, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the stream with the settings that open Kafka, and some of others."""
        command = [sys.executable, "-m", "tollbook", "stream", *words, "--json"]
        command += ["--kafka", self.kafka.address, "--topic", self.topic]
        environment = {**os.environ, **self.kafka.environment, **more}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=90, env=environment, check=False
        )
        self.said += done.stdout + done.stderr
        return done

    def behind(self) -> int:
        """Ask how many records are not settled."""
        done = self.command("status", "--database", self._database.owner_url)
        assert done.returncode == EXIT_DONE, done.stderr
        return int(json.loads(done.stdout)["behind"])

    def worker(self) -> StreamWorker:
        """Return a worker that Kafka lets in."""
        given = (self._database.owner_url, MASTER_KEY, self.kafka.address, self.topic)
        return StreamWorker(self._folder, "worker", *given, environment=self.kafka.environment)

    def gateway(self, triton: TritonServer) -> GatewayProcess:
        """Return a gateway that Kafka lets in."""
        pool = {"name": "shared", "grpc": triton.grpc_address, "http": triton.http_address}
        config = document(pool=[pool], model=METERS)
        made = GatewayProcess(self._folder, self._database.owner_url, MASTER_KEY, config)
        made.options("--kafka", self.kafka.address, "--topic", self.topic)
        made._environment |= self.kafka.environment
        return made


@pytest.mark.timeout(300)
def test_what_a_gateway_publishes_through_tls_is_settled_by_a_worker(
    embedded_database: TestDatabase, triton: TritonServer, tmp_path: Path
) -> None:
    with rig_on(embedded_database.parts) as rig, a_secured_kafka(tmp_path) as kafka:
        cluster = Cluster(tmp_path, embedded_database, kafka)
        assert cluster.command("topics", "--partitions", "2").returncode == EXIT_DONE
        gateway, log = cluster.gateway(triton), tmp_path / "gateway.log"
        with cluster.worker() as worker:
            gateway.start()
            try:
                settled(rig, gateway)
                gateway.stop()
            finally:
                gateway.kill()
            send(kafka.server.address, cluster.topic, [b"no JSON"], key=b"x")
            patiently(lambda: cluster.behind() == 0)
            assert worker.stop() == 0
        assert read(kafka.server.address, cluster.topic + SUFFIX, 1) == [b"no JSON"]
        assert_sound(embedded_database.super_url)
        opened_to_whoever_shows_enough(cluster)
        told = cluster.said + log.read_text("utf-8") + worker.log.read_text("utf-8")
        assert PASSWORD not in told


def settled(rig: Rig, gateway: GatewayProcess) -> None:
    """Have inferences run, and wait until the stream has charged them."""
    who = rig.licensee()
    address = gateway.found["http"].removeprefix("http://")
    for _ in range(INFERENCES):
        body = {"TEXT": "a b c"}
        answer = ask(address, "POST", "/v2/models/textgen/generate", body, who.headers)
        assert answer.status == 200
    who.until(INFERENCES, seconds=60)


LESS: list[Mapping[str, str]] = [
    {"TOLLBOOK_KAFKA_CA_FILE": ""},
    {"TOLLBOOK_KAFKA_CERTIFICATE_FILE": "", "TOLLBOOK_KAFKA_KEY_FILE": ""},
    {"TOLLBOOK_KAFKA_PASSWORD_FILE": "", "TOLLBOOK_KAFKA_PASSWORD": f"{PASSWORD}?"},
    {"TOLLBOOK_KAFKA_PASSWORD_FILE": "", "TOLLBOOK_KAFKA_USERNAME": ""},
]


def opened_to_whoever_shows_enough(cluster: Cluster) -> None:
    """Log in by the other mechanisms; then leave out one thing at a time of what is asked for."""
    for mechanism in ("PLAIN", "SCRAM-SHA-256"):
        assert cluster.command("topics", TOLLBOOK_KAFKA_MECHANISM=mechanism).returncode == EXIT_DONE
    for less in LESS:
        done = cluster.command("topics", **less)
        assert done.returncode == EXIT_UNAVAILABLE, (less, done.stderr)
        assert json.loads(done.stdout)["code"] == "unavailable"
