"""Events and batches made by hand, for tests of what lies below the rules."""

from collections.abc import Sequence

from application.ports import Batch, EventStore, Key, Rider
from domain.event import Event, Recorded
from domain.events import HoldsExpired


def recorded(
    position: int,
    at: int,
    event: Event | None = None,
    *,
    stream_version: int | None = None,
    sequence: int | None = None,
    command: str | None = None,
    customer: str | None = "cust-1",
) -> Recorded:
    """Put an event into an envelope; by default each one follows in its customer's stream."""
    event = event or HoldsExpired(customer=customer or "nobody", holds=())
    return Recorded(
        position=position,
        name=event.NAME,
        version=event.VERSION,
        stream=event.stream(),
        stream_version=position if stream_version is None else stream_version,
        customer=customer,
        customer_sequence=(position if customer else None) if sequence is None else sequence,
        command=command or f"command-{position}",
        causation=None,
        correlation=None,
        actor="tester",
        occurred_at=at,
        recorded_at=at,
        event=event,
    )


def batch_for(
    store: EventStore, count: int = 1, *, at: int | None = None, riders: Sequence[Rider] = ()
) -> Batch:
    """Return a batch that fits right after the head, at the database's time."""
    head = store.head()
    now = max(store.database_time(), head.recorded_at) if at is None else at
    events = [recorded(head.position + number, now) for number in range(1, count + 1)]
    return Batch(head.position, events, [(key_of(each), each.position) for each in events], riders)


def key_of(event: Recorded) -> Key:
    """Return the key that batches made here take for an event."""
    return ("test", "cust-1", event.command)
