"""Exports: exact as of any position, the same bytes wherever and whenever they are written.

Every file is read back by another program's reader and compared with the log.
"""

import json
import random
import re
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import duckdb
import psycopg
import pytest
from tollbook.amounts import format_pico
from tollbook.merkle import root_of

from adapters.event_store.mapper import leaf_hash, recorded_from
from domain.balance import view
from domain.events import ReservationSettled, UsageCharged
from domain.inferences import facts_of
from entrypoints.cli.export import FORMATS, WHATS
from entrypoints.projecting import rebuild
from projections.exports.tables import AMOUNTS, TABLES, Kind
from tests.integration.audit_workload import Rows
from tests.integration.export_reading import exported, written
from tests.support.databases import TestDatabase, fresh_database
from tests.support.servers import plain_server
from tests.support.views import folded, random_rows, store_rows


@pytest.fixture
def rows(seed: int) -> Rows:
    """Return the events of a random ledger."""
    return random_rows(seed)


@pytest.fixture
def filled(database: TestDatabase, rows: Rows) -> TestDatabase:
    """Return a database that holds the random ledger; nothing is projected yet."""
    store_rows(database, rows)
    return database


def test_exports_at_a_position_are_those_of_a_ledger_that_ends_there(
    filled: TestDatabase, rows: Rows, seed: int, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """The past is exact: later events change nothing, and another database gives the same."""
    cut = random.Random(seed).randint(len(rows) // 4, len(rows) - 1)
    with fresh_database(plain_server(pytestconfig)) as shorter:
        store_rows(shorter, rows[:cut])
        for what in WHATS:
            for format in FORMATS:
                then = written(shorter, tmp_path, what, format)
                assert written(filled, tmp_path, what, format, cut) == then, (what, format)


def test_the_same_position_gives_the_same_bytes_again_and_after_a_rebuild(
    filled: TestDatabase, tmp_path: Path
) -> None:
    kinds = [(what, format) for what in WHATS for format in FORMATS]
    first = {kind: written(filled, tmp_path, *kind) for kind in kinds}
    assert {kind: written(filled, tmp_path, *kind) for kind in kinds} == first
    rebuild(filled.parts)
    assert {kind: written(filled, tmp_path, *kind) for kind in kinds} == first


@pytest.mark.parametrize("setting", ["datestyle = 'SQL, DMY'", "timezone = 'Asia/Tokyo'"])
def test_the_settings_of_a_database_change_no_byte(
    filled: TestDatabase, tmp_path: Path, setting: str
) -> None:
    kinds = [(what, format) for what in WHATS for format in FORMATS]
    first = {kind: written(filled, tmp_path, *kind) for kind in kinds}
    ((name,),) = filled.query("SELECT current_database()")
    with psycopg.connect(filled.super_url, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" SET {setting}'.encode())
    assert {kind: written(filled, tmp_path, *kind) for kind in kinds} == first


def test_every_export_names_its_position_and_the_root_of_the_log(
    filled: TestDatabase, rows: Rows, tmp_path: Path
) -> None:
    position = len(rows) // 2
    leaves = [leaf_hash(recorded_from(row), row[13].encode()) for row in rows[:position]]
    root = root_of(leaves).hex()
    text = written(filled, tmp_path, "charges", "csv", position).decode()
    assert text.startswith(f"# tollbook export charges position={position} root={root}\n")
    text = written(filled, tmp_path, "usage", "jsonl", position).decode()
    head = {"export": "usage", "position": position, "root": root}
    assert json.loads(text.split("\n", 1)[0]) == head
    written(filled, tmp_path, "journal", "parquet", position)
    with duckdb.connect() as reader:
        path = str(tmp_path / "journal.parquet")
        found = reader.execute("SELECT key, value FROM parquet_kv_metadata(?)", [path]).fetchall()
    said = {key.decode(): value.decode() for key, value in found}
    assert said == {"export": "journal", "position": str(position), "root": root}


@pytest.fixture(params=FORMATS)
def format(request: pytest.FixtureRequest) -> str:
    """Run the test once for each format."""
    return str(request.param)


def test_balances_are_those_of_the_rules_at_that_instant(
    filled: TestDatabase, rows: Rows, seed: int, tmp_path: Path, format: str
) -> None:
    for position in (random.Random(seed).randint(1, len(rows)), len(rows)):
        found = exported(filled, tmp_path, "balances", format, position)
        names = sorted({row[5] for row in rows[:position] if row[1] == "customer_created"})
        assert [item["customer"] for item in found] == names
        for item in found:
            state = folded(rows, item["customer"], position)
            seen = view(state, rows[position - 1][12])
            for name in AMOUNTS:
                assert Decimal(item[name]) == Decimal(format_pico(getattr(seen, name)))
            assert int(item["events"]) == state.sequence


def test_charges_usage_and_journal_sum_to_what_the_balances_count(
    filled: TestDatabase, rows: Rows, seed: int, tmp_path: Path, format: str
) -> None:
    position = random.Random(seed).randint(len(rows) // 2, len(rows))
    events = [fact for row in rows[:position] for fact in facts_of(recorded_from(row).event)]
    charged = [event for event in events if isinstance(event, ReservationSettled | UsageCharged)]
    charges = exported(filled, tmp_path, "charges", format, position)
    assert len(charges) == len(charged)
    total = Decimal(format_pico(sum(event.charged for event in charged)))
    assert sum(Decimal(item["charged"]) for item in charges) == total
    usage = exported(filled, tmp_path, "usage", format, position)
    assert sum(Decimal(item["charged"]) for item in usage) == total
    assert sum(int(item["charges"]) for item in usage) == len(charged)
    for unit in ("input_tokens", "pages", "gpu_seconds"):
        one = sum(Decimal(item[unit]) for item in charges if item[unit] not in (None, ""))
        assert sum(Decimal(item[unit]) for item in usage) == one
    totals: dict[str, Decimal] = defaultdict(Decimal)
    for line in exported(filled, tmp_path, "journal", format, position):
        totals[line["account"]] += Decimal(line["amount"])
    assert sum(totals.values()) == 0
    revenue = sum(amount for name, amount in totals.items() if name.startswith("revenue:usage:"))
    assert revenue == -total
    balances = exported(filled, tmp_path, "balances", format, position)
    spent = sum(Decimal(item["spent"]) + Decimal(item["receivable"]) for item in balances)
    assert spent == total


def test_every_value_comes_back_the_same_from_every_format(
    filled: TestDatabase, tmp_path: Path
) -> None:
    for what in WHATS:
        as_text, as_json, as_types = (
            exported(filled, tmp_path, what, format) for format in ("csv", "jsonl", "parquet")
        )
        assert len(as_text) == len(as_json) == len(as_types)
        for text, mapping, typed in zip(as_text, as_json, as_types, strict=True):
            assert list(text) == list(mapping) == list(typed)
            for name, kind in TABLES[what].columns:
                if mapping[name] is None:
                    assert (text[name], typed[name]) == ("", None)
                elif kind is Kind.TIME:
                    assert text[name] == mapping[name]
                    assert f"{typed[name]:%Y-%m-%dT%H:%M:%S.%fZ}" == text[name]
                elif kind in (Kind.TEXT, Kind.FREE, Kind.DAY):
                    assert text[name] == mapping[name] == str(typed[name])
                else:
                    assert Decimal(text[name]) == Decimal(mapping[name]) == typed[name]


def test_the_document_names_every_column_in_order() -> None:
    text = (Path(__file__).parents[2] / "docs" / "formats" / "exports.md").read_text("utf-8")
    for what, table in TABLES.items():
        section = text.split(f"\n## {what}\n", 1)[1].split("\n## ")[0]
        cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
        named = re.findall(r"`(\w+)`", " ".join(cells))
        assert named == [column.name for column in table.columns]
