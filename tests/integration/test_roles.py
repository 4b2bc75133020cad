"""Who may do what in a ledger's database: nobody changes an event, the application owns nothing.

An owner can still drop a trigger, and a superuser can do anything: that is what the Merkle root
that is kept outside is for (docs/decisions/append-only-roles.md).
"""

from collections.abc import Iterator

import psycopg
import pytest

from adapters.event_store.store import PostgresEventStore
from adapters.postgres import connect, migrate
from application.ports import Rider, StoreFailedError
from tests.support.databases import TestDatabase, fresh_database, query
from tests.support.events import batch_for
from tests.support.servers import plain_server

CHANGES = [
    "UPDATE {table} SET position = position",
    "UPDATE {table} SET position = position WHERE false",
    "DELETE FROM {table}",
    "DELETE FROM {table} WHERE false",
    "TRUNCATE {table}",
    "TRUNCATE {table} CASCADE",
    "WITH gone AS (DELETE FROM {table} RETURNING *) SELECT * FROM gone",
    "MERGE INTO {table} USING (VALUES (1)) AS one (n) ON true WHEN MATCHED THEN DELETE",
]


@pytest.fixture
def filled(database: TestDatabase) -> TestDatabase:
    """Give the test a ledger with three events, on either server."""
    store = PostgresEventStore(database.app_url)
    store.append(batch_for(store, 3))
    store.close()
    return database


