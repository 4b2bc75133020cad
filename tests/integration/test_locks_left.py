"""A lock does not outlive who held it: PostgreSQL notices a closed connection a moment late."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
from tollbook.errors import Unavailable

from entrypoints import bootstrap, projecting
from entrypoints.projecting import catch_up, open_projector
from tests.integration.audit_fixtures import fill
from tests.support.databases import TestDatabase
from tests.support.ledger import open_ledger
from tests.support.views import project


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Leave the connections of the ledger's clock open until the end of the test."""
    kept: list[Any] = []

    @contextmanager
    def noting(connection: Any) -> Iterator[Any]:
        kept.append(connection)
        yield connection

    monkeypatch.setattr(bootstrap, "closing", noting)
    yield kept
    for each in kept:
        each.close()


def clock_of(database: TestDatabase) -> str:
    """Return whose time the ledger goes by."""
    return str(database.query("SELECT clock FROM ledger_head")[0][0])


@pytest.mark.parametrize("first", ["trace", "database"])
def test_a_trace_begins_while_the_connection_before_it_is_still_seen_as_open(
    embedded_database: TestDatabase, left: list[Any], first: Any
) -> None:
    with open_ledger(embedded_database, first):
        pass
    assert not left[0].closed
    with open_ledger(embedded_database, "trace"):
        assert clock_of(embedded_database) == "trace"
    assert clock_of(embedded_database) == "database"


def test_a_second_trace_is_refused_while_the_first_runs(embedded_database: TestDatabase) -> None:
    with open_ledger(embedded_database, "trace"):
        clocks: tuple[Literal["trace", "database"], ...] = ("trace", "database")
        for clock in clocks:
            refused = pytest.raises(Unavailable, match="a trace is being run on this ledger")
            with refused, open_ledger(embedded_database, clock):
                pass
        assert clock_of(embedded_database) == "trace"


def test_a_projector_that_ends_while_another_waits_for_it_is_succeeded(
    embedded_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projecting, "TURN_SECONDS", 0.05)
    project(embedded_database)
    fill(embedded_database)
    with open_ledger(embedded_database) as ledger:
        head = ledger.store.head().position
    with open_projector(embedded_database.parts) as ending:
        assert ending.lead()
        waiting = threading.Thread(target=catch_up, args=(embedded_database.parts, head))
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
    waiting.join(60)
    assert not waiting.is_alive()
    reached = "SELECT position FROM views.checkpoint"
    assert embedded_database.query(reached) == [(head,)]
