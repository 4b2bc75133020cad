"""`tollbook audit`: is everything that the ledger says true, and what was true at some point."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tollbook.cli_support import Subparsers, add_command, add_group, emit
from tollbook.errors import EXIT_DIFFERENCES, EXIT_DONE

from entrypoints.cli.options import Bars, add_ledger_options, progress, settings_of

if TYPE_CHECKING:
    from application.auditing import AuditReport
    from application.expecting import Expectation
    from application.replaying import ReplayReport, Target
    from entrypoints.bootstrap import Database


def register(subparsers: Subparsers) -> None:
    """Add the commands to the console script."""
    group = add_group(subparsers, "audit", "Verify the ledger, or replay it.")
    verifying = add_command(
        group,
        "verify",
        "Recompute every hash, charge, balance and view from the stored events; list what differs.",
        verify,
        examples=(
            "tollbook audit verify --data ./ledger",
            "tollbook audit verify --database postgresql:///tollbook --expect 4096:9f86d0...",
        ),
    )
    verifying.add_argument(
        "--expect",
        action="append",
        default=[],
        metavar="POSITION:ROOT",
        help="a root that was written down before (may be given several times)",
    )
    add_ledger_options(verifying)
    replaying = add_command(
        group,
        "replay",
        "Fold the events up to a position or a time, and hash the state there.",
        replay,
        examples=(
            "tollbook audit replay --data ./ledger",
            "tollbook audit replay --data ./ledger --to 4096",
            "tollbook audit replay --data ./ledger --to 2025-01-31T23:59:59Z",
        ),
    )
    replaying.add_argument(
        "--to", metavar="POSITION_OR_TIME", help="where to stop (default: the last event)"
    )
    add_ledger_options(replaying)


def verify(args: argparse.Namespace) -> int:
    """Verify a ledger and report; exit 1 when something differs."""
    from application.expecting import parse_expectation
    from entrypoints.bootstrap import open_database

    expected = [parse_expectation(text) for text in args.expect]
    with open_database(settings_of(args), create=False) as database, progress() as bars:
        report = run_audit(database, expected, bars)
    emit(args, report.document(), _told(report))
    return EXIT_DONE if report.ok else EXIT_DIFFERENCES


def run_audit(
    database: "Database", expected: "Sequence[Expectation]" = (), bars: Bars | None = None
) -> "AuditReport":
    """Verify the ledger in a database; other commands call this as well."""
    from tollbook.recompute import Recomputation

    from adapters.event_store.audit_reader import audit_reader
    from application.auditing import verify as verify_ledger
    from entrypoints.projecting import compare
    from entrypoints.tuning import tune

    tune()
    bars = bars or Bars(None)
    with audit_reader(database.app_url) as reader:
        advance = bars.start("Verify", reader.position())
        return verify_ledger(
            reader,
            lambda differ: Recomputation(differ, whole=True),
            expected,
            advance,
            lambda: compare(database, bars.start),
        )


def replay(args: argparse.Namespace) -> int:
    """Replay a ledger and report the state it comes to."""
    from application.replaying import Target, parse_target
    from entrypoints.bootstrap import open_database

    target = Target() if args.to is None else parse_target(args.to)
    with open_database(settings_of(args), create=False) as database, progress() as bars:
        report = run_replay(database, target, bars)
    document = report.document()
    width = max(map(len, document))
    lines = [f"{name.replace('_', ' '):<{width}}  {value}" for name, value in document.items()]
    emit(args, document, "\n".join(lines))
    return EXIT_DONE


def run_replay(
    database: "Database", target: "Target | None" = None, bars: Bars | None = None
) -> "ReplayReport":
    """Replay the ledger in a database; other commands call this as well."""
    from adapters.event_store.audit_reader import audit_reader
    from application.replaying import replay as replay_ledger
    from entrypoints.folding import PROCESSES_FROM, fold_in_processes
    from entrypoints.tuning import tune

    tune()
    with audit_reader(database.app_url) as reader:
        size = reader.position()
        advance = (bars or Bars(None)).start("Replay", size)
        fold = fold_in_processes(database.app_url, advance) if size >= PROCESSES_FROM else None
        return replay_ledger(reader, target, advance, fold)


def _told(report: "AuditReport") -> str:
    """Say what an audit found, for a person."""
    facts = [
        f"position    {report.position}",
        f"root        {report.root}",
        f"state hash  {report.state_hash}",
    ]
    size = f"{report.events:,} events of {report.customers:,} customers"
    if report.ok:
        return "\n".join([f"Clean: {size} verified, no difference.", *facts])
    listed = report.differences
    lines = [f"{report.differences_total:,} differences in {size}:"]
    for difference in listed:
        lines.append(f"  at {difference.position}: {difference.what}")
        lines.append(f"      expected  {difference.expected}")
        lines.append(f"      found     {difference.found}")
    if report.differences_total > len(listed):
        lines.append(f"  ... and {report.differences_total - len(listed):,} more")
    return "\n".join([*lines, *facts])
