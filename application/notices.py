"""Notices: what security is told of fraud, read from the log, in order, each until it has arrived.

The log is the outbox: nothing is written when something happens. A cursor says up to where every
notice was delivered; it moves after a delivery, so a notice can come twice, always under its own
id, but none is lost. One that is refused is tried again later and later, and those behind it wait.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from tollbook.times import SECOND, format_instant

BATCH = 20_000
"""How much of the log one look goes through."""

FIRST_WAIT = 5 * SECOND
LONGEST_WAIT = 3_600 * SECOND
ERROR_MAX = 500
"""So much is kept of an error, in ASCII: what a receiver answers is nothing to rely on."""

TYPES = {
    "account_blocked": "fraud.flagged",
    "fraud_flagged": "fraud.flagged",
    "fraud_cleared": "fraud.cleared",
    "fraud_confirmed": "fraud.confirmed",
}
"""What a notice of an event is called, by the name of the event."""


class Told(NamedTuple):
    """An event that security is told of, as it is stored."""

    position: int
    name: str
    actor: str
    recorded_at: int
    data: str
    leaf: bytes


class Cursor(NamedTuple):
    """Up to where everything was delivered, and how the next notice fares."""

    position: int = 0
    tries: int = 0
    next_at: int = 0
    error: str = ""


class Outbox(Protocol):
    """The log, looked at for notices, and the cursor of their receiver."""

    def cursor(self) -> Cursor:
        """Return where the deliveries stand."""

    def move(self, before: Cursor, after: Cursor) -> bool:
        """Stand elsewhere, unless somebody else has moved meanwhile; say whether that was done."""

    def next_after(self, position: int, limit: int) -> tuple[Told | None, int]:
        """Return the first event to tell after a position, and how far the log was looked at."""


class NotDeliveredError(Exception):
    """A notice did not arrive, or was not answered with 2xx: it is to be tried again."""


Deliver = Callable[[str, int, bytes], None]
"""Sends (id, seconds since 1970, body); raises NotDeliveredError."""


def notice_id(told: Told) -> str:
    """Return the id of a notice: the same on every try, and in no other ledger."""
    return f"msg_{told.leaf.hex()[:32]}"


def notice_body(told: Told) -> bytes:
    """Return what a notice says: the event's fields, where it stands, and who did it."""
    fields: dict[str, Any] = json.loads(told.data)
    document = {
        "type": TYPES[told.name],
        "timestamp": format_instant(told.recorded_at),
        "data": {"event": told.name, "position": told.position, "actor": told.actor, **fields},
    }
    return json.dumps(document, separators=(",", ":")).encode()


def send_next(outbox: Outbox, deliver: Deliver, now: int) -> bool:
    """Deliver the next notice, if one is due; say whether there may be more to do at once."""
    cursor = outbox.cursor()
    if now < cursor.next_at:
        return False
    told, reached = outbox.next_after(cursor.position, BATCH)
    if told is None:
        if reached > cursor.position:
            outbox.move(cursor, Cursor(reached))
        return reached - cursor.position >= BATCH
    try:
        deliver(notice_id(told), now // SECOND, notice_body(told))
    except NotDeliveredError as error:
        wait = min(LONGEST_WAIT, FIRST_WAIT << min(cursor.tries, 20))
        text = ascii(str(error)[:ERROR_MAX])[1:-1][:ERROR_MAX]
        outbox.move(cursor, Cursor(cursor.position, cursor.tries + 1, now + wait, text))
        return False
    return outbox.move(cursor, Cursor(told.position))
