"""`tollbook customers grant` and `balance`: money for a customer, and what is left of it."""

import argparse

from tollbook.cli_support import Subparsers, add_command, emit
from tollbook.errors import EXIT_DONE

from entrypoints.cli.options import add_ledger_options


def register(group: Subparsers) -> None:
    """Add the commands to the group `customers`."""
    granting = add_command(
        group,
        "grant",
        "Put money at a customer's disposal.",
        grant,
        examples=(
            "tollbook customers grant ada --amount 100.00 --kind paid --data ./ledger",
            "tollbook customers grant ada --amount 5 --kind promotional --models small,tiny",
            "tollbook customers grant ada --amount 5 --kind paid --expires-at 2027-01-01T00:00:00Z",
        ),
    )
    granting.add_argument("customer", metavar="ID", help="the customer's id")
    granting.add_argument("--amount", required=True, help="in the customer's currency")
    granting.add_argument(
        "--kind", required=True, choices=("paid", "promotional"), help="paid for, or given away"
    )
    granting.add_argument(
        "--id",
        metavar="ID",
        dest="command",
        help="the grant's id (default: a new one, which is shown); the same again has no new"
        " effect",
    )
    granting.add_argument(
        "--priority", type=int, metavar="N", help="lower is drawn on first (default 100)"
    )
    granting.add_argument("--expires-at", metavar="TIME", help="RFC 3339 (default: never)")
    granting.add_argument(
        "--models", metavar="MODEL,...", help="only for these models (default: for all)"
    )
    balancing = add_command(
        group,
        "balance",
        "Show a customer's balance: now, or as of a position or a time.",
        balance,
        examples=(
            "tollbook customers balance ada --data ./ledger",
            "tollbook customers balance ada --at 4096 --data ./ledger",
            "tollbook customers balance ada --at 2026-01-31T23:59:59Z --json --data ./ledger",
        ),
    )
    balancing.add_argument("customer", metavar="ID", help="the customer's id")
    balancing.add_argument("--at", metavar="POSITION_OR_TIME", help="as of then (default: now)")
    for parser in (granting, balancing):
        add_ledger_options(parser)


def grant(args: argparse.Namespace) -> int:
    """Issue a grant; the grant's id is the command's."""
    from tollbook.client.ids import new_id

    from entrypoints.cli.acting import carry_out, given, opened, told
    from entrypoints.cli.tables import amount

    body = {
        "id": args.command or new_id("grt"),
        "customer": args.customer,
        **given(args, "amount", "kind", "priority", "expires_at"),
    }
    if args.models is not None:
        body["models"] = args.models.split(",")
    with opened(args) as tollbook:
        result = carry_out(tollbook, "issue_grant", body)
    repaid = result["overdraft_repaid"]
    line = f"Granted {amount(result['amount'])} ({args.kind}) to customer {args.customer}"
    if set(repaid["amount"]) - {"0", "."}:
        line += f", of which {amount(repaid)} repaid an overdraft"
    emit(args, result, told(line, result))
    return EXIT_DONE


def balance(args: argparse.Namespace) -> int:
    """Show a balance, from the log itself."""
    from application.replaying import parse_target
    from entrypoints.cli.acting import opened, reading
    from entrypoints.cli.customer_tables import balance_text
    from projections.as_of import balance_at

    target = None if args.at is None else parse_target(args.at, "at")
    with opened(args) as tollbook:
        document = balance_at(reading(tollbook), args.customer, target)
    emit(args, document, balance_text(document))
    return EXIT_DONE
