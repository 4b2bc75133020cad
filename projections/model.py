"""What a read model is: its tables, and how it turns the ledger's changes into rows.

The runner gives each model every event in order of position, and one transaction per batch.
A model's queries stand beside it, in the same file, and read the schema `views` by name.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import psycopg

from application.following import Followed
from domain.balance import Balance
from domain.event import Event

SCHEMA = "views"
"""Where readers find the tables of every model."""

Connection = psycopg.Connection[tuple[Any, ...]]

Run = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
"""Runs one query and returns its rows: what each query of a model takes first."""


class Change(NamedTuple):
    """One event of the ledger, and what it did to its customer."""

    recorded: Followed
    before: Balance | None
    """The customer's balance before the event; None for an event without a customer."""
    after: Balance | None


Wanted = frozenset[type[Event]] | None
"""Some kinds of event, or None for all of them."""


class ReadModel(Protocol):
    """One answerable question: tables, and the handlers that fill them."""

    NAME: str
    VERSION: int
    """Raised when the same events give other rows; the views are then built anew."""
    TABLES: str
    """The DDL; names are unqualified, because the schema being built comes first in the path."""
    EVENTS: Wanted
    """The events that it is given."""

    def collect(self, change: Change) -> None:
        """Turn one of its events into rows in memory, in order of position.

        Rows are made first and kept last: a handler that raises has kept nothing of its event.
        """

    def write(self, connection: Connection) -> None:
        """Write the rows collected so far inside the open transaction, set by set; then forget."""

    def discard(self) -> None:
        """Forget the rows collected so far; they will be collected again."""
