"""What hands out places is left alone after it failed, and asked again a while later."""

import asyncio
import itertools

import pytest

from adapters.memory_allowances import LocalAllowances, LocalPlaces
from adapters.redis.errors import RedisUnavailable
from application.allowing import Allowances
from entrypoints.gateway import allowance_link
from entrypoints.gateway.allowance_link import PAUSE_MOST_SECONDS, PAUSE_SECONDS, Link


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


async def answer(_allowances: Allowances) -> str:
    return "yes"


async def fail(_allowances: Allowances) -> str:
    raise RedisUnavailable("down")


def test_it_is_left_alone_for_longer_each_time_until_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(allowance_link, "time", clock)
    link = Link(LocalAllowances(LocalPlaces(), "gateway"))
    pauses = []
    for _ in range(7):
        with pytest.raises(RedisUnavailable, match="down"):
            asyncio.run(link.ask(fail))
        assert link.is_away
        before = clock.now
        while link.is_paused():
            with pytest.raises(RedisUnavailable, match="just now"):
                asyncio.run(link.ask(answer))
            clock.now += PAUSE_SECONDS
        pauses.append(clock.now - before)
    doubled = [PAUSE_SECONDS * 2**each for each in range(5)]
    assert pauses == [*doubled, PAUSE_MOST_SECONDS, PAUSE_MOST_SECONDS]
    assert asyncio.run(link.ask(answer)) == "yes"
    assert not link.is_away
    with pytest.raises(RedisUnavailable, match="down"):
        asyncio.run(link.ask(fail))
    clock.now += PAUSE_SECONDS
    assert not link.is_paused()


def test_those_who_fail_together_are_one_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(allowance_link, "time", clock)
    link = Link(LocalAllowances(LocalPlaces(), "gateway"))

    async def together() -> None:
        asked = itertools.count()

        async def slow(_allowances: Allowances) -> str:
            next(asked)
            await asyncio.sleep(0)
            raise RedisUnavailable("down")

        found = await asyncio.gather(*(link.ask(slow) for _ in range(9)), return_exceptions=True)
        assert next(asked) == 9
        assert all(isinstance(each, RedisUnavailable) for each in found)

    asyncio.run(together())
    clock.now += PAUSE_SECONDS
    assert not link.is_paused()
