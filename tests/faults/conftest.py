"""What the fault tests run on: fresh databases, and a server of their own that may be killed."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.own_server import OwnServer
from tests.support.databases import embedded_database  # noqa: F401 - a fixture, found by its name


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[OwnServer]:
    """Give the test an embedded server that nobody else uses."""
    with closing(OwnServer(tmp_path / "ledger")) as server:
        yield server
