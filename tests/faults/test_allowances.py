"""A Redis that forgets, dies, goes back in time or says nothing, under load from two gateways.

Whatever it does, each inference is charged exactly once, no floor is passed, and what was set aside
goes back by its expiry at the latest.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from adapters.redis.server import Keeps, RedisServer
from entrypoints.gateway.core import Gateway
from tests.faults.invariants import assert_sound
from tests.faults.rounds import rounds
from tests.gateway.allowances import (
    COST,
    MILLIONTH,
    Seen,
    allowing,
    asked,
    assert_nothing_held,
    paid,
    quick,
    unlimited,
    use,
)
from tests.gateway.rig import Licensee, Rig, rig_on
from tests.support.databases import TestDatabase
from tests.support.redis import a_redis, client_of
from tests.support.sizes import all_or, in_full_or
from tests.support.triton import wait_until

ROUNDS = in_full_or(3, 6)
PAUSE = in_full_or(20, 1) / 1000
"""How long each client waits before it asks again."""
PAUSE_SECONDS = 5
RICH, POOR = "100", "0.005"
"""The one has enough for everything; the other's money ends meanwhile."""


def flush(redis: RedisServer, _chance: Random) -> None:
    """Have it forget everything."""
    with client_of(redis) as client:
        client.flushall()


def crash(redis: RedisServer, _chance: Random) -> None:
    """Kill it, and start it with what it kept: nothing, or an old snapshot."""
    redis.kill()
    redis.start()


def go_back(redis: RedisServer, chance: Random) -> None:
    """Take a snapshot, go on, and come back with it."""
    with client_of(redis) as client:
        client.save()
    time.sleep(chance.uniform(0.05, 0.5))
    crash(redis, chance)


def stall(redis: RedisServer, _chance: Random) -> None:
    """Have it say nothing for a while."""
    os.kill(redis.pid, signal.SIGSTOP)
    time.sleep(PAUSE_SECONDS)
    os.kill(redis.pid, signal.SIGCONT)


FAULTS: dict[str, Callable[[RedisServer, Random], None]] = {
    "forgets": flush,
    "dies": crash,
    "goes back": go_back,
    "stalls": stall,
}


class Load:
    """Two gateways that are asked all the time, for a rich customer and for a poor one."""

    def __init__(self, rig: Rig, gateways: list[Gateway], who: list[Licensee]) -> None:
        """Begin to ask."""
        self.gateways = gateways
        self.seen = {each.customer: Seen() for each in who}
        self._is_over = False
        self._works = [
            asyncio.run_coroutine_threadsafe(
                use(gateways, asked(each), self.seen[each.customer], self._ended, 3, PAUSE),
                rig.loop,
            )
            for each in who
        ]

    def _ended(self) -> bool:
        return self._is_over

    @property
    def drawn(self) -> int:
        """How many inferences were admitted from allowances."""
        return sum(len(each.drawn) for each in self.seen.values())

    def more_drawn(self, seconds: float = 60) -> None:
        """Wait until more are, or for a while: after some faults nothing is set aside at once."""
        wanted, end = self.drawn + 100, time.monotonic() + seconds
        while self.drawn < wanted and time.monotonic() < end:
            time.sleep(0.02)

    def stop(self) -> None:
        """Ask no more."""
        self._is_over = True
        for each in self._works:
            each.result(60)


@contextmanager
def loaded(rig: Rig, redis: RedisServer, home: Path, who: list[Licensee]) -> Iterator[Load]:
    """Run two gateways under load; they stop in order after the block."""
    one, other = (quick(f"gateway-{each}", allowances={"seconds": 5}) for each in "ab")
    with (
        rig.gateway(home / "a", one, redis=redis.url) as first,
        rig.gateway(home / "b", other, redis=redis.url) as second,
    ):
        load = Load(rig, [first, second], who)
        try:
            load.more_drawn()
            yield load
        finally:
            load.stop()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", all_or(2, FAULTS))
def test_each_inference_is_charged_once_whatever_redis_does(
    embedded_database: TestDatabase, tmp_path: Path, fault: str, seed: int
) -> None:
    chance = Random(f"{seed}-{fault}")
    keeps: Keeps = "snapshots" if fault == "goes back" else "nothing"
    with a_redis(tmp_path / "redis", keeps=keeps) as redis, rig_on(embedded_database.parts) as rig:
        rich, poor = unlimited(rig, RICH), unlimited(rig, POOR)
        with loaded(rig, redis, tmp_path, [rich, poor]) as load:
            assert load.drawn
            for _ in rounds(1 if fault == "stalls" else ROUNDS):
                FAULTS[fault](redis, chance)
                time.sleep(chance.uniform(0.1, 1.0))
            load.more_drawn(20)
            spent = load.seen[poor.customer].refused
            wait_until(lambda: spent["insufficient_balance"] > 0)
            told = [dict(allowing(each).draws) for each in load.gateways]
        for each in (rich, poor):
            seen = load.seen[each.customer]
            assert paid(each) == dict.fromkeys(seen.ids, COST * MILLIONTH), told
            assert_nothing_held(each)
            balance = rig.tollbook.balance(each.customer)
            assert balance.receivable == 0
            assert balance.spent == COST * MILLIONTH * len(seen.ids)
            assert balance.available >= 0
        assert spent["insufficient_balance"]
    assert_sound(embedded_database.super_url)
