"""What the application's commands share: which ledger is meant, and bars that show progress."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tollbook.errors import Invalid

if TYPE_CHECKING:
    from rich.progress import Progress

    from entrypoints.settings import Settings

logger = logging.getLogger("tollbook")

KAFKA, TOPIC = "TOLLBOOK_KAFKA", "inference-usage"


def add_ledger_options(parser: argparse.ArgumentParser) -> None:
    """Let a command say which ledger it works on."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--data", metavar="DIR", help="an embedded ledger (default: $TOLLBOOK_DATA)")
    which.add_argument(
        "--database",
        metavar="URL",
        help="a ledger on PostgreSQL; a URL with a password belongs in $TOLLBOOK_DATABASE "
        "(default: that)",
    )


def add_kafka_options(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Let a command say which Kafka it uses, and for which topic."""
    told = f"{purpose}; several with commas (default: ${KAFKA})"
    parser.add_argument("--kafka", metavar="HOST:PORT", help=told)
    parser.add_argument("--topic", default=TOPIC, help=f"where usage is (default: {TOPIC})")


def kafka_of(args: argparse.Namespace) -> str | None:
    """Return the brokers that a command names, or None; raises Invalid."""
    address: str = args.kafka or os.environ.get(KAFKA, "")
    for each in address.split(",") if address else ():
        host, colon, port = each.rpartition(":")
        if not (colon and host and port.isdecimal()):
            raise Invalid.because("kafka", address, f"HOST:PORT, by --kafka or {KAFKA}")
    return address or None


def settings_of(args: argparse.Namespace) -> "Settings":
    """Return the settings that a command's options and the environment name."""
    from entrypoints.settings import settings_from

    warn_of_password(args)
    return settings_from(args.data, args.database)


def warn_of_password(args: argparse.Namespace) -> None:
    """Say, once in a command, that every user of the machine may read a password among options."""
    if not args.database or getattr(args, "was_warned", False):
        return
    from adapters.postgres import holds_password

    if holds_password(args.database):
        args.was_warned = True
        logger.warning(
            "--database holds a password, and every user of this machine may read the options of a "
            "command: put the URL into TOLLBOOK_DATABASE or a file named by "
            "TOLLBOOK_DATABASE_FILE, or the password into PostgreSQL's PGPASSFILE or service file"
        )


class Bars:
    """Progress bars on a terminal; without one, nothing is drawn."""

    def __init__(self, drawn: "Progress | None") -> None:
        """Draw on rich's progress display, if there is one."""
        self._drawn = drawn

    def start(self, label: str, total: int | None) -> Callable[[int], None]:
        """Add a bar and return what moves it on by a number of steps; None is an unknown end."""
        drawn = self._drawn
        if drawn is None:
            return _draw_nothing
        task = drawn.add_task(label, total=total)
        return lambda steps: drawn.advance(task, steps)


def _draw_nothing(_steps: int) -> None:
    """Stand in for a bar where there is no terminal."""


@contextmanager
def progress() -> Iterator[Bars]:
    """Show bars on standard error while the block runs, if that is a terminal."""
    if not sys.stderr.isatty():
        yield Bars(None)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as drawn:
        yield Bars(drawn)
