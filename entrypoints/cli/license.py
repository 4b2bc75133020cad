"""`tollbook license`: issue licences, ask them, and look at them."""

import argparse
from typing import Any

from tollbook.cli_support import Subparsers, add_command, add_group, emit
from tollbook.errors import EXIT_DONE, Invalid

from entrypoints.cli import license_life, license_upkeep, license_use
from entrypoints.cli.license_acting import ID_HELP, add_facts
from entrypoints.cli.options import add_ledger_options, progress

WITHIN_DAYS = 30


def register(subparsers: Subparsers) -> None:
    """Add the commands to the console script."""
    group = add_group(subparsers, "license", "Issue licences, ask them, and look after them.")
    _register_issue(group)
    _register_validate(group)
    _register_reads(group)
    license_life.register(group)
    license_use.register(group)
    license_upkeep.register(group)


def _register_issue(group: Subparsers) -> None:
    issuing = add_command(
        group,
        "issue",
        "Issue a licence to a customer; its key is shown this once.",
        issue,
        examples=(
            "tollbook license issue lic-1 --customer ada --template professional --data ./ledger",
            "tollbook license issue lic-2 --customer ada --template enterprise --overrides my.json",
            "tollbook license issue lic-3 --customer ada --template free --deployment hybrid",
        ),
    )
    issuing.add_argument("license", metavar="ID", help="the licence's id")
    issuing.add_argument("--customer", required=True, metavar="ID", help="whose it is")
    issuing.add_argument(
        "--template", required=True, metavar="NAME", help="free, professional, enterprise or yours"
    )
    issuing.add_argument(
        "--deployment",
        choices=("saas", "on_premise", "hybrid"),
        help="where the model runs (default: saas)",
    )
    issuing.add_argument(
        "--overrides", metavar="FILE", help="JSON: fields of a policy that replace the template's"
    )
    issuing.add_argument("--reference", metavar="TEXT", help="the purchase or offer it comes from")
    issuing.add_argument("--starts-at", metavar="TIME", help="RFC 3339 (default: now)")
    issuing.add_argument("--expires-at", metavar="TIME", help="RFC 3339 (default: never)")
    add_ledger_options(issuing)


def _register_validate(group: Subparsers) -> None:
    validating = add_command(
        group,
        "validate",
        "Decide and count a request under a licence; exit code 3 is a denial.",
        validate,
        examples=(
            "tollbook license validate lic-1 --model gpt4-equivalent --data ./ledger",
            "tollbook license validate --key-file key.txt --model gpt4-equivalent --dry-run",
            "tollbook license validate lic-1 --model m --fact address:observed=192.0.2.7",
        ),
    )
    validating.add_argument(
        "license", metavar="LICENSE", nargs="?", help="its id (or its key, with --key-file)"
    )
    validating.add_argument("--model", required=True, help="the model that is to run")
    validating.add_argument(
        "--usage",
        metavar="UNIT=N",
        action="append",
        default=[],
        help="what counts against limits (default: one request; may be given several times)",
    )
    validating.add_argument("--key-file", metavar="FILE", help="the licence key (`-` reads it)")
    validating.add_argument(
        "--dry-run", action="store_true", help="only show the decision: nothing is counted"
    )
    add_facts(validating)
    validating.add_argument("--id", metavar="ID", help=ID_HELP, dest="command")
    add_ledger_options(validating)


def _register_reads(group: Subparsers) -> None:
    listing = add_command(
        group,
        "list",
        "List the licences in the order of their issue.",
        list_licenses,
        examples=("tollbook license list --customer ada --status active --data ./ledger",),
    )
    listing.add_argument("--customer", metavar="ID", help="only this customer's")
    listing.add_argument(
        "--status",
        choices=("active", "suspended", "expired", "revoked"),
        help="only those that stand like this now",
    )
    listing.add_argument("--after", type=int, metavar="POSITION", help="only those issued later")
    expiring = add_command(
        group,
        "expiring",
        "List active licences whose end is near or past, while their grace lasts.",
        list_expiring,
        examples=("tollbook license expiring --within 90 --data ./ledger",),
    )
    expiring.add_argument(
        "--within", type=int, default=WITHIN_DAYS, metavar="DAYS", help="(default: 30)"
    )
    expiring.add_argument("--after", metavar="CURSOR", help="the `next` of an earlier list")
    showing = add_command(
        group,
        "show",
        "Show a licence: status, policy, what its limits leave, keys, devices and leases.",
        show,
        examples=("tollbook license show lic-1 --json --data ./ledger",),
    )
    showing.add_argument("license", metavar="LICENSE", help="the licence's id")
    for parser in (listing, expiring):
        parser.add_argument("--limit", type=int, metavar="N", help="at most this many")
    for parser in (listing, expiring, showing):
        add_ledger_options(parser)


