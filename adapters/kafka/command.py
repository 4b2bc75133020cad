"""How a Kafka of our own is started: one node on loopback, in a small Java."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from adapters.child_servers.ports import LOOPBACK
from adapters.kafka.installation import Installation

NODE = 1

# For a broker that lives for minutes beside what it serves: the quick compiler alone, a collector
# without threads of its own, no files outside its folder, and an end where memory ends.
_JAVA = (
    *("-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
    *("-XX:+ExitOnOutOfMemoryError", "-XX:-UsePerfData", "-Djava.awt.headless=true"),
)

_ALONE: dict[str, str | int] = {
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
}
"""What asks for three nodes otherwise."""

_SMALL: dict[str, str | int] = {
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.num.partitions": 4,
    "log.cleaner.dedupe.buffer.size": 4 << 20,
    "num.network.threads": 2,
    "num.io.threads": 4,
    "background.threads": 2,
    "group.coordinator.threads": 1,
}

_QUICK: dict[str, str | int] = {
    # A group that gathers for a moment first would make every test wait for it.
    "group.initial.rebalance.delay.ms": 0,
    # A node that comes back waits until its own controller has given up the one that it was, which
    # takes nine seconds otherwise; trying again takes a heartbeat.
    "broker.session.timeout.ms": 2000,
    "broker.heartbeat.interval.ms": 250,
    # So that a test may see a member given up within a second.
    "group.min.session.timeout.ms": 1000,
    # A topic is made by whoever knows how many partitions it must have.
    "auto.create.topics.enable": "false",
}

_LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
# Every setting there is, at each start.
logger.settings.name = org.apache.kafka.common.config
logger.settings.level = warn
"""


class Ports(NamedTuple):
    """Where a server listens: for clients, and for itself as its own controller."""

    clients: int
    controller: int


def settings(ports: Ports, data: Path, more: Mapping[str, str | int]) -> str:
    """Write the file of settings of a server."""
    clients = f"PLAINTEXT://{LOOPBACK}:{ports.clients}"
    chosen: dict[str, str | int] = {
        "process.roles": "broker,controller",
        "node.id": NODE,
        "controller.quorum.voters": f"{NODE}@{LOOPBACK}:{ports.controller}",
        "listeners": f"{clients},CONTROLLER://{LOOPBACK}:{ports.controller}",
        "advertised.listeners": clients,
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(data),
        **_ALONE,
        **_SMALL,
        **_QUICK,
        **more,
    }
    return "".join(f"{name}={value}\n" for name, value in chosen.items())


def java(
    installation: Installation, folder: Path, program: str, *arguments: str, record: bool = False
) -> list[str]:
    """Write the command that runs one of Kafka's programs; recorded, it leaves its classes."""
    logging = folder / "log4j2.properties"
    logging.write_text(_LOGGING, encoding="utf-8")
    archive = "ArchiveClassesAtExit" if record else "SharedArchiveFile"
    classes = [f"-XX:{archive}={installation.classes}"]
    return [
        str(installation.java),
        *_JAVA,
        *(classes if record or installation.classes.is_file() else []),
        f"-Dlog4j2.configurationFile={logging}",
        *("-cp", installation.class_path, program, *arguments),
    ]
