"""Admission from allowances, with a real ledger and a real Redis."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from adapters.redis.allowances import RedisAllowances
from adapters.redis.server import RedisServer
from domain.fraud import REQUESTS_MAX
from domain.usage_events import UsageParked
from entrypoints.gateway.allowance_slices import Held
from entrypoints.gateway.core import EMERGENCY, REQUEST_ID, Gateway
from entrypoints.gateway.running import Running
from tests.gateway.allowances import (
    COST,
    ESTIMATE,
    MILLIONTH,
    Seen,
    allowing,
    answered,
    asked,
    assert_nothing_held,
    drawn,
    facts,
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
from tests.support.allowances import PATIENCE
from tests.support.redis import redis as redis  # noqa: PLC0414 - a fixture, by its name
from tests.support.triton import wait_until


def test_inferences_are_charged_as_without_allowances_and_what_is_left_goes_back(
    rig: Rig, redis: RedisServer, tmp_path: Path
) -> None:
    who = unlimited(rig)
    with rig.gateway(tmp_path, quick(), redis=redis.url) as gateway:
        seen = used(who, [gateway], 10**6, enough=mostly_drawn)
        assert mostly_drawn(seen)
        wait_until(lambda: allowing(gateway).state() == "on")
        assert not seen.refused
    assert paid(who) == dict.fromkeys(seen.ids, COST * MILLIONTH)
    assert {each.final for each in parts_of(who)} == {False}
    assert {each.reservation for each in parts_of(who)} == {each.slice for each in seen.drawn}
    assert released_of(who) & set(slices_of(who))
    assert_nothing_held(who)
    assert list(tmp_path.iterdir()) == []


def test_who_asks_now_and_then_has_nothing_set_aside(
    rig: Rig, redis: RedisServer, tmp_path: Path
) -> None:
    who = unlimited(rig)
    with rig.gateway(tmp_path, quick(), redis=redis.url) as gateway:
        for _ in range(3):
            rig.call(answered(gateway, rig.call(gateway.admit(asked(who)))))
    assert slices_of(who) == {}
    assert len(who.charges()) == 3


def known(gateway: Gateway) -> list[Held]:
    """Return the slices that a gateway knows now."""
    return list(allowing(gateway).holding.open.values())


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for Redis however busy the machine is: who misses it sets aside a slice of its own."""
    defaults: Any = RedisAllowances.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "timeout_seconds", PATIENCE)


@pytest.mark.usefixtures("patient")
def test_two_gateways_draw_from_the_same_slice(
    rig: Rig, redis: RedisServer, tmp_path: Path
) -> None:
    who = unlimited(rig)
    one, other = (quick(f"gateway-{each}") for each in "ab")
    with (
        rig.gateway(tmp_path / "a", one, redis=redis.url) as first,
        rig.gateway(tmp_path / "b", other, redis=redis.url) as second,
    ):
        drew = [Counter[str]() for _ in range(2)]

        def both_drew(seen: Seen) -> bool:
            """Say whether one slice has paid at both: Redis may be missed at one for a while."""
            for found, gateway in zip(drew, (first, second), strict=True):
                found.update({each.reservation: each.drawn for each in known(gateway)})
            return len(seen.ids) >= 600 and any((drew[0] & drew[1]).values())

        seen = used(who, [first, second], 100_000, enough=both_drew)
        wait_until(lambda: allowing(second).holding.open.keys() <= set(slices_of(who)))
        assert allowing(first).holding.ends["opened"] > 0
    sources: dict[str, set[str | None]] = {}
    for each in parts_of(who):
        sources.setdefault(each.reservation, set()).add(each.source)
    assert any(len(each) == 2 for each in sources.values())
    assert paid(who) == dict.fromkeys(seen.ids, COST * MILLIONTH)
    assert_nothing_held(who)


