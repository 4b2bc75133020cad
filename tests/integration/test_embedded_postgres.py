"""The embedded server's life: joined, left, shared, killed and brought back."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.embedded_postgres import process, registry
from adapters.embedded_postgres.errors import ServerUnavailable
from adapters.embedded_postgres.server import EmbeddedServer, is_ledger_dir, join, revive
from tests.integration.embedded_postgres_helpers import (
    Companion,
    family,
    postmaster,
    query,
    shown_to_its_user,
    wait_until_dead,
)
from tests.support.sizes import in_full_or


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Name a folder for a ledger that is not there yet."""
    return tmp_path / "ledger"


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedServer]:
    """Join a new ledger's server, and leave it in the end."""
    joined = join(folder)
    yield joined
    joined.leave()


def socket_folder(server: EmbeddedServer) -> Path:
    return Path(str(psycopg.conninfo.conninfo_to_dict(server.app_url)["host"]))


def test_leaving_last_stops_every_process_and_removes_the_socket(folder: Path) -> None:
    server = join(folder)
    pids = family(postmaster(folder))
    assert len(pids) > 3
    sockets = socket_folder(server)
    assert sockets.stat().st_mode & 0o777 == 0o700
    server.leave()
    assert not any(family(pid) for pid in pids)
    assert not sockets.exists()
    server.leave()
    assert is_ledger_dir(folder)


def test_what_was_committed_is_there_after_a_stop(folder: Path) -> None:
    first = join(folder)
    query(first.owner_url, "CREATE TABLE kept AS SELECT 7 AS n")
    first.leave()
    second = join(folder, create=False)
    assert query(second.owner_url, "SELECT n FROM kept") == [(7,)]
    assert second.owner_url == first.owner_url
    second.leave()


def test_one_process_may_join_twice(server: EmbeddedServer, folder: Path) -> None:
    pid = postmaster(folder)
    again = join(folder)
    again.leave()
    assert postmaster(folder) == pid
    assert query(server.app_url, "SELECT 1") == [(1,)]


def test_the_server_outlives_the_process_that_started_it(folder: Path) -> None:
    starter = Companion(folder).wait_until_joined()
    server = join(folder)
    pid = postmaster(folder)
    starter.kill()
    assert query(server.app_url, "SELECT 1") == [(1,)]
    server.leave()
    wait_until_dead([pid])


def test_a_killed_member_is_not_waited_for(folder: Path) -> None:
    server = join(folder)
    pid = postmaster(folder)
    Companion(folder).wait_until_joined().kill()
    server.leave()
    assert not family(pid)


def test_a_server_whose_members_were_all_killed_is_joined_and_stopped(folder: Path) -> None:
    Companion(folder).wait_until_joined().kill()
    pid = postmaster(folder)
    assert family(pid)
    server = join(folder)
    assert postmaster(folder) == pid
    server.leave()
    wait_until_dead([pid])


def test_many_processes_may_make_one_ledger_together(folder: Path) -> None:
    companions = [Companion(folder) for _ in range(4)]
    for companion in companions:
        companion.wait_until_joined()
    pid = postmaster(folder)
    for companion in companions:
        companion.leave()
    wait_until_dead([pid])
    assert not list((folder / "run").glob("member-*"))


def test_no_signal_of_the_terminal_reaches_the_server(server: EmbeddedServer, folder: Path) -> None:
    pid = postmaster(folder)
    assert os.getsid(pid) == pid != os.getsid(0)
    assert os.getpgid(pid) == pid


def test_the_server_inherits_its_own_lock_and_none_of_ours(
    server: EmbeddedServer, folder: Path
) -> None:
    pid = postmaster(folder)
    lines = shown_to_its_user(pid, "ls", "-l", f"/proc/{pid}/fd").splitlines()
    links = [line.partition(" -> ")[2] for line in lines]
    assert [link for link in links if link.startswith(str(folder / "run"))] == [
        str(folder / "run" / "server")
    ]


@pytest.mark.parametrize("whole_group", [False, True], ids=["postmaster", "group"])
def test_a_killed_server_comes_back_with_all_that_was_committed(
    server: EmbeddedServer, folder: Path, whole_group: bool
) -> None:
    query(server.owner_url, "CREATE TABLE kept AS SELECT generate_series(1, 5000) AS n")
    pid = postmaster(folder)
    if whole_group:
        for member in family(pid):
            with suppress(ProcessLookupError):  # a worker may end by itself meanwhile
                os.kill(member, signal.SIGKILL)
    else:
        os.kill(pid, signal.SIGKILL)
    revived = revive(server)
    assert revived == server
    assert postmaster(folder) != pid
    assert query(server.owner_url, "SELECT count(*) FROM kept") == [(5000,)]
    assert not family(pid)


