"""Auditing ids: each event's ids are kept and lead to it, and nothing else is kept."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from application.findings import LISTED_MAX, Findings
from application.ports import Key
from domain.event import Event

WHAT = "command_ids"


class Entry(NamedTuple):
    """A stored event as an auditor reads it."""

    row: tuple[Any, ...]
    """The columns in the order of `Recorded`, the payload's text in place of the event."""
    event: Event | None
    """What the payload says, read strictly; None when it cannot be read."""
    problem: str | None
    """Why the payload is not exactly what this program would have stored, if it is not."""
    leaf: bytes
    """The leaf hash, computed from the row."""
    stored_leaf: bytes


Told = tuple[str, Event | None]
"""The command that an event names, and the event; None where it cannot be read."""


class IdReader(Protocol):
    """Reads the ids that are kept, and what they lead to, as of one instant."""

    def unanswered(self, keys: Sequence[tuple[Key, int]]) -> list[int]:
        """Return the positions of those keys that are not kept, each with its position."""

    def id_count(self) -> int:
        """Return how many ids are kept."""

    def ids(self) -> Iterator[Sequence[tuple[int, Key]]]:
        """Yield every id that is kept, in order of position, in chunks."""

    def told_at(self, positions: Sequence[int]) -> Mapping[int, Told]:
        """Return what stands at these positions; those where nothing does are left out."""


class AuditedIds:
    """Compares the ids of events with those that are kept, one way and then the other."""

    def __init__(self, reader: IdReader, findings: Findings) -> None:
        """Start before the first event."""
        self._reader, self._findings = reader, findings
        self._answered = 0

    def examine(self, chunk: Sequence[Entry]) -> None:
        """See that every id of some events is kept, and that no event has one twice."""
        keys: list[tuple[Key, int]] = []
        for entry in chunk:
            position, own = entry.row[0], _keys(entry.row[7], entry.event)
            once = dict.fromkeys(own)
            if len(once) < len(own):
                self._findings.note(position, WHAT, "an id of its own for each line", "one twice")
            keys += [(key, position) for key in once]
        missing = self._reader.unanswered(keys)
        for position in missing:
            self._findings.note(position, WHAT, "the id of this event's command", None)
        self._answered += len(keys) - len(missing)

    def finish(self, position: int) -> None:
        """See that no id is kept beyond those of the events; looks closer when the sums differ."""
        kept = self._reader.id_count()
        if kept == self._answered:
            return
        strays, excused = self._strays()
        for at, key in strays[:LISTED_MAX]:
            self._findings.note(at, WHAT, "an event of this command", list(key))
        if not strays and kept != self._answered + excused:
            self._findings.note(position, f"{WHAT}: rows", self._answered, kept)

    def _strays(self) -> tuple[list[tuple[int, Key]], int]:
        """Return ids that lead to no event of theirs, and how many lead to what nobody can read."""
        strays: list[tuple[int, Key]] = []
        excused = 0
        for chunk in self._reader.ids():
            told = self._reader.told_at(sorted({position for position, _ in chunk}))
            own = {at: set(_keys(*each)) for at, each in told.items() if each[1] is not None}
            for position, key in chunk:
                if position in told and position not in own:
                    excused += 1
                elif key not in own.get(position, ()) and len(strays) < LISTED_MAX:
                    strays.append((position, key))
        return strays, excused


def _keys(command: str, event: Event | None) -> list[Key]:
    """Return what an event takes for ever: its command's id, if it answers one, and others."""
    if event is None:
        return []
    kind = event.command_kind()
    own: list[Key] = [(kind, event.command_scope(), command)] if kind else []
    return [*own, *event.other_ids()]
