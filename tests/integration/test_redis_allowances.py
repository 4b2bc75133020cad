"""Allowances in a real Redis: what is kept there, what is shared, and what its failures do."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import uvloop

from adapters.redis.allowances import RedisAllowances
from adapters.redis.errors import RedisUnavailable
from adapters.redis.server import RedisServer
from application.allowing import Allowances, Drawn, NoDraw
from tests.support.allowances import END, PATIENCE, a_slice, on_redis, told
from tests.support.redis import a_redis, client_of

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "decisions" / "allowances.md"
RIGHTS = (
    DOCUMENT.read_text("utf-8").split("ACL SETUSER NAME on >PASSWORD")[1].split("```")[0].split()
)
"""What the document gives a user of Redis."""
SHORT = 1.0
"""Seconds that a gateway waits for a Redis that does not answer."""


def be_busy(seconds: float) -> None:
    """Let the running loop do nothing else."""
    time.sleep(seconds)


@contextmanager
def paused(server: RedisServer) -> Iterator[None]:
    """Let a server do nothing, without a word."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def test_a_password_stands_in_the_address(tmp_path: Path) -> None:
    async def story(one: Allowances) -> Drawn | NoDraw:
        await one.publish("key", a_slice(), 0)
        return await one.draw("key", 1, 1)

    with a_redis(tmp_path / "redis", password="s3cret") as server:
        assert told(on_redis(server.url), story, "one") == Drawn("slice-1", 1, 9)


def test_a_user_with_few_rights_is_enough(redis: RedisServer) -> None:
    async def story(one: Allowances) -> Drawn | NoDraw:
        for name in ("old", "new"):
            await one.publish("key", a_slice(name), 0)
        answer = await one.draw("key", 1, 1)
        for name in ("old", "new", "unknown"):
            await one.close_slice(name)
            assert await one.tally(name) == await one.is_tallied(name) == (name != "unknown")
            assert await one.terms(name) == (None if name == "unknown" else "{}")
            await one.forget(name)
        return answer

    with client_of(redis) as client:
        client.execute_command("ACL", "SETUSER", "gateway", "on", ">s3cret", *RIGHTS)
        try:
            url = redis.url.replace("redis://", "redis://gateway:s3cret@")
            assert told(on_redis(url), story, "one") == Drawn("new", 1, 9)
        finally:
            client.execute_command("ACL", "DELUSER", "gateway")


def test_all_that_is_kept_goes_by_itself_and_lies_below_the_ledger(redis: RedisServer) -> None:
    async def story(one: Allowances) -> None:
        for name in ("old", "new"):
            await one.publish("key", a_slice(name), 0)
            await one.draw("key", 1, 1)
        await one.close_slice("unknown")
        await one.tally("old")

    told(on_redis(redis.url, "one-ledger"), story, "one")
    with client_of(redis) as client:
        kept = {key: client.pttl(key) for key in client.scan_iter()}
    hour, whole = 3_600_000, 3_600_000 + END // 1000
    assert len(kept) == 6
    assert all(key.startswith("tollbook:{one-ledger}:") for key in kept)
    assert all(hour - 600_000 < ttl <= whole for ttl in kept.values())


def test_ledgers_that_share_a_redis_do_not_meet(redis: RedisServer) -> None:
    async def publishes(one: Allowances) -> None:
        await one.publish("key", a_slice(), 0)

    async def draws(one: Allowances) -> tuple[Drawn | NoDraw, str | None]:
        return await one.draw("key", 1, 1), await one.terms("slice-1")

    told(on_redis(redis.url, "one"), publishes, "gateway")
    assert told(on_redis(redis.url, "two"), draws, "gateway") == (NoDraw("none"), None)


def test_draws_that_come_at_once_share_round_trips(redis: RedisServer) -> None:
    async def story(one: Allowances) -> None:
        for name in ("a", "b"):
            await one.publish(name, a_slice(f"slice-{name}", 100), 0)
        await one.draw("a", 1, 1)
        with client_of(redis) as client:
            client.config_resetstat()
        await asyncio.gather(*(one.draw("ab"[n % 2], 1, 1) for n in range(64)))

    told(on_redis(redis.url), story, "one")
    with client_of(redis) as client:
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 1


def test_scripts_that_redis_forgot_are_told_again(redis: RedisServer) -> None:
    async def story(one: Allowances) -> list[Drawn | NoDraw]:
        await one.publish("key", a_slice(), 0)
        answers = []
        for _ in range(3):
            with client_of(redis) as client:
                client.script_flush()
            answers.append(await one.draw("key", 1, 1))
        return answers

    expected = [Drawn("slice-1", 1, left) for left in (9, 8, 7)]
    assert told(on_redis(redis.url), story, "one") == expected