@pytest.mark.usefixtures("patient")
def test_a_gateway_that_starts_draws_from_what_others_have_set_aside_before(
    rig: Rig, redis: RedisServer, tmp_path: Path
) -> None:
    who = unlimited(rig)
    # So long that what the first sets aside is there however long the second takes to start.
    one, other = (quick(f"gateway-{each}", allowances={"seconds": 60}) for each in "ab")
    with rig.gateway(tmp_path / "a", one, redis=redis.url) as first:

        def leaves_much(_seen: Seen) -> bool:
            """Say whether the newest slice is one that the second will not find used up."""
            newest = max(known(first), key=lambda it: it.terms.position, default=None)
            return newest is not None and 2 * newest.left > newest.places > 80

        used(who, [first], 10**6, enough=lambda it: len(it.ids) >= 500 and leaves_much(it))
        with rig.gateway(tmp_path / "b", other, redis=redis.url) as second:
            seen = used(
                who, [second], 500, at_once=1, pause=0.02, enough=lambda it: len(it.drawn) > 5
            )
            assert seen.drawn[0].slice in allowing(first).holding.open
            assert allowing(second).draws["fenced"] == 0
            assert allowing(second).holding.ends["opened"] == 0


def test_an_inference_that_needs_more_than_a_place_holds_is_decided_by_the_ledger(
    rig: Rig, redis: RedisServer, tmp_path: Path
) -> None:
    who = unlimited(rig)
    with rig.gateway(tmp_path, quick(), redis=redis.url) as gateway:
        used(who, [gateway], 200)
        small, large = rig.call(one_of_each(gateway, who))
        assert large.admitted.slice is None
        for each in (large, small):
            rig.call(answered(gateway, each))
        assert allowing(gateway).draws["unfit"] >= 1
    envelopes = [each.estimate["input_tokens"] for each in slices_of(who).values()]
    assert envelopes[0] < 5_000


async def one_of_each(gateway: Gateway, who: Licensee) -> tuple[Running, Running]:
    """Draw for a small inference, and ask for a large one while there is something to draw from."""
    small = await drawn(gateway, asked(who))
    return small, await gateway.admit(asked(who, "a" * 5_000))


def test_an_answer_from_an_allowance_says_what_any_answer_says(
    rig: Rig, redis: RedisServer, tmp_path: Path
) -> None:
    limits = [{"id": "day", "unit": "requests", "limit": 10_000, "per": "day"}]
    who = rig.licensee(overrides={"limits": limits})
    with rig.gateway(tmp_path, quick(), redis=redis.url) as gateway:
        used(who, [gateway], 200)
        running = rig.call(drawn(gateway, asked(who)))
        headers = rig.now(lambda: gateway.first_headers(running))
        rig.call(answered(gateway, running))
    assert headers[REQUEST_ID] == running.id
    assert EMERGENCY not in headers
    assert '"limit":"day"' in headers["tollbook-remaining"]


ALLOWED = 300


def limited(rig: Rig, per: str) -> Licensee:
    """Make a customer whose licence has a limit, or who has a cap."""
    most = {"id": "most", "unit": "requests", "limit": ALLOWED}
    if per != "cap":
        return rig.licensee(overrides={"limits": [{**most, "per": per}]})
    who = unlimited(rig)
    caps = [{**most, "calendar": "month"}]
    body = {"id": f"caps-{who.customer}", "customer": who.customer, "caps": caps}
    rig.tollbook.run("set_caps", body).result()
    return who


@pytest.mark.parametrize(
    ("per", "code"),
    [
        ("day", "license_limit_reached"),
        ("total", "license_limit_reached"),
        ("cap", "usage_capped"),
    ],
)
def test_as_many_are_admitted_at_two_gateways_as_a_limit_says_and_not_one_more(
    rig: Rig, redis: RedisServer, tmp_path: Path, per: str, code: str
) -> None:
    allowed, who = ALLOWED, limited(rig, per)
    one, other = (quick(f"gateway-{each}") for each in "ab")
    with (
        rig.gateway(tmp_path / "a", one, redis=redis.url) as first,
        rig.gateway(tmp_path / "b", other, redis=redis.url) as second,
    ):
        # Slowly enough that Redis may be missed once, and what it did not take may expire first.
        seen = used(who, [first, second], allowed, at_once=4, pause=0.05, seconds=150)
        assert seen.drawn
        # What is left of slices goes back to the limit, and nothing comes on top of it.
        more = used(who, [first, second], 1, at_once=1, enough=lambda it: it.refused.total() >= 9)
        assert more.ids == []
        assert set(more.refused) == {code}
    assert len(seen.ids) == allowed
    assert len(paid(who)) == allowed


