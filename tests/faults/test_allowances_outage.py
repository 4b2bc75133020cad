"""Allowances and emergency slices together: what the ledger said last is counted from when."""

from pathlib import Path
from typing import Any

from adapters.redis.server import RedisServer
from entrypoints.gateway.core import EMERGENCY
from tests.gateway.allowances import (
    allowing,
    answered,
    asked,
    assert_nothing_held,
    drawn,
    paid,
    parts_of,
    released_of,
    slices_of,
    unlimited,
    used,
)
from tests.gateway.outages import ESTIMATE, config, staged
from tests.gateway.rig import TEXT, Rig, rig_on
from tests.support.databases import TestDatabase
from tests.support.redis import redis as redis  # noqa: PLC0414 - a fixture, by its name
from tests.support.triton import wait_until

SHORT: dict[str, Any] = {
    "model": [{"name": "textgen", **TEXT, "seconds": 2}],
    "allowances": {"seconds": 10},
}
"""So that what Redis did not answer for in time, and stays held until it expires, does so soon; an
emergency slice of 30 s has expired after 52."""


def test_an_admission_from_an_allowance_is_a_yes_of_when_the_ledger_was_heard(
    embedded_database: TestDatabase, redis: RedisServer, tmp_path: Path
) -> None:
    with rig_on(embedded_database.parts) as rig:
        who = unlimited(rig)
        with rig.gateway(tmp_path, config(1_000 * ESTIMATE), redis=redis.url) as gateway:
            used(who, [gateway], 200)
            rig.call(answered(gateway, rig.call(drawn(gateway, asked(who)))))
            (standing,) = gateway.emergency.slices.standings.values()
            (heard,) = standing.heard.values()
            assert heard.admitted.slice is not None
            assert heard.at <= allowing(gateway).following.heard_at


def test_when_the_ledger_goes_away_emergency_slices_take_over_and_all_is_charged_once(
    embedded_database: TestDatabase, redis: RedisServer, tmp_path: Path
) -> None:
    with rig_on(embedded_database.parts) as rig:
        gone_on(rig, redis.url, tmp_path)


def gone_on(rig: Rig, redis: str, home: Path) -> None:
    """Cut a gateway off under load, and see that it goes on as far as it may."""
    who = unlimited(rig)
    with staged(rig, home, config(1_000 * ESTIMATE, 30, **SHORT), redis) as stage:
        before = used(who, [stage.gateway], 10**6, enough=lambda it: len(it.drawn) > 50)
        assert before.drawn
        wait_until(lambda: bool(stage.slices()))
        name = stage.slices()[0].allowance.reservation
        stage.cut_off()
        away = used(
            who,
            [stage.gateway],
            10_000,
            at_once=2,
            enough=lambda it: sum(each.is_emergency for each in it.admitted) >= 20,
        )
        last = stage.begin(who)
        assert last.admitted.slice == name
        assert rig.now(lambda: stage.gateway.first_headers(last))[EMERGENCY] == name
        stage.finish(last)
        stage.reconnect()
        wait_until(lambda: allowing(stage.gateway).state() == "on")
        after = used(who, [stage.gateway], 10**6, enough=lambda it: len(it.drawn) > 20)
        assert after.drawn
        ids = [*before.ids, *away.ids, last.id, *after.ids]
        wait_until(lambda: len(paid(who)) == len(ids))
    assert paid(who).keys() == set(ids)
    assert slices_of(who).keys() & {each.reservation for each in parts_of(who)}
    assert name in released_of(who)
    assert_nothing_held(who)
