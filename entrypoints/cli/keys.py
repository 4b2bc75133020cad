"""`tollbook keys`: make, list and revoke API keys, without a running server."""

import argparse
from typing import Any

from tollbook.cli_support import Subparsers, add_command, add_group, emit
from tollbook.errors import EXIT_DONE

from entrypoints.cli.options import add_ledger_options, settings_of

_PAGE = 1_000


def register(subparsers: Subparsers) -> None:
    """Add the commands to the console script."""
    group = add_group(subparsers, "keys", "Make, list and revoke API keys.")
    making = add_command(
        group,
        "create",
        "Make an API key; it is shown this once.",
        create,
        examples=(
            "tollbook keys create --role service --note gateway --data ./ledger",
            "tollbook keys create --role customer --customer ada --data ./ledger",
        ),
    )
    making.add_argument(
        "--role",
        required=True,
        metavar="ROLE",
        help="admin, service, auditor, finance, reviewer or customer",
    )
    making.add_argument("--customer", metavar="ID", help="whose data a customer's key may see")
    making.add_argument("--note", help="what the key is for")
    making.add_argument("--expires-at", metavar="TIME", help="when it ends (default: never)")
    add_ledger_options(making)
    listing = add_command(
        group, "list", "List API keys; secrets are kept nowhere.", show,
        examples=("tollbook keys list --data ./ledger",),
    )  # fmt: skip
    add_ledger_options(listing)
    revoking = add_command(
        group, "revoke", "Put API keys out of force for ever, within a second.", revoke,
        examples=("tollbook keys revoke mj4k2vqz6p5a --data ./ledger",),
    )  # fmt: skip
    revoking.add_argument("ids", nargs="+", metavar="ID", help="the id inside the key")
    add_ledger_options(revoking)


def create(args: argparse.Namespace) -> int:
    """Make a key and show it."""
    from entrypoints.bootstrap import open_database, open_keys

    with (
        open_database(settings_of(args), create=False) as database,
        open_keys(database) as keys,
    ):
        made = keys.create(
            role=args.role, customer=args.customer, note=args.note, expires_at=args.expires_at
        )
    text = f"{made['key']}\nShown this once: only a keyed hash of it is kept."
    emit(args, made, text)
    return EXIT_DONE


def show(args: argparse.Namespace) -> int:
    """List every key's record."""
    from entrypoints.bootstrap import open_database, open_keys

    items: list[dict[str, Any]] = []
    with (
        open_database(settings_of(args), create=False) as database,
        open_keys(database) as keys,
    ):
        after = None
        while True:
            found, after = keys.page(after=after, limit=_PAGE)
            items += found
            if after is None:
                break
    emit(args, {"keys": items}, "\n".join(map(_line, items)) or "There are no keys.")
    return EXIT_DONE


def revoke(args: argparse.Namespace) -> int:
    """Revoke keys by their ids."""
    from entrypoints.bootstrap import open_database, open_keys

    with (
        open_database(settings_of(args), create=False) as database,
        open_keys(database) as keys,
    ):
        for name in args.ids:
            keys.get(name)  # an unknown id is said before anything is revoked
        records = [keys.revoke(name) for name in args.ids]
    emit(args, {"keys": records}, "\n".join(map(_line, records)))
    return EXIT_DONE


def _line(record: dict[str, Any]) -> str:
    ended = f"  revoked {record['revoked_at']}" if "revoked_at" in record else ""
    if not ended and "expires_at" in record:
        ended = f"  until {record['expires_at']}"
    whose = f" of {record['customer']}" if "customer" in record else ""
    note = f"  {record['note']}" if "note" in record else ""
    return f"{record['id']}  {record['role']}{whose}  made {record['created_at']}{ended}{note}"
