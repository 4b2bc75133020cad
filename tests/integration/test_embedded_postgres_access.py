"""Who may do what in an embedded ledger, how the server is set, and as whom it runs."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from adapters.embedded_postgres import binaries, identity
from adapters.embedded_postgres.errors import ServerUnavailable
from adapters.embedded_postgres.identity import ServerUser, server_user
from adapters.embedded_postgres.server import EmbeddedServer, join
from tests.integration.embedded_postgres_helpers import (
    as_a_lesser_user,
    postmaster,
    query,
    shown_to_its_user,
)

SECRET = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """Join one ledger's server for all tests of this file that only look."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOLLBOOK_TEST_SECRET", SECRET)
        patch.setenv("PGPORT", "1")
        joined = join(tmp_path_factory.mktemp("private") / "ledger")
    yield joined
    joined.leave()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Make a folder that every user can reach, unlike the private ones of pytest."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("listen_addresses", ""),
        ("server_encoding", "UTF8"),
        ("max_wal_size", "4GB"),
        ("checkpoint_timeout", "15min"),
        ("checkpoint_completion_target", "0.9"),
        ("max_connections", "50"),
        ("autovacuum", "on"),
        ("jit", "off"),
        ("TimeZone", "UTC"),
        ("wal_compression", "pglz"),
        ("log_statement", "none"),
        ("log_min_error_statement", "panic"),
        ("log_error_verbosity", "terse"),
    ],
)
def test_the_server_is_set(server: EmbeddedServer, name: str, value: str) -> None:
    with psycopg.connect(server.super_url) as connection:
        found = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    assert found == (value,)


def test_text_is_ordered_by_code_point(server: EmbeddedServer) -> None:
    assert query(
        server.app_url,
        "SELECT datlocprovider, datlocale, datcollate FROM pg_database WHERE datname = 'tollbook'",
    ) == [("b", "C.UTF-8", "C")]


