"""`tollbook customers`: bring customers into being, change their terms, and look at them."""

import argparse
from typing import TYPE_CHECKING

from tollbook.cli_support import Subparsers, add_command, add_group, emit
from tollbook.errors import EXIT_DONE, Invalid

from entrypoints.cli import customer_money, customer_rules
from entrypoints.cli.options import add_ledger_options, progress

if TYPE_CHECKING:
    from projections.model import Run
    from projections.paging import Page

TERMS = ("name", "credit_limit", "time_zone", "price_book", "plan")


def register(subparsers: Subparsers) -> None:
    """Add the commands to the console script."""
    group = add_group(subparsers, "customers", "Create, change and look at customers.")
    creating = add_command(
        group,
        "create",
        "Create a customer. The first one in a new --data DIR makes its ledger.",
        create,
        examples=(
            "tollbook customers create ada --name 'Ada Ltd' --currency USD --data ./ledger",
            "tollbook customers create bob --name Bob --currency EUR --credit-limit 250.00",
        ),
    )
    creating.add_argument("customer", metavar="ID", help="the customer's id")
    creating.add_argument("--currency", required=True, help="three capital letters, such as USD")
    _add_terms(creating, required=True)
    changing = add_command(
        group,
        "change",
        "Change the terms of a customer; what is not given stays.",
        change,
        examples=(
            "tollbook customers change ada --credit-limit 500 --data ./ledger",
            "tollbook customers change ada --plan reserved_only --id move-7 --data ./ledger",
        ),
    )
    changing.add_argument("customer", metavar="ID", help="the customer's id")
    _add_terms(changing, required=False)
    changing.add_argument("--id", metavar="ID", help=ID_HELP, dest="command")
    for parser in (creating, changing):
        add_ledger_options(parser)
    _register_reads(group)
    customer_money.register(group)
    customer_rules.register(group)


ID_HELP = "the command's id (default: a new one, which is shown); the same again has no new effect"


def _add_terms(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Let a command take the terms of a customer."""
    parser.add_argument("--name", required=required, help="kept encrypted under the customer's key")
    parser.add_argument("--credit-limit", metavar="AMOUNT", help="how far below zero they may go")
    parser.add_argument("--time-zone", metavar="ZONE", help="of their billing months, such as UTC")
    parser.add_argument("--price-book", metavar="BOOK", help="the book that prices their usage")
    parser.add_argument("--plan", help="standard, or reserved_only: no usage without a reservation")


def _register_reads(group: Subparsers) -> None:
    listing = add_command(
        group,
        "list",
        "List the customers with their balances.",
        list_customers,
        examples=(
            "tollbook customers list --data ./ledger",
            "tollbook customers list --after cust-0999 --limit 100 --json --data ./ledger",
        ),
    )
    listing.add_argument("--after", metavar="ID", help="only ids behind this one")
    listing.add_argument("--limit", type=int, metavar="N", help="at most this many (default: all)")
    showing = add_command(
        group,
        "show",
        "Show a customer: terms, balance, grants, caps, and whether the account is blocked.",
        show,
        examples=("tollbook customers show ada --data ./ledger",),
    )
    showing.add_argument("customer", metavar="ID", help="the customer's id")
    for parser in (listing, showing):
        add_ledger_options(parser)


def create(args: argparse.Namespace) -> int:
    """Create a customer; the customer's id is the command's."""
    from entrypoints.cli.acting import carry_out, given, opened, told

    body = {"id": args.customer, "currency": args.currency, **given(args, *TERMS)}
    with opened(args, create=True) as tollbook:
        result = carry_out(tollbook, "create_customer", body)
    emit(args, result, told(f"Created customer {args.customer}", result))
    return EXIT_DONE


def change(args: argparse.Namespace) -> int:
    """Change the terms that were given."""
    from tollbook.client.ids import new_id

    from entrypoints.cli.acting import carry_out, given, opened, told

    terms = given(args, *TERMS)
    if not terms:
        raise Invalid(
            "there is nothing to change: name at least one of the terms",
            code="usage",
            field="terms",
            rule="at least one term",
        )
    body = {"id": args.command or new_id("chg"), "customer": args.customer, **terms}
    with opened(args) as tollbook:
        result = carry_out(tollbook, "change_customer", body)
    changed = ", ".join(name.replace("_", " ") for name in terms)
    emit(args, result, told(f"Changed {changed} of customer {args.customer}", result))
    return EXIT_DONE


def list_customers(args: argparse.Namespace) -> int:
    """List customers in the order of their ids, from views that are brought up to date first."""
    from entrypoints.cli.customer_tables import list_text
    from entrypoints.cli.listing import up_to_date, walk

    with progress() as bars, up_to_date(args, bars) as views:
        items, more = walk(_page, views, after=args.after, limit=args.limit)
        document = {"position": views.position, "customers": items, "next": more}
    emit(args, document, list_text(document))
    return EXIT_DONE


def _page(run: "Run", *, after: str | None, limit: int) -> "Page":
    """Read a page of customers; their names stay sealed."""
    from projections.balances import page

    found = page(run, after=after, limit=limit)
    for item in found.items:
        del item["name_sealed"]
    return found


def show(args: argparse.Namespace) -> int:
    """Show everything that the ledger holds about one customer, from the log itself."""
    from entrypoints.cli.acting import opened
    from entrypoints.cli.customer_tables import customer_document, customer_text

    with opened(args) as tollbook:
        now = tollbook.now()
        position = tollbook.store.head().position
        state = tollbook.balance_state(args.customer)
        name = tollbook.name(args.customer)
    document = {**customer_document(state, name, now), "position": position}
    emit(args, document, customer_text(document))
    return EXIT_DONE