def test_a_slice_that_somebody_broke_does_not_take_others_with_it(redis: RedisServer) -> None:
    async def story(one: Allowances) -> None:
        for name in ("a", "b"):
            await one.publish(name, a_slice(f"slice-{name}"), 0)
        with client_of(redis) as client:
            client.set("tollbook:{ledger}:slice:slice-a", "text")
        broken, whole = await asyncio.gather(
            one.draw("a", 1, 1), one.draw("b", 1, 1), return_exceptions=True
        )
        assert isinstance(broken, RedisUnavailable)
        assert whole == Drawn("slice-b", 1, 9)

    told(on_redis(redis.url), story, "one")


def test_who_does_not_wait_for_an_answer_wastes_places_and_nobody_gets_them_twice(
    redis: RedisServer,
) -> None:
    async def story(one: Allowances) -> list[Drawn | NoDraw]:
        await one.publish("key", a_slice(inferences=10), 0)
        with paused(redis):
            gone = asyncio.create_task(one.draw("key", 4, 1))
            await asyncio.sleep(0.05)
            waits = asyncio.create_task(one.draw("key", 4, 1))
            gone.cancel()
            await asyncio.wait([gone])
        return [await waits, await one.draw("key", 4, 1)]

    assert told(on_redis(redis.url), story, "one") == [
        Drawn("slice-1", 4, 2),
        Drawn("slice-1", 2, 0),
    ]


def test_who_waits_behind_a_draw_that_is_not_answered_is_told_with_it(redis: RedisServer) -> None:
    async def story() -> None:
        one = RedisAllowances(redis.url, "ledger", "one", timeout_seconds=SHORT)
        await one.publish("key", a_slice(inferences=1000), 0)
        await one.draw("key", 1, 1)
        with paused(redis):
            first = asyncio.create_task(one.draw("key", 1, 1))
            await asyncio.sleep(SHORT / 4)
            others = [asyncio.create_task(one.draw("key", 1, 1)) for _ in range(50)]
            # Those who came later have not waited for as long as they would by themselves.
            answers = await asyncio.gather(first, *others, return_exceptions=True)
        assert all(isinstance(each, RedisUnavailable) for each in answers)
        answer: Drawn | NoDraw | None = None
        tries = 0
        while answer is None:
            tries += 1
            with suppress(RedisUnavailable):
                answer = await one.draw("key", 1, 1)
        # The first and all tries since may have been counted; those who waited never went.
        assert isinstance(answer, Drawn)
        assert answer.left >= 998 - tries
        await one.close()

    asyncio.run(story())


def test_who_waits_when_it_is_closed_is_told(redis: RedisServer) -> None:
    async def story() -> None:
        one = RedisAllowances(redis.url, "ledger", "one", timeout_seconds=PATIENCE)
        await one.publish("key", a_slice(), 0)
        with paused(redis):
            waits = asyncio.create_task(one.draw("key", 1, 1))
            await asyncio.sleep(0.05)
            await one.close()
            with pytest.raises(RedisUnavailable, match="closed"):
                await waits

    asyncio.run(story())


def test_a_slice_whose_publication_was_not_answered_is_one_like_any_other(
    redis: RedisServer,
) -> None:
    async def story() -> None:
        one = RedisAllowances(redis.url, "ledger", "one", timeout_seconds=SHORT)
        two = RedisAllowances(redis.url, "ledger", "two", timeout_seconds=PATIENCE)
        await one.publish("other", a_slice("other"), 0)
        with paused(redis), pytest.raises(RedisUnavailable):
            await one.publish("key", a_slice(), 0)
        with pytest.raises(ValueError, match="published before"):
            await one.publish("key", a_slice(), 0)
        assert await two.draw("key", 1, 1) == Drawn("slice-1", 1, 9)
        assert not await two.is_tallied("slice-1")
        await two.close_slice("slice-1")
        assert not await two.is_tallied("slice-1")
        await two.tally("slice-1")
        assert await two.is_tallied("slice-1")
        await one.close()
        await two.close()

    asyncio.run(story())


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_an_answer_that_came_while_the_gateway_was_busy_is_heard(
    redis: RedisServer, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def story() -> list[Drawn | NoDraw]:
        one = RedisAllowances(redis.url, "ledger", "one", timeout_seconds=SHORT)
        await one.publish("key", a_slice(), 0)
        await one.draw("key", 1, 1)
        with paused(redis):
            first = asyncio.create_task(one.draw("key", 1, 1))
            await asyncio.sleep(SHORT / 4)
            second = asyncio.create_task(one.draw("key", 1, 1))
            await asyncio.sleep(0)
        # Redis answers in time, but nobody looks until it is too late.
        be_busy(2 * SHORT)
        found = [await first, await second]
        await one.close()
        return found

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(story()) == [Drawn("slice-1", 1, 8), Drawn("slice-1", 1, 7)]
