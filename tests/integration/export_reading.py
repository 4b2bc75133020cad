"""Writing exports in tests, and reading them back as another program would."""

import csv
import hashlib
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from entrypoints.cli.export import run_export
from tests.support.databases import TestDatabase

Items = list[dict[str, Any]]


def written(
    database: TestDatabase, folder: Path, what: str, format: str, at: int | None = None
) -> bytes:
    """Write one export and return its bytes, having checked what was said of it."""
    path = folder / f"{what}.{format}"
    said = run_export(database.parts, what, format, str(path), at)
    data = path.read_bytes()
    assert said.sha256 == hashlib.sha256(data).hexdigest()
    assert said.rows == len(read_back(path, format))
    assert [each.name for each in folder.iterdir() if each.name.startswith(".")] == []
    return data


def read_back(path: Path, format: str) -> Items:
    """Read an export as another program would."""
    if format == "csv":
        with path.open(encoding="utf-8", newline="") as file:
            assert file.readline().startswith("# tollbook export ")
            return list(csv.DictReader(file))
    if format == "jsonl":
        lines = path.read_text(encoding="utf-8").split("\n")
        assert lines[-1] == ""
        return [json.loads(line, parse_float=Decimal) for line in lines[1:-1]]
    with duckdb.connect() as reader:
        found = reader.execute("SELECT * FROM read_parquet(?)", [str(path)])
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def exported(
    database: TestDatabase, folder: Path, what: str, format: str, at: int | None = None
) -> Items:
    """Write an export and read it back."""
    written(database, folder, what, format, at)
    return read_back(folder / f"{what}.{format}", format)
