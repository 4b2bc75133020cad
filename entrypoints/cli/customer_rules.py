"""`tollbook customers caps` and `unblock`: what stops a customer's requests, and what lets them on.

A cap is written as `id=daily,unit=requests,limit=1000,calendar=day` or, with `rolling=SECONDS`,
for any stretch of that length; `model=NAME`, once or several times, bounds only these models.
"""

import argparse
from typing import Any

from tollbook import canonical
from tollbook.cli_support import Subparsers, add_command, emit, read_input
from tollbook.errors import EXIT_DONE, Invalid, TollbookError

from entrypoints.cli.options import add_ledger_options

CAP_RULE = "id=ID,unit=UNIT,limit=N and calendar=hour|day|week|month or rolling=SECONDS[,model=M]"
_FIELDS = {"id", "unit", "limit", "calendar", "rolling", "model"}
MEASURED = ("gpu_seconds", "compute_units")


def register(group: Subparsers) -> None:
    """Add the commands to the group `customers`."""
    capping = add_command(
        group,
        "caps",
        "Show a customer's caps on usage and what counts against them, or replace them.",
        caps,
        examples=(
            "tollbook customers caps ada --data ./ledger",
            "tollbook customers caps ada --cap id=daily,unit=requests,limit=1000,calendar=day",
            "tollbook customers caps ada --cap id=h,unit=output_tokens,limit=90000,rolling=3600",
            "tollbook customers caps ada --set caps.json --data ./ledger",
            "tollbook customers caps ada --clear --data ./ledger",
        ),
    )
    capping.add_argument("customer", metavar="ID", help="the customer's id")
    how = capping.add_mutually_exclusive_group()
    how.add_argument("--cap", action="append", metavar="CAP", help=f"{CAP_RULE}; replaces all caps")
    how.add_argument("--set", metavar="FILE", help="a JSON list of caps; - for standard input")
    how.add_argument("--clear", action="store_true", help="take every cap away")
    capping.add_argument("--id", metavar="ID", dest="command", help="the id of the change")
    unblocking = add_command(
        group,
        "unblock",
        "Let a blocked account reserve again.",
        unblock,
        examples=(
            "tollbook customers unblock ada --reason 'load test, agreed by phone' --data ./ledger",
        ),
    )
    unblocking.add_argument("customer", metavar="ID", help="the customer's id")
    unblocking.add_argument("--reason", required=True, help="kept in the ledger for ever")
    unblocking.add_argument("--id", metavar="ID", dest="command", help="the command's id")
    for parser in (capping, unblocking):
        add_ledger_options(parser)


def caps(args: argparse.Namespace) -> int:
    """Show the caps of a customer; with a change, replace them first."""
    from tollbook.client.ids import new_id

    from domain.capping import view
    from entrypoints.cli.acting import carry_out, opened, told
    from entrypoints.cli.customer_tables import caps_text

    wanted = _wanted(args)
    if wanted is None and args.command is not None:
        raise Invalid("--id belongs to a change: --cap, --set or --clear", code="usage", field="id")
    with opened(args) as tollbook:
        document: dict[str, Any] = {"customer": args.customer}
        lines: list[str] = []
        if wanted is not None:
            name = args.command or new_id("cap")
            body = {"id": name, "customer": args.customer, "caps": wanted}
            result = carry_out(tollbook, "set_caps", body)
            document |= result
            lines += [told(f"Set the caps of customer {args.customer}", result), ""]
        document["caps"] = view(tollbook.balance_state(args.customer), tollbook.now())
    emit(args, document, "\n".join([*lines, caps_text(document["caps"])]))
    return EXIT_DONE


def _wanted(args: argparse.Namespace) -> list[Any] | None:
    """Return the caps to set, or None when they are only to be shown."""
    if args.clear:
        return []
    if args.cap is not None:
        return [read_cap(text) for text in args.cap]
    if args.set is None:
        return None
    try:
        listed = canonical.loads(read_input(args.set, max_bytes=canonical.MAX_BYTES))
    except TollbookError as error:
        error.message = f"{args.set}: {error.message}"
        raise
    if isinstance(listed, dict) and list(listed) == ["caps"]:
        listed = listed["caps"]
    if not isinstance(listed, list):
        raise Invalid.because("set", args.set, "a file with a JSON list of caps")
    return listed


def read_cap(text: str) -> dict[str, Any]:
    """Read a cap as it is written on the command line; the ledger checks its values."""
    cap: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals or name not in _FIELDS or (name in cap and name != "model"):
            raise Invalid.because("cap", text, CAP_RULE)
        if name == "model":
            cap.setdefault("models", []).append(value)
        elif name == "rolling":
            cap["rolling_seconds"] = _whole(text, value)
        else:
            cap[name] = value
    if "limit" in cap and cap.get("unit") not in MEASURED:
        cap["limit"] = _whole(text, cap["limit"])
    return cap


def _whole(text: str, digits: str) -> int:
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
        raise Invalid.because("cap", text, f"{CAP_RULE}, with whole numbers")
    return int(digits)


def unblock(args: argparse.Namespace) -> int:
    """Let a blocked account reserve again; who did it and why stays in the ledger."""
    from tollbook.client.ids import new_id

    from entrypoints.cli.acting import carry_out, opened, told

    body = {
        "id": args.command or new_id("unb"),
        "customer": args.customer,
        "reason": args.reason,
    }
    with opened(args) as tollbook:
        result = carry_out(tollbook, "unblock", body)
    emit(args, result, told(f"Unblocked customer {args.customer}", result))
    return EXIT_DONE