def test_no_limit_a_second_is_passed_and_none_has_slices(
    rig: Rig, redis: RedisServer, tmp_path: Path
) -> None:
    limits = [{"id": "rate", "unit": "requests", "limit": 100, "per": "second"}]
    who = rig.licensee(overrides={"limits": limits})
    with rig.gateway(tmp_path, quick(), redis=redis.url) as gateway:
        used(who, [gateway], 150)
    assert slices_of(who) == {}


def test_money_that_is_nearly_used_up_is_never_passed_and_is_used_to_the_end(
    rig: Rig, redis: RedisServer, tmp_path: Path
) -> None:
    affordable = 1_500  # more than one slice takes, which Redis may forget
    who = unlimited(rig, f"0.{affordable * COST:06d}")
    with rig.gateway(tmp_path, quick(), redis=redis.url) as gateway:
        parts = [used(who, [gateway], affordable, enough=lambda it: it.refused.total() > 200)]

        def is_used_up() -> bool:
            """Ask for what came back: what Redis did not take is held until it expires."""
            if rig.tollbook.balance(who.customer).held:
                return False
            parts.append(used(who, [gateway], affordable, enough=lambda it: it.refused.total() > 8))
            return not parts[-1].ids

        wait_until(is_used_up)
        assert any(each.drawn for each in parts)
    ids = [id for each in parts for id in each.ids]
    assert_nothing_held(who)
    balance = rig.tollbook.balance(who.customer)
    assert balance.receivable == 0
    assert 0 <= balance.available < ESTIMATE * MILLIONTH
    assert paid(who) == dict.fromkeys(ids, COST * MILLIONTH)


def test_a_slice_of_which_something_is_parked_stays_until_somebody_has_looked(
    rig: Rig, redis: RedisServer, tmp_path: Path
) -> None:
    who = unlimited(rig)
    with rig.gateway(tmp_path, quick(), redis=redis.url) as gateway:
        used(who, [gateway], 200)
        running = rig.call(drawn(gateway, asked(who)))
        name = running.admitted.slice
        rig.now(lambda: gateway.begin(running))
        rig.now(lambda: gateway.lost(running, "the connection broke"))
        wait_until(lambda: "usage_parked" in who.names())
    assert name not in released_of(who)
    (parked,) = [each for each in facts(who) if isinstance(each, UsageParked)]
    body = {"id": f"look-{who.customer}", "parked": parked.parked}
    rig.tollbook.run("release_usage", body).result()
    assert parts_of(who)[-1].reservation == name


def test_what_never_ran_is_charged_to_nobody_and_its_place_goes_back(
    rig: Rig, redis: RedisServer, tmp_path: Path
) -> None:
    who = unlimited(rig)
    with rig.gateway(tmp_path, quick(), redis=redis.url) as gateway:
        used(who, [gateway], 200)
        held_up, failed = (rig.call(drawn(gateway, asked(who))) for _ in range(2))
        rig.now(lambda: gateway.give_up(held_up, "its server never saw it"))
        rig.now(lambda: gateway.begin(failed))
        rig.now(lambda: gateway.failed(failed, "boom"))
        assert gateway.ended["released"] == 2
    assert not paid(who).keys() & {held_up.id, failed.id}
    assert_nothing_held(who)


def test_the_fraud_rule_sees_each_inference_of_a_slice(
    rig: Rig, redis: RedisServer, tmp_path: Path
) -> None:
    who = unlimited(rig)
    with rig.gateway(tmp_path, quick(), redis=redis.url) as gateway:
        seen = used(who, [gateway], 100)
    activity = rig.tollbook.balance_state(who.customer).activity
    assert activity.in_minutes == len(seen.ids) <= REQUESTS_MAX
