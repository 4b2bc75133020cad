"""Exports as files: whatever callers wrote comes through, and a file is whole or not there."""

import hashlib
import io
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from tollbook.errors import Invalid, Unavailable

from entrypoints.cli.export import FORMATS, WHATS, run_export
from projections.exports.tables import TABLES
from tests.integration.audit_workload import Rows
from tests.integration.export_reading import exported, written
from tests.support.databases import ASKED, TestDatabase, fresh_database, server_of
from tests.support.ledger import MODEL, USAGE, a_customer, open_ledger
from tests.support.servers import Server
from tests.support.views import random_rows, store_rows


@pytest.fixture(scope="module", params=ASKED)
def server(request: pytest.FixtureRequest) -> Server:
    """Run the tests of this file on both servers."""
    return server_of(request)


@pytest.fixture(scope="module")
def empty(server: Server) -> Iterator[TestDatabase]:
    """Make one empty ledger for all tests that only export it."""
    with fresh_database(server) as made:
        yield made


@pytest.fixture(scope="module")
def rows(seed: int) -> Rows:
    """Return the events of a random ledger."""
    return random_rows(seed)


@pytest.fixture(scope="module")
def filled(server: Server, rows: Rows) -> Iterator[TestDatabase]:
    """Make one database with the random ledger for all tests that only export it."""
    with fresh_database(server) as made:
        store_rows(made, rows)
        yield made


@pytest.fixture(params=FORMATS)
def format(request: pytest.FixtureRequest) -> str:
    """Run the test once for each format."""
    return str(request.param)


NASTY = [
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2",
    "@SUM(A1)",
    "\uff1dSUM(A1)",
    "\uff0b1",
    "\uff0d1",
    "\uff20A1",
    "\tindented",
    "\rreturned",
    "\nbroken",
    "'quoted",
    'with "quotes", commas\nand lines',
    "\\N",
    "\\.",
    "{\\}",
    "ünïcödé \U0001f600 \u2028",
    " spaced ",
    "NULL",
]


@pytest.fixture(scope="module")
def nasty(server: Server) -> Iterator[TestDatabase]:
    """Charge usage whose ids and sources hold whatever a caller may write."""
    with fresh_database(server) as made:
        with open_ledger(made) as ledger:
            customer = a_customer(ledger)
            for number, text in enumerate(NASTY):
                body = {"customer": customer, "model": MODEL, "usage": USAGE}
                at = {"occurred_at": f"2024-01-01T00:00:00.{number:06d}Z"}
                ledger.run("usage", {"id": text, "source": text, **body, **at}).result()
        yield made


def test_whatever_a_caller_wrote_comes_back_from_every_format(
    nasty: TestDatabase, tmp_path: Path, format: str
) -> None:
    found = exported(nasty, tmp_path, "charges", format)
    shown = [(item["source"], item["id"]) for item in found]
    if format == "csv":
        shown = [(without_guard(source), without_guard(name)) for source, name in shown]
    assert shown == [(text, text) for text in NASTY]


def without_guard(text: str) -> str:
    """Undo the apostrophe that keeps a spreadsheet from taking a text for a formula."""
    return text.removeprefix("'")


def test_no_text_in_a_csv_begins_like_a_formula(nasty: TestDatabase, tmp_path: Path) -> None:
    found = exported(nasty, tmp_path, "charges", "csv")
    starts = {item[name][0] for item in found for name in ("source", "id")}
    assert not starts & set("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
    assert {item["id"] for item in found} > {"'=cmd|' /C calc'!A0", "'-2", "''quoted", "NULL"}


def test_an_empty_ledger_has_exports_without_rows(
    empty: TestDatabase, tmp_path: Path, format: str
) -> None:
    for what in WHATS:
        assert exported(empty, tmp_path, what, format) == []


def test_a_position_that_is_to_come_is_refused_and_leaves_the_old_file(
    filled: TestDatabase, rows: Rows, tmp_path: Path
) -> None:
    path = tmp_path / "usage.csv"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(Invalid):
        run_export(filled.parts, "usage", "csv", str(path), len(rows) + 1)
    assert [each.name for each in tmp_path.iterdir()] == ["usage.csv"]
    assert path.read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize("out", ["missing/usage.csv", "folder"])
def test_a_file_that_cannot_be_written_is_refused(
    empty: TestDatabase, tmp_path: Path, out: str, format: str
) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(Invalid) as refused:
        run_export(empty.parts, "usage", format, str(tmp_path / out))
    assert refused.value.facts["field"] == "out"


def test_an_export_that_fails_half_way_leaves_the_old_file_and_nothing_else(
    filled: TestDatabase, tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"journal.{format}"
    path.write_text("old", encoding="utf-8")
    written_as_wrong = TABLES["journal"]._replace(
        rows=TABLES["journal"].rows.replace("SELECT *", "SELECT *, 1 / (position - 20) AS boom")
    )
    monkeypatch.setitem(TABLES, "journal", written_as_wrong)
    with pytest.raises(Exception, match=r"division by zero|column"):
        run_export(filled.parts, "journal", format, str(path))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_text(encoding="utf-8") == "old"


def test_an_export_past_an_event_that_a_view_lacks_is_refused(
    server: Server, rows: Rows, tmp_path: Path
) -> None:
    """Better no file than one that is not whole."""
    with fresh_database(server) as made:
        store_rows(made, rows)
        assert_refused(made, len(rows) // 2, tmp_path)


def assert_refused(filled: TestDatabase, lacking: int, tmp_path: Path) -> None:
    """Check that everything is exported but what holds an event that is lacking."""
    written(filled, tmp_path, "usage", "csv")
    filled.query(
        "INSERT INTO views.parked_events (position, model, name, error, traceback) "
        "VALUES (%s, 'charges', 'usage_charged', 'boom', '')",
        lacking,
    )
    with pytest.raises(Unavailable, match="would not be whole"):
        written(filled, tmp_path, "usage", "csv")
    written(filled, tmp_path, "usage", "csv", lacking - 1)
    written(filled, tmp_path, "journal", "csv")


def test_a_new_file_has_the_rights_that_new_files_have(empty: TestDatabase, tmp_path: Path) -> None:
    kept = os.umask(0o027)
    try:
        written(empty, tmp_path, "usage", "csv")
    finally:
        os.umask(kept)
    assert (tmp_path / "usage.csv").stat().st_mode & 0o777 == 0o640


def test_a_file_that_is_replaced_keeps_its_rights(
    empty: TestDatabase, tmp_path: Path, format: str
) -> None:
    path = tmp_path / f"usage.{format}"
    path.touch(mode=0o600)
    written(empty, tmp_path, "usage", format)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_disk_without_room_leaves_the_old_file_and_nothing_else(
    filled: TestDatabase, tmp_path: Path, format: str
) -> None:
    path = tmp_path / f"journal.{format}"
    path.write_text("old", encoding="utf-8")
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
    try:
        with pytest.raises(Unavailable, match="could not be written"):
            run_export(filled.parts, "journal", format, str(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_text(encoding="utf-8") == "old"


def test_a_text_export_can_be_streamed_to_standard_output(
    filled: TestDatabase, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    data = written(filled, tmp_path, "journal", "csv")
    stream = io.BytesIO()
    said = run_export(filled.parts, "journal", "csv", "-")
    stream.write(capfdbinary.readouterr().out)
    assert stream.getvalue() == data
    assert said.sha256 == hashlib.sha256(data).hexdigest()
