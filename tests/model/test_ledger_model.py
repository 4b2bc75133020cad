"""The stateful model of the ledger, against the oracle: in memory, and on PostgreSQL.

EXAMPLES random histories run in memory, and a quarter as many on PostgreSQL.
"""

import ast
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from adapters.event_store.store import PostgresEventStore
from application import committing
from tests.model.guarded_machine import GuardedMachine
from tests.support.databases import fresh_database
from tests.support.memory_store import MemoryEventStore
from tests.support.servers import Server, embedded_server
from tests.support.sizes import EXAMPLES


class InMemory:
    """A ledger in memory."""

    def __init__(self) -> None:
        """Start an empty one."""
        self._store = MemoryEventStore()

    def store(self) -> MemoryEventStore:
        """Return the one store."""
        return self._store

    def close(self) -> None:
        """Leave it to be forgotten."""


class OnPostgres:
    """A ledger in a fresh database, following the times that items bring."""

    def __init__(self, server: Server) -> None:
        """Make the database."""
        self._fresh = fresh_database(server)
        self._database = self._fresh.__enter__()
        self._database.query("UPDATE ledger_head SET clock = 'trace'")
        self._stores: list[PostgresEventStore] = []

    def store(self) -> PostgresEventStore:
        """Connect as the application."""
        self._stores.append(PostgresEventStore(self._database.app_url))
        return self._stores[-1]

    def close(self) -> None:
        """Drop the database."""
        for store in self._stores:
            store.close()
        self._fresh.__exit__(None, None, None)


def profile(examples: int) -> settings:
    """Return the settings of a run."""
    return settings(
        max_examples=max(1, examples),
        stateful_step_count=40,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(autouse=True)
def snapshots_are_frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshot a balance every few events, so that restarts load from snapshots."""
    monkeypatch.setattr(committing, "SNAPSHOT_EVERY", 7)


@pytest.mark.timeout(3600)
def test_the_ledger_agrees_with_the_oracle_in_memory() -> None:
    class Machine(GuardedMachine):
        def __init__(self) -> None:
            super().__init__(InMemory())

    run_state_machine_as_test(Machine, settings=profile(EXAMPLES))


@pytest.mark.timeout(3600)
def test_the_ledger_agrees_with_the_oracle_on_postgresql(pytestconfig: pytest.Config) -> None:
    server = embedded_server(pytestconfig)

    class Machine(GuardedMachine):
        def __init__(self) -> None:
            super().__init__(OnPostgres(server))

    run_state_machine_as_test(Machine, settings=profile(EXAMPLES // 4))


ORACLE = (
    *("oracle", "oracle_rules", "oracle_records", "oracle_accounts", "oracle_prices", "wire"),
    *("oracle_guards", "oracle_licenses", "oracle_license_life", "oracle_licensing"),
    "oracle_limits",
)


def test_the_oracle_shares_no_code_with_the_rules() -> None:
    folder = Path(__file__).parent
    for name in ORACLE:
        tree = ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            imported = []
            if isinstance(node, ast.ImportFrom):
                imported = [node.module or ""]
            elif isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            for module in imported:
                root = module.partition(".")[0]
                assert root in sys.stdlib_module_names or module.startswith("tests.model.")
