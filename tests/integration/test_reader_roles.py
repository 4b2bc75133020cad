"""On a server of one's own there is one URL: who only reads gives up what else its role may do."""

from collections.abc import Iterator

import pytest

from adapters.event_store import audit_reader
from adapters.postgres import Connection, connect
from adapters.webhooks import Webhook
from entrypoints import fraud_watching, projecting
from entrypoints.bootstrap import Database, tollbook_on
from entrypoints.cli.audit import run_audit, run_replay
from entrypoints.fraud_watching import Notifying, Scoring
from entrypoints.projecting import catch_up, open_projector
from tests.integration.audit_fixtures import fill
from tests.support.databases import MASTER_KEY, TestDatabase
from tests.support.triton import wait_until
from tests.support.views import project

READER = "tollbook_app"


@pytest.fixture
def parts(embedded_database: TestDatabase) -> Iterator[Database]:
    """Give the test a ledger whose one URL is of an owner who may become the application."""
    fill(embedded_database)
    project(embedded_database)
    owner = embedded_database.server.owner
    embedded_database.query(f"GRANT {READER} TO {owner}")
    yield Database(embedded_database.owner_url, embedded_database.owner_url, MASTER_KEY)
    embedded_database.query(f"REVOKE {READER} FROM {owner}")


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note as whom each connection of a reader works."""
    found: list[str] = []

    def noting(url: str, *, role: str | None = None) -> Connection:
        connection = connect(url, role=role)
        row = connection.execute("SELECT current_user::text").fetchone()
        assert row is not None
        found.append(row[0])
        return connection

    for module in (audit_reader, fraud_watching, projecting):
        monkeypatch.setattr(module, "connect", noting)
    return found


def test_an_audit_reads_the_log_and_the_views_as_the_application(
    parts: Database, users: list[str]
) -> None:
    report = run_audit(parts)
    assert (report.ok, len(report.differences)) == (True, 0)
    assert users == [READER] * 3  # the log, and the log and the views side by side


def test_a_replay_reads_as_the_application(parts: Database, users: list[str]) -> None:
    assert run_replay(parts).position > 0
    assert users == [READER]


def test_who_waits_for_another_projector_reads_as_the_application(
    parts: Database, users: list[str], embedded_database: TestDatabase
) -> None:
    ((position,),) = embedded_database.query("SELECT position FROM ledger_head")
    assert isinstance(position, int)
    with open_projector(parts) as other:
        assert other.lead()
        users.clear()
        catch_up(parts, position)
    assert users[-1] == READER
    assert set(users[:-1]) == {"tollbook_projector"}


def test_who_scores_and_who_sends_notices_work_as_the_application(
    parts: Database, users: list[str]
) -> None:
    scoring = Scoring(parts, lambda: tollbook_on(parts))
    wait_until(lambda: len(users) == 2)  # what it keeps, and the log
    scoring.stop()
    notifying = Notifying(parts, Webhook("http://127.0.0.1:9/", b"secret"))
    wait_until(lambda: len(users) == 4)
    notifying.stop()
    assert users == [READER] * 4
