"""Lists that are read from the log itself: through an index, however a database sorts."""

import psycopg
import pytest

from projections import models, pipelines, policies, prices
from tests.support.databases import TestDatabase

SHIFTED = "CREATE COLLATION shifted (provider = icu, locale = 'en-u-ka-shifted')"
"""An order that passes over dashes and dots, as those of an operating system may."""

LISTS = {
    "model": models._REGISTERED,
    "pipeline": pipelines._NEWEST,
    "policy": policies._NEWEST,
    "prices": prices._OF_ALL,
}
"""By how their streams begin."""
BOUNDS = {"model": "modem", "pipeline": "pipelinf", "policy": "polid", "prices": "pricet"}
VALUES = {"pipeline": ("'pipeline-'", "101")}


@pytest.mark.parametrize("collation", ["C", "en-x-icu", "et-x-icu", "shifted"])
def test_each_list_finds_its_rows_in_the_index_of_streams(
    plain_database: TestDatabase, collation: str
) -> None:
    plain_database.query(SHIFTED)
    sql = f'ALTER TABLE events ALTER COLUMN stream TYPE text COLLATE "{collation}"'
    plain_database.query(sql)
    for begins, query in LISTS.items():
        found = index_conditions(plain_database, query, VALUES.get(begins, ("0", "101")))
        assert found, begins
        assert all(f"'{begins}'" in each for each in found), begins


@pytest.mark.parametrize("begins", LISTS)
@pytest.mark.parametrize("collation", ["C", "en-x-icu", "et-x-icu", "shifted"])
def test_no_name_stands_outside_what_is_looked_at(
    plain_database: TestDatabase, begins: str, collation: str
) -> None:
    plain_database.query(SHIFTED)
    names = ["a", "B", "a-b", "a.b", "_x", "A", "z9", "Z", "0", "zz", "zebra/9", "-", "~"]
    condition = f"stream >= '{begins}' AND stream < '{BOUNDS[begins]}'"
    assert condition in LISTS[begins]
    listed = ", ".join(f"('{begins}-{name}')" for name in names)
    query = f"SELECT stream FROM (VALUES {listed}) AS named (stream) WHERE NOT ({condition})"
    query = query.replace("stream >=", f'stream COLLATE "{collation}" >=')
    query = query.replace("stream <", f'stream COLLATE "{collation}" <')
    assert plain_database.query(query) == []


def index_conditions(database: TestDatabase, query: str, values: tuple[str, ...]) -> list[str]:
    """Return by which conditions a list finds its rows in the index of streams."""
    text = query.replace("%%", "%")
    for value in values:
        text = text.replace("%s", value, 1)
    with psycopg.connect(database.super_url) as connection:
        connection.execute("SET enable_seqscan = off")
        rows = connection.execute(f"EXPLAIN {text}".encode()).fetchall()
    lines = [line.strip() for (line,) in rows]
    return [line for line in lines if line.startswith("Index Cond: ((stream >= ")]
