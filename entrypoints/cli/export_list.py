"""`tollbook models export-list`: the countries to which nothing may be exported."""

import argparse

from tollbook.cli_support import Subparsers, add_command, add_group, emit
from tollbook.errors import EXIT_DONE

from entrypoints.cli.options import add_ledger_options


def register(group: Subparsers) -> None:
    """Add the commands to the group `models`."""
    listed = add_group(group, "export-list", "The countries to which nothing may be exported.")
    setting = add_command(
        listed,
        "set",
        "Replace the export list; without countries, nobody is denied any more.",
        replace,
        examples=(
            "tollbook models export-list set KP SY --note 'as of January' --data ./ledger",
            "tollbook models export-list set --data ./ledger",
        ),
    )
    setting.add_argument(
        "countries", metavar="COUNTRY", nargs="*", help="ISO 3166-1 alpha-2 codes, such as KP"
    )
    setting.add_argument("--note", help="where the list comes from")
    setting.add_argument(
        "--id", metavar="ID", help="the command's id (default: a new one)", dest="command"
    )
    showing = add_command(
        listed,
        "show",
        "Show the export list in force.",
        show,
        examples=("tollbook models export-list show --data ./ledger",),
    )
    for parser in (setting, showing):
        add_ledger_options(parser)


def replace(args: argparse.Namespace) -> int:
    """Publish a list in the place of the one before."""
    from tollbook.client.ids import new_id

    from entrypoints.cli.acting import carry_out, given, opened, told

    body = {"id": args.command or new_id("exp"), **given(args, "countries", "note")}
    with opened(args) as tollbook:
        result = carry_out(tollbook, "publish_export_list", body)
    denied = ", ".join(result["countries"]) or "nobody"
    emit(args, result, told(f"Export list {result['version']} denies {denied}", result))
    return EXIT_DONE


def show(args: argparse.Namespace) -> int:
    """Show the list in force."""
    from entrypoints.cli.acting import opened, reading
    from entrypoints.cli.model_tables import export_list_text
    from entrypoints.model_documents import export_list_document

    with opened(args) as tollbook:
        document = export_list_document(reading(tollbook))
    emit(args, document, export_list_text(document))
    return EXIT_DONE
