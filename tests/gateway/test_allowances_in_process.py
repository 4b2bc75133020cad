"""Admission from allowances without a Redis: each gateway hands out places of its own slices."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from entrypoints.gateway import allowance_closing
from entrypoints.gateway.allowance_monitoring import allowance_state
from entrypoints.gateway.core import Gateway
from tests.gateway.allowances import (
    COST,
    MILLIONTH,
    allowing,
    answered,
    asked,
    assert_nothing_held,
    drawn,
    held_at,
    mostly_drawn,
    paid,
    parts_of,
    quick,
    released_of,
    slices_of,
    unlimited,
    used,
)
from tests.gateway.rig import Licensee, Rig
from tests.support.triton import wait_until


def test_inferences_are_charged_as_without_allowances_and_what_is_left_goes_back(
    rig: Rig, tmp_path: Path
) -> None:
    who = unlimited(rig)
    with rig.gateway(tmp_path, quick()) as gateway:
        seen = used(who, [gateway], 10**6, enough=mostly_drawn)
        assert mostly_drawn(seen)
        wait_until(lambda: allowing(gateway).state() == "on")
        assert not seen.refused
    assert paid(who) == dict.fromkeys(seen.ids, COST * MILLIONTH)
    assert {each.final for each in parts_of(who)} == {False}
    assert {each.reservation for each in parts_of(who)} == {each.slice for each in seen.drawn}
    held, charged = held_at(who), {each.command: each.position for each in who.events()}
    assert all(held[str(each.slice)] < charged[each.id] for each in seen.drawn)
    assert set(slices_of(who)) <= released_of(who)
    assert_nothing_held(who)
    assert list(tmp_path.iterdir()) == []


def test_two_gateways_draw_each_from_what_it_set_aside_itself(rig: Rig, tmp_path: Path) -> None:
    who = unlimited(rig)
    one, other = (quick(f"gateway-{each}") for each in "ab")
    with rig.gateway(tmp_path / "a", one) as first, rig.gateway(tmp_path / "b", other) as second:
        gateways = [first, second]
        seen = used(
            who,
            gateways,
            100_000,
            enough=lambda _: all(allowing(each).draws["drawn"] > 200 for each in gateways),
        )
        assert all(allowing(each).holding.ends["opened"] > 0 for each in gateways)
    sources: dict[str, set[str | None]] = {}
    for each in parts_of(who):
        sources.setdefault(each.reservation, set()).add(each.source)
    assert {len(each) for each in sources.values()} == {1}
    assert set.union(*sources.values()) == {"gateway/gateway-a", "gateway/gateway-b"}
    assert paid(who) == dict.fromkeys(seen.ids, COST * MILLIONTH)
    assert_nothing_held(who)


def test_a_slice_that_nobody_draws_from_any_more_goes_back_long_before_its_end(
    rig: Rig, tmp_path: Path
) -> None:
    who = unlimited(rig)
    with rig.gateway(tmp_path, quick(allowances={"seconds": 300, "in_process": True})) as gateway:
        rig.call(answered(gateway, rig.call(drawn(gateway, asked(who)))))
        assert set(slices_of(who)) - released_of(who)
        wait_until(lambda: set(slices_of(who)) <= released_of(who))
        wait_until(lambda: allowing(gateway).holding.open == {})
        assert (
            allowing(gateway).holding.ends["released"] == allowing(gateway).holding.ends["opened"]
        )
    assert_nothing_held(who)


def test_what_many_customers_have_left_goes_back_side_by_side_when_the_gateway_stops(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whos = [unlimited(rig) for _ in range(30)]

    async def slowly(*_: Any) -> bool:
        await asyncio.sleep(allowance_closing.CLOSE_SECONDS / 15)
        return False

    async def one(gateway: Gateway, who: Licensee) -> None:
        await answered(gateway, await drawn(gateway, asked(who)))

    monkeypatch.setattr(allowance_closing, "any_parked", slowly)
    with rig.gateway(tmp_path, quick()) as gateway:
        for who in whos:
            rig.call(one(gateway, who))
        assert all(slices_of(who) for who in whos)
        ends = allowing(gateway).holding.ends
    assert [who.customer for who in whos if set(slices_of(who)) - released_of(who)] == []
    assert ends["released"] == ends["opened"]


def test_nothing_is_set_aside_where_nobody_asked_for_it(rig: Rig, tmp_path: Path) -> None:
    who = unlimited(rig)
    with rig.gateway(tmp_path, quick(allowances={"seconds": 10})) as gateway:
        used(who, [gateway], 200)
        assert allowance_state(gateway) == "off"
    assert slices_of(who) == {}
    assert len(who.charges()) >= 200
