"""Kafka out of reach: a gateway serves without it, says so once, and says when it is back."""

import asyncio
import logging
import re
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from tollbook.errors import Invalid, Unavailable

from adapters.child_servers.ports import free_ports
from adapters.kafka.producer import Producer
from adapters.kafka.server import KafkaServer
from adapters.kafka.topics import partitions
from adapters.triton.server import TritonServer
from entrypoints.gateway import reaching
from entrypoints.gateway.assembling import Kafka
from entrypoints.gateway.reaching import Reaching
from tests.gateway.rig import Rig, configured
from tests.support.kafka import Broker, a_kafka, make_topic, read
from tests.support.kafka import broker as broker  # noqa: PLC0414 - a fixture, by its name
from tests.support.kafka import kafka as kafka  # noqa: PLC0414 - a fixture, by its name
from tests.support.shell import Ended, run_here
from tests.support.triton import triton as triton  # noqa: PLC0414 - a fixture, by its name
from tests.support.triton import wait_until

AWAY = re.compile(
    r"Kafka at 127\.0\.0\.1:\d+ does not answer.*\. Usage waits in the intent log until it does; "
    r"nothing new is admitted once 7 outcomes wait, or one for \d+ s"
)
BACK = re.compile(r"Kafka at 127\.0\.0\.1:\d+ answers now: what waited is published")


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaching, "AWAY_SECONDS", 0.3)
    monkeypatch.setattr(reaching, "_PAUSES", (0.1,))


@pytest.fixture
def nobody() -> str:
    """Give an address where nobody listens."""
    return f"127.0.0.1:{free_ports(1)[0]}"


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the gateway logged."""
    return [each.message for each in caplog.records if each.name == "tollbook.gateway"]


@asynccontextmanager
async def passed_on(address: str, target: str) -> AsyncIterator[None]:
    """Have a server listen at an address, which passes everything on to another."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def both(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*target.split(":"))
        await asyncio.gather(copy(reader, back), copy(there, writer))

    async with await asyncio.start_server(both, *address.split(":")) as server:
        yield
        server.close()


def test_a_gateway_without_its_kafka_says_so_once_and_again_when_it_comes(
    broker: Broker, nobody: str, caplog: pytest.LogCaptureFixture
) -> None:
    topic = f"usage-{secrets.token_hex(8)}"
    broker.make_topic(topic)

    async def work() -> None:
        producer = Producer(nobody, topic)
        reached = Reaching(producer, nobody, configured(unsettled=7))
        reached.begin()
        try:
            for key in ("ada", "bob"):
                with pytest.raises(Unavailable, match="does not answer"):
                    await reached.send(key, b"[]")
            await asyncio.to_thread(wait_until, lambda: bool(said(caplog)))
            await asyncio.sleep(1)
            assert [bool(AWAY.fullmatch(each)) for each in said(caplog)] == [True], said(caplog)
            async with passed_on(nobody, broker.address):
                await reached.send("ada", b"[1]")
                await asyncio.sleep(0.3)
                assert len(said(caplog)) == 1, "bob's record has not been taken yet"
                await reached.send("bob", b"[2]")
                await asyncio.to_thread(wait_until, lambda: len(said(caplog)) > 1)
                await reached.send("bob", b"[3]")
        finally:
            await reached.close()
            await producer.close()

    with caplog.at_level(logging.INFO):
        asyncio.run(work())
    _, back = said(caplog)
    assert BACK.fullmatch(back), back
    assert read(broker.address, topic, 3) == [b"[1]", b"[2]", b"[3]"]


def test_a_kafka_that_is_there_is_not_worth_a_word(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    topic = f"usage-{secrets.token_hex(8)}"
    broker.make_topic(topic)

    async def work() -> None:
        producer = Producer(broker.address, topic)
        reached = Reaching(producer, broker.address, configured())
        reached.begin()
        await asyncio.to_thread(wait_until, lambda: reached._timer is None)
        await asyncio.sleep(0.5)
        await reached.close()
        await producer.close()

    with caplog.at_level(logging.INFO):
        asyncio.run(work())
    assert said(caplog) == []


def test_an_idle_gateway_says_at_its_start_that_kafka_is_away(
    rig: Rig, nobody: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with rig.gateway(tmp_path, configured(unsettled=7), kafka=Kafka(nobody, "usage")):
        wait_until(lambda: len(said(caplog)) == 1)
    (line,) = said(caplog)
    assert AWAY.fullmatch(line), line


def test_a_kafka_that_stays_away_is_named_again(
    rig: Rig,
    nobody: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reaching, "AGAIN_SECONDS", 0.5)
    with rig.gateway(tmp_path, configured(unsettled=7), kafka=Kafka(nobody, "usage")):
        wait_until(lambda: len(said(caplog)) >= 3)
    assert all(AWAY.fullmatch(each) for each in said(caplog))


def test_a_kafka_that_hangs_is_away_as_well(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It takes connections and says nothing: the gateway begins, and stops at once when told."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with rig.gateway(tmp_path, kafka=Kafka(address, "usage")) as gateway:
            wait_until(lambda: len(said(caplog)) == 1)
            assert gateway.settler.backlog == 0
            begun = time.monotonic()
        assert time.monotonic() - begun < 5


@pytest.fixture
def check(rig: Rig, triton: TritonServer, tmp_path: Path) -> Callable[..., Ended]:
    """Give what checks a gateway's file that fits, with more options."""
    path = tmp_path / "gateway.toml"
    path.write_text(
        f'[[pool]]\nname = "shared"\ngrpc = "{triton.grpc_address}"\n'
        f'http = "{triton.http_address}"\n\n[[model]]\nname = "textgen"\n\n'
        "[model.usage]\nrequests = { constant = 1 }\n"
    )
    known = ("gateway", "--config", str(path), "--check", "--database", rig.database.owner_url)
    return lambda *more: run_here(*known, *more)


@pytest.mark.parametrize("by", ["option", "environment"])
def test_the_check_of_a_file_names_a_kafka_that_is_away(
    check: Callable[..., Ended], nobody: str, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    if by == "environment":
        monkeypatch.setenv("TOLLBOOK_KAFKA", nobody)
    told = check(*(["--kafka", nobody] if by == "option" else []))
    assert (told.code, told.out) == (4, "")
    assert f"Kafka at {nobody} does not answer" in told.err


def test_the_check_of_a_file_misses_a_topic_that_nobody_made(
    check: Callable[..., Ended], kafka: KafkaServer
) -> None:
    topic = f"usage-{secrets.token_hex(8)}"
    command = ("--kafka", kafka.address, "--topic", topic)
    told = check(*command)
    assert told.code == 2
    assert f"topic is '{topic}': must be a topic of this cluster" in told.err
    make_topic(kafka, topic)
    told = check(*command)
    assert (told.code, told.out) == (0, "Every meter fits its model (1 checked).\n"), told.err


def test_asking_for_a_topic_does_not_make_it_where_the_broker_would(tmp_path: Path) -> None:
    with a_kafka(tmp_path, {"auto.create.topics.enable": "true"}) as server:
        for _ in range(2):
            with pytest.raises(Invalid, match="a topic of this cluster"):
                asyncio.run(partitions(server.address, "mistyped"))
            time.sleep(2)  # a broker makes it behind its answer
