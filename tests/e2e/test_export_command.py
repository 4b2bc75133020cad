"""`tollbook export` from outside: files, standard output, what it says, and its exit codes."""

import csv
import hashlib
import io
import json
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from tests.support.shell import Shell

PAIRS = 40


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Run the demo on a ledger of its own; every test exports from it."""
    made = Shell(tmp_path_factory.mktemp("export") / "ledger")
    made.json("demo", "--limit", str(PAIRS), "--customers", "3")
    return made


def test_an_export_says_what_it_wrote(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "charges.csv"
    said = shell.json("export", "charges", "--format", "csv", "--out", str(path))
    data = path.read_bytes()
    rows = list(csv.DictReader(io.StringIO(data.decode().split("\n", 1)[1])))
    assert said == {
        "file": str(path),
        "what": "charges",
        "format": "csv",
        "rows": PAIRS,
        "position": said["position"],
        "root": said["root"],
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    assert len(rows) == PAIRS
    audited = shell.json("audit", "verify", "--expect", f"{said['position']}:{said['root']}")
    assert audited["ok"]


def test_a_person_reads_how_many_rows_there_are_and_where(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "journal.parquet"
    told = shell.text("export", "journal", "--format", "parquet", "--out", str(path))
    assert told.startswith(f"{_count(path):,} rows of journal are in {path}.\n")
    assert "position  " in told
    assert "root      " in told


def _count(path: Path) -> int:
    with duckdb.connect() as reader:
        row = reader.execute("SELECT count(*) FROM read_parquet(?)", [str(path)]).fetchone()
    assert row is not None
    return int(row[0])


def test_the_past_can_be_exported(shell: Shell, tmp_path: Path) -> None:
    path = str(tmp_path / "balances.jsonl")
    asked = ("export", "balances", "--format", "jsonl", "--out", path)
    assert shell.json(*asked, "--at", "4")["rows"] < shell.json(*asked)["rows"] == 3
    lines = [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]
    assert Decimal(lines[1]["granted"]) == 10_000


def test_standard_output_carries_the_export_alone(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    shell.json("export", "usage", "--format", "csv", "--out", str(path))
    assert shell.text("export", "usage", "--format", "csv", "--out", "-") == path.read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("usage", "--format", "csv", "--out", "-"), "out"),
        (("usage", "--format", "parquet", "--out", "-"), "out"),
        (("usage", "--format", "csv", "--out", "x.csv", "--at", "999999"), "at"),
        (("usage", "--format", "csv", "--out", "x.csv", "--at", "-1"), "at"),
        (("usage", "--format", "csv", "--out", "x.csv", "--at", "today"), "at"),
        (("usage", "--format", "csv", "--out", "nowhere/x.csv"), "out"),
    ],
)
def test_what_cannot_be_exported_is_wrong_usage(
    shell: Shell, arguments: tuple[str, ...], field: str
) -> None:
    assert shell.json("export", *arguments, code=2)["field"] == field


@pytest.mark.parametrize("arguments", [("prices", "--format", "csv"), ("usage", "--format", "xls")])
def test_only_what_is_there_can_be_asked_for(shell: Shell, arguments: tuple[str, ...]) -> None:
    assert shell.run("export", *arguments, "--out", "x").code == 2
