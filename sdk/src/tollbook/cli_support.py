"""What every command of ``tollbook`` shares: the ``--json`` option, its output, its input files.

The application's commands use these as well, so that all commands speak in one way.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO, TypeAlias

from tollbook.errors import Invalid

# argparse has no public name for what ``add_subparsers`` returns.
Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

MAX_INPUT_BYTES = 16 * 1_048_576


def add_command(
    subparsers: Subparsers,
    name: str,
    summary: str,
    run: Callable[[argparse.Namespace], int],
    examples: Sequence[str] = (),
) -> argparse.ArgumentParser:
    """Add a command that ``run`` carries out, with its ``--json`` and examples in its help."""
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=examples_epilog(examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_json_option(parser)
    parser.set_defaults(func=run)
    return parser


def add_group(subparsers: Subparsers, name: str, summary: str) -> Subparsers:
    """Add a command that only groups others, such as ``note`` in ``note verify``."""
    parser = subparsers.add_parser(name, help=summary, description=summary)
    return parser.add_subparsers(metavar="COMMAND", required=True)


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Let a command print one JSON document instead of text."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document and nothing else"
    )


def examples_epilog(examples: Sequence[str]) -> str | None:
    """Format examples for the end of a command's help."""
    if not examples:
        return None
    return "\n".join(["examples:", *(f"  {example}" for example in examples)])


def emit(args: argparse.Namespace, document: dict[str, Any], text: str) -> None:
    """Print the outcome: the document with ``--json``, else the text for a person."""
    if args.json:
        print_json(document)
    else:
        print_text(text, sys.stdout)


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document on a line of its own, in ASCII so that any terminal takes it."""
    print(json.dumps(document))


def print_text(text: str, stream: TextIO) -> None:
    """Print text for a person; what the terminal cannot show is escaped, never an error."""
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream)


def printable(text: str) -> str:
    """Escape what a terminal would obey instead of showing; texts come from anybody."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def open_input(path: str) -> BinaryIO:
    """Open a file given on the command line, or standard input for ``-``."""
    try:
        return sys.stdin.buffer if path == "-" else Path(path).open("rb")
    except OSError as error:
        raise Invalid.because("file", path, f"readable ({error.strerror})") from None


def read_input(path: str, *, max_bytes: int = MAX_INPUT_BYTES) -> bytes:
    """Read a whole file given on the command line, or standard input for ``-``."""
    with open_input(path) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise Invalid.because("file", path, f"at most {max_bytes} bytes long")
    return data
