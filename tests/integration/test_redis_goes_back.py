"""A Redis that goes back in time while its process lives: found out, or told in the docs.

By itself a server does so only in a replication, which gives its memory a new name. By hand it can
be made to read an old file: then whoever saw more than that file knows is not deceived.
"""

import asyncio
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from adapters.child_servers.ports import LOOPBACK
from adapters.redis.allowances import RedisAllowances
from adapters.redis.drawing import Draws
from adapters.redis.server import RedisServer
from adapters.redis.sightings import Sightings
from application.allowing import Drawn, NoDraw
from tests.support.allowances import END, PATIENCE, a_slice
from tests.support.redis import a_redis, client_of, installed
from tests.support.triton import wait_until


def a_gateway(server: RedisServer, name: str) -> RedisAllowances:
    """Open a gateway on a server."""
    return RedisAllowances(server.url, "ledger", name, timeout_seconds=PATIENCE)


@contextmanager
def a_redis_that_reloads(folder: Path) -> Iterator[RedisServer]:
    """Run a server that lets whoever asks read its snapshot again."""
    program = folder / "redis-that-reloads"
    program.write_text(f'#!/bin/sh\nexec {installed()} "$1" --enable-debug-command yes\n', "utf-8")
    program.chmod(stat.S_IRWXU)
    server = RedisServer(folder / "redis", keeps="snapshots", program=program)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def reload(client: Any, server: RedisServer, old: Path) -> None:
    """Take a server back to an old snapshot, in the same run."""
    shutil.copy(old, server.snapshot)
    client.execute_command("DEBUG", "RELOAD", "NOSAVE")


def save(client: Redis, server: RedisServer, old: Path) -> None:
    """Keep what a server knows now."""
    client.save()
    shutil.copy(server.snapshot, old)


def replicates(client: Redis) -> bool:
    """Say whether a server has all that its master has."""
    return bool(client.info("replication").get("master_link_status") == "up")


def test_a_master_that_was_demoted_to_older_data_hands_out_nothing_of_what_it_knew(
    tmp_path: Path,
) -> None:
    async def story(one: RedisServer, two: RedisServer) -> None:
        gateway = a_gateway(one, "gateway")
        with client_of(one) as first, client_of(two) as second:
            for each in (first, second):
                each.config_set("repl-diskless-sync-delay", 0)
            run = one.run_id
            second.replicaof(LOOPBACK, one.port)
            wait_until(lambda: replicates(second))
            await gateway.publish("key", a_slice(inferences=10), 0)
            await gateway.draw("key", 3, 1)
            assert first.wait(1, int(PATIENCE * 1000)) == 1
            second.replicaof("NO", "ONE")
            there = a_gateway(two, "there")
            assert await there.draw("key", 1, 1) == NoDraw("abandoned")
            await there.close()
            assert await gateway.draw("key", 7, 1) == Drawn("slice-1", 7, 0)
            first.replicaof(LOOPBACK, two.port)
            wait_until(lambda: replicates(first))
            first.replicaof("NO", "ONE")
            assert first.hget("tollbook:{ledger}:slice:slice-1", "left") == "7"
            assert one.run_id == run
        fresh = a_gateway(one, "fresh")
        for each in (gateway, fresh):
            assert await each.draw("key", 1, 1) == NoDraw("abandoned")
            await each.close_slice("slice-1")
            assert not await each.tally("slice-1")
            assert not await each.is_tallied("slice-1")
            await each.close()

    with a_redis(tmp_path / "one") as one, a_redis(tmp_path / "two") as two:
        asyncio.run(story(one, two))


def test_a_server_that_was_restarted_hands_out_nothing_of_what_it_knew(tmp_path: Path) -> None:
    async def story(server: RedisServer) -> None:
        before = a_gateway(server, "gateway")
        for name in ("open", "closed", "told"):
            await before.publish(name, a_slice(name), 0)
            await before.draw(name, 1, 1)
        for name in ("closed", "told"):
            await before.close_slice(name)
        await before.tally("told")
        assert await before.is_tallied("told")
        await before.close()
        server.restart()
        for name in ("gateway", "fresh"):
            after = a_gateway(server, name)
            for told in ("open", "closed", "told"):
                assert await after.draw(told, 1, 1) == NoDraw("abandoned")
                await after.close_slice(told)
                assert not await after.tally(told)
                assert not await after.is_tallied(told)
            await after.publish("new", a_slice(f"new-{name}"), 0)
            assert await after.draw("new", 1, 1) == Drawn(f"new-{name}", 1, 9)
            await after.close()

    with a_redis(tmp_path / "redis", keeps="snapshots") as server:
        asyncio.run(story(server))


def test_a_file_that_is_read_again_ends_all_slices(tmp_path: Path) -> None:
    async def story(server: RedisServer) -> None:
        gateway, old = a_gateway(server, "gateway"), tmp_path / "old.rdb"
        with client_of(server) as client:
            await gateway.publish("key", a_slice(), 0)
            save(client, server, old)
            run = server.run_id
            await gateway.draw("key", 10, 1)
            reload(client, server, old)
            assert server.run_id == run
        fresh = a_gateway(server, "fresh")
        for each in (gateway, fresh):
            assert await each.draw("key", 1, 1) == NoDraw("abandoned")
            await each.close()

    with a_redis_that_reloads(tmp_path) as server:
        asyncio.run(story(server))