@pytest.fixture
def app(embedded_database: TestDatabase) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Connect as the application's role to a ledger with three events."""
    store = PostgresEventStore(embedded_database.app_url)
    store.append(batch_for(store, 3))
    store.close()
    with psycopg.connect(embedded_database.app_url, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("table", ["events", "command_ids"])
@pytest.mark.parametrize("role", ["app", "owner", "super"])
def test_nobody_changes_what_is_appended(filled: TestDatabase, role: str, table: str) -> None:
    urls = {"app": filled.app_url, "owner": filled.owner_url, "super": filled.super_url}
    for change in CHANGES:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            query(urls[role], change.format(table=table))
    assert filled.query(f"SELECT count(*) FROM {table}") == [(3,)]


@pytest.mark.parametrize("table", ["events", "command_ids"])
def test_the_refusal_says_why(filled: TestDatabase, table: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="the ledger is append-only"):
        filled.query(f"DELETE FROM {table}")


def test_a_replicas_session_changes_nothing_either(filled: TestDatabase) -> None:
    """Other triggers are silent in it; ours are enabled always."""
    with psycopg.connect(filled.super_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM events")


def test_a_superuser_has_to_take_the_trigger_away_first(filled: TestDatabase) -> None:
    filled.query("ALTER TABLE events DISABLE TRIGGER events_are_append_only")
    filled.query("DELETE FROM events WHERE position = 2")
    assert filled.query("SELECT count(*) FROM events") == [(2,)]


FORBIDDEN_TO_THE_APPLICATION = [
    "INSERT INTO events SELECT * FROM events",
    "COPY events FROM STDIN",
    "INSERT INTO command_ids VALUES (1, 'a', 'b', 'c')",
    "UPDATE ledger_head SET position = 0",
    "UPDATE ledger_head SET clock = 'trace'",
    "DELETE FROM ledger_head",
    "SELECT * FROM ledger_head FOR UPDATE",
    "INSERT INTO stream_offsets VALUES ('c', 't', 0, 0)",
    "UPDATE stream_offsets SET next_offset = 0",
    "UPDATE customer_keys SET wrapped = ''",
    "INSERT INTO migrations (name) VALUES ('9999')",
    "TRUNCATE snapshots",
    "TRUNCATE customer_keys",
    "SELECT move_offsets(NULL)",
    "BEGIN; LOCK TABLE events IN EXCLUSIVE MODE",
    "ALTER TABLE events DISABLE TRIGGER events_are_append_only",
    "DROP TRIGGER events_are_append_only ON events",
    "CREATE TRIGGER mine BEFORE INSERT ON events EXECUTE FUNCTION refuse_change()",
    "DROP TABLE events",
    "DROP FUNCTION append_events",
    "CREATE TABLE mine (n int)",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "CREATE ROLE mine",
    "CREATE DATABASE mine",
    "SET ROLE tollbook_owner",
    "SET SESSION AUTHORIZATION tollbook_owner",
    "SET session_replication_role = replica",
    "ALTER SYSTEM SET fsync = off",
    "SELECT * FROM pg_authid",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT pg_ls_dir('.')",
    "COPY events TO '/tmp/events'",
    "COPY events TO PROGRAM 'cat'",
]


@pytest.mark.parametrize("statement", FORBIDDEN_TO_THE_APPLICATION)
def test_the_application_may_not(
    app: psycopg.Connection[tuple[object, ...]], statement: str
) -> None:
    with pytest.raises(
        (psycopg.errors.InsufficientPrivilege, psycopg.errors.WrongObjectType)
    ) as raised:
        app.execute(statement.encode())
    assert raised.value.sqlstate == "42501", raised.value


@pytest.mark.parametrize("other", ["postgres", "template1"])
def test_the_application_enters_no_other_database(
    embedded_database: TestDatabase, other: str
) -> None:
    server = embedded_database.server
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        query(server.as_role(server.app, other), "SELECT 1")


def test_the_application_appends_and_holds_the_head(embedded_database: TestDatabase) -> None:
    store = PostgresEventStore(embedded_database.app_url)
    with store.locked() as head:
        assert head.position == 0
        store.append(batch_for(store, 2))
    assert store.run("SELECT current_user") == [("tollbook_app",)]
    assert store.head().position == 2
    store.close()


def test_the_application_keeps_what_may_be_thrown_away(
    app: psycopg.Connection[tuple[object, ...]],
) -> None:
    app.execute("INSERT INTO snapshots VALUES ('s', 1, 1, '{}')")
    app.execute("UPDATE snapshots SET stream_version = 2")
    app.execute("DELETE FROM snapshots")
    app.execute("INSERT INTO customer_keys VALUES ('c', '')")
    app.execute("DELETE FROM customer_keys")


SHADOWS = [
    "CREATE TEMP TABLE events (LIKE public.events)",
    "CREATE TEMP TABLE command_ids (LIKE public.command_ids)",
    "CREATE TEMP TABLE ledger_head (LIKE public.ledger_head)",
    "CREATE TEMP TABLE stream_offsets (LIKE public.stream_offsets)",
    "CREATE FUNCTION pg_temp.clock_us() RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'",
    "CREATE FUNCTION pg_temp.move_offsets(json) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "CREATE FUNCTION pg_temp.abs(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'",
    "SET search_path = pg_temp, public",
]

# Runs as whoever checks the domain: inside a function of the owner, that would be the owner.
TRAP = [
    """CREATE FUNCTION pg_temp.trap() RETURNS boolean LANGUAGE plpgsql AS
        $$BEGIN RAISE EXCEPTION 'sprung as %', current_user; END$$""",
    "CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (pg_temp.trap())",
    "CREATE DOMAIN pg_temp.json AS pg_catalog.json CHECK (pg_temp.trap())",
    "CREATE DOMAIN pg_temp.int4 AS pg_catalog.int4 CHECK (pg_temp.trap())",
    "CREATE DOMAIN pg_temp.int8 AS pg_catalog.int8 CHECK (pg_temp.trap())",
    "CREATE DOMAIN pg_temp.bool AS pg_catalog.bool CHECK (pg_temp.trap())",
]

RIDER = '[{"cluster": "kafka", "topic": "usage", "partition": 0, "expected": 0, "next_offset": 5}]'
APPEND_RIDER = (
    "SELECT public.append_events(3, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', "
    f"'{{}}', '{{}}', '{{}}', '', '{{}}', '{{}}', '{{}}', '{{}}', '{RIDER}')"
)


@pytest.mark.parametrize("tricks", [SHADOWS, TRAP], ids=["shadows", "trap"])
def test_the_owners_functions_use_the_owners_things(
    app: psycopg.Connection[tuple[object, ...]], tricks: list[str]
) -> None:
    """Whatever a session makes for itself, a function that runs as the owner does not touch it."""
    for statement in tricks:
        app.execute(statement.encode())
    assert app.execute("SELECT position FROM public.lock_head()").fetchone() == (3,)
    assert app.execute(APPEND_RIDER.encode()).fetchone() == ("ok",)
    assert app.execute("SELECT count(*) FROM public.stream_offsets").fetchone() == (1,)


SPRINGS = "LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'sprung as %', current_user; END$$"
ELSEWHERE = {
    "operator": [
        f"CREATE FUNCTION elsewhere.equal(bigint, bigint) RETURNS boolean {SPRINGS}",
        "CREATE OPERATOR elsewhere.= (FUNCTION = elsewhere.equal, LEFTARG = int8, RIGHTARG = int8)",
    ],
    "function": [f"CREATE FUNCTION elsewhere.cardinality(text[]) RETURNS integer {SPRINGS}"],
}


@pytest.mark.parametrize("trap", ELSEWHERE)
def test_the_owners_functions_look_nowhere_else_for_what_is_postgresqls(
    app: psycopg.Connection[tuple[object, ...]], embedded_database: TestDatabase, trap: str
) -> None:
    """A caller's `search_path` may put a schema before PostgreSQL's own; it is not theirs."""
    whole = ["CREATE SCHEMA elsewhere", "GRANT USAGE ON SCHEMA elsewhere TO PUBLIC"]
    for statement in (*whole, *ELSEWHERE[trap]):
        query(embedded_database.super_url, statement)
    app.execute("SET search_path = elsewhere, pg_catalog, public")
    assert app.execute(APPEND_RIDER.encode()).fetchone() == ("ok",)


def test_every_function_that_runs_as_the_owner_has_a_search_path_of_its_own(
    embedded_database: TestDatabase,
) -> None:
    found = embedded_database.query(
        "SELECT proname, 'search_path=pg_catalog, pg_temp' = ANY (proconfig)"
        " FROM pg_proc WHERE prosecdef ORDER BY proname"
    )
    assert found == [("append_events", True), ("lock_head", True)]


BACK = [
    "UPDATE stream_offsets SET next_offset = next_offset - 1",
    "UPDATE stream_offsets SET partition = 1, next_offset = next_offset + 1",
    """INSERT INTO stream_offsets VALUES ('kafka', 'usage', 0, 4)
    ON CONFLICT (cluster, topic, partition) DO UPDATE SET next_offset = excluded.next_offset""",
    "SET session_replication_role = replica; UPDATE stream_offsets SET next_offset = 0",
    "DELETE FROM stream_offsets",
    "TRUNCATE stream_offsets",
]


@pytest.mark.parametrize("role", ["app", "owner", "super"])
def test_nobody_takes_an_offset_back(database: TestDatabase, role: str) -> None:
    urls = {"app": database.app_url, "owner": database.owner_url, "super": database.super_url}
    store = PostgresEventStore(database.app_url)
    store.append(batch_for(store, riders=[Rider("kafka", "usage", 0, 0, 5)]))
    for change in BACK:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            query(urls[role], change)
    with pytest.raises(StoreFailedError, match="from 5 to 4 is refused"):
        store.append(batch_for(store, riders=[Rider("kafka", "usage", 0, 5, 4)]))
    store.close()
    assert database.query("SELECT partition, next_offset FROM stream_offsets") == [(0, 5)]
    assert database.query("SELECT position FROM ledger_head") == [(1,)]


def test_one_role_for_everything_appends_as_well(plain_database: TestDatabase) -> None:
    store = PostgresEventStore(plain_database.app_url)
    store.append(batch_for(store))
    assert store.head().position == 1
    store.close()


@pytest.fixture
def member_database(pytestconfig: pytest.Config) -> Iterator[TestDatabase]:
    """Give the test an empty database whose owner is a member of the application's role."""
    server = plain_server(pytestconfig)
    with fresh_database(server, migrated=False) as made:
        known = made.query("SELECT 1 FROM pg_roles WHERE rolname = 'tollbook_app'")
        if not known:
            made.query("CREATE ROLE tollbook_app")
        made.query(f"GRANT tollbook_app TO {server.owner}")
        yield made
        made.query(f"REVOKE tollbook_app FROM {server.owner}")
        if not known:
            made.query("DROP OWNED BY tollbook_app")
            made.query("DROP ROLE tollbook_app")


def test_an_owner_that_is_a_member_of_the_applications_role_works_as_it(
    member_database: TestDatabase,
) -> None:
    """On a server of one's own: CREATE ROLE tollbook_app, and GRANT it, before the first start."""
    owner = connect(member_database.owner_url)
    migrate(owner)
    owner.close()
    store = PostgresEventStore(member_database.owner_url)
    store.append(batch_for(store))
    assert store.run("SELECT current_user") == [("tollbook_app",)]
    store.close()
