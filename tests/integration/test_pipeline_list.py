"""The list of pipelines: in order of their names and through an index, however a database sorts."""

from contextlib import closing

import psycopg

from adapters.event_store.store import PostgresEventStore
from projections.pipelines import _NEWEST, newest
from tests.support.databases import TestDatabase
from tests.support.ledger import open_ledger
from tests.support.pipelines import publish_pipeline

SHIFTED = "CREATE COLLATION shifted (provider = icu, locale = 'en-u-ka-shifted')"
"""An order that passes over dashes and dots, as those of an operating system may."""


def test_the_list_uses_the_index_of_streams_in_any_order_of_letters(
    plain_database: TestDatabase,
) -> None:
    names = ["a", "B", "a-b", "a.b", "_x", "A", "ab", "z9", "Z"]
    plain_database.query(SHIFTED)
    with open_ledger(plain_database) as ledger:
        for name in names:
            publish_pipeline(ledger, name).result()
    for collation in ("C", "en-x-icu", "et-x-icu", "shifted"):
        sql = f'ALTER TABLE events ALTER COLUMN stream TYPE text COLLATE "{collation}"'
        plain_database.query(sql)
        with closing(PostgresEventStore(plain_database.app_url)) as store:
            positions, _ = newest(store.run)
            recorded = store.at(positions)
        listed = [recorded[each].stream.removeprefix("pipeline-") for each in positions]
        assert listed == sorted(names), collation
        assert index_conditions(plain_database), collation


def index_conditions(database: TestDatabase) -> list[str]:
    """Return by which conditions the list finds its rows in the index of streams."""
    query = _NEWEST.replace("%%", "%").replace("%s", "'pipeline-'", 1).replace("%s", "101")
    with psycopg.connect(database.super_url) as connection:
        connection.execute("SET enable_seqscan = off")
        rows = connection.execute(f"EXPLAIN {query}".encode()).fetchall()
    lines = [line.strip() for (line,) in rows]
    return [line for line in lines if line.startswith("Index Cond: ((stream >= ")]
