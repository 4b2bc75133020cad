"""How a command acts on the ledger: who acts, under which id, and what it says afterwards."""

import argparse
import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tollbook.cli_support import print_text
from tollbook.errors import Interrupted, TollbookError

from entrypoints.cli.options import settings_of

if TYPE_CHECKING:
    from adapters.event_store.store import PostgresEventStore
    from application.answers import Answer
    from application.tollbook import Tollbook


def actor() -> str:
    """Name who acts: the user of the operating system."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        user = str(os.getuid())
    return f"cli:{user}"


@contextmanager
def opened(args: argparse.Namespace, *, create: bool = False) -> "Iterator[Tollbook]":
    """Open the ledger that a command's options name; `create` makes an embedded one."""
    from adapters.embedded_postgres.server import is_ledger_dir
    from entrypoints.bootstrap import open_tollbook

    settings = settings_of(args)
    new = create and settings.data is not None and not is_ledger_dir(settings.data)
    with open_tollbook(settings, create=create) as tollbook:
        if new:
            print_text(f"tollbook: made a new ledger in {settings.data}", sys.stderr)
        yield tollbook


def reading(tollbook: "Tollbook") -> "PostgresEventStore":
    """Return the store that a Tollbook reads from, which runs queries as well."""
    from adapters.event_store.store import PostgresEventStore

    assert isinstance(tollbook.store, PostgresEventStore)
    return tollbook.store


def carry_out(tollbook: "Tollbook", kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """Let the ledger decide one command and return its answer; a refusal is raised."""
    with naming_the_id(body["id"]):
        return document(tollbook.run(kind, body, actor=actor()))


def document(answer: "Answer") -> dict[str, Any]:
    """Return an answer as commands print it, or raise its problem."""
    return {**answer.result(), "repeated": answer.repeated}


@contextmanager
def naming_the_id(name: str) -> Iterator[None]:
    """Put the command's id into whatever goes wrong, so that it can be repeated with it."""
    try:
        yield
    except TollbookError as error:
        error.facts.setdefault("id", name)
        if error.retryable or error.code == "unknown":
            error.message += f" (repeat it with the id {name})"
        raise
    except KeyboardInterrupt as stop:
        raise Interrupted(f"interrupted (repeat it with the id {name})", id=name) from stop


def given(args: argparse.Namespace, *fields: str) -> dict[str, Any]:
    """Return the options that were given, under the names of a command's fields."""
    values = {field: getattr(args, field) for field in fields}
    return {field: value for field, value in values.items() if value is not None}


def told(line: str, result: dict[str, Any]) -> str:
    """Say what was done, and under which id and position it can be found again."""
    again = " (as before: it had been done already)" if result["repeated"] else ""
    return f"{line}{again}\nid {result['id']}, position {result['position']:,}"
