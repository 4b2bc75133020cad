"""The console script ``tollbook``: the frame into which every command is hung.

The SDK brings its own commands; the application adds more through the entry-point group
``tollbook.commands``. Each entry point names a callable ``register(subparsers)`` that adds parsers
and sets ``func(args) -> int`` on them. Exit codes are those of ``tollbook.errors``: 0 done, 1 a
check found differences, 2 wrong usage or unreadable input, 3 refused by a rule, 4 something that
is needed is unavailable, 130 interrupted. With ``--json`` a failure prints its problem document.
"""

import argparse
import gc
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any, NoReturn

import tollbook
from tollbook import commands, variables
from tollbook.cli_support import Subparsers, print_json, print_text, printable
from tollbook.errors import EXIT_INTERRUPTED, Interrupted, Invalid, TollbookError, exit_code

COMMANDS_GROUP = "tollbook.commands"
TRACEBACK_VARIABLE = "TOLLBOOK_TRACEBACK"

# As a shell reports a process that a signal ended: 128 and the number of SIGPIPE.
EXIT_BROKEN_PIPE = 141

_RARELY = 100_000, 50, 100


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        # The process is this command's alone, and what it imports is no garbage to look for.
        gc.set_threshold(*_RARELY)
    try:
        status = _run(arguments)
        # Flushed here, because a reader that has gone away is noticed on writing.
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:  # once more, while the end was being told
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes once more at its end; that must not fail aloud.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE


def _run(arguments: list[str]) -> int:
    try:
        args = build_parser().parse_args(arguments)
        for warning in variables.warnings(os.environ):
            print_text(f"tollbook: {printable(warning)}", sys.stderr)
        return int(args.func(args))
    except SystemExit as stop:  # argparse has printed the help or the version
        return int(stop.code or 0)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt as stop:
        interrupted = Interrupted("interrupted").with_traceback(stop.__traceback__)
        return _report(interrupted, as_json="--json" in arguments)
    except Exception as error:  # the last line of defence: no command ends in a bare traceback
        return _report(error, as_json="--json" in arguments)


def build_parser() -> argparse.ArgumentParser:
    """Make the parser with the SDK's commands and those of every installed plug-in."""
    parser: argparse.ArgumentParser = _Parser(
        prog="tollbook", description="Prove, price and keep the books of inference."
    )
    parser.add_argument("--version", action="version", version=f"tollbook {tollbook.__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    commands.register(subparsers)
    _register_plugins(subparsers)
    return parser


class _Parser(argparse.ArgumentParser):
    """A parser that raises on wrong usage, so that ``main`` alone reports and chooses the exit."""

    def __init__(self, **options: Any) -> None:
        # Without abbreviations an option that is added later cannot change what a script means.
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        told = f"{message} (what there is: {self.prog} --help)"
        raise Invalid(told, code="usage", usage=self.format_usage().strip())


def _register_plugins(subparsers: Subparsers) -> None:
    for plugin in entry_points(group=COMMANDS_GROUP):
        try:
            plugin.load()(subparsers)
        except Exception as error:  # a broken plug-in costs its own commands, never those of others
            print_text(f"tollbook: the commands of {plugin.value} are missing: {error}", sys.stderr)


def _report(error: Exception, *, as_json: bool) -> int:
    if os.environ.get(TRACEBACK_VARIABLE) == "1":
        print_text("".join(traceback.format_exception(error)), sys.stderr)
    if not isinstance(error, TollbookError):
        error = TollbookError(f"internal error: {type(error).__name__}: {error}")
    if "usage" in error.facts:
        print_text(error.facts["usage"], sys.stderr)
    print_text(f"tollbook: {printable(error.message)}", sys.stderr)
    if as_json:
        print_json(error.problem())
    return exit_code(error)