def test_reviving_a_server_that_serves_changes_nothing(
    server: EmbeddedServer, folder: Path
) -> None:
    pid = postmaster(folder)
    assert revive(server) == server
    assert postmaster(folder) == pid


def test_who_has_left_cannot_revive(folder: Path) -> None:
    server = join(folder)
    server.leave()
    with pytest.raises(ServerUnavailable, match="already left"):
        revive(server)


def test_a_pid_file_whose_number_has_a_new_bearer_is_no_obstacle(folder: Path) -> None:
    server = join(folder)
    sockets = socket_folder(server)
    owner = (folder / "postgres").stat()
    server.leave()
    bearer = subprocess.Popen(["sleep", "300"], user=owner.st_uid, group=owner.st_gid, cwd="/")
    text = f"{bearer.pid}\n/proc/self/cwd\n1\n5432\n{sockets}\n\n 1 1\nready   \n"
    (folder / "postgres" / "postmaster.pid").write_text(text)
    sockets.mkdir(mode=0o700)
    (sockets / ".s.PGSQL.5432.lock").write_text(text)
    try:
        again = join(folder)
        assert postmaster(folder) != bearer.pid
        again.leave()
        assert bearer.poll() is None
    finally:
        bearer.kill()
        bearer.wait()


def test_a_forked_child_cannot_leave_in_its_parents_place(
    server: EmbeddedServer, folder: Path
) -> None:
    child = os.fork()
    if child == 0:
        server.leave()
        os._exit(0)
    os.waitpid(child, 0)
    assert query(server.app_url, "SELECT 1") == [(1,)]


def test_waiting_for_another_process_ends_with_a_word(folder: Path) -> None:
    (folder / "run").mkdir(mode=0o700, parents=True)
    lock = registry.try_lock(folder / "run" / "guard")
    assert lock is not None
    with pytest.raises(ServerUnavailable, match="another process is still starting"):
        join(folder, wait_seconds=0.1)
    os.close(lock)


def test_waiting_for_recovery_ends_with_its_progress(folder: Path) -> None:
    join(folder).leave()
    (folder / "server.log").write_text("LOG:  redo in progress, elapsed time: 10.00 s\n")
    pid_file = folder / "postgres" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n/proc/self/cwd\n1\n5432\n/tmp\n\n 1 1\nstarting\n")
    lock = registry.try_lock(folder / "run" / "server")
    assert lock is not None
    somebody = registry.Membership(folder / "run")
    with pytest.raises(ServerUnavailable, match=r"starting.*redo in progress"):
        join(folder, wait_seconds=0.3)
    os.close(lock)
    somebody.end()


def test_a_server_that_does_not_start_says_why(folder: Path) -> None:
    join(folder).leave()
    (folder / "postgres" / "postgresql.auto.conf").write_text("max_connections = 'many'\n")
    with pytest.raises(ServerUnavailable, match="max_connections"):
        join(folder)


def test_a_long_log_moves_to_one_older_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOG_LIMIT", 100)
    for _ in range(3):
        join(folder).leave()
    assert (folder / "server.log").stat().st_size < 3000
    assert "shut down" in (folder / "server.log.1").read_text()


def test_a_folder_removed_under_the_server_can_still_be_left(folder: Path) -> None:
    server = join(folder)
    pid = postmaster(folder)
    shutil.rmtree(folder)
    server.leave()
    assert not socket_folder(server).exists()
    os.kill(pid, signal.SIGQUIT)


@settings(max_examples=in_full_or(4, 8))
@given(steps=st.lists(st.sampled_from(["join", "leave", "kill"]), min_size=2, max_size=8))
def test_the_server_lives_exactly_while_somebody_has_joined(steps: list[str]) -> None:
    folder = Path(tempfile.mkdtemp())
    joined: list[EmbeddedServer] = []
    pid = 0
    try:
        for step in [*steps, *["leave"] * len(steps)]:
            if step == "join":
                joined.append(join(folder))
                pid = postmaster(folder)
            elif step == "leave" and joined:
                joined.pop().leave()
            elif step == "kill" and joined:
                os.kill(pid, signal.SIGKILL)
                joined[0] = revive(joined[0])
                pid = postmaster(folder)
            assert bool(pid and family(pid)) == bool(joined)
    finally:
        for server in joined:
            server.leave()
        shutil.rmtree(folder)
