"""`tollbook license sweep`, `policies` and `signing-keys`: what concerns many licences."""

import argparse

from tollbook.cli_support import Subparsers, add_command, add_group, emit
from tollbook.errors import EXIT_DONE, NotFound

from entrypoints.cli.license_acting import ID_HELP
from entrypoints.cli.options import add_ledger_options, progress


def register(group: Subparsers) -> None:
    """Add the commands to the group `license`."""
    sweeping = add_command(
        group,
        "sweep",
        "Book the ends that have come, and suspend whom a new export list concerns.",
        sweep,
        examples=("tollbook license sweep --data ./ledger",),
    )
    signing = add_command(
        group,
        "signing-keys",
        "Show the public keys that leases and signed answers are checked with, newest first.",
        signing_keys,
        examples=("tollbook license signing-keys --data ./ledger",),
    )
    policies = add_group(group, "policies", "Publish policy templates, and look at them.")
    publishing = add_command(
        policies,
        "publish",
        "Publish the next version of a policy template; licences that were sold keep theirs.",
        publish,
        examples=("tollbook license policies publish team team.json --data ./ledger",),
    )
    publishing.add_argument("name", metavar="NAME", help="the template's name")
    publishing.add_argument("file", metavar="FILE", help="the policy, as JSON")
    publishing.add_argument("--id", metavar="ID", help=ID_HELP, dest="command")
    listing = add_command(
        policies,
        "list",
        "List the newest version of every policy template.",
        list_policies,
        examples=("tollbook license policies list --data ./ledger",),
    )
    showing = add_command(
        policies,
        "show",
        "Show a policy template.",
        show,
        examples=("tollbook license policies show professional --json --data ./ledger",),
    )
    showing.add_argument("name", metavar="NAME", help="the template's name")
    for parser in (sweeping, signing, publishing, listing, showing):
        add_ledger_options(parser)


def sweep(args: argparse.Namespace) -> int:
    """Do at once what the server does every minute, on views that are brought up to date first."""
    from entrypoints.cli.license_acting import licensing
    from entrypoints.housekeeping import sweep as sweep_ledger
    from entrypoints.projecting import catch_up

    with progress() as bars, licensing(args) as ledger:
        catch_up(ledger.database, ledger.store.head().position)
        swept = sweep_ledger(ledger.tollbook, ledger.store, bars.start("Licences", None))
    text = (
        f"Booked the end of {len(swept.expired):,} licences; "
        f"suspended {len(swept.suspended):,} by export list version {swept.export_list}"
    )
    emit(args, swept._asdict(), text)
    return EXIT_DONE


def signing_keys(args: argparse.Namespace) -> int:
    """Show the ledger's public keys, as a file of trusted keys has them."""
    from entrypoints.cli.license_acting import licensing

    with licensing(args) as ledger:
        keys = ledger.desk.public_keys()
    text = "\n".join(f"{each['public_key']}  # {each['id']}" for each in keys)
    emit(args, {"keys": keys}, text)
    return EXIT_DONE


def publish(args: argparse.Namespace) -> int:
    """Publish a version of a template."""
    from tollbook.client.ids import new_id

    from entrypoints.cli.acting import carry_out, opened, told
    from entrypoints.cli.license_acting import json_from

    policy = json_from(args.file, "policy")
    body = {"id": args.command or new_id("pol"), "name": args.name, "policy": policy}
    with opened(args) as tollbook:
        result = carry_out(tollbook, "publish_policy", body)
    emit(args, result, told(f"Published version {result['version']} of {args.name}", result))
    return EXIT_DONE


def list_policies(args: argparse.Namespace) -> int:
    """List every template."""
    from entrypoints.cli.acting import opened, reading
    from entrypoints.cli.license_tables import policies_text
    from entrypoints.license_documents import policy_page

    found, after = [], None
    with opened(args) as tollbook:
        store = reading(tollbook)
        while True:
            items, after = policy_page(store, store.run, after, 1000)
            found += items
            if after is None:
                break
    emit(args, {"policies": found}, policies_text(found))
    return EXIT_DONE


def show(args: argparse.Namespace) -> int:
    """Show a template with all its versions."""
    from entrypoints.cli.acting import opened, reading
    from entrypoints.cli.license_tables import policy_text
    from entrypoints.license_documents import policy_document

    with opened(args) as tollbook:
        document = policy_document(reading(tollbook), args.name)
    if document is None:
        detail = f"there is no policy template {args.name}"
        raise NotFound(detail, field="template", value=args.name)
    emit(args, document, policy_text(document))
    return EXIT_DONE
