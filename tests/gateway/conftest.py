"""One ledger with licences for all tests of this folder; each makes customers of its own."""

from collections.abc import Iterator

import pytest

from tests.gateway.rig import Rig, rig_on
from tests.support.databases import fresh_database
from tests.support.servers import embedded_server


@pytest.fixture(scope="session")
def rig(pytestconfig: pytest.Config) -> Iterator[Rig]:
    """Open a ledger with prices, once for all tests."""
    with fresh_database(embedded_server(pytestconfig)) as made, rig_on(made.parts) as opened:
        yield opened
