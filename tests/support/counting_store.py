"""A store that counts its queries, for tests of how few are needed."""

from collections.abc import Iterator, Sequence
from typing import Any

from adapters.event_store.store import PostgresEventStore
from application.ports import History
from domain.event import Recorded
from domain.reservation import Reservation


class CountingStore(PostgresEventStore):
    """Counts the queries that it runs."""

    queries = 0

    def run(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and count it."""
        self.queries += 1
        return super().run(query, parameters)

    def streams_events(self, streams: Sequence[str], position: int) -> Iterator[Recorded]:
        """Read many streams in one query, and count it."""
        self.queries += 1
        return super().streams_events(streams, position)

    def reservations(self, names: Sequence[str], position: int) -> dict[str, Reservation]:
        """Read many reservations in one query, and count it."""
        self.queries += 1
        return super().reservations(names, position)

    def histories(self, customers: Sequence[str], position: int) -> dict[str, History]:
        """Read many customers in one query, and count it."""
        self.queries += 1
        return super().histories(customers, position)
