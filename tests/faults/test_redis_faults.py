"""Everything that can happen to Redis while several gateways draw: no slice gives out too much.

The gateways are processes of their own. Each counts what it drew, so that what Redis believes
plays no part in it; and after every fault all of them draw again.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.child_servers.ports import LOOPBACK
from adapters.redis.server import Keeps, RedisServer
from tests.faults.rounds import rounds
from tests.support.redis import a_redis, client_of
from tests.support.sizes import in_full_or
from tests.support.triton import wait_until

ROOT = Path(__file__).resolve().parents[2]
GATEWAYS = ("one", "two", "three")


class Gateway:
    """A process that draws."""

    def __init__(self, url: str, name: str, folder: Path) -> None:
        """Start it."""
        self.file = folder / f"{name}.json"
        program = ROOT / "tests" / "faults" / "redis_drawer.py"
        self.process = subprocess.Popen(
            [sys.executable, str(program), url, name, str(self.file)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def said(self) -> dict[str, Any]:
        """Return what it counted, as it last wrote it down."""
        said: dict[str, Any] = json.loads(self.file.read_text("utf-8"))
        return said

    def count(self, answer: str) -> int:
        """Return how often it got an answer."""
        return int(self.said()["answers"].get(answer, 0)) if self.file.exists() else 0

    def end(self) -> None:
        """Let it write down the last, and end it."""
        self.process.terminate()
        assert self.process.wait(60) == 0


@contextmanager
def drawing(server: RedisServer, folder: Path) -> Iterator[list[Gateway]]:
    """Let several gateways draw while the block runs."""
    gateways: list[Gateway] = []
    with ExitStack() as stack:
        for name in GATEWAYS:
            gateways.append(Gateway(server.url, name, folder))
            stack.callback(gateways[-1].process.kill)
        wait_until_all_draw(gateways)
        yield gateways
        for each in gateways:
            each.end()


def wait_until_all(gateways: list[Gateway], answer: str, more: int = 20) -> None:
    """Wait until each gateway got an answer some times more."""
    before = {each.file: each.count(answer) for each in gateways}
    wait_until(lambda: all(each.count(answer) >= before[each.file] + more for each in gateways))


def wait_until_all_draw(gateways: list[Gateway]) -> None:
    """Wait until each gateway draws again."""
    wait_until_all(gateways, "drawn")


def flushed(server: RedisServer, _: list[Gateway]) -> None:
    """Empty it, with and without its scripts."""
    with client_of(server) as client:
        client.flushall()
        time.sleep(0.3)
        client.script_flush()
        client.flushall()


def killed(server: RedisServer, _: list[Gateway]) -> None:
    """Kill it; it comes back with what its last snapshot knows, if it keeps one."""
    server.kill()
    server.start()


def taken_back(server: RedisServer, gateways: list[Gateway]) -> None:
    """Stop it orderly after more was drawn, and restore an old snapshot."""
    old = server.folder / "old.rdb"
    with client_of(server) as client:
        client.save()
    shutil.copy(server.snapshot, old)
    wait_until_all_draw(gateways)
    server.stop()
    shutil.copy(old, server.snapshot)
    server.start()


def paused(server: RedisServer, gateways: list[Gateway]) -> None:
    """Let it hang for five seconds; the gateways are told each time."""
    os.kill(server.pid, signal.SIGSTOP)
    time.sleep(2.5)
    wait_until_all(gateways, "unavailable")
    time.sleep(2.5)
    os.kill(server.pid, signal.SIGCONT)


def full(server: RedisServer, gateways: list[Gateway]) -> None:
    """Give it no memory for anything new, and then enough again."""
    with client_of(server) as client:
        client.config_set("maxmemory", 1)
        wait_until_all(gateways, "unavailable")
        client.config_set("maxmemory", 0)


def evicting(server: RedisServer, gateways: list[Gateway]) -> None:
    """Let it drop what it likes, to make room."""
    with client_of(server) as client:
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", client.info("memory")["used_memory"])
        wait_until_all(gateways, "none", 1)
        client.config_set("maxmemory", 0)


def demoted(server: RedisServer, gateways: list[Gateway]) -> None:
    """Make it a replica of older data for a while, in the same run."""
    with (
        a_redis(server.folder / "other") as other,
        client_of(server) as client,
        client_of(other) as replica,
    ):
        for each in (client, replica):
            each.config_set("repl-diskless-sync-delay", 0)
        replica.replicaof(LOOPBACK, server.port)
        wait_until(lambda: replica.info("replication")["master_link_status"] == "up")
        wait_until_all_draw(gateways)
        replica.replicaof("NO", "ONE")
        wait_until_all_draw(gateways)
        client.replicaof(LOOPBACK, other.port)
        wait_until_all(gateways, "unavailable", 1)
        wait_until(lambda: client.info("replication")["master_link_status"] == "up")
        client.replicaof("NO", "ONE")


@pytest.mark.parametrize(
    ("fault", "keeps", "leaves"),
    [
        (flushed, "nothing", "none"),
        (killed, "nothing", "none"),
        (killed, "everysec", "abandoned"),
        (taken_back, "snapshots", "abandoned"),
        (paused, "nothing", "unavailable"),
        (full, "nothing", "unavailable"),
        (evicting, "nothing", "none"),
        (demoted, "nothing", "abandoned"),
    ],
    ids=["flushed", "killed", "killed-log", "taken-back", "paused", "full", "evicting", "demoted"],
)
def test_no_slice_gives_out_more_than_it_has_and_drawing_goes_on(
    tmp_path: Path, fault: Callable[[RedisServer, list[Gateway]], None], keeps: Keeps, leaves: str
) -> None:
    with a_redis(tmp_path / "redis", keeps=keeps) as server:
        with drawing(server, tmp_path) as gateways:
            for _ in rounds(in_full_or(1, 2)):
                fault(server, gateways)
                wait_until_all_draw(gateways)
        said = [each.said() for each in gateways]
    published = {name: places for each in said for name, places in each["published"].items()}
    drawn = sum((Counter[str](each["drawn"]) for each in said), Counter[str]())
    assert set(drawn) <= set(published)
    assert {name: count for name, count in drawn.items() if count > published[name]} == {}
    assert sum(drawn.values()) > 0
    # The fault was felt, and no gateway found a slice that had gone back within a run.
    assert sum(each["answers"].get(leaves, 0) for each in said) > 0
    assert [each["rewound"] for each in said] == [0, 0, 0]
