"""What follows the log reads no more bytes at once than it is allowed, and misses nothing by it."""

from contextlib import closing

import pytest

from adapters.event_store import log_reader
from adapters.event_store.log_reader import BYTES_MAX, LogReader
from adapters.postgres import connect
from application.following import Entry
from tests.support.databases import TestDatabase
from tests.support.ledger import a_customer, open_ledger, reserve

SMALL = 600


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
