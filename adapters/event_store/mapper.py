"""How an event becomes stored bytes and back: strict payloads, canonical JSON, leaf hashes.

The bytes of an entry, which its Merkle leaf covers, are one line of JSON with the envelope and
then the payload exactly as it is stored (docs/formats/events.md):

    ["tollbook/event/1",position,name,version,stream,...]\\n{"charged":"0.000037500000",...}
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import Any

from eventsourcing.persistence import Mapper, Notification, StoredEvent
from pydantic import TypeAdapter, ValidationError
from tollbook import canonical
from tollbook.errors import Tampered, Unavailable

from adapters.event_store import writing
from domain.event import EVENT_TYPES, Event, Recorded
from domain.events import ReservationHeld, ReservationSettled  # which registers all events
from domain.inferences import InferencesSettled
from domain.upcasting import upcast

# Each is made when it is first needed: all of them take some 30 ms, too long for one command.
_ENCODERS: dict[type[Event], Callable[..., bytes]] = {}
_DECODERS: dict[tuple[str, int], Callable[..., Any]] = {}


_WRITERS: dict[type[Event], Callable[[Any], bytes | None]] = {
    ReservationHeld: writing.held,
    ReservationSettled: writing.settled,
    InferencesSettled: writing.settled_together,
}
"""What writes the most frequent payloads by itself; None leaves one to the general encoder."""


def encode(event: Event) -> bytes:
    """Return the canonical JSON of a payload; fields stand sorted in the class already."""
    writer = _WRITERS.get(type(event))
    written = None if writer is None else writer(event)
    return _encoded(event) if written is None else written


def is_spelling(event: Event, data: bytes) -> bool:
    """Say whether these bytes are the one spelling of an event that was read from them."""
    writer = _WRITERS.get(type(event))
    written = None if writer is None else writer(event)
    if written is not None:
        return written == data
    # The general encoder leaves the names of an object of any form in the order of the text.
    return _encoded(event) == data and canonical.is_canonical(data, max_bytes=len(data))


def _encoded(event: Event) -> bytes:
    """Write a payload by what pydantic knows of its class."""
    encoder = _ENCODERS.get(type(event))
    if encoder is None:
        _learn(type(event))
        encoder = _ENCODERS[type(event)]
    return encoder(event, exclude_none=True)


def decode(name: str, version: int, data: str | bytes) -> Event:
    """Read a stored payload strictly, upcasting an older version first.

    Raises Unavailable for an event that newer code wrote (this process must stop deciding), and
    Tampered for a payload that does not have the form of its version.
    """
    decoder = _DECODERS.get((name, version)) or _new_decoder(name, version)
    try:
        if decoder is not None:
            event: Event = decoder(data, strict=True)
            return event
        raised = upcast(name, version, canonical.loads(_bytes(data)))
        if raised is None:
            raise Unavailable(
                f"event {name} version {version} is newer than this program: upgrade it",
                event=name,
                version=version,
            )
        newest, payload = raised
        event = decode(name, newest, canonical.dumps(payload))
    except ValidationError as error:
        raise Tampered(f"event {name} version {version} has another form: {error}") from None
    return event


def _new_decoder(name: str, version: int) -> Callable[..., Any] | None:
    cls = EVENT_TYPES.get((name, version))
    if cls is None:
        return None
    _learn(cls)
    return _DECODERS[name, version]


def _learn(cls: type[Event]) -> None:
    """Make what writes the payloads of a class and what reads them, which are made at once."""
    adapter = TypeAdapter(cls)
    _ENCODERS[cls] = adapter.serializer.to_json
    _DECODERS[cls.NAME, cls.VERSION] = adapter.validator.validate_json


def learn_all() -> None:
    """Make what writes and reads every kind of payload, before anybody waits for it."""
    for cls in EVENT_TYPES.values():
        if cls not in _ENCODERS:
            _learn(cls)


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


def _quoted(text: str | None) -> str:
    return "null" if text is None else encode_basestring(text)


def leaf_hash(recorded: Recorded, data: bytes) -> bytes:
    """Return the RFC 6962 leaf hash of an entry: envelope line and payload."""
    (position, name, version, stream, stream_version, customer, sequence) = recorded[:7]
    (command, causation, correlation, actor, occurred_at, recorded_at) = recorded[7:13]
    head = (
        f'["tollbook/event/1",{position},"{name}",{version},"{stream}",{stream_version},'
        f"{_quoted(customer)},{'null' if sequence is None else sequence},"
        f"{encode_basestring(command)},"
        f"{_quoted(causation)},{_quoted(correlation)},{encode_basestring(actor)},"
        f"{occurred_at},{recorded_at}]\n"
    )
    return hashlib.sha256(b"\x00" + head.encode() + data).digest()


@dataclass(frozen=True)
class StoredRow(Notification):
    """A stored event that also carries its envelope; its position is its notification id."""

    row: tuple[Any, ...]


class LedgerMapper(Mapper[str]):
    """The library's mapper, replaced by our names, versions and strict payloads."""

    def __init__(self) -> None:
        """Need no transcoder: the payload classes say how they are written."""

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """Turn a recorded event into what the library stores; the topic is `name.version`."""
        recorded: Recorded = domain_event
        return StoredEvent(
            originator_id=f"stream:{recorded.stream}",
            originator_version=recorded.stream_version,
            topic=f"{recorded.name}.{recorded.version}",
            state=encode(recorded.event),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """Turn a row of ours into the recorded event it holds."""
        assert isinstance(stored_event, StoredRow)
        return recorded_from(stored_event.row)


def recorded_from(row: tuple[Any, ...]) -> Recorded:
    """Build a recorded event from a row in the order of `ROW_COLUMNS`."""
    return Recorded._make((*row[:13], decode(row[1], row[2], row[13])))


ROW_COLUMNS = (
    "position, name, version, stream, stream_version, customer, customer_sequence, command, "
    "causation, correlation, actor, occurred_at, recorded_at, data"
)
"""The columns of `events` in the order of `Recorded`, the payload last."""