def test_whoever_saw_more_than_redis_knows_draws_nothing_and_whoever_did_not_draws_again(
    tmp_path: Path,
) -> None:
    """The one way to more places than a slice has: a file read by hand that looks like the last."""

    async def story(server: RedisServer) -> None:
        gateway, old = a_gateway(server, "gateway"), tmp_path / "old.rdb"
        with client_of(server) as client:
            await gateway.publish("first", a_slice("first"), 0)
            save(client, server, old)
            reload(client, server, old)
            client.flushall()
            await gateway.publish("key", a_slice(), 0)
            await gateway.draw("key", 1, 1)
            save(client, server, old)
            await gateway.draw("key", 9, 1)
            reload(client, server, old)
            assert (gateway.rewound, await gateway.draw("key", 1, 1)) == (0, NoDraw("abandoned"))
            reload(client, server, old)
            for _ in range(3):
                assert await gateway.draw("key", 1, 1) == NoDraw("abandoned")
            assert gateway.rewound == 1
            fresh = a_gateway(server, "fresh")
            assert await fresh.draw("key", 1, 1) == Drawn("slice-1", 1, 5)
            await fresh.close_slice("slice-1")
            await fresh.tally("slice-1")
            await gateway.tally("slice-1")
            assert not await gateway.is_tallied("slice-1")
        for each in (gateway, fresh):
            await each.close()

    with a_redis_that_reloads(tmp_path) as server:
        asyncio.run(story(server))


def test_a_slice_that_this_process_closed_stays_closed_for_it(tmp_path: Path) -> None:
    async def story(server: RedisServer) -> None:
        gateway, old = a_gateway(server, "gateway"), tmp_path / "old.rdb"
        with client_of(server) as client:
            await gateway.publish("key", a_slice(), 0)
            save(client, server, old)
            reload(client, server, old)
            client.flushall()
            await gateway.publish("next", a_slice("next"), 0)
            save(client, server, old)
            await gateway.close_slice("next")
            reload(client, server, old)
            assert await gateway.draw("next", 1, 1) == NoDraw("closed")
        await gateway.close()

    with a_redis_that_reloads(tmp_path) as server:
        asyncio.run(story(server))


@pytest.mark.parametrize(
    ("numbers", "whys", "rewound"),
    [
        ((1, 2, 5), [None, None, None], 0),
        ((1, 2, 2, 3), [None, None, "abandoned", "abandoned"], 1),
        ((7, 1), [None, "abandoned"], 1),
    ],
)
def test_a_number_that_does_not_rise_ends_a_slice(
    numbers: tuple[int, ...], whys: list[str | None], rewound: int
) -> None:
    seen = Sightings()
    assert [seen.drew("slice", number, END, 1) for number in numbers] == whys
    assert seen.rewound == rewound


def test_a_draw_that_was_heard_of_after_the_close_does_not_count() -> None:
    seen = Sightings()
    seen.drew("slice", 1, END, 1)
    seen.closed("slice", 3)
    assert seen.drew("slice", 2, END, 1) == "closed"
    assert seen.stands("slice", 3)
    assert not seen.stands("slice", 2)
    assert seen.rewound == 1


def test_a_draw_that_was_heard_of_while_everything_is_told_does_not_count() -> None:
    seen = Sightings()
    seen.drew("slice", 1, END, 1)
    seen.rest("slice")
    assert seen.drew("slice", 2, END, 1) == "closed"
    seen.go_on("slice")
    assert seen.drew("slice", 3, END, 1) is None
    seen.rest("slice")
    seen.closed("slice", 4)
    seen.go_on("slice")
    assert seen.drew("slice", 4, END, 1) == "closed"


def test_a_draw_that_nobody_had_noticed_when_everything_was_told_does_not_count() -> None:
    async def story() -> Drawn | NoDraw:
        seen = Sightings()

        async def answers(*_: object) -> list[list[Any]]:
            # It runs when the answer is there, and before whoever waits for it does.
            asyncio.get_running_loop().call_soon(seen.rest, "slice")
            return [["drawn", "slice", 1, 9, 1, END]]

        return await Draws(answers, seen, PATIENCE).draw("key", 1, 1)

    assert asyncio.run(story()) == NoDraw("closed")


def test_what_was_seen_is_remembered_until_nobody_can_draw_from_it() -> None:
    seen = Sightings()
    hour, most = 3_600 * 1_000_000, 0
    for now in range(0, 40 * hour, hour // 200):
        seen.publish(f"slice-{now}", now + 30, now)
        most = max(most, len(seen))
    assert most < 3_000
    with pytest.raises(ValueError, match="published before"):
        seen.publish(f"slice-{now - hour // 2}", now, now)
