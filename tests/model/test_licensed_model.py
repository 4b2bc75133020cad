"""The stateful model of licences, against the oracle: in memory, and on PostgreSQL."""

import pytest
from hypothesis.stateful import run_state_machine_as_test

from application import committing
from tests.model.licensed_machine import LicensedMachine
from tests.model.test_ledger_model import InMemory, OnPostgres, profile
from tests.support.servers import embedded_server
from tests.support.sizes import EXAMPLES


@pytest.fixture(autouse=True)
def snapshots_are_frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Snapshot a balance every few events, so that restarts load from snapshots."""
    monkeypatch.setattr(committing, "SNAPSHOT_EVERY", 7)


@pytest.mark.timeout(3600)
def test_licences_agree_with_the_oracle_in_memory() -> None:
    class Machine(LicensedMachine):
        def __init__(self) -> None:
            super().__init__(InMemory())

    run_state_machine_as_test(Machine, settings=profile(EXAMPLES))


@pytest.mark.timeout(3600)
def test_licences_agree_with_the_oracle_on_postgresql(pytestconfig: pytest.Config) -> None:
    server = embedded_server(pytestconfig)

    class Machine(LicensedMachine):
        def __init__(self) -> None:
            super().__init__(OnPostgres(server))

    run_state_machine_as_test(Machine, settings=profile(EXAMPLES // 4))
