"""`tollbook fraud`: the cases to review, what made each of them, and verdicts."""

import argparse
from typing import Any

from tollbook.cli_support import Subparsers, add_command, add_group, emit
from tollbook.errors import EXIT_DONE, NotFound

from entrypoints.cli.options import add_ledger_options, progress

STATUSES = ("flagged", "cleared", "confirmed")


def register(subparsers: Subparsers) -> None:
    """Add the commands to the console script."""
    group = add_group(subparsers, "fraud", "Review customers who were flagged.")
    listing = add_command(
        group,
        "list",
        "List fraud cases in the order in which they were opened.",
        list_cases,
        examples=(
            "tollbook fraud list --status flagged --data ./ledger",
            "tollbook fraud list --customer ada --json --data ./ledger",
        ),
    )
    listing.add_argument("--customer", metavar="ID", help="only of this customer")
    listing.add_argument("--status", choices=STATUSES, help="only those that stand like this now")
    listing.add_argument(
        "--after", type=int, metavar="POSITION", help="only those opened after this position"
    )
    listing.add_argument("--limit", type=int, metavar="N", help="at most this many (default: all)")
    showing = add_command(
        group,
        "show",
        "Show a case: every flag and verdict, who gave it and why.",
        show,
        examples=("tollbook fraud show ada.1 --data ./ledger",),
    )
    showing.add_argument("case", metavar="CASE", help="the case's id, as `list` shows it")
    for parser in (listing, showing):
        add_ledger_options(parser)
    _register_verdicts(group)


def _register_verdicts(group: Subparsers) -> None:
    flagging = add_command(
        group,
        "flag",
        "Flag a customer for review: open a case, or add to the one that stands.",
        flag,
        examples=("tollbook fraud flag ada --reason 'the card was stolen' --data ./ledger",),
    )
    flagging.add_argument("customer", metavar="ID", help="the customer's id")
    clearing = add_command(
        group,
        "clear",
        "Find no fraud: close a case, and let a blocked account reserve again.",
        clear,
        examples=("tollbook fraud clear ada.1 --reason 'an announced test' --data ./ledger",),
    )
    confirming = add_command(
        group,
        "confirm",
        "Find fraud: nothing new is admitted until the case is cleared.",
        confirm,
        examples=("tollbook fraud confirm ada.1 --reason 'the bank says so' --data ./ledger",),
    )
    for parser in (clearing, confirming):
        parser.add_argument("case", metavar="CASE", help="the case's id, as `list` shows it")
    for parser in (flagging, clearing, confirming):
        parser.add_argument("--reason", required=True, help="kept in the ledger for ever")
        parser.add_argument("--id", metavar="ID", dest="command", help="the command's id")
        add_ledger_options(parser)


def list_cases(args: argparse.Namespace) -> int:
    """List cases from views that are brought up to date first."""
    from entrypoints.cli.acting import given
    from entrypoints.cli.fraud_tables import cases_text
    from entrypoints.cli.listing import up_to_date, walk
    from projections import fraud_cases

    asked = given(args, "customer", "status")
    with progress() as bars, up_to_date(args, bars) as views:
        items, more = walk(fraud_cases.page, views, after=args.after, limit=args.limit, **asked)
        document = {"position": views.position, "cases": items, "next": more}
    emit(args, document, cases_text(document))
    return EXIT_DONE


def show(args: argparse.Namespace) -> int:
    """Show a case with its steps."""
    from entrypoints.cli.fraud_tables import case_text
    from entrypoints.cli.listing import up_to_date
    from projections import fraud_cases

    with progress() as bars, up_to_date(args, bars) as views:
        found = fraud_cases.one(views.run, args.case)
    if found is None:
        raise NotFound(f"there is no fraud case {args.case}", field="case", value=args.case)
    emit(args, found, case_text(found))
    return EXIT_DONE


def flag(args: argparse.Namespace) -> int:
    """Flag a customer for review."""
    return _carry_out(args, "flag_customer", "flg", "Flagged customer", customer=args.customer)


def clear(args: argparse.Namespace) -> int:
    """Close a case without fraud; who did it and why stays in the ledger."""
    return _carry_out(args, "clear_case", "clr", "Cleared case", case=args.case)


def confirm(args: argparse.Namespace) -> int:
    """Confirm a case; who did it and why stays in the ledger."""
    return _carry_out(args, "confirm_case", "cnf", "Confirmed case", case=args.case)


def _carry_out(args: argparse.Namespace, kind: str, prefix: str, what: str, **named: str) -> int:
    from tollbook.client.ids import new_id

    from entrypoints.cli.acting import carry_out, opened, told

    body: dict[str, Any] = {"id": args.command or new_id(prefix), **named, "reason": args.reason}
    with opened(args) as tollbook:
        result = carry_out(tollbook, kind, body)
    (name,) = named.values()
    line = f"{what} {name}" if kind != "flag_customer" else f"{what} {name}: case {result['case']}"
    emit(args, result, told(line, result))
    return EXIT_DONE
