"""Databases for the tests: each test gets a fresh one with every migration run.

A conftest.py takes the fixtures with `from tests.support.databases import ...`.
"""

import itertools
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import psycopg
import pytest

from adapters.postgres import connect, migrate
from entrypoints.bootstrap import Database, prepare_views
from tests.support.servers import PREFIX, TEMPLATE, Server, embedded_server, plain_server
from tests.support.sizes import in_full_or

MASTER_KEY = bytes(range(32))

COPYING = "FILE_COPY"
"""How a database is copied: file by file takes half the work of page by page, its usual way."""

_numbers = itertools.count(1)

KINDS = ("embedded", "plain")
ASKED = KINDS if in_full_or(0, 1) else ("either",)
"""Where a test runs that is for both servers: on both in CI, else on one, as chance has it."""


@dataclass(frozen=True, slots=True)
class TestDatabase:
    """A database of its own for one test, and the ways into it."""

    __test__ = False

    name: str
    kind: str
    """`embedded` (an owner role and an application role) or `plain` (one role for everything)."""
    owner_url: str
    app_url: str
    super_url: str
    server: Server

    @property
    def parts(self) -> Database:
        """Return what the composition root needs to put a Tollbook on this database."""
        return Database(self.owner_url, self.app_url, MASTER_KEY)

    def query(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        """Run one statement as the superuser and return its rows, if it has any."""
        return query(self.super_url, statement, *parameters)


def query(url: str, statement: str, *parameters: object) -> list[tuple[object, ...]]:
    """Run one statement in a session of its own and return its rows, if it has any."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def fresh_database(server: Server, *, migrated: bool = True) -> Iterator[TestDatabase]:
    """Make a database on a server and drop it after the block."""
    name = f"{PREFIX}_{next(_numbers)}"
    if migrated:
        _make_template(server)
    make_database(server, name, TEMPLATE if migrated else "template0")
    try:
        yield TestDatabase(
            name=name,
            kind=server.kind,
            owner_url=server.as_role(server.owner, name),
            app_url=server.as_role(server.app, name),
            super_url=server.as_role(None, name),
            server=server,
        )
    finally:
        query(server.super_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def make_database(server: Server, name: str, template: str) -> None:
    """Make a database with the rights that the ledger's roles have on a real one."""
    with psycopg.connect(server.super_url, autocommit=True) as connection:
        copied = f"TEMPLATE {template} STRATEGY {COPYING} OWNER {server.owner}"
        connection.execute(f"CREATE DATABASE {name} {copied}".encode())
        if server.owner == server.app:
            return
        connection.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC".encode())
        granted = f"GRANT CONNECT, TEMPORARY ON DATABASE {name} TO {server.app}"
        connection.execute(granted.encode())
    if template == TEMPLATE:
        return  # a copy has the rights within
    with psycopg.connect(server.as_role(None, name), autocommit=True) as inside:
        inside.execute(b"REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        inside.execute(f"GRANT USAGE ON SCHEMA public TO {server.app}".encode())
        inside.execute(f"GRANT USAGE, CREATE ON SCHEMA public TO {server.owner}".encode())


@cache
def _make_template(server: Server) -> None:
    """Run the migrations once per server, in the database that every other one is copied from."""
    query(server.super_url, f"DROP DATABASE IF EXISTS {TEMPLATE} WITH (FORCE)")
    make_database(server, TEMPLATE, "template0")
    connection = connect(server.as_role(server.owner, TEMPLATE))
    try:
        migrate(connection)
    finally:
        connection.close()
    prepare_views(server.as_role(server.owner, TEMPLATE))


def server_of(request: pytest.FixtureRequest) -> Server:
    """Return the server that a fixture is asked for, starting it when no test has needed it before.

    Which one is either is decided by the seed of the run and the name of the test or the file.
    """
    kind = request.param
    if kind == "either":
        name = f"{os.environ['TOLLBOOK_SEED']} {request.node.nodeid}"
        kind = KINDS[zlib.crc32(name.encode()) % len(KINDS)]
    return embedded_server(request.config) if kind == "embedded" else plain_server(request.config)


@pytest.fixture
def embedded_database(pytestconfig: pytest.Config) -> Iterator[TestDatabase]:
    """Give the test a fresh database on the embedded server."""
    with fresh_database(embedded_server(pytestconfig)) as made:
        yield made


@pytest.fixture
def plain_database(pytestconfig: pytest.Config) -> Iterator[TestDatabase]:
    """Give the test a fresh database on the plain server, where one role is everything."""
    with fresh_database(plain_server(pytestconfig)) as made:
        yield made


@pytest.fixture(params=ASKED)
def database(request: pytest.FixtureRequest) -> Iterator[TestDatabase]:
    """Run the test on the embedded server, and on a plain one reached by URL."""
    with fresh_database(server_of(request)) as made:
        yield made


@pytest.fixture(scope="module", params=ASKED)
def database_to_read(request: pytest.FixtureRequest) -> Iterator[TestDatabase]:
    """As `database`, but one for all tests of a file, which only read what a fixture put there."""
    with fresh_database(server_of(request)) as made:
        yield made


@pytest.fixture
def database_url(database: TestDatabase) -> str:
    """Return the application's URL of a fresh database; the test is for both servers."""
    return database.app_url
