"""One batch on its way into the tables: folded, handed to each model, written in one transaction.

An event that a model or the database refuses is put aside with its traceback, for that model
alone, and everything else goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import psycopg
from tollbook.errors import Unavailable

from application.following import Entry, Followed, Stretch, TooNew, Unreadable
from application.world import check_reader
from domain.event import Event
from domain.events import MinReaderRaised
from projections import checkpoint, transparency_log
from projections.checkpoint import Mark, Parked, claim, park
from projections.model import Change, Connection, ReadModel
from projections.states import CustomerStates, Kept, write_kept

EVERY_MODEL = "*"

_DATA_ERRORS = ("22", "23", "P0")
"""SQLSTATE classes that are about the rows: bad data, broken constraints, raised by a function."""


class Last(NamedTuple):
    """The end of a batch."""

    position: int = 0
    recorded_at: int = 0


@dataclass(slots=True)
class Batch:
    """Entries after a mark, folded and collected, ready to be written."""

    mark: Mark
    models: Sequence[ReadModel]
    last: Last = field(default_factory=Last)
    leaves: dict[int, bytes] = field(default_factory=dict)
    """By position, in order."""
    changes: list[Change] = field(default_factory=list)
    """What to collect again, one by one, when the database refuses something."""
    kept: list[Kept] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    in_shares: bool = False
    """Whether several processes collect it: then none of them keeps the changes."""

    def next_mark(self) -> Mark:
        """Return where the rows stand after this batch."""
        return self.mark._replace(position=self.last.position, recorded_at=self.last.recorded_at)


class ShareFailedError(Exception):
    """What several processes collected cannot be written: one has to do it again, with care."""


def collect(
    mark: Mark, entries: Sequence[Entry], states: CustomerStates, models: Sequence[ReadModel]
) -> Batch:
    """Fold entries and give each change to each model."""
    batch = Batch(mark, models)
    firsts: dict[str, int] = {}
    for entry, _ in entries:
        if entry.customer is not None and entry.customer_sequence is not None:
            firsts.setdefault(entry.customer, entry.customer_sequence)
    fold_into(batch, Stretch(firsts, iter(entries)), states)
    return batch


def fold_into(batch: Batch, stretch: Stretch, states: CustomerStates) -> None:
    """Fold entries into an empty batch, and give each change to each of its models.

    One event is read, folded and handed on before the next: most of what that takes is free
    again, and still in the processor's cache, when the next one needs it.
    """
    states.load(stretch.firsts, batch.mark.position)
    handlers = _Handlers(batch.models)
    position = recorded_at = 0
    for entry, leaf in stretch.entries:
        position, recorded_at = entry.position, entry.recorded_at
        batch.leaves[position] = leaf
        change = _fold(entry, states, batch)
        if change is None:
            continue
        if not batch.in_shares:
            batch.changes.append(change)
        for name, handle in handlers[type(change.recorded.event)]:
            try:
                handle(change)
            except Exception as error:  # noqa: BLE001 - whatever it is, it stops nobody else
                batch.parked.append(_parked(change, name, error))
    batch.last = Last(position, recorded_at)
    states.let_go(stretch.firsts)
    batch.kept, states.kept = states.kept, []


class _Handlers(dict[type[Event], list[tuple[str, Callable[[Change], None]]]]):
    """Which models are given an event of a kind, by name; found when the kind first comes."""

    def __init__(self, models: Sequence[ReadModel]) -> None:
        """Ask these models."""
        self._models = models

    def __missing__(self, kind: type[Event]) -> list[tuple[str, Callable[[Change], None]]]:
        """Find the models that want a kind."""
        found = self[kind] = [
            (model.NAME, model.collect) for model in self._models if _wants(model, kind)
        ]
        return found


def _wants(model: ReadModel, kind: type[Event]) -> bool:
    return model.EVENTS is None or kind in model.EVENTS


def _fold(entry: Followed | Unreadable, states: CustomerStates, batch: Batch) -> Change | None:
    """Return what an event did, or None for one that is put aside for every model."""
    customer, sequence = entry.customer, entry.customer_sequence
    if isinstance(entry, Unreadable):
        if customer is not None and sequence is not None:
            states.skip(customer, sequence)
        batch.parked.append(checkpoint.parked(entry.position, EVERY_MODEL, entry.name, entry.error))
        return None
    if customer is None:
        if isinstance(entry.event, MinReaderRaised):
            _check_reader(entry.event)
        return Change(entry, None, None)
    try:
        before, after = states.step(entry)
    except Exception as error:  # noqa: BLE001 - the state counts the event and goes on
        batch.parked.append(checkpoint.parked(entry.position, EVERY_MODEL, entry.name, error))
        return None
    return Change(entry, before, after)


def _check_reader(event: MinReaderRaised) -> None:
    try:
        check_reader(event)
    except Unavailable as error:
        raise TooNew(error.message, **error.facts) from None


def _parked(change: Change, model: str, error: Exception) -> Parked:
    return checkpoint.parked(change.recorded.position, model, change.recorded.name, error)


def write(connection: Connection, batch: Batch) -> None:
    """Write a batch and move the checkpoint, in one transaction.

    Raises MovedError when somebody else was there first, ShareFailedError for rows that only one
    process can sort out, and the driver's error when the database as a whole does not take it.
    """
    try:
        with connection.transaction():
            _write_own(connection, batch)
            for model in batch.models:
                model.write(connection)
            park(connection, batch.parked)
    except checkpoint.MovedError:
        raise
    except Exception as error:
        if not _is_about_rows(error):
            raise
        if batch.in_shares:
            raise ShareFailedError from error
        _write_with_care(connection, batch)


def _write_own(connection: Connection, batch: Batch) -> None:
    claim(connection, batch.mark, batch.last.position, batch.last.recorded_at)
    transparency_log.grow(connection, list(batch.leaves.values()))
    write_kept(connection, batch.kept)


def _is_about_rows(error: Exception) -> bool:
    """Say whether an error concerns what is written, rather than the database or its tables."""
    if isinstance(error, psycopg.Error):
        state = error.sqlstate
        if state is None:
            return isinstance(error, psycopg.DataError)
        return state[:2] in _DATA_ERRORS
    return not isinstance(error, OSError | MemoryError)


def _write_with_care(connection: Connection, batch: Batch) -> None:
    """Write a batch again, halving what a model does not take down to the events to blame."""
    parked = [each for each in batch.parked if each.model == EVERY_MODEL]
    with connection.transaction():
        _write_own(connection, batch)
        for model in batch.models:
            _write_or_park(connection, model, batch.changes, parked)
        park(connection, parked)


def _write_or_park(
    connection: Connection, model: ReadModel, changes: Sequence[Change], parked: list[Parked]
) -> None:
    """Write changes in a transaction of their own within the open one, or the halves of them."""
    model.discard()
    try:
        with connection.transaction():
            for change in changes:
                if _wants(model, type(change.recorded.event)):
                    model.collect(change)
            model.write(connection)
    except Exception as error:
        if not _is_about_rows(error):
            raise
        model.discard()
        if len(changes) == 1:
            parked.append(_parked(changes[0], model.NAME, error))
            return
        middle = len(changes) // 2
        _write_or_park(connection, model, changes[:middle], parked)
        _write_or_park(connection, model, changes[middle:], parked)
