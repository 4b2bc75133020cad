"""The page docs/cli.md, made from the commands: `python -m entrypoints.cli.reference`."""

import argparse
import sys
from collections.abc import Iterator
from functools import cache

from tollbook.cli import build_parser
from tollbook.cli_support import add_json_option

from entrypoints.cli.options import add_ledger_options

HEAD = """\
# The commands

`tollbook` is one program. The SDK brings the commands that a customer needs; with the application
installed it has all of these. This page is made from them: `python -m entrypoints.cli.reference >
docs/cli.md`.

## What they share

- `--help` shows what a command takes, with examples.
- `--json` prints one JSON document on standard output and nothing else there. When a command
  fails, that is the problem document, with a stable `code`. Notes and bars go to standard error.
- Where a command needs a ledger: `--data DIR` is an embedded one, `--database URL` one on a
  PostgreSQL server. Without either, `TOLLBOOK_DATABASE` and `TOLLBOOK_DATA` are looked at.
  Several processes may use one ledger, `tollbook serve` among them. `prices publish`,
  `customers create` and `models register` make the ledger of a `--data DIR` that is new.
- A variable of the environment that begins with `TOLLBOOK_` and that nothing reads, a mistyped one
  say, is named on standard error, with the one that was meant. The command goes on.
- Amounts are rounded to the currency's minor unit for people, and exact in `--json`.
- Lists bring the read models up to date first, so they show everything up to the position that
  they name. Prices, models, balances and `customers show` are read from the log itself.

| exit code | meaning |
|--|--|
| 0 | done, and true |
| 1 | a check found differences; `prices lint --strict` found warnings |
| 2 | wrong usage, or input that cannot be read or is invalid |
| 3 | refused by a rule, or some of the records of a file were |
| 4 | something that is needed is unavailable; trying again may help |
| 130 | interrupted by Ctrl-C: the code is `interrupted` (a server that is stopped so ends with 0) |

**Ids.** A command that changes the ledger has an id, and the same id has no second effect. Where
it is not given one is made, shown with the answer, and named in any failure: repeat the command
with it. The ledger records who acted as `cli:USER`, the user of the operating system.

**Usage records.** A file holds CloudEvents: one JSON object, a JSON list (16 MiB at most), or JSON
Lines (one event a line, 1 MiB at most, in a file of any length). Each record is answered for
itself. One that no rule lets be charged is *parked*: kept, neither charged nor lost, so it does not
fail the command; it is counted and listed. A record that is *refused* (of another form, or a key
that was used with another body) is kept nowhere, and the exit code is 3. Sending a file again is
harmless: what the ledger knows is answered `duplicate`, or `parked` as before.
"""


def page() -> str:
    """Return the page as it must be committed."""
    parts = [HEAD]
    for name, parser in sorted(commands(build_parser()), key=lambda each: each[0]):
        parts.append(
            f"## {name}\n\n{parser.description}\n\n{_options(parser)}\n{_examples(parser)}"
        )
    return "\n".join(parts)


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every command that can be run, with its parser, group by group."""
    groups = [each.choices for each in _actions(parser) if isinstance(each.choices, dict)]
    if not groups:
        yield parser.prog, parser
    for group in groups:
        for inner in group.values():
            yield from commands(inner)


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    # argparse has no public way to ask a parser what it takes.
    return parser._actions  # noqa: SLF001


def _options(parser: argparse.ArgumentParser) -> str:
    lines = []
    shared = _shared()
    for action in _actions(parser):
        is_shared = (list(action.option_strings[-1:]), action.help) in shared
        if is_shared or action.help == argparse.SUPPRESS:
            continue
        words = [*action.option_strings[-1:], *_value(action)]
        needed = " (required)" if action.required and action.option_strings else ""
        lines.append(f"- `{' '.join(words)}`{needed}: {action.help or ''}".rstrip(" :"))
    return "\n".join([*lines, ""]) if lines else ""


@cache
def _shared() -> list[tuple[list[str], str | None]]:
    """Return the options that the page tells once for all commands."""
    parser = argparse.ArgumentParser()
    add_json_option(parser)
    add_ledger_options(parser)
    return [(list(action.option_strings[-1:]), action.help) for action in _actions(parser)]


def _value(action: argparse.Action) -> list[str]:
    """Return how an option's value is written; nothing for one that takes none."""
    if action.nargs == 0:
        return []
    if action.choices is not None:
        return ["|".join(map(str, action.choices))]
    name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.nargs in ("*", "+"):
        return [f"{name} ..."]
    return [f"[{name}]"] if action.nargs == "?" else [name]


def _examples(parser: argparse.ArgumentParser) -> str:
    lines = (parser.epilog or "").splitlines()[1:]
    return "\n".join(["```", *(line.strip() for line in lines), "```", ""])


if __name__ == "__main__":
    sys.stdout.write(page())
