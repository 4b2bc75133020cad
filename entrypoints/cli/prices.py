"""`tollbook prices`: check, publish and show price books."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from tollbook.cli_support import Subparsers, add_command, add_group, emit, print_text, read_input
from tollbook.errors import EXIT_DIFFERENCES, EXIT_DONE, Conflict, Invalid, NotFound, TollbookError
from tollbook.times import format_instant, parse_instant

from entrypoints.cli.options import add_ledger_options
from entrypoints.cli.tables import shown_name

if TYPE_CHECKING:
    from application.tollbook import Tollbook
    from domain.event import Recorded
    from domain.pricebook import PriceBook


def register(subparsers: Subparsers) -> None:
    """Add the commands to the console script."""
    group = add_group(subparsers, "prices", "Check, publish and show price books.")
    _register_lint(group)
    publishing = add_command(
        group,
        "publish",
        "Publish a version of a price book. The first one in a new --data DIR makes its ledger.",
        publish,
        examples=(
            "tollbook prices publish prices.toml --data ./ledger",
            "tollbook prices publish - --database postgresql:///tollbook < prices.json",
        ),
    )
    publishing.add_argument("file", metavar="FILE", help="TOML or JSON, or - for standard input")
    add_ledger_options(publishing)
    showing = add_command(
        group,
        "show",
        "Show the prices of one version of a price book.",
        show,
        examples=(
            "tollbook prices show --data ./ledger",
            "tollbook prices show premium --at 2026-01-01T00:00:00Z --data ./ledger",
            "tollbook prices show premium --version 3 --json --data ./ledger",
        ),
    )
    showing.add_argument(
        "book", metavar="BOOK", nargs="?", default="default", help="default: the one so named"
    )
    which = showing.add_mutually_exclusive_group()
    which.add_argument("--version", type=int, metavar="N", help="this version")
    which.add_argument(
        "--at", metavar="TIME", help="the version in force at this time (default: now)"
    )
    add_ledger_options(showing)
    listing = add_command(
        group,
        "list",
        "List every version of every price book.",
        list_books,
        examples=("tollbook prices list --data ./ledger",),
    )
    add_ledger_options(listing)


def _register_lint(group: Subparsers) -> None:
    linting = add_command(
        group,
        "lint",
        "Check a price book file, and show what 1,000 typical tokens of each model cost.",
        lint,
        examples=(
            "tollbook prices lint prices.toml",
            "tollbook prices lint prices.toml --strict --json",
        ),
    )
    linting.add_argument("file", metavar="FILE", help="TOML or JSON, or - for standard input")
    linting.add_argument(
        "--strict", action="store_true", help="exit with 1 when there are warnings"
    )


def _read(file: str) -> tuple[dict[str, Any], bytes]:
    """Read a price book file; what is wrong with it is said with the name of the file."""
    from domain.pricebook_file import read_book

    data = read_input(file)
    try:
        return read_book(data), data
    except TollbookError as error:
        error.message = f"{shown_name(file)}: {error.message}"
        error.facts["file"] = file
        raise


def lint(args: argparse.Namespace) -> int:
    """Check a price book file; exit 2 when it is invalid, 1 for warnings with --strict."""
    from entrypoints.cli.price_tables import lint_document, lint_text

    book, data = _read(args.file)
    document = lint_document(book, data)
    emit(args, document, lint_text(args.file, document))
    return EXIT_DIFFERENCES if args.strict and document["warnings"] else EXIT_DONE


def publish(args: argparse.Namespace) -> int:
    """Publish a version of a price book; the same file again changes nothing."""
    from domain.pricebook import publication_id
    from domain.pricebook_file import check
    from entrypoints.cli.acting import naming_the_id, opened, told
    from entrypoints.cli.price_tables import lint_document
    from entrypoints.cli.tables import instant

    book, data = _read(args.file)
    warnings = lint_document(book, data)["warnings"]
    for warning in warnings:
        print_text(f"tollbook: warning: {warning['detail']}", sys.stderr)
    name = publication_id(book["id"], check(book).effective_from)
    with opened(args, create=True) as tollbook, naming_the_id(name):
        result = {**_published(tollbook, book), "book": book["id"]}
    result["warnings"] = warnings
    since = instant(result["effective_from"])
    line = f"Published version {result['version']} of {book['id']}, in force from {since}"
    emit(args, result, told(line, result))
    return EXIT_DONE


def _published(tollbook: "Tollbook", book: dict[str, Any]) -> dict[str, Any]:
    """Publish a version, and say what else to do where its instant has another one already."""
    from entrypoints.cli.acting import actor, document

    try:
        return document(tollbook.publish(book, actor=actor()))
    except Conflict as error:
        if error.code == "id_reused":
            error.message += "; what is published stays: give new prices a later effective_from"
        raise


def show(args: argparse.Namespace) -> int:
    """Show one version of a price book: by number, or the one in force at a time."""
    from entrypoints.cli.acting import opened
    from entrypoints.cli.price_tables import version_document, version_text

    at = None if args.at is None else parse_instant(args.at, "at")
    with opened(args) as tollbook:
        now = tollbook.now()
        book = tollbook.prices(args.book)
        number = _wanted(book, args.version, now if at is None else at)
        recorded = next(
            each
            for each in _publications(tollbook, args.book)
            if getattr(each.event, "version", None) == number
        )
    document = version_document(recorded, book, now)
    emit(args, document, version_text(document))
    return EXIT_DONE


def _wanted(book: "PriceBook", version: int | None, instant: int) -> int:
    """Return the number of the version that is asked for; raises NotFound when there is none."""
    if not book.versions:
        raise NotFound(f"there is no price book {book.id}", field="book", value=book.id)
    if version is not None:
        if not 1 <= version <= len(book.versions):
            raise Invalid.because("version", version, f"from 1 to {len(book.versions)}")
        return version
    found = book.in_force(instant)
    if found is None:
        first = format_instant(book.versions[0].effective_from)
        raise NotFound(
            f"no version of {book.id} is in force at {format_instant(instant)}: the first is from"
            f" {first} on",
            field="at",
            value=format_instant(instant),
        )
    return found.version


def list_books(args: argparse.Namespace) -> int:
    """List every version of every price book, and which are in force."""
    from entrypoints.cli.acting import opened
    from entrypoints.cli.price_tables import list_document, list_text

    with opened(args) as tollbook:
        document = list_document(_publications(tollbook), tollbook.now())
    emit(args, document, list_text(document))
    return EXIT_DONE


def _publications(tollbook: "Tollbook", book: str | None = None) -> "list[Recorded]":
    """Return the events that published versions, of one book or of all, in their order."""
    from entrypoints.cli.acting import reading
    from projections.prices import published

    found: list[Recorded] = []
    after = 0
    while positions := published(reading(tollbook).run, book=book, after=after, limit=1000):
        events = tollbook.store.at(positions)
        found.extend(events[position] for position in positions)
        after = positions[-1]
    return found
