"""Inferences that end late, lost or parked on an allowance: nothing runs on what is given back."""

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tollbook.errors import Unavailable
from tollbook.times import parse_instant

from adapters.redis.errors import RedisUnavailable
from adapters.redis.server import RedisServer
from domain.usage_events import UsageParked
from domain.values import SECOND
from entrypoints.gateway import allowance_closing
from entrypoints.gateway.allowance_closing import Closer
from entrypoints.gateway.allowance_link import Link
from entrypoints.gateway.allowance_slices import Held, Holding
from entrypoints.gateway.core import Gateway
from entrypoints.gateway.running import Running
from tests.gateway.allowances import (
    ANSWER,
    answered,
    asked,
    assert_nothing_held,
    drawn,
    facts,
    parts_of,
    quick,
    released_of,
    unlimited,
    used,
)
from tests.gateway.rig import Rig
from tests.support.redis import redis as redis  # noqa: PLC0414 - a fixture, by its name
from tests.support.triton import wait_until


def late(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have it be so much later, for every inference under way."""
    now = Running.now
    monkeypatch.setattr(Running, "now", lambda self: now(self) + int(seconds * SECOND))


def test_who_waits_too_long_for_its_turn_is_not_begun_on_what_may_be_gone_before_it_ends(
    rig: Rig, redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = unlimited(rig)
    with rig.gateway(tmp_path, quick(), redis=redis.url) as gateway:
        used(who, [gateway], 200)
        in_time, too_late = (rig.call(drawn(gateway, asked(who))) for _ in range(2))
        rig.call(answered(gateway, in_time))
        ends, hold_seconds = too_late.expires_at, gateway.config.hold_seconds
        with monkeypatch.context() as patch:
            left = (ends - too_late.now()) / SECOND - too_late.admitted.meter.seconds
            # It would end in time, were it taken and told at once.
            late(patch, left - hold_seconds / 2)
            with pytest.raises(Unavailable, match="too long for its turn"):
                rig.call(begun(gateway, too_late))
        assert gateway.running == {}
        assert gateway.ended["released"] == 1
    assert in_time.admitted.slice in {each.reservation for each in parts_of(who)}
    assert too_late.id not in {each.command for each in who.events()}
    assert_nothing_held(who)


async def begun(gateway: Gateway, running: Running) -> None:
    """Have an inference go to its server."""
    gateway.begin(running)


def test_a_slice_of_which_the_ledger_parked_something_stays_until_somebody_has_looked(
    rig: Rig, redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = unlimited(rig)
    with rig.gateway(tmp_path, quick(), redis=redis.url) as gateway:
        used(who, [gateway], 200)
        running = rig.call(drawn(gateway, asked(who)))
        rig.call(begun(gateway, running))
        with monkeypatch.context() as patch:
            late(patch, 10)  # by a clock that is ahead of the ledger's
            rig.call(finished(gateway, running))
        wait_until(lambda: "usage_parked" in who.names())
    (parked,) = [each for each in facts(who) if isinstance(each, UsageParked)]
    assert parked.code == "occurred_at_out_of_range"
    assert running.admitted.slice not in released_of(who)
    ahead = parse_instant(str(parked.body["occurred_at"]))
    wait_until(lambda: time.time_ns() // 1000 > ahead - 4 * SECOND)
    body = {"id": f"look-{who.customer}", "parked": parked.parked}
    rig.tollbook.run("release_usage", body).result()
    assert parts_of(who)[-1].reservation == running.admitted.slice


class Losing:
    """What hands out places, where the answer to a tally that was noted is lost."""

    def __init__(self) -> None:
        """Note no tally yet."""
        self.noted: list[str] = []

    async def tally(self, reservation: str) -> bool:
        """Note it, and say nothing."""
        self.noted.append(reservation)
        raise RedisUnavailable("the answer was lost")


def test_who_does_not_know_whether_its_tally_counts_uses_no_place_that_is_left() -> None:
    waiting: Any = {"is_parked": False, "told": set(), "ended": set(), "under_way": set()}
    stages = ("mine", "is_over", "is_closed", "is_tallied", "is_abandoned", "is_resting")
    terms = SimpleNamespace(held=SimpleNamespace(expires_at=10**18))
    held: Any = SimpleNamespace(**waiting, **dict.fromkeys(stages, False), terms=terms)
    held.reservation, held.drawn_ns, held.until, held.stock = "a", 0, 10**18, 7
    held.is_left, held.is_idle = bool, lambda _: True
    redis, holding = Losing(), Holding()
    holding.open["a"] = held
    admission: Any = SimpleNamespace(submitter=None, readers=None, actor="gateway")
    following: Any = SimpleNamespace(heard_at=1, latest=lambda: 5, is_heard=lambda: True)
    log: Any = SimpleNamespace(is_open=lambda _: False)
    allowances: Any = redis
    closer = Closer(quick(), admission, following, Link(allowances), holding, log, alone=False)
    with pytest.raises(RedisUnavailable):
        asyncio.run(closer.tend())
    assert redis.noted == ["a"]
    assert Held.is_stocked(held) is False


def test_however_many_hurry_the_closer_looks_at_a_bounded_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0

    def latest() -> int:
        nonlocal looks
        looks += 1
        return 5

    nothing: Any = SimpleNamespace(submitter=None, readers=None, actor="gateway")
    following: Any = SimpleNamespace(heard_at=1, latest=latest, is_heard=lambda: True)
    closer = Closer(quick(), nothing, following, nothing, Holding(), nothing, alone=False)

    async def hurried() -> None:
        task = asyncio.create_task(closer.run())
        for _ in range(1_000):
            closer.hurry()
            await asyncio.sleep(0)
        task.cancel()

    monkeypatch.setattr(allowance_closing, "PAUSE_SECONDS", 3_600.0)
    asyncio.run(hurried())
    assert looks == 1


async def finished(gateway: Gateway, running: Running) -> None:
    """Have an inference answered that went to its server."""
    running.message(ANSWER, {})
    gateway.finish(running)
