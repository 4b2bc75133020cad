"""The library's recorders over our own tables: the log with two axes, and the snapshots.

An event is stored once and read along either of two gapless axes: `stream:ID` by stream version,
`customer:ID` by the customer's sequence. Position is the library's notification id.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from eventsourcing.persistence import AggregateRecorder, Mapper, StoredEvent
from tollbook import canonical

from adapters.event_store.mapper import ROW_COLUMNS, StoredRow
from application.ports import Snapshot
from domain.state import STATE_VERSION, balance_from_wire, balance_to_wire

SNAPSHOT_BYTES_MAX = 256 * 2**20

Run = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

_AXES = {
    "stream": ("stream", "stream_version"),
    "customer": ("customer", "customer_sequence"),
}


class LedgerRecorder(AggregateRecorder):
    """Reads the log along one axis at a time; appending is the event store's own."""

    def __init__(self, run: Run) -> None:
        """Use a function that runs a query and returns its rows."""
        self._run = run

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:
        """Refuse: events enter through the head, in batches."""
        raise NotImplementedError("append through PostgresEventStore.append")

    def select_events(
        self,
        originator_id: Any,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Return the events of an axis, in order."""
        axis, _, name = str(originator_id).partition(":")
        column, number = _AXES[axis]
        rows = self._run(
            f"SELECT {ROW_COLUMNS} FROM events WHERE {column} = %s AND {number} > %s "
            f"AND {number} <= %s ORDER BY {number} {'DESC' if desc else 'ASC'} LIMIT %s",
            (name, gt or 0, 2**31 - 1 if lte is None else lte, limit),
        )
        return [stored_row(row) for row in rows]


def stored_row(row: tuple[Any, ...]) -> StoredRow:
    """Wrap a row of ours as the library's stored event."""
    stored = StoredRow(row[3], row[4], f"{row[1]}.{row[2]}", b"")
    object.__setattr__(stored, "row", row)
    return stored


class SnapshotMapper(Mapper[str]):
    """Turns balances into stored snapshots and back; an unknown state version is dropped."""

    def __init__(self) -> None:
        """Need no transcoder: the payload classes say how they are written."""

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """Write a balance in the documented state format."""
        snapshot: Snapshot = domain_event
        customer = snapshot.balance.customer
        assert customer is not None
        state = {"position": snapshot.position, "balance": balance_to_wire(snapshot.balance)}
        return StoredEvent(
            originator_id=f"balance-{customer.id}",
            originator_version=snapshot.balance.sequence,
            topic=str(STATE_VERSION),
            state=canonical.dumps(state, max_bytes=SNAPSHOT_BYTES_MAX),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """Read a snapshot, or return None for a state version this code does not have."""
        if stored_event.topic != str(STATE_VERSION):
            return None
        state = json.loads(stored_event.state)
        return Snapshot(balance_from_wire(state["balance"]), state["position"])


class SnapshotRecorder(AggregateRecorder):
    """Keeps the newest snapshot of each aggregate; losing one costs only time."""

    def __init__(self, run: Run) -> None:
        """Use a function that runs a query and returns its rows."""
        self._run = run

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> None:
        """Replace the snapshots of these aggregates, unless a newer one is there."""
        for stored in stored_events:
            self._run(
                "INSERT INTO snapshots (stream, stream_version, state_version, data) "
                "VALUES (%s, %s, %s, %s) ON CONFLICT (stream) DO UPDATE SET "
                "stream_version = excluded.stream_version, data = excluded.data, "
                "state_version = excluded.state_version "
                "WHERE snapshots.stream_version < excluded.stream_version "
                "OR snapshots.state_version <> excluded.state_version",
                (
                    stored.originator_id,
                    stored.originator_version,
                    int(stored.topic),
                    stored.state.decode(),
                ),
            )

    def select_events(
        self,
        originator_id: Any,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Return the snapshot of an aggregate, if there is one."""
        rows = self._run(
            "SELECT stream, stream_version, state_version, data FROM snapshots WHERE stream = %s",
            (originator_id,),
        )
        return [StoredEvent(row[0], row[1], str(row[2]), row[3].encode()) for row in rows]
