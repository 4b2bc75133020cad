"""`tollbook usage`: what was used, sending usage records, and those that were parked."""

import argparse
from collections.abc import Callable
from pathlib import Path

from tollbook.cli_support import Subparsers, add_command, add_group, emit, open_input
from tollbook.errors import EXIT_DONE

from entrypoints.cli import usage_parked
from entrypoints.cli.options import Bars, add_ledger_options, progress


def register(subparsers: Subparsers) -> None:
    """Add the commands to the console script."""
    group = add_group(subparsers, "usage", "Look at usage, send records, and release parked ones.")
    listing = add_command(
        group,
        "list",
        "List what was used and charged, by customer, model and day.",
        list_usage,
        examples=(
            "tollbook usage list --data ./ledger",
            "tollbook usage list --customer ada --from 2026-01-01 --to 2026-01-31 --data ./ledger",
        ),
    )
    listing.add_argument("--customer", metavar="ID", help="only of this customer")
    listing.add_argument("--model", metavar="NAME", help="only of this model")
    listing.add_argument("--from", metavar="DAY", dest="from_day", help="YYYY-MM-DD, inclusive")
    listing.add_argument("--to", metavar="DAY", dest="to_day", help="YYYY-MM-DD, inclusive")
    listing.add_argument("--after", metavar="CURSOR", help="go on behind this, as a list gave it")
    listing.add_argument("--limit", type=int, metavar="N", help="at most this many (default: all)")
    sending = add_command(
        group,
        "send",
        "Send usage records: charged on their reservation or directly, or parked.",
        send,
        examples=(
            "tollbook usage send records.jsonl --data ./ledger",
            "tollbook usage send - --each --json --data ./ledger < batch.json",
        ),
    )
    sending.add_argument(
        "file",
        metavar="FILE",
        help="CloudEvents as one JSON object, a JSON list or JSON Lines; - for standard input",
    )
    sending.add_argument(
        "--each", action="store_true", help="list every record, not only parked and refused ones"
    )
    for parser in (listing, sending):
        add_ledger_options(parser)
    usage_parked.register(group)


def list_usage(args: argparse.Namespace) -> int:
    """List usage from views that are brought up to date first."""
    from entrypoints.cli.acting import given
    from entrypoints.cli.listing import up_to_date, walk
    from entrypoints.cli.usage_tables import usage_text
    from projections import usage

    asked = given(args, "customer", "model", "from_day", "to_day")
    with progress() as bars, up_to_date(args, bars) as views:
        items, more = walk(usage.page, views, after=args.after, limit=args.limit, **asked)
        document = {"position": views.position, "usage": items, "next": more}
    emit(args, document, usage_text(document))
    return EXIT_DONE


def send(args: argparse.Namespace) -> int:
    """Send the records of a file; exit 3 when one was refused."""
    from entrypoints.cli.acting import opened
    from entrypoints.cli.records import entries
    from entrypoints.cli.sending import Tally, send_records
    from entrypoints.cli.tables import shown_name
    from entrypoints.cli.usage_tables import sent_text

    tally = Tally(("accepted", "duplicate", "parked", "refused"), every=args.each)
    with open_input(args.file) as file, opened(args) as tollbook, progress() as bars:
        advance = bar_over(bars, "Send", args.file)
        send_records(tollbook, entries(file, shown_name(args.file)), tally, advance)
    document = {"file": args.file, **tally.document()}
    emit(args, document, sent_text(document))
    return tally.exit_code()


def bar_over(bars: Bars, label: str, path: str) -> Callable[[int], None]:
    """Start a bar over the bytes of a file; standard input has no end to show."""
    return bars.start(f"{label} (bytes)", None if path == "-" else Path(path).stat().st_size)
