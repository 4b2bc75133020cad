"""Recording: an event gets its envelope and place, alone or as one more line of the last one."""

from collections.abc import Iterator
from typing import NamedTuple

from application.applying import apply, apply_further
from application.draft import Draft
from application.jobs import Item
from domain.event import Event, Recorded
from domain.events import ReservationSettled
from domain.inferences import LINES_MAX, Bond, bond_of, together

Place = tuple[int, int, int | None]
"""Position, version in its stream, and number among the customer's events."""


class Mark(NamedTuple):
    """Where the events of a batch stood, to go back to."""

    length: int
    lines: list[Recorded]
    bond: Bond | None


class Events:
    """The events of a batch that is being decided; the last one may get more lines.

    They are only joined when somebody looks: each line would otherwise copy those before it.
    """

    def __init__(self) -> None:
        """Start without any."""
        self._events: list[Recorded] = []
        self._lines: list[Recorded] = []
        """What the last event tells, each line as it would stand by itself."""
        self._joined = 1
        """How many of them it tells already."""
        self._bond: Bond | None = None
        """What a further line of it has to have in common with those; None: it can have none."""

    def all(self) -> list[Recorded]:
        """Return the events so far."""
        if len(self._lines) > self._joined:
            self._events[-1] = together(self._lines)
            self._joined = len(self._lines)
        return self._events

    def __iter__(self) -> Iterator[Recorded]:
        """Yield the events so far."""
        return iter(self.all())

    def append(self, recorded: Recorded) -> None:
        """Add an event."""
        self.all()
        self._events.append(recorded)
        self._lines, self._joined = [recorded], 1
        self._bond = bond_of(recorded)

    def place(self) -> Place | None:
        """Return the place that a further line of the last event has; None if it can have none."""
        if self._bond is None or len(self._lines) == LINES_MAX:
            return None
        first = self._lines[0]
        return first.position, first.stream_version, first.customer_sequence

    def takes(self, line: Recorded) -> bool:
        """Add a line to the last event, if they belong together."""
        if bond_of(line) != self._bond:
            return False
        self._lines.append(line)
        return True

    def mark(self) -> Mark:
        """Return what `back_to` goes back to."""
        return Mark(len(self._events), self._lines.copy(), self._bond)

    def back_to(self, mark: Mark) -> None:
        """Forget what came after a mark."""
        del self._events[mark.length :]
        self._lines, self._joined, self._bond = mark.lines.copy(), 1, mark.bond
        if self._lines:
            self._events[-1] = self._lines[0]


def record(
    draft: Draft, events: Events, item: Item, customer: str | None, event: Event, now: int
) -> tuple[Recorded, str]:
    """Apply an event to the draft and append it to a batch's events.

    Returns it as it would stand by itself, and the customer's currency.
    """
    if type(event) is ReservationSettled and event.inference:
        place = events.place()
        if place is not None:
            line = _enveloped(item, customer, event, now, place)
            if events.takes(line):
                return line, apply_further(draft, event, now, item.command.id)
    version, sequence, currency = apply(draft, event, customer, now, item.command.id)
    draft.position += 1
    draft.recorded_at = now
    recorded = _enveloped(item, customer, event, now, (draft.position, version, sequence))
    events.append(recorded)
    return recorded, currency


def _enveloped(item: Item, customer: str | None, event: Event, now: int, place: Place) -> Recorded:
    position, stream_version, sequence = place
    occurred_at: int | None = getattr(event, "occurred_at", None)
    return Recorded(
        position,
        event.NAME,
        event.VERSION,
        event.stream(),
        stream_version,
        customer,
        sequence,
        item.command.id,
        item.causation,
        item.correlation,
        item.actor,
        now if occurred_at is None else occurred_at,
        now,
        event,
    )
