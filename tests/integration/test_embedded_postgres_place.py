"""Which folders a ledger may have, and where its socket may lie."""

import os
import tempfile
from pathlib import Path

import pytest

from adapters.embedded_postgres import place, sockets
from adapters.embedded_postgres.errors import ServerUnavailable, WrongDirectory
from adapters.embedded_postgres.identity import ServerUser, server_user
from adapters.embedded_postgres.server import is_ledger_dir, join
from tests.integration.embedded_postgres_helpers import as_a_lesser_user

OURSELVES = ServerUser("me", os.geteuid(), os.getegid())


def test_an_empty_folder_may_become_a_ledger(tmp_path: Path) -> None:
    assert not is_ledger_dir(tmp_path / "missing")
    assert not is_ledger_dir(tmp_path)
    join(tmp_path).leave()
    assert is_ledger_dir(tmp_path)


def test_a_start_that_was_cut_off_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "server.log").touch()
    half = tmp_path / "postgres.new"
    (half / "base").mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    join(tmp_path).leave()
    assert is_ledger_dir(tmp_path)
    assert not half.exists()


def test_a_link_to_a_folder_is_the_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "ledger")
    real = join(tmp_path / "ledger")
    linked = join(tmp_path / "link")
    assert linked == real
    linked.leave()
    real.leave()


def test_a_folder_without_a_ledger_is_not_made_into_one_unasked(tmp_path: Path) -> None:
    with pytest.raises(WrongDirectory, match="is missing"):
        join(tmp_path / "missing", create=False)
    with pytest.raises(WrongDirectory, match="holds no ledger"):
        join(tmp_path, create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(WrongDirectory, match=r"not empty and holds no ledger.*thesis"):
        join(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(WrongDirectory):
            join(path)


def test_data_of_another_version_is_refused_with_both_versions_named(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(WrongDirectory, match=r"PostgreSQL 17.* PostgreSQL 18; .*pg_dump"):
        join(tmp_path)


def test_a_folder_open_to_everybody_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(WrongDirectory, match="chmod o-w"):
        join(tmp_path)


def test_a_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(WrongDirectory, match=f"belongs to the user with id {owner}"):
        join(tmp_path)


@pytest.mark.parametrize(("own", "message"), [(0, "refuses to run as root"), (7, "run this")])
def test_a_cluster_of_the_wrong_user_is_refused(
    monkeypatch: pytest.MonkeyPatch, own: int, message: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: own)
    with pytest.raises(WrongDirectory, match=message):
        server_user(Path("/"))


def test_a_folder_that_cannot_be_written_is_named() -> None:
    error = as_a_lesser_user(lambda: join(Path("/usr/tollbook-test")).leave())
    assert error.startswith("WrongDirectory: /usr/tollbook-test: ")


def test_a_path_that_is_too_long_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongDirectory, match="File name too long"):
        join(tmp_path / ("x" * 300))


def test_a_long_path_has_a_short_socket(tmp_path: Path) -> None:
    server = join(tmp_path / ("x" * 200) / ("y" * 200))
    assert len(server.app_url) < 100
    server.leave()


def test_a_full_disk_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "SPACE_FOR_A_NEW_LEDGER", 2**70)
    with pytest.raises(ServerUnavailable, match="MiB free"):
        join(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("trap", ["file", "link", "open"])
def test_a_socket_folder_made_by_somebody_else_is_refused(tmp_path: Path, trap: str) -> None:
    folder = sockets.make_socket_folder(tmp_path, OURSELVES)
    folder.rmdir()
    if trap == "file":
        folder.touch()
    elif trap == "link":
        folder.symlink_to(tmp_path)
    else:
        folder.mkdir()
        folder.chmod(0o777)
    with pytest.raises(ServerUnavailable, match="look who owns it"):
        sockets.make_socket_folder(tmp_path, OURSELVES)
    folder.rmdir() if trap == "open" else folder.unlink()


def test_a_socket_folder_of_another_owner_is_refused(tmp_path: Path) -> None:
    folder = sockets.make_socket_folder(tmp_path, OURSELVES)
    with pytest.raises(ServerUnavailable, match="private folder of the server's user"):
        sockets.check_socket_folder(folder, ServerUser("other", os.geteuid() + 1, 1))
    sockets.remove_socket_folder(tmp_path)
    assert not folder.exists()


def test_without_a_common_folder_the_temporary_one_holds_the_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "_COMMON_FOLDER", str(tmp_path / "missing"))
    short = Path(tempfile.mkdtemp(dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    folder = sockets.make_socket_folder(tmp_path, OURSELVES)
    assert folder.parent == short
    sockets.remove_socket_folder(tmp_path)
    short.rmdir()


def test_a_temporary_folder_with_a_long_path_cannot_hold_the_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(sockets, "_COMMON_FOLDER", str(tmp_path / "missing"))
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(ServerUnavailable, match="under 107 bytes"):
        sockets.make_socket_folder(tmp_path, OURSELVES)
