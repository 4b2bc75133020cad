"""What follows the log reads no more bytes at once than it is allowed, and misses nothing by it."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from adapters.event_store import log_reader
from adapters.event_store.log_reader import BYTES_MAX, CUSTOMER_EVENTS, LogReader
from adapters.postgres import connect
from application.following import Entry
from tests.support.databases import TestDatabase, fresh_database
from tests.support.ledger import a_customer, open_ledger, reserve
from tests.support.servers import embedded_server

SMALL = 600

EVENTS, CUSTOMERS = 12_000, 3
LOG = f"""
INSERT INTO events (position, customer_sequence, recorded_at, stream_version, version,
    name, stream, customer, data, leaf)
SELECT n, (n - 1) / {CUSTOMERS} + 1, n, 1, 1, 'unheard_of', 's' || n, 'c' || n % {CUSTOMERS},
    repeat('x', 300), sha256(n::text::bytea)
FROM generate_series(1, {EVENTS}) AS n
"""
READ = """
SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'events'
"""


def test_large_events_come_in_smaller_numbers_and_none_is_missed(
    embedded_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_ledger(embedded_database) as ledger:
        a_customer(ledger)
        for number in range(9):
            reserve(ledger, f"r{number}").result()
    with closing(connect(embedded_database.app_url)) as connection:
        log = LogReader(connection)
        head, _ = log.head()
        whole = log.after(0, 1000)
        assert (len(whole), log.reach(0, head)) == (head, head)
        for name in ("_AFTER", "_REACH"):
            query = getattr(log_reader, name)
            assert str(BYTES_MAX) in query
            monkeypatch.setattr(log_reader, name, query.replace(str(BYTES_MAX), str(SMALL)))
        position = 0
        read: list[Entry] = []
        while some := log.after(position, 1000):
            assert len(some) < head, "they do not fit at once"
            assert log.reach(position, head) == some[-1][0].position
            read += some
            position = some[-1][0].position
        assert read == whole


@pytest.mark.parametrize("ahead", [0, 1, CUSTOMER_EVENTS - 1, CUSTOMER_EVENTS, 3_000])
@pytest.mark.parametrize("position", [1_500, 6_000, EVENTS])
def test_a_customers_events_are_read_without_the_log_before_and_after_them(
    long_log: TestDatabase, position: int, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_reader, "_followed", lambda row: row[:4])
    known = max(0, position // CUSTOMERS - ahead)
    wanted = [(f"c{number}", known) for number in range(CUSTOMERS)]
    with closing(connect(long_log.app_url)) as connection, connection.transaction():
        found: list[Any] = list(LogReader(connection).customers_after(wanted, position))
        ((read,),) = connection.execute(READ).fetchall()
    for name, _ in wanted:
        mine = [row[3] for row in found if row[2] == name]
        assert mine == list(range(known + 1, position // CUSTOMERS + 1))
    assert read <= len(found) + CUSTOMERS * CUSTOMER_EVENTS


@pytest.fixture(scope="module")
def long_log(pytestconfig: pytest.Config) -> Iterator[TestDatabase]:
    """Give the tests a log of few customers with many events each, which the planner knows of."""
    with fresh_database(embedded_server(pytestconfig)) as made:
        made.query(LOG)
        made.query("ANALYZE events")
        yield made