def test_the_application_is_not_the_owner_and_makes_nothing(server: EmbeddedServer) -> None:
    query(server.owner_url, "CREATE TABLE owned (n int)")
    assert query(
        server.app_url,
        "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
        " FROM pg_roles WHERE rolname = current_user",
    ) == [(False,) * 5]
    for statement in (
        "CREATE TABLE made (n int)",
        "CREATE SCHEMA made",
        "ALTER TABLE owned ADD COLUMN m int",
        "SELECT * FROM owned",
        "SET ROLE tollbook_owner",
        "ALTER SYSTEM SET fsync = off",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            query(server.app_url, statement)


def test_the_owner_is_no_superuser(server: EmbeddedServer) -> None:
    rows = query(server.owner_url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    assert rows == [(False,)]


def test_only_the_three_roles_are_admitted(server: EmbeddedServer) -> None:
    query(server.super_url, "CREATE ROLE stranger LOGIN")
    with pytest.raises(psycopg.OperationalError, match="no pg_hba"):
        query(server.app_url.replace("tollbook_app", "stranger"), "SELECT 1")


def test_admission_is_by_peer_and_over_the_socket_only(server: EmbeddedServer) -> None:
    rules = query(server.super_url, "SELECT type, auth_method FROM pg_hba_file_rules")
    assert rules == [("local", "peer")]
    mapped = query(server.super_url, "SELECT DISTINCT sys_name FROM pg_ident_file_mappings")
    assert mapped == [(pwd.getpwuid(os.geteuid()).pw_name,)]


def test_nobody_else_can_reach_the_socket(server: EmbeddedServer) -> None:
    """As any other user than root, the map of the test above is all that can be tried."""

    def connect() -> None:
        query(server.app_url, "SELECT 1")

    error = as_a_lesser_user(connect)
    assert ("Permission denied" in error) == (os.geteuid() == 0)


def test_the_server_runs_as_an_unprivileged_user_without_our_groups(
    server: EmbeddedServer,
) -> None:
    status = Path(f"/proc/{postmaster(server.data_dir)}/status").read_text()
    facts = dict(line.split(":", 1) for line in status.splitlines())
    owner = (server.data_dir / "postgres").stat()
    assert {int(uid) for uid in facts["Uid"].split()} == {owner.st_uid}
    assert {int(gid) for gid in facts["Gid"].split()} == {owner.st_gid}
    assert owner.st_uid != 0
    if os.geteuid() == 0:
        assert facts["Groups"].split() == []


def test_the_server_gets_nothing_of_our_environment(server: EmbeddedServer) -> None:
    pid = postmaster(server.data_dir)
    environment = shown_to_its_user(pid, "cat", f"/proc/{pid}/environ")
    assert "TZ=UTC" in environment
    assert SECRET not in environment
    assert "PGPORT" not in environment


def test_no_statement_and_no_value_reaches_the_log(server: EmbeddedServer) -> None:
    query(server.owner_url, "CREATE TABLE keys (k text PRIMARY KEY)")
    for url in (server.owner_url, server.super_url):
        with pytest.raises(psycopg.Error):
            query(url, f"INSERT INTO keys VALUES ('{SECRET}'), ('{SECRET}')")
        with pytest.raises(psycopg.Error):
            query(url, f"SELECT no_such_function('{SECRET}')")
    assert SECRET not in (server.data_dir / "server.log").read_text()


def test_the_modes_of_parents_stay(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    parents = [private, *private.parents]
    before = [parent.stat().st_mode for parent in parents]
    joined = join(private / "ledger")
    joined.leave()
    assert [parent.stat().st_mode for parent in parents] == before
    assert (private / "ledger").stat().st_mode & 0o777 == 0o700


def test_an_unprivileged_user_does_all_of_it_alone(open_folder: Path) -> None:
    home = open_folder / "home"
    home.mkdir(mode=0o700)

    def whole_life() -> None:
        first = join(home / "ledger")
        query(first.owner_url, "CREATE TABLE kept AS SELECT 7 AS n")
        first.leave()
        second = join(home / "ledger")
        assert query(second.owner_url, "SELECT n FROM kept") == [(7,)]
        second.leave()

    assert as_a_lesser_user(whole_life, home) == ""


def test_programs_below_a_private_folder_are_copied_for_another_user(
    tmp_path: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only root has another user run the server; anybody else runs the programs where they are."""
    private = tmp_path / "site-packages"
    private.mkdir(mode=0o700)
    wheel = binaries._wheel_folder()
    shutil.copytree(wheel / binaries.INSTALL, private / binaries.PACKAGE / binaries.INSTALL)
    shutil.copytree(wheel.parent / binaries.LIBRARIES, private / binaries.LIBRARIES)
    monkeypatch.setattr(binaries, "_wheel_folder", lambda: private / binaries.PACKAGE)
    monkeypatch.setattr(binaries, "CACHE_FOLDERS", (tmp_path / "missing", open_folder))
    joined = join(tmp_path / "ledger")
    user = server_user(joined.data_dir / "postgres")
    used = binaries.install_for(user)
    command = Path(f"/proc/{postmaster(joined.data_dir)}/cmdline").read_text()
    joined.leave()
    assert command.split("\0")[0] == str(used / "bin" / "postgres")
    assert used.is_relative_to(open_folder if os.geteuid() == 0 else private)
    assert len(list(open_folder.iterdir())) == (1 if os.geteuid() == 0 else 0)


@pytest.mark.parametrize("trap", ["link", "writable"])
def test_a_copy_that_somebody_else_could_have_made_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    monkeypatch.setattr(binaries, "CACHE_FOLDERS", (tmp_path,))
    install = binaries._wheel_folder() / binaries.INSTALL
    copy = binaries._copied_install(install).parents[1]
    assert copy.stat().st_mode & 0o022 == 0
    if trap == "link":
        copy.rename(tmp_path / "elsewhere")
        copy.symlink_to(tmp_path / "elsewhere")
    else:
        copy.chmod(0o777)
    with pytest.raises(ServerUnavailable, match="remove it"):
        binaries._copied_install(install)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "PACKAGE", "no_such_package")
    with pytest.raises(ServerUnavailable, match="make venv"):
        binaries.install_for(ServerUser("me", os.geteuid(), os.getegid()))


@pytest.mark.parametrize("name", ["root", "no-such-user"])
def test_a_server_user_that_cannot_be_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(identity.SERVER_USER_VARIABLE, name)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ServerUnavailable, match=f"looked for: {name}"):
        server_user(Path("/no/such/cluster"))


def test_a_user_without_a_name_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(ServerUnavailable, match="has no name on this machine"):
        identity.own_name()


@pytest.mark.parametrize("name", ['a"b', "/pattern", "a b", "a\nb", ""])
def test_a_name_that_would_mean_more_in_the_map_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    entry = pwd.struct_passwd((name, "x", 1000, 1000, "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: entry)
    with pytest.raises(ServerUnavailable, match="cannot hold"):
        identity.own_name()
