"""The library's recorders over our own tables: the log along two axes, and the snapshots.

An event is stored once and read along either of two gapless axes: `stream:ID` by stream version,
`customer:ID` by the customer's sequence. These are the library's originator ids (text).
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from eventsourcing.persistence import (
    AggregateRecorder,
    IntegrityError,
    Mapper,
    OperationalError,
    StoredEvent,
)
from tollbook.errors import Invalid
from tollbook.merkle import leaf_hash

from adapters.event_store.mapper import ROW_COLUMNS, StoredRow
from adapters.event_store.snapshot_text import BYTES_MAX, snapshot_text
from application.ports import Snapshot, TakenError
from domain.state import STATE_VERSION, balance_from_wire

NUMBER_MAX = 2**63 - 1

Run = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

_AXES = {
    "stream": ("stream", "stream_version"),
    "customer": ("customer", "customer_sequence"),
}

# One statement is one transaction: the head is locked first, so the positions are ours.
_INSERT_BARE = """
    SELECT head.position, append_events(
        head.position, empty.numbers, empty.numbers,
        array_fill(greatest(head.recorded_at, clock_us()), ARRAY[cardinality(given.topics)]),
        given.versions, empty.numbers::smallint[], given.topics, given.streams,
        empty.words, empty.words, empty.words, empty.words, empty.words,
        given.states, given.leaves, '{}', '{}', '{}', '{}', NULL)
    FROM lock_head() AS head,
        (SELECT %s::integer[], %s::text[], %s::text[], %s::text[], %s::bytea)
            AS given (versions, topics, streams, states, leaves),
        LATERAL (SELECT array_fill(NULL::bigint, ARRAY[cardinality(given.topics)]),
                        array_fill(NULL::text, ARRAY[cardinality(given.topics)]))
            AS empty (numbers, words)
"""


class LedgerRecorder(AggregateRecorder):
    """Reads the log along one axis at a time; appending is the event store's own.

    A `bare` recorder also inserts, with the envelope empty but for `recorded_at`. It exists so
    that the library's own recorder test cases can run over these tables; a ledger never has one.
    """

    def __init__(self, run: Run, *, bare: bool = False) -> None:
        """Use a function that runs a query and returns its rows."""
        self._run = run
        self._bare = bare

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Insert events on a bare recorder; a ledger's events enter in batches instead."""
        self._insert(stored_events, kwargs)
        return None

    def _insert(self, stored_events: Sequence[StoredEvent], extra: dict[str, Any]) -> list[int]:
        """Append events right after the head and return their positions."""
        if not self._bare or extra:
            raise NotImplementedError("append through PostgresEventStore.append")
        if not stored_events:
            return []
        try:
            ((position, status),) = self._run(_INSERT_BARE, _bare_columns(stored_events))
        except TakenError as error:
            raise IntegrityError(str(error)) from None
        if status != "ok":
            raise OperationalError(status)
        return list(range(position + 1, position + 1 + len(stored_events)))

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
            f"SELECT {ROW_COLUMNS} FROM events "  # noqa: S608 - constants of ours
            f"WHERE {column} = %s AND {number} > %s AND {number} <= %s "
            f"ORDER BY {number} {'DESC' if desc else 'ASC'} LIMIT %s",
            (name, -1 if gt is None else gt, NUMBER_MAX if lte is None else lte, limit),
        )
        if self._bare:
            return [
                StoredEvent(f"stream:{row[3]}", row[4], row[1], row[13].encode()) for row in rows
            ]
        return [stored_row(row) for row in rows]


def _bare_columns(stored_events: Sequence[StoredEvent]) -> list[Any]:
    """Lay out what a bare event has: version, topic, stream, state, and the state's leaf hash."""
    return [
        [stored.originator_version for stored in stored_events],
        [stored.topic for stored in stored_events],
        [str(stored.originator_id).partition(":")[2] for stored in stored_events],
        [stored.state.decode() for stored in stored_events],
        b"".join(leaf_hash(stored.state) for stored in stored_events),
    ]


def stored_row(row: tuple[Any, ...]) -> StoredRow:
    """Wrap a row of ours as the library's stored event; its position is its notification id."""
    return StoredRow(
        f"stream:{row[3]}", row[4], f"{row[1]}.{row[2]}", row[13].encode(), row[0], row
    )


def snapshot_from(text: str | bytes) -> Snapshot:
    """Read a snapshot as it is stored."""
    state = json.loads(text)
    # Older snapshots do not say when their holds were opened.
    balance = balance_from_wire(state["balance"], state.get("opened", {}))
    return Snapshot(balance, state["position"])


class SnapshotMapper(Mapper[str]):
    """Turns balances into stored snapshots and back; an unknown state version is dropped."""

    def __init__(self) -> None:
        """Need no transcoder: the payload classes say how they are written."""

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        """Write a balance in the documented state format."""
        snapshot: Snapshot = domain_event
        customer = snapshot.balance.customer
        assert customer is not None
        state = snapshot_text(snapshot).encode()
        if len(state) > BYTES_MAX:
            rule = f"at most {BYTES_MAX} bytes"
            raise Invalid.because("snapshot", len(state), rule)
        return StoredEvent(
            originator_id=f"balance-{customer.id}",
            originator_version=snapshot.balance.sequence,
            topic=str(STATE_VERSION),
            state=state,
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """Read a snapshot, or return None for a state version this code does not have."""
        if stored_event.topic != str(STATE_VERSION):
            return None
        return snapshot_from(stored_event.state)


class SnapshotRecorder(AggregateRecorder):
    """Keeps the newest snapshot of each aggregate; losing one costs only time."""

    def __init__(self, run: Run) -> None:
        """Use a function that runs a query and returns its rows."""
        self._run = run

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> None:
        """Replace the snapshots of these aggregates, unless a newer one is there."""
        assert not kwargs, "a snapshot carries nothing else"
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
        desc: bool = False,  # noqa: ARG002 - there is one at most, in either order
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Return the snapshot of an aggregate, if there is one."""
        rows = self._run(
            "SELECT stream, stream_version, state_version, data FROM snapshots WHERE stream = %s "
            "AND stream_version > %s AND stream_version <= %s LIMIT %s",
            (
                originator_id,
                -1 if gt is None else gt,
                NUMBER_MAX if lte is None else lte,
                limit,
            ),
        )
        return [StoredEvent(row[0], row[1], str(row[2]), row[3].encode()) for row in rows]
