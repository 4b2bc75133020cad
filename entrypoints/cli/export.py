"""`tollbook export`: usage, charges, balances and the journal, as files for other programs."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tollbook.cli_support import Subparsers, add_command, emit
from tollbook.errors import EXIT_DONE, Invalid

from entrypoints.cli.options import Bars, add_ledger_options, progress, settings_of

if TYPE_CHECKING:
    from entrypoints.bootstrap import Database
    from projections.exports.writing import Export

WHATS = ("usage", "charges", "balances", "journal")
FORMATS = ("csv", "jsonl", "parquet")
STANDARD_OUTPUT = "-"


def register(subparsers: Subparsers) -> None:
    """Add the command to the console script."""
    parser = add_command(
        subparsers,
        "export",
        "Write usage, charges, balances or the journal as of a position; the same position "
        "gives the same bytes.",
        export,
        examples=(
            "tollbook export charges --format csv --out charges.csv --data ./ledger",
            "tollbook export balances --format jsonl --out - --at 4096 --data ./ledger",
            "tollbook export journal --format parquet --out journal.parquet --json",
        ),
    )
    parser.add_argument("what", choices=WHATS, metavar="WHAT", help=", ".join(WHATS))
    parser.add_argument("--format", choices=FORMATS, required=True, help="how to write it")
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="the file to write, or - (not parquet)"
    )
    parser.add_argument(
        "--at", metavar="POSITION", help="as of this position (default: the ledger's newest)"
    )
    add_ledger_options(parser)


def export(args: argparse.Namespace) -> int:
    """Write one export and say what was written."""
    from entrypoints.bootstrap import open_database

    to_standard_output = args.out == STANDARD_OUTPUT
    if to_standard_output and (args.json or args.format == "parquet"):
        with_it = "parquet" if args.format == "parquet" else "--json"
        raise Invalid.because("out", args.out, f"a file, together with {with_it}")
    position = _position(args.at)
    with open_database(settings_of(args), create=False) as database, progress() as bars:
        written = run_export(database, args.what, args.format, args.out, position, bars)
    if not to_standard_output:
        document = {"file": args.out, **written._asdict()}
        emit(args, document, _told(written, args.out))
    return EXIT_DONE


def _position(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Invalid.because("at", text, "a position of the ledger")
    return int(text)


def run_export(
    database: "Database",
    what: str,
    format: str,
    out: str,
    position: int | None = None,
    bars: Bars | None = None,
) -> "Export":
    """Bring the views up to date, and write an export of them; other commands call this as well."""
    from contextlib import closing

    from adapters.event_store.log_reader import LogReader
    from adapters.event_store.store import APPLICATION_ROLE
    from adapters.postgres import connect
    from entrypoints.projecting import catch_up
    from projections.checkpoint import position as views_position
    from projections.exports.tables import TABLES
    from projections.exports.writing import Export, snapshot, whole_file

    bars = bars or Bars(None)
    table = TABLES[what]
    with closing(connect(database.app_url, role=APPLICATION_ROLE)) as connection:
        log = LogReader(connection)
        head, _ = log.head()
        wanted = head if position is None else position
        if wanted > head:
            raise Invalid.because("at", wanted, f"at most {head}, the ledger's position")
        behind = max(0, head - views_position(log.run))
        catch_up(database, wanted, bars.start("Project", behind))
        with snapshot(connection, log, table, wanted) as seen:
            advance = bars.start("Export", seen.count() if sys.stderr.isatty() else 0)
            if out == STANDARD_OUTPUT:
                rows, digest = seen.write(format, sys.stdout.buffer, advance)
                sys.stdout.buffer.flush()
                return Export(what, format, rows, wanted, seen.root, digest)
            with whole_file(Path(out)) as target:
                if format == "parquet":
                    rows, digest = seen.write_parquet(target, advance)
                else:
                    with target.open("wb") as file:
                        rows, digest = seen.write(format, file, advance)
            return Export(what, format, rows, wanted, seen.root, digest)


def _told(written: "Export", out: str) -> str:
    """Say what was written, for a person."""
    return "\n".join(
        [
            f"{written.rows:,} rows of {written.what} are in {out}.",
            f"position  {written.position}",
            f"root      {written.root}",
            f"sha256    {written.sha256}",
        ]
    )
