"""A real Redis in a folder: it starts, runs scripts, and keeps after a kill what it was told to."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import AuthenticationError, Redis

from adapters.child_servers.ports import LOOPBACK
from adapters.redis.errors import RedisUnavailable
from adapters.redis.installation import find, on_path
from adapters.redis.server import Keeps, RedisServer
from tests.support.redis import a_redis, client_of, installed
from tests.support.triton import wait_until

TAKE = """
local left = tonumber(redis.call('GET', KEYS[1]) or '0') - tonumber(ARGV[1])
if left < 0 then return -1 end
redis.call('SET', KEYS[1], left)
return left
"""

STARTER = """
import sys, time
from pathlib import Path
from adapters.redis.server import RedisServer
server = RedisServer(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


def is_alive(pid: int) -> bool:
    """Tell whether a process lives; one that only waits to be collected does not."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):  # it may go while it is read
        return False


def value_of(server: RedisServer, key: str) -> str | None:
    """Read a text."""
    with client_of(server) as client:
        found = client.get(key)
    assert found is None or isinstance(found, str)
    return found


def write(server: RedisServer, key: str, value: str, *, snapshot: bool = False) -> None:
    """Write a text, and take a snapshot when it is asked for."""
    with client_of(server) as client:
        client.set(key, value)
        if snapshot:
            client.save()


def test_a_script_decides_in_one_step(redis: RedisServer) -> None:
    with client_of(redis) as client:
        take = client.register_script(TAKE)
        client.set("slice", 10)
        assert [take(keys=["slice"], args=[amount]) for amount in (6, 6, 4, 1)] == [4, -1, 0, -1]
        assert client.get("slice") == "0"


def test_the_server_of_a_run_is_empty_for_each_test(redis: RedisServer) -> None:
    with client_of(redis) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


@pytest.mark.parametrize(
    ("keeps", "kept"),
    [("nothing", None), ("snapshots", "old"), ("always", "new")],
)
def test_a_killed_server_comes_back_as_another_run_with_what_it_keeps(
    tmp_path: Path, keeps: Keeps, kept: str | None
) -> None:
    with a_redis(tmp_path / "redis", keeps=keeps) as server:
        write(server, "key", "old", snapshot=keeps == "snapshots")
        write(server, "key", "new")
        before, port = server.run_id, server.port
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not server.is_running())
        assert not server.is_ready()
        server.restart()
        assert server.port == port
        assert server.run_id != before
        assert value_of(server, "key") == kept


def test_a_server_that_was_stopped_keeps_what_it_knew_at_the_end(tmp_path: Path) -> None:
    with a_redis(tmp_path / "redis", keeps="snapshots") as server:
        write(server, "key", "value")
        server.restart()
        assert value_of(server, "key") == "value"


def test_an_old_snapshot_takes_a_server_back_in_time(tmp_path: Path) -> None:
    with a_redis(tmp_path / "redis", keeps="snapshots") as server:
        write(server, "key", "old", snapshot=True)
        shutil.copy(server.snapshot, tmp_path / "old.rdb")
        write(server, "key", "new", snapshot=True)
        before = server.run_id
        server.stop()
        shutil.copy(tmp_path / "old.rdb", server.snapshot)
        server.start()
        assert value_of(server, "key") == "old"
        assert server.run_id != before


def test_a_server_that_was_paused_is_the_same_run(tmp_path: Path) -> None:
    with a_redis(tmp_path / "redis") as server:
        write(server, "key", "value")
        before = server.run_id
        os.kill(server.pid, signal.SIGSTOP)
        assert not server.is_ready()
        assert server.is_running()
        os.kill(server.pid, signal.SIGCONT)
        wait_until(server.is_ready)
        assert (server.run_id, value_of(server, "key")) == (before, "value")


def test_a_password_is_asked_for_and_stands_in_a_private_file(tmp_path: Path) -> None:
    with a_redis(tmp_path / "redis", password="s3cret") as server:
        write(server, "key", "value")
        assert value_of(server, "key") == "value"
        with Redis(LOOPBACK, server.port) as stranger, pytest.raises(AuthenticationError):
            stranger.get("key")
        files = [path for path in server.folder.iterdir() if path.is_file()]
        holders = [path for path in files if b"s3cret" in path.read_bytes()]
        assert [stat.S_IMODE(path.stat().st_mode) for path in holders] == [0o600]
        line = Path(f"/proc/{server.pid}/cmdline").read_bytes()
        assert b"s3cret" not in line


def test_two_servers_do_not_disturb_each_other(tmp_path: Path) -> None:
    with a_redis(tmp_path / "one") as one, a_redis(tmp_path / "two") as two:
        assert (one.port, one.run_id) != (two.port, two.run_id)
        write(one, "key", "one")
        assert value_of(two, "key") is None
        one.kill()
        assert two.is_ready()


def test_a_folder_has_one_server_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_redis(tmp_path / "redis") as first:
        monkeypatch.setattr("adapters.child_servers.child._LOCK_SECONDS", 0)
        with pytest.raises(RedisUnavailable, match="a Redis runs in"):
            RedisServer(first.folder, program=installed()).start()
        assert first.is_ready()


@pytest.mark.parametrize("victim", ["starter", "keeper"])
def test_a_server_does_not_outlive_whoever_started_it(tmp_path: Path, victim: str) -> None:
    installed()
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path / "redis")], stdout=subprocess.PIPE
    ) as starter:
        assert starter.stdout is not None
        server = int(starter.stdout.readline())
        keeper = int(Path(f"/proc/{server}/stat").read_text("utf-8").rpartition(")")[2].split()[1])
        os.kill(starter.pid if victim == "starter" else keeper, signal.SIGKILL)
        wait_until(lambda: not is_alive(server))
        starter.kill()
    with a_redis(tmp_path / "redis") as after:
        assert after.is_ready()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with a_redis(tmp_path / "redis") as server:
        server.stop()
        with (
            socket.create_server((LOOPBACK, server.port)),
            pytest.raises(RedisUnavailable, match=r"Redis has ended.*\n.*in use"),
        ):
            server.start()
        assert not server.is_running()
        server.start()


def a_program(folder: Path, version: str) -> None:
    """Write a program that tells its version as Redis does."""
    program = folder / "redis-server"
    program.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0'\n", encoding="utf-8")
    program.chmod(0o700)


@pytest.mark.parametrize(("version", "is_found"), [("6.2.16", False), ("7.0.15", True)])
def test_the_machines_own_program_serves_when_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, is_found: bool
) -> None:
    a_program(tmp_path, version)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr("adapters.redis.installation._PROGRAMS", ("redis-server",))
    monkeypatch.delenv("TOLLBOOK_REDIS_HOME", raising=False)
    assert on_path() == (tmp_path / "redis-server" if is_found else None)
    if is_found:
        assert find() == tmp_path / "redis-server"


@pytest.mark.parametrize(
    ("lay_out", "reason"),
    [
        (lambda _: None, "there is no Redis in"),
        (lambda home: (home / "unavailable").write_text("no wheel"), r"not install .*: no wheel"),
    ],
)
def test_where_there_is_no_redis_the_reason_is_told(
    tmp_path: Path, lay_out: Callable[[Path], object], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path)
    monkeypatch.setenv("TOLLBOOK_REDIS_HOME", str(tmp_path))
    with pytest.raises(RedisUnavailable, match=reason):
        find()
