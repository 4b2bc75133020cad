"""`tollbook demo`: the main job, end to end, on an embedded ledger."""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tollbook.cli_support import Subparsers, add_command, print_json
from tollbook.errors import EXIT_DIFFERENCES, EXIT_DONE, Invalid

if TYPE_CHECKING:
    from entrypoints.bootstrap import Database
    from entrypoints.cli.options import Bars
    from entrypoints.demo.summary import Result
    from entrypoints.demo.trace import Row

CUSTOMERS_MAX = 100_000


def register(subparsers: Subparsers) -> None:
    """Add the command to the console script."""
    parser = add_command(
        subparsers,
        "demo",
        "Reserve and settle every inference of a trace on an embedded ledger, then audit it.",
        run,
        examples=(
            "tollbook demo",
            "tollbook demo --trace trace.csv --customers 50",
            "tollbook demo --data ./ledger --json",
        ),
    )
    parser.add_argument(
        "--trace",
        metavar="FILE",
        help="CSV with the header TIMESTAMP,ContextTokens,GeneratedTokens (default: a seeded one)",
    )
    parser.add_argument(
        "--customers", type=_count, default=20, metavar="N", help="how many share it (default 20)"
    )
    parser.add_argument("--limit", type=_count, metavar="N", help="only the first N rows")
    parser.add_argument("--data", metavar="DIR", help="keep the ledger in this new folder")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= 10**8:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text[:9])


def run(args: argparse.Namespace) -> int:
    """Carry the demo out and report; exit 1 when the audit found differences."""
    from rich.console import Console

    from entrypoints.demo.summary import document, show
    from entrypoints.demo.trace import read_trace, seeded_trace

    if args.customers > CUSTOMERS_MAX:
        raise Invalid.because("customers", args.customers, f"at most {CUSTOMERS_MAX}")
    if args.trace:
        rows, source = read_trace(Path(args.trace), args.limit), f"trace {Path(args.trace).name}"
    else:
        rows, source = seeded_trace(args.limit), "seeded workload (no --trace given)"
    with _folder(args.data) as folder:
        result = _demo(folder, rows, args.customers)
    result = result._replace(source=source, data=args.data)
    if args.json:
        print_json(document(result))
    else:
        show(result, Console())
    return EXIT_DONE if result.audit["ok"] else EXIT_DIFFERENCES


@contextmanager
def _folder(data: str | None) -> Iterator[Path]:
    """Use the folder that was named, if it holds no ledger yet, or a temporary one."""
    from adapters.embedded_postgres.server import is_ledger_dir

    if data is None:
        with tempfile.TemporaryDirectory(
            prefix="tollbook-demo-", ignore_cleanup_errors=True
        ) as name:
            yield Path(name) / "ledger"
        return
    if is_ledger_dir(Path(data)):
        raise Invalid(f"{data} already holds a ledger: name a new folder", field="data", value=data)
    yield Path(data)


def _demo(folder: Path, rows: "list[Row]", customers: int) -> "Result":
    from entrypoints.bootstrap import open_database
    from entrypoints.cli.options import progress
    from entrypoints.settings import Settings

    with open_database(Settings(data=folder)) as database, progress() as bars:
        advance = bars.start("Reserve and settle", len(rows))
        partial = _reserve_and_settle(database, rows, customers, advance)
        return _audited(database, partial, bars)


def _reserve_and_settle(
    database: "Database", rows: "list[Row]", customers: int, advance: Callable[[int], None]
) -> "Result":
    from entrypoints.bootstrap import license_desk, tollbook_on
    from entrypoints.cli.acting import reading
    from entrypoints.demo import job, licenses
    from entrypoints.demo.summary import Result
    from entrypoints.demo.trace import duration_seconds

    with tollbook_on(database, "trace") as tollbook:
        desk = license_desk(database, reading(tollbook))
        job.set_up(tollbook, desk, customers, rows[0].at)
        started = time.monotonic()
        outcome = job.run(tollbook, rows, customers, advance)
        seconds = time.monotonic() - started
        first = job.customer_id(0)
        revoked = licenses.revoke_one(tollbook, desk, first, job.MODEL, rows[-1].at)
        balances = {name: tollbook.balance(name) for name in outcome.customers}
        blocked = [name for name in balances if tollbook.balance_state(name).block is not None]
        position = tollbook.executor.position
    return Result(
        len(rows),
        outcome,
        balances,
        blocked,
        position,
        "",
        "",
        {},
        seconds,
        duration_seconds(rows),
        "",
        revoked,
        None,
    )


def _audited(database: "Database", partial: "Result", bars: "Bars") -> "Result":
    from entrypoints.cli.audit import run_audit

    report = run_audit(database, bars=bars)
    return partial._replace(audit=report.document(), root=report.root, state_hash=report.state_hash)
