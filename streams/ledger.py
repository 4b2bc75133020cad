"""Ledger: what the stream asks of the ledger, whichever process decides it."""

import pickle
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import fields
from io import BytesIO
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from tollbook.errors import TollbookError

from application.jobs import Item, Job
from application.ports import Rider
from domain.commands import ChargeUsage
from streams.runs import Told

ACTOR = "stream"


class Untaken(NamedTuple):
    """What the ledger was told and keeps no trace of."""

    id: str
    error: TollbookError | None


class Ledger(Protocol):
    """Takes what records tell, one transaction after another, in the order in which they begin."""

    def begin(self, told: Sequence[Told], riders: Sequence[Rider]) -> Any:
        """Have a transaction decided with its offsets, and return what `answers` waits for.

        Raises Unavailable where nothing is begun.
        """

    def answers(self, begun: Any) -> Sequence[Untaken]:
        """Wait for a transaction; whoever began several asks for all of them, in their order.

        Raises Unavailable where nothing was done, and Unknown where that is not known.
        """


class Decides(Protocol):
    """An executor, as far as the stream needs one."""

    def begin(self, items: Sequence[Item], *, riders: Sequence[Rider]) -> Job:
        """Queue items that are decided together."""

    def answers(self, job: Job) -> Sequence[Any]:
        """Wait for their answers."""


class OwnLedger:
    """The ledger by an executor of this process."""

    def __init__(self, executor: Decides) -> None:
        """Ask an executor."""
        self._executor = executor

    def begin(self, told: Sequence[Told], riders: Sequence[Rider]) -> Job:
        """Queue what was told."""
        return self._executor.begin([each.item(ACTOR) for each in told], riders=riders)

    def answers(self, begun: Job) -> Sequence[Untaken]:
        """Wait for a job."""
        answers = self._executor.answers(begun)
        return [Untaken(each.id, each.error) for each in answers if not each.recorded]


_NAMES = tuple(field.name for field in fields(ChargeUsage))
_GET = tuple(attrgetter(name) for name in _NAMES)
_PUT = tuple(getattr(ChargeUsage, name).__set__ for name in _NAMES)
"""Set a field of a command that was checked when it was read, and that nobody else has yet."""


def packed(told: Sequence[Told], riders: Sequence[Rider]) -> bytes:
    """Return a transaction for a process of this program that decides it; never kept anywhere.

    What is told by a charge alone, which is parked if need be, goes field by field of all of them;
    that takes half as long as one after another.
    """
    others = {at: each for at, each in enumerate(told) if not _is_charge_alone(each)}
    charges = [each.command for at, each in enumerate(told) if at not in others]
    columns = [list(map(get, charges)) for get in _GET]
    buffer = BytesIO()
    pickler = pickle.Pickler(buffer, pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = {ChargeUsage: _taken_apart}
    pickler.dump((columns, others, [tuple(each) for each in riders]))
    return buffer.getvalue()


def unpacked(
    columns: Sequence[Sequence[Any]], others: Mapping[int, Told], riders: Sequence[Any]
) -> tuple[list[Told], list[Rider]]:
    """Return the transaction that was packed."""
    told = [Told(each, (each,)) for each in _charges(columns)]
    for at, each in others.items():  # in their order, so that each finds its place
        told.insert(at, each)
    return told, [Rider(*each) for each in riders]


def _is_charge_alone(told: Told) -> bool:
    command, records, unless = told
    return type(command) is ChargeUsage and unless is None and records == (command,)


def _charges(columns: Sequence[Sequence[Any]]) -> list[ChargeUsage]:
    made = [object.__new__(ChargeUsage) for _ in columns[0]]
    for put, column in zip(_PUT, columns, strict=True):
        deque(map(put, made, column), maxlen=0)  # what each returns is nothing
    return made


def _taken_apart(charge: ChargeUsage) -> tuple[Any, tuple[Any, ...]]:
    return _charge, tuple(get(charge) for get in _GET)


def _charge(*values: Any) -> ChargeUsage:
    (made,) = _charges([(value,) for value in values])
    return made
