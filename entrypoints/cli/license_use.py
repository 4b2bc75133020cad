"""`tollbook license activate`, `lease` and the like: machines, seats, and what was decided."""

import argparse
from collections.abc import Callable
from typing import Any

from tollbook.cli_support import Subparsers, add_command, emit
from tollbook.errors import EXIT_DONE

from entrypoints.cli.license_acting import ID_HELP, add_facts
from entrypoints.cli.options import add_ledger_options, progress


def register(group: Subparsers) -> None:
    """Add the commands to the group `license`."""
    activating = _of_license(
        group,
        "activate",
        "Activate a licence on a machine, whose components are kept as keyed hashes.",
        activate,
        "tollbook license activate lic-1 --component mac=02:00:00:00:00:01 --data ./ledger",
    )
    activating.add_argument(
        "--device", metavar="ID", dest="command", help="the device's id (default: a new one)"
    )
    activating.add_argument(
        "--holder", metavar="HEX", help="the public key of the machine, 64 hex digits"
    )
    add_facts(activating)
    deactivating = _of_license(
        group,
        "deactivate",
        "Free the place of a machine.",
        deactivate,
        "tollbook license deactivate lic-1 dev-1 --data ./ledger",
    )
    deactivating.add_argument("device", metavar="DEVICE", help="the device's id")
    deactivating.add_argument("--id", metavar="ID", help=ID_HELP, dest="command")
    _register_leases(group)
    for name, summary, run in (
        ("devices", "List the machines on which a licence was activated.", list_devices),
        ("seats", "List the leases of a licence in order of their grant.", list_seats),
        ("decisions", "List what was decided under a licence, newest first.", list_decisions),
    ):
        example = f"tollbook license {name} lic-1 --data ./ledger"
        listing = _of_license(group, name, summary, run, example)
        listing.add_argument("--after", type=int, metavar="POSITION", help="go on behind this one")
        listing.add_argument("--limit", type=int, metavar="N", help="at most this many")


def _register_leases(group: Subparsers) -> None:
    leasing = _of_license(
        group,
        "lease",
        "Take a seat for the key of a holder; the lease is a signed token.",
        lease,
        f"tollbook license lease lic-1 --model gpt4-equivalent --holder-key {'0a' * 32}",
    )
    leasing.add_argument("--model", required=True, help="the model that is to run")
    leasing.add_argument(
        "--holder-key", required=True, metavar="HEX", help="the holder's raw Ed25519 public key"
    )
    leasing.add_argument(
        "--borrow-seconds", type=int, metavar="N", help="take it along for so long"
    )
    leasing.add_argument(
        "--lease", metavar="ID", dest="command", help="the lease's id (default: a new one)"
    )
    renewing = _of_license(
        group,
        "renew-lease",
        "Let a live lease live longer; shows its next token.",
        renew_lease,
        "tollbook license renew-lease lic-1 lease-1 --data ./ledger",
    )
    returning = _of_license(
        group,
        "return-lease",
        "Give a seat back before the lease expires.",
        return_lease,
        "tollbook license return-lease lic-1 lease-1 --data ./ledger",
    )
    for parser in (renewing, returning):
        parser.add_argument("lease", metavar="LEASE", help="the lease's id")
        parser.add_argument("--id", metavar="ID", help=ID_HELP, dest="command")
    for parser in (leasing, renewing):
        add_facts(parser)


def _of_license(
    group: Subparsers, name: str, summary: str, run: Any, example: str
) -> argparse.ArgumentParser:
    parser = add_command(group, name, summary, run, examples=(example,))
    parser.add_argument("license", metavar="LICENSE", help="the licence's id")
    add_ledger_options(parser)
    return parser


def activate(args: argparse.Namespace) -> int:
    """Activate a licence on a machine; the device's id is the command's."""
    from entrypoints.cli.acting import given
    from entrypoints.cli.license_acting import components, facts_of

    fields = {**given(args, "holder"), **facts_of(args, hardware=False)}
    if args.component:
        fields["components"] = components(args)
    return _done(args, "activate_license", "dev", fields, "Activated device {device}")


def deactivate(args: argparse.Namespace) -> int:
    """Free the place of a machine."""
    fields = {"device": args.device}
    return _done(args, "deactivate_license", "dea", fields, "Deactivated device {device}")


def lease(args: argparse.Namespace) -> int:
    """Take a seat; the lease's id is the command's."""
    from tollbook.errors import Invalid
    from tollbook.lease import thumbprint

    from entrypoints.cli.acting import given
    from entrypoints.cli.license_acting import facts_of

    try:
        holder = bytes.fromhex(args.holder_key)
    except ValueError:
        holder = b""
    if len(holder) != 32:
        raise Invalid.because("holder_key", args.holder_key, "64 hex digits")
    fields = {**given(args, "model", "borrow_seconds"), **facts_of(args)}
    fields["holder"] = thumbprint(holder)
    return _done(args, "lease_seat", "lea", fields, "Lease {lease} until {expires_at}\n{token}")


def renew_lease(args: argparse.Namespace) -> int:
    """Let a live lease live longer."""
    from entrypoints.cli.license_acting import facts_of

    fields = {"lease": args.lease, **facts_of(args)}
    return _done(args, "renew_lease", "rls", fields, "Lease {lease} until {expires_at}\n{token}")


def return_lease(args: argparse.Namespace) -> int:
    """Give a seat back."""
    return _done(args, "return_lease", "ret", {"lease": args.lease}, "Returned lease {lease}")


def _done(
    args: argparse.Namespace, kind: str, prefix: str, fields: dict[str, Any], line: str
) -> int:
    from tollbook.client.ids import new_id

    from entrypoints.cli.acting import told
    from entrypoints.cli.license_acting import act

    body = {"id": args.command or new_id(prefix), "license": args.license, **fields}
    result = act(args, kind, body)
    emit(args, result, told(line.format(**result), result))
    return EXIT_DONE


def list_devices(args: argparse.Namespace) -> int:
    """List machines, those that gave their place up as well."""
    from entrypoints.cli.license_tables import devices_text
    from projections.devices import page

    return _listed(args, page, "devices", devices_text)


def list_seats(args: argparse.Namespace) -> int:
    """List leases, those that are over as well."""
    from entrypoints.cli.license_tables import seats_text
    from projections.seats import page

    return _listed(args, page, "seats", seats_text)


def list_decisions(args: argparse.Namespace) -> int:
    """List decisions, admissions and denials."""
    from entrypoints.cli.license_tables import decisions_text
    from projections.decisions import page

    return _listed(args, page, "decisions", decisions_text)


def _listed(
    args: argparse.Namespace,
    page: Callable[..., Any],
    name: str,
    text: Callable[[list[dict[str, Any]]], str],
) -> int:
    """Show a list about one licence, from views that are brought up to date first."""
    from application.license_desk import no_license
    from entrypoints.cli.listing import up_to_date, walk
    from projections.licenses import one

    with progress() as bars, up_to_date(args, bars) as views:
        if one(views.run, args.license) is None:
            raise no_license(args.license)
        asked = {"license": args.license, "after": args.after, "limit": args.limit}
        items, more = walk(page, views, **asked)
        document = {"position": views.position, name: items, "next": more}
    emit(args, document, text(items))
    return EXIT_DONE
