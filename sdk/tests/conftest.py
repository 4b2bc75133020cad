"""The two clients, opened for one test, and the server that they talk to."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import anyio.from_thread
import pytest
from tollbook.client import Client

from sdk.tests.driven import Driven
from sdk.tests.ledger_server import KEY, LedgerServer


@pytest.fixture
def server() -> Iterator[LedgerServer]:
    """Serve for one test, and insist that every request was well formed."""
    with LedgerServer() as serving:
        yield serving
        assert serving.complaints == []


@pytest.fixture(params=["blocking", "asynchronous"])
def open_client(request: pytest.FixtureRequest, server: LedgerServer) -> Iterator[Any]:
    """Give a function that opens a client of one of the two kinds."""
    with ExitStack() as stack:
        if request.param == "blocking":
            yield lambda **options: stack.enter_context(Client(server.url, key=KEY, **options))
        else:
            portal = stack.enter_context(anyio.from_thread.start_blocking_portal())
            yield lambda **options: stack.enter_context(Driven(portal, server.url, KEY, **options))


@pytest.fixture
def client(open_client: Any) -> Any:
    """Open a client that is patient."""
    return open_client(deadline=20)
