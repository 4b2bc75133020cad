"""Exporting the long ledger's charges, beside a bare COPY of the same rows as they lie."""

import time
from contextlib import closing

from adapters.postgres import connect
from benchmarks.bench import Bench
from benchmarks.long_ledger import long_ledger
from entrypoints.bootstrap import Database
from entrypoints.cli.export import run_export
from entrypoints.projecting import catch_up

_COPY = b"COPY (SELECT * FROM views.charges ORDER BY position) TO STDOUT (FORMAT csv)"


def copied_out(bench: Bench) -> dict[str, float]:
    """Measure what PostgreSQL alone gives: the rows read by COPY and thrown away."""
    database = _projected(bench)
    with closing(connect(database.app_url)) as connection:
        begin = time.perf_counter()
        count = 0
        with connection.cursor().copy(_COPY) as copy:
            for _ in copy:
                count += 1
        return {"export_copy": count / (time.perf_counter() - begin)}


def exports(bench: Bench) -> dict[str, float]:
    """Measure `tollbook export charges` as text and as Parquet, from its start to its file."""
    return {f"export_{format}": _rows_per_second(bench, format) for format in ("csv", "parquet")}


def _rows_per_second(bench: Bench, format: str) -> float:
    database = _projected(bench)
    path = bench.folder / f"charges.{format}"
    begin = time.perf_counter()
    written = run_export(database, "charges", format, str(path))
    seconds = time.perf_counter() - begin
    path.unlink()
    return written.rows / seconds


def _projected(bench: Bench) -> Database:
    """Return the long ledger's database with its views up to date."""
    ledger = long_ledger(bench)
    catch_up(ledger.database, ledger.events)
    return ledger.database
