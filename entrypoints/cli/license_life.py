"""`tollbook license renew`, `suspend` and the like: the steps in the life of a licence."""

import argparse
from typing import Any

from tollbook.cli_support import Subparsers, add_command, emit
from tollbook.errors import EXIT_DONE

from entrypoints.cli.license_acting import ID_HELP
from entrypoints.cli.options import add_ledger_options


def register(group: Subparsers) -> None:
    """Add the commands to the group `license`."""
    _register_terms(group)
    _register_standing(group)
    rotating = _step(
        group,
        "rotate",
        "Give a licence a new key, shown this once; the older ones live on for the overlap.",
        rotate,
        "tollbook license rotate lic-1 --overlap-seconds 604800 --data ./ledger",
    )
    rotating.add_argument(
        "--overlap-seconds", type=int, metavar="N", help="(default: a day; 0 ends them at once)"
    )


def _register_terms(group: Subparsers) -> None:
    renewing = _step(
        group,
        "renew",
        "Give a licence a later end; one that has expired comes back to life.",
        renew,
        "tollbook license renew lic-1 --expires-at 2029-01-01T00:00:00Z --data ./ledger",
    )
    renewing.add_argument("--expires-at", required=True, metavar="TIME", help="RFC 3339")
    renewing.add_argument(
        "--maintenance-until",
        metavar="TIME",
        help="versions released until then (default: the maintenance window moves on)",
    )
    renewing.add_argument("--reference", metavar="TEXT", help="the purchase or offer of this term")
    upgrading = _step(
        group,
        "upgrade",
        "Put a licence on the newest version of a template, with these overrides and no others.",
        upgrade,
        "tollbook license upgrade lic-1 --template enterprise --data ./ledger",
    )
    upgrading.add_argument("--template", metavar="NAME", help="(default: the one that it has)")
    upgrading.add_argument(
        "--overrides", metavar="FILE", help="JSON: fields of a policy that replace the template's"
    )
    upgrading.add_argument("--deployment", choices=("saas", "on_premise", "hybrid"))


def _register_standing(group: Subparsers) -> None:
    suspending = _step(
        group,
        "suspend",
        "Stop a licence until it is reinstated.",
        suspend,
        "tollbook license suspend lic-1 --reason 'invoice 17 is overdue' --data ./ledger",
    )
    reinstating = _step(
        group,
        "reinstate",
        "Let a suspended licence admit again.",
        reinstate,
        "tollbook license reinstate lic-1 --data ./ledger",
    )
    revoking = _step(
        group,
        "revoke",
        "End a licence for ever.",
        revoke,
        "tollbook license revoke lic-1 --reason 'the key was published' --data ./ledger",
    )
    for parser in (suspending, revoking):
        parser.add_argument("--reason", required=True, metavar="TEXT", help="why")
    reinstating.add_argument("--reason", metavar="TEXT", help="why")


def _step(
    group: Subparsers, name: str, summary: str, run: Any, example: str
) -> argparse.ArgumentParser:
    parser = add_command(group, name, summary, run, examples=(example,))
    parser.add_argument("license", metavar="LICENSE", help="the licence's id")
    parser.add_argument("--id", metavar="ID", help=ID_HELP, dest="command")
    add_ledger_options(parser)
    return parser


def renew(args: argparse.Namespace) -> int:
    """Move the end of a licence later."""
    from entrypoints.cli.acting import given, told

    fields = given(args, "expires_at", "maintenance_until", "reference")
    result = _done(args, "renew_license", "rnw", fields)
    line = f"Renewed licence {args.license} until {result['expires_at']}"
    emit(args, result, told(line, result))
    return EXIT_DONE


def upgrade(args: argparse.Namespace) -> int:
    """Give a licence another policy."""
    from entrypoints.cli.acting import given, told
    from entrypoints.cli.license_acting import overrides_from

    fields = {**given(args, "template", "deployment"), **overrides_from(args.overrides)}
    result = _done(args, "upgrade_license", "upg", fields)
    version = f"version {result['template_version']} of {result['template']}"
    line = f"Licence {args.license} has {version}"
    emit(args, result, told(line, result))
    return EXIT_DONE


def suspend(args: argparse.Namespace) -> int:
    """Stop a licence."""
    return _status(args, "suspend_license", "sus", f"Suspended licence {args.license}")


def reinstate(args: argparse.Namespace) -> int:
    """Let a licence admit again."""
    return _status(args, "reinstate_license", "rei", f"Reinstated licence {args.license}")


def revoke(args: argparse.Namespace) -> int:
    """End a licence for ever."""
    return _status(args, "revoke_license", "rev", f"Revoked licence {args.license}")


def _status(args: argparse.Namespace, kind: str, prefix: str, line: str) -> int:
    from entrypoints.cli.acting import given, told

    result = _done(args, kind, prefix, given(args, "reason"))
    emit(args, result, told(line, result))
    return EXIT_DONE


def rotate(args: argparse.Namespace) -> int:
    """Give a licence a new key."""
    from entrypoints.cli.acting import given, told
    from entrypoints.cli.license import shown_key

    result = _done(args, "rotate_license_key", "rot", given(args, "overlap_seconds"))
    line = f"Licence {args.license} has a new key; older ones end in {result['overlap_seconds']} s"
    emit(args, result, f"{told(line, result)}\n{shown_key(result)}")
    return EXIT_DONE


def _done(
    args: argparse.Namespace, kind: str, prefix: str, fields: dict[str, Any]
) -> dict[str, Any]:
    from tollbook.client.ids import new_id

    from entrypoints.cli.license_acting import act

    body = {"id": args.command or new_id(prefix), "license": args.license, **fields}
    return act(args, kind, body)