def issue(args: argparse.Namespace) -> int:
    """Issue a licence under its id; a repeated command has no key to show."""
    from entrypoints.cli.acting import given, told
    from entrypoints.cli.license_acting import act, overrides_from

    fields = ("customer", "template", "deployment", "reference", "starts_at", "expires_at")
    body = {"id": args.license, **given(args, *fields), **overrides_from(args.overrides)}
    result = act(args, "issue_license", body)
    line = f"Issued licence {args.license} ({result['policy_version']}) to {args.customer}"
    emit(args, result, f"{told(line, result)}\n{shown_key(result)}")
    return EXIT_DONE


def shown_key(result: dict[str, Any]) -> str:
    """Show a new key, or say that it was shown before."""
    if not result["key_shown"]:
        return f"Its key (...{result['key_hint']}...) was shown when it was made: rotate it if lost"
    return f"Its key, shown this once:\n  {result['license_key']}"


def validate(args: argparse.Namespace) -> int:
    """Decide a request; a denial is raised, and a dry run only tells."""
    from tollbook.client.ids import new_id

    from entrypoints.cli.acting import given, told
    from entrypoints.cli.license_acting import act, facts_of, key_from
    from entrypoints.cli.license_tables import validation_text

    body = {"id": args.command or new_id("val"), **given(args, "license", "model")}
    if args.key_file is not None:
        body["license_key"] = key_from(args.key_file)
    if args.usage:
        body["usage"] = _usage(args.usage)
    body |= facts_of(args)
    if args.dry_run:
        result = _tried(args, body)
        emit(args, result, validation_text(result))
        return EXIT_DONE
    result = act(args, "validate_license", body)
    emit(args, result, told(validation_text(result), result))
    return EXIT_DONE


def _usage(given: list[str]) -> dict[str, Any]:
    from domain.units import MEASURED
    from entrypoints.cli.license_acting import pair

    usage: dict[str, Any] = {}
    for text in given:
        unit, value = pair("usage", text)
        whole = unit not in MEASURED and value.isascii() and value.isdigit() and len(value) < 20
        usage[unit] = int(value) if whole else value
    return usage


def _tried(args: argparse.Namespace, body: dict[str, Any]) -> dict[str, Any]:
    from application.trying import tried
    from domain.commands import parse
    from entrypoints.cli.license_acting import licensing

    with licensing(args) as ledger:
        prepared = ledger.desk.prepare("validate_license", body, ledger.store)
        command = parse("validate_license", prepared.body)
        answer = tried(ledger.store, command, ledger.tollbook.now())
        added = ledger.desk.complete(prepared, answer, ledger.store)
        result = {**answer.result(), **added, "dry_run": True}
    del result["id"], result["position"]
    return result


def list_licenses(args: argparse.Namespace) -> int:
    """List licences as they stand now, from views that are brought up to date first."""
    from entrypoints.cli.license_acting import now_of
    from entrypoints.cli.license_tables import list_text
    from entrypoints.cli.listing import up_to_date, walk
    from projections.licenses import page

    asked = {"customer": args.customer, "status": args.status}
    with progress() as bars, up_to_date(args, bars) as views:
        now = now_of(views)
        items, more = walk(page, views, after=args.after, limit=args.limit, now=now, **asked)
        document = {"position": views.position, "licenses": items, "next": more}
    emit(args, document, list_text(document))
    return EXIT_DONE


def list_expiring(args: argparse.Namespace) -> int:
    """List licences that are to be renewed soon, the nearest end first."""
    from domain.values import INSTANT_MAX, SECOND
    from entrypoints.cli.license_acting import now_of
    from entrypoints.cli.license_tables import list_text
    from entrypoints.cli.listing import up_to_date, walk
    from projections.licenses import expiring

    if args.within < 0:
        raise Invalid.because("within", args.within, "at least 0")
    with progress() as bars, up_to_date(args, bars) as views:
        before = min(now_of(views) + args.within * 86_400 * SECOND, INSTANT_MAX)
        items, more = walk(expiring, views, after=args.after, limit=args.limit, before=before)
        document = {"position": views.position, "licenses": items, "next": more}
    emit(args, document, list_text(document))
    return EXIT_DONE


def show(args: argparse.Namespace) -> int:
    """Show a licence, from the log itself."""
    from entrypoints.cli.license_acting import licensing, seen
    from entrypoints.cli.license_tables import license_text
    from entrypoints.license_documents import license_document

    with licensing(args) as ledger:
        document = license_document(seen(ledger, args.license))
    emit(args, document, license_text(document))
    return EXIT_DONE
