"""The event store: the one door behind which PostgreSQL and the `eventsourcing` library live."""
