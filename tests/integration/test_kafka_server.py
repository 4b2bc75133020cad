"""A real Kafka in a folder: it starts, keeps what it acknowledged, and comes back after a kill."""

import hashlib
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.child_servers.ports import LOOPBACK, free_ports
from adapters.kafka.command import Ports
from adapters.kafka.errors import KafkaUnavailable
from adapters.kafka.installation import find
from adapters.kafka.server import KafkaServer
from adapters.kafka.trial import check
from tests.support.kafka import a_kafka, installed, make_topic, read, send
from tests.support.triton import wait_until


def numbered(count: int, first: int = 0) -> list[bytes]:
    """Make records that differ."""
    return [b"record %d" % number for number in range(first, first + count)]


def test_a_topic_is_made_and_a_message_goes_there_and_back(kafka: KafkaServer) -> None:
    make_topic(kafka, "there-and-back", partitions=3)
    send(kafka.address, "there-and-back", numbered(3), partition=2)
    assert read(kafka.address, "there-and-back", 3, partition=2) == numbered(3)


def test_a_topic_is_made_once(kafka: KafkaServer) -> None:
    make_topic(kafka, "once")
    with pytest.raises(AssertionError, match="already exists"):
        make_topic(kafka, "once")


def end_by_stop(server: KafkaServer) -> None:
    """Stop a server in order."""
    server.stop()


def end_from_outside(server: KafkaServer) -> None:
    """Kill the server's own process, as the kernel would."""
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.is_running())


def test_what_was_acknowledged_outlives_every_end_of_a_server_and_its_neighbour_sees_none(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    make_topic(kafka, "kept")
    with a_kafka(tmp_path / "kafka") as server:
        assert not set(kafka.ports) & set(server.ports)
        assert kafka.cluster_id != server.cluster_id
        make_topic(server, "kept")
        address, cluster, sent = server.address, server.cluster_id, 0
        for end in (end_from_outside, end_by_stop):
            send(address, "kept", numbered(50, sent))
            sent += 50
            end(server)
            assert not server.is_ready()
            assert kafka.is_ready()
            server.restart()
            assert (server.address, server.cluster_id) == (address, cluster)
            assert read(address, "kept", sent) == numbered(sent)
    assert send(kafka.address, "kept", [b"the first here"]) == [(0, 0)]


def test_a_setting_that_kafka_does_not_take_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(KafkaUnavailable, match=r"does not format: (?s:.*)num\.io\.threads"),
        a_kafka(tmp_path / "kafka", more={"num.io.threads": "none"}),
    ):
        pass


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    server = KafkaServer(tmp_path / "kafka", installation=installed())
    server._ports = Ports(*free_ports(2))
    with (
        socket.create_server((LOOPBACK, server.ports.clients)),
        pytest.raises(KafkaUnavailable, match=r"Kafka has ended(?s:.*)already in use"),
    ):
        server.start()
    assert not server.is_running()


def test_a_server_that_was_never_started_has_no_address(tmp_path: Path) -> None:
    with pytest.raises(KafkaUnavailable, match="never started"):
        _ = KafkaServer(tmp_path / "kafka").address


def lay_jars(folder: Path, **contents: str) -> Path:
    """Lay files into a folder, named as jars."""
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}.jar").write_text(content, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("found", "offence"),
    [
        ({"one": "1"}, "two.jar is missing"),
        ({"one": "1", "two": "2", "three": "3"}, "three.jar was never reviewed"),
        ({"one": "1", "two": "another"}, "two.jar is another than was reviewed"),
        ({}, "one.jar is missing; two.jar is missing"),
    ],
)
def test_jars_are_taken_only_as_they_were_reviewed(
    tmp_path: Path, found: dict[str, str], offence: str
) -> None:
    sums = tmp_path / "sums"
    lines = (
        f"{hashlib.sha256(text).hexdigest()}  {name}.jar"
        for name, text in (("one", b"1"), ("two", b"2"))
    )
    sums.write_text("\n".join(lines), encoding="utf-8")
    check(lay_jars(tmp_path / "reviewed", one="1", two="2"), sums)
    with pytest.raises(KafkaUnavailable) as refused:
        check(lay_jars(tmp_path / "jars", **found), sums)
    assert str(refused.value) == offence


@pytest.mark.parametrize(
    ("lay_out", "reason"),
    [
        (lambda _: None, "there is no Kafka in"),
        (lambda home: (home / "unavailable").write_text("no jars"), r"not install .*: no jars"),
        (lambda home: lay_jars(home / "jars", one="1"), "Kafka needs Java 17 or newer"),
    ],
)
def test_where_there_is_no_kafka_the_reason_is_told(
    tmp_path: Path, lay_out: Callable[[Path], object], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path)
    monkeypatch.setenv("TOLLBOOK_KAFKA_HOME", str(tmp_path))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(KafkaUnavailable, match=reason):
        find()
