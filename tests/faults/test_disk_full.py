"""The disk is full: the command is told so, nothing is half-written, and with room it goes on.

Each scenario runs in a process of its own, on a small disk that only this process sees. Where
mounting is not permitted, not even to root over its own namespace, a limit on the size of files
stands in for it (tests/faults/small_disk.py).
"""

import os
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from adapters.postgres import connect
from application import committing
from application.answers import Answer
from application.tollbook import Tollbook
from domain.commands import ChargeUsage
from entrypoints.bootstrap import tollbook_on
from tests.faults.invariants import assert_sound
from tests.faults.own_server import OwnServer
from tests.faults.small_disk import SmallDisk
from tests.integration.embedded_postgres_helpers import ROOT
from tests.support.databases import query
from tests.support.ledger import MODEL, USAGE, a_customer

ROOM = 8 * 2**20
"""How much is free when a scenario begins to write."""


def large(number: int) -> ChargeUsage:
    """Return a command whose event takes more than a kilobyte."""
    return ChargeUsage(
        id=f"{number:x<512}",
        source=f"{number:y<512}",
        customer="cust-1",
        model=MODEL,
        usage=USAGE,
        occurred_at=1_700_000_000_000_000,
    )


def write_until_full(ledger: Tollbook) -> tuple[list[Answer], int]:
    """Write until something is not done; return the last answers and the first number in them."""
    for start in range(0, 100_000, 50):
        answers = ledger.executor.execute([large(start + n) for n in range(50)], timeout=60)
        if {answer.code for answer in answers} != {"done"}:
            return answers, start
    raise AssertionError("the disk was never full")


def assert_told_and_whole(ledger: Tollbook, answers: list[Answer], url: str, start: int) -> None:
    """Check that a failed batch is wholly absent, and that each command was told why."""
    assert {answer.code for answer in answers} == {"unavailable"}
    told = str(answers[0].error)
    assert "No space left" in told or "too large" in told, told
    ids = [large(start + n).id for n in range(50)]
    assert query(url, "SELECT count(*) FROM command_ids WHERE id = ANY(%s)", ids) == [(0,)]
    assert_sound(url)
    assert ledger.balance("cust-1").receivable >= 0, "reading goes on"


def events_on_a_full_disk(folder: Path) -> None:
    """Fill the disk that holds the events alone: the server itself goes on."""
    disk = SmallDisk(folder / "disk", 64)
    with closing(OwnServer(folder / "ledger")) as server:
        _fill_events(server, disk)


def _fill_events(server: OwnServer, disk: SmallDisk) -> None:
    if disk.mounted:
        _move_events(server, disk)
    else:
        server.kill_everything()
    disk.fill(ROOM)
    server.revive()
    with tollbook_on(server.parts) as ledger:
        a_customer(ledger)
        answers, start = write_until_full(ledger)
        assert_told_and_whole(ledger, answers, server.super_url, start)
        again = ledger.executor.one(large(start))
        assert again.code == "unavailable"
        disk.empty()
        if not disk.mounted:  # a limit stays with the processes that inherited it
            server.kill_everything()
            server.revive()
        for number in range(50):
            answer = ledger.executor.one(large(start + number))
            assert answer.code == "done", answer.error
        assert_sound(server.super_url)


def _move_events(server: OwnServer, disk: SmallDisk) -> None:
    """Put the table of events onto the small disk."""
    place = disk.folder / "events"
    place.mkdir()
    owner = (server.folder / "postgres").stat()
    os.chown(place, owner.st_uid, owner.st_gid)
    connection = connect(server.super_url)
    connection.execute(f"CREATE TABLESPACE small LOCATION '{place}'".encode())
    connection.execute("ALTER TABLE events SET TABLESPACE small")
    connection.close()


def everything_on_a_full_disk(folder: Path) -> None:
    """Fill the disk that also holds the write-ahead log: the server stops, and comes back."""
    committing.PATIENCE_SECONDS = 2.0
    disk = SmallDisk(folder / "disk", 256)
    place = folder / "disk" if disk.mounted else folder
    with closing(OwnServer(place / "ledger")) as server:
        _fill_everything(server, disk)


def _fill_everything(server: OwnServer, disk: SmallDisk) -> None:
    server.kill_everything()
    disk.fill(3 * ROOM)
    server.revive()
    with tollbook_on(server.parts) as ledger:
        a_customer(ledger)
        answers, start = write_until_full(ledger)
        assert {answer.code for answer in answers} <= {"unavailable", "unknown"}
        disk.empty()
        if not disk.mounted:
            server.kill_everything()
        server.revive()
        codes = [answer.code for answer in answers]
        ids = [large(start + n).id for n in range(50)]
        stored = query(server.super_url, "SELECT count(*) FROM command_ids WHERE id = ANY(%s)", ids)
        assert stored == [(0,)] or (stored == [(50,)] and set(codes) == {"unknown"})
        assert_sound(server.super_url)
        for number in range(50):
            answer = ledger.executor.one(large(start + number))
            assert answer.code == "done", answer.error
        assert_sound(server.super_url)


SCENARIOS = {"events": events_on_a_full_disk, "everything": everything_on_a_full_disk}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_full_disk_is_told_and_nothing_is_half_written(scenario: str) -> None:
    with tempfile.TemporaryDirectory(prefix="tollbook-disk-") as folder:
        Path(folder).chmod(0o755)  # the server's user has to walk to the small disk
        (Path(folder) / "disk").mkdir()
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.test_disk_full", scenario, folder],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr


if __name__ == "__main__":
    SCENARIOS[sys.argv[1]](Path(sys.argv[2]))
