"""The library's application recorder over our log: positions are its notification ids.

Positions are given out under the lock on the head, so they have no gaps, and they become visible
in their order: who reads up to a position has missed nothing before it.
"""

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

from eventsourcing.persistence import (
    ApplicationRecorder,
    Notification,
    StoredEvent,
    Subscription,
)

from adapters.event_store.mapper import ROW_COLUMNS
from adapters.event_store.recorder import NUMBER_MAX, LedgerRecorder, stored_row

POLL_SECONDS = 0.1
FETCH_MAX = 500

_SELECT = (
    f"SELECT {ROW_COLUMNS} FROM events WHERE position > %s AND position <= %s "  # noqa: S608
    "AND (%s OR name || coalesce('.' || version, '') = ANY(%s)) ORDER BY position LIMIT %s"
)


class LedgerApplicationRecorder(LedgerRecorder, ApplicationRecorder):
    """Reads the log along an axis, or all of it in the order of positions."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:
        """Insert events on a bare recorder and return their positions."""
        return self._insert(stored_events, kwargs)

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Return the events between two positions, in order; topics are `name.version`."""
        after = 0 if start is None else start - inclusive_of_start
        last = NUMBER_MAX if stop is None else stop
        rows = self._run(_SELECT, (after, last, not topics, list(topics), limit))
        if self._bare:
            return [
                Notification(f"stream:{row[3]}", row[4], row[1], row[13].encode(), row[0])
                for row in rows
            ]
        return [stored_row(row) for row in rows]

    def max_notification_id(self) -> int | None:
        """Return the position of the newest event, or None for an empty ledger."""
        ((position,),) = self._run("SELECT position FROM ledger_head", ())
        return position or None

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription["LedgerApplicationRecorder"]:
        """Return an iterator over the events after a position that waits for more at the end."""
        return PollingSubscription(self, gt, topics)


class PollingSubscription(Subscription[LedgerApplicationRecorder]):
    """Asks for new events every 0.1 s: appending pays for no notification."""

    def __init__(
        self, recorder: LedgerApplicationRecorder, gt: int | None, topics: Sequence[str]
    ) -> None:
        """Start after a position."""
        super().__init__(recorder, gt, topics)
        self._waiting: deque[Notification] = deque()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the iteration, also of a thread that waits for the next event."""
        super().stop()
        self._stopped.set()

    def __next__(self) -> Notification:
        """Return the next event, waiting for it until the subscription is stopped."""
        while not self._stopped.is_set():
            if self._waiting:
                return self._waiting.popleft()
            if not self._fetch():
                self._stopped.wait(POLL_SECONDS)
        raise StopIteration

    def _fetch(self) -> bool:
        """Read on from where the last read ended; say whether there was anything new.

        The position moves past events of other topics too, so none is looked at twice.
        """
        end = self._recorder.max_notification_id() or 0
        if end <= (self._last_notification_id or 0):
            return False
        found = self._recorder.select_notifications(
            self._last_notification_id, FETCH_MAX, end, self._topics, inclusive_of_start=False
        )
        self._waiting.extend(found)
        self._last_notification_id = found[-1].id if len(found) == FETCH_MAX else end
        return True
