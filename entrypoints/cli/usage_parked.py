"""`tollbook usage parked`, `park` and `release`: records that no rule let be charged at once."""

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tollbook.cli_support import Subparsers, add_command, emit, open_input
from tollbook.errors import EXIT_DONE, Invalid

from entrypoints.cli.options import add_ledger_options, progress

if TYPE_CHECKING:
    from application.tollbook import Tollbook
    from domain.commands import ChargeUsage, ParkUsage
    from entrypoints.cli.listing import Views


def register(group: Subparsers) -> None:
    """Add the commands to the group `usage`."""
    listing = add_command(
        group,
        "parked",
        "List parked usage records, with the reason and the id to release each by.",
        list_parked,
        examples=(
            "tollbook usage parked --data ./ledger",
            "tollbook usage parked --code unknown_model --customer ada --json --data ./ledger",
        ),
    )
    listing.add_argument(
        "--after", type=int, metavar="POSITION", help="only those parked after this position"
    )
    listing.add_argument("--limit", type=int, metavar="N", help="at most this many (default: all)")
    parking = add_command(
        group,
        "park",
        "Park usage records by hand, before they are charged.",
        park,
        examples=(
            "tollbook usage park suspicious.jsonl --reason 'meter under repair' --data ./ledger",
        ),
    )
    parking.add_argument("file", metavar="FILE", help="as `usage send` takes it")
    parking.add_argument("--reason", required=True, help="kept in the ledger for ever")
    parking.add_argument("--each", action="store_true", help="list every record")
    releasing = add_command(
        group,
        "release",
        "Release parked usage records: each is decided again now, and charged once.",
        release,
        examples=(
            "tollbook usage release 5f0c4b1b2f7c4d5f9c51d9f4e3f0a1b2 --data ./ledger",
            "tollbook usage release --all --code unknown_model --data ./ledger",
        ),
    )
    releasing.add_argument("parked", metavar="PARKED_ID", nargs="*", help="as `parked` lists them")
    releasing.add_argument("--all", action="store_true", help="all that are parked")
    releasing.add_argument("--each", action="store_true", help="list every record")
    releasing.add_argument(
        "--id", metavar="ID", dest="command", help="the command's id, when one record is released"
    )
    for parser in (listing, releasing):
        parser.add_argument("--customer", metavar="ID", help="only of this customer")
        parser.add_argument("--model", metavar="NAME", help="only of this model")
        parser.add_argument("--code", help="only those parked for this reason")
    for parser in (listing, parking, releasing):
        add_ledger_options(parser)


def list_parked(args: argparse.Namespace) -> int:
    """List parked records from views that are brought up to date first."""
    from entrypoints.cli.listing import up_to_date
    from entrypoints.cli.usage_tables import parked_text

    with progress() as bars, up_to_date(args, bars) as views:
        items, more = _parked(args, views, after=args.after, limit=args.limit)
        document = {"position": views.position, "parked": items, "next": more}
    emit(args, document, parked_text(document))
    return EXIT_DONE


def _parked(
    args: argparse.Namespace, views: "Views", *, after: int | None = None, limit: int | None = None
) -> tuple[list[dict[str, Any]], Any]:
    """Read the parked records that the options ask for."""
    from entrypoints.cli.acting import given
    from entrypoints.cli.listing import walk
    from projections import parked

    asked = given(args, "customer", "model", "code")
    return walk(parked.page, views, after=after, limit=limit, status="parked", **asked)


def park(args: argparse.Namespace) -> int:
    """Park the records of a file by hand; exit 3 when one was refused."""
    from entrypoints.cli.acting import opened
    from entrypoints.cli.records import entries
    from entrypoints.cli.sending import Tally, send_records
    from entrypoints.cli.tables import shown_name
    from entrypoints.cli.usage import bar_over
    from entrypoints.cli.usage_tables import sent_text

    tally = Tally(("accepted", "duplicate", "parked", "refused"), every=args.each)
    with open_input(args.file) as file, opened(args) as tollbook, progress() as bars:
        found = entries(file, shown_name(args.file))
        advance = bar_over(bars, "Park", args.file)
        send_records(
            tollbook, found, tally, advance, lambda command: _by_hand(command, args.reason)
        )
    document = {"file": args.file, **tally.document()}
    emit(args, document, sent_text(document))
    return tally.exit_code()


def _by_hand(command: "ChargeUsage", reason: str) -> "ParkUsage":
    """Turn the command that would charge a record into the one that parks it."""
    from domain.commands import ParkUsage, parse, wire_body

    parked = parse(ParkUsage.KIND, {"id": command.id, **wire_body(command), "reason": reason})
    assert isinstance(parked, ParkUsage)
    return parked


def release(args: argparse.Namespace) -> int:
    """Release parked records; exit 3 when one still cannot be charged, and stays parked."""
    from entrypoints.cli.acting import opened
    from entrypoints.cli.sending import Tally
    from entrypoints.cli.usage_tables import released_text

    _check_release(args)
    tally = Tally(("released", "refused"), every=args.each)
    names = list(args.parked)
    if args.all:
        names = [each["parked"] for each in _all_parked(args)]
    with opened(args) as tollbook, progress() as bars:
        advance = bars.start("Release", len(names))
        for result in _releases(tollbook, names, args.command):
            tally.add(result, quiet=result["status"] == "released")
            advance(1)
    document = tally.document()
    emit(args, document, released_text(document))
    return tally.exit_code()


def _check_release(args: argparse.Namespace) -> None:
    """Refuse options that do not belong together, before anything is released."""
    if args.all == bool(args.parked):
        raise Invalid("name parked records, or say --all", code="usage", field="parked")
    filters = (args.customer, args.model, args.code)
    if not args.all and filters != (None, None, None):
        raise Invalid("--customer, --model and --code belong to --all", code="usage", field="code")
    if args.command is not None and len(args.parked) != 1:
        raise Invalid("--id is for one record: name that alone", code="usage", field="id")


def _all_parked(args: argparse.Namespace) -> list[dict[str, Any]]:
    from entrypoints.cli.listing import up_to_date

    with progress() as bars, up_to_date(args, bars) as views:
        return _parked(args, views)[0]


def _releases(
    tollbook: "Tollbook", names: Sequence[str], command: str | None
) -> Iterator[dict[str, Any]]:
    """Release records in batches, and yield what became of each."""
    from tollbook.client.ids import new_id

    from domain.commands import parse
    from entrypoints.cli.sending import BATCH, decide

    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        commands = [
            parse("release_usage", {"id": command or new_id("rlu"), "parked": name})
            for name in batch
        ]
        for name, answer in zip(batch, decide(tollbook, commands, start), strict=True):
            problem = answer.problem()
            if problem is None:
                yield {"status": "released", **answer.result(), "repeated": answer.repeated}
                continue
            shown = problem.problem()
            yield {"status": "refused", "id": answer.id, "parked": name, "problem": shown}
