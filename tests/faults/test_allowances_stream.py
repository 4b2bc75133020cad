"""Allowances with Kafka in between: what was drawn is told when the ledger has it, not before."""

from pathlib import Path

from adapters.kafka.server import KafkaServer
from adapters.redis.server import RedisServer
from entrypoints.gateway.assembling import Kafka
from tests.faults.invariants import assert_sound
from tests.faults.stream_process import StreamWorker
from tests.gateway.allowances import (
    COST,
    MILLIONTH,
    allowing,
    assert_nothing_held,
    paid,
    parts_of,
    quick,
    released_of,
    slices_of,
    unlimited,
    used,
)
from tests.gateway.rig import rig_on
from tests.support.databases import MASTER_KEY, TestDatabase
from tests.support.kafka import kafka as kafka  # noqa: PLC0414 - a fixture, by its name
from tests.support.kafka import make_topic
from tests.support.redis import redis as redis  # noqa: PLC0414 - a fixture, by its name
from tests.support.triton import wait_until

TOPIC = "allowances-usage"


def test_a_slice_goes_back_when_the_stream_has_settled_what_was_drawn(
    embedded_database: TestDatabase, redis: RedisServer, kafka: KafkaServer, tmp_path: Path
) -> None:
    make_topic(kafka, TOPIC)
    place = Kafka(kafka.address, TOPIC)
    url = embedded_database.parts.owner_url
    worker = StreamWorker(tmp_path, "worker", url, MASTER_KEY, kafka.address, TOPIC)
    with rig_on(embedded_database.parts) as rig:
        who = unlimited(rig)
        with rig.gateway(tmp_path / "a", quick(), kafka=place, redis=redis.url) as gateway:
            seen = used(who, [gateway], 3_000, enough=lambda it: len(it.drawn) > 150)
            assert seen.drawn
            assert gateway.settler.told == 0
            drawn = {str(each.slice) for each in seen.drawn}
            assert drawn.isdisjoint(released_of(who)), "Kafka has it, and the ledger has not"
            assert rig.tollbook.balance(who.customer).held > 0
            with worker:
                wait_until(lambda: len(paid(who)) == len(seen.ids))
                wait_until(lambda: gateway.settler.backlog == 0)
                wait_until(lambda: allowing(gateway).state() == "on")
        assert paid(who) == dict.fromkeys(seen.ids, COST * MILLIONTH)
        assert {each.reservation for each in parts_of(who)} == drawn
        assert slices_of(who).keys() & released_of(who)
        assert_nothing_held(who)
    assert_sound(embedded_database.super_url)
