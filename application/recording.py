"""Recording: an event gets its envelope and place, alone or as one more line of the last one."""

from application.applying import apply, apply_further
from application.draft import Draft
from application.jobs import Item
from domain.event import Event, Recorded
from domain.events import ReservationSettled
from domain.inferences import together

Place = tuple[int, int, int | None]
"""Position, version in its stream, and number among the customer's events."""


def record(
    draft: Draft, events: list[Recorded], item: Item, customer: str | None, event: Event, now: int
) -> tuple[Recorded, str]:
    """Apply an event to the draft and append it to a batch's events.

    Returns it as it would stand by itself, and the customer's currency.
    """
    if events and type(event) is ReservationSettled and event.inference:
        last = events[-1]
        place = last.position, last.stream_version, last.customer_sequence
        line = _enveloped(item, customer, event, now, place)
        both = together(last, line)
        if both is not None:
            events[-1] = both
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
