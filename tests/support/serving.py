"""A running server for the tests: the real app on a real socket, on a ledger of its own.

It runs on a thread with its own event loop, as `tollbook serve` runs it, so that tests can look at
the ledger behind it as well.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx
import uvicorn
import uvloop

from adapters.api_keys import ApiKeys
from adapters.event_store.store import PostgresEventStore
from application.tollbook import Tollbook
from entrypoints.bootstrap import Database, tollbook_on
from entrypoints.http.app import build_app
from entrypoints.http.health import Health
from entrypoints.http.identity import Keyring
from entrypoints.http.metrics import Metrics
from entrypoints.http.readers import Readers
from entrypoints.http.request_ids import RequestIds
from entrypoints.http.roles import CUSTOMER, ROLES
from entrypoints.http.service import Service
from entrypoints.http.submitting import Submitter
from entrypoints.projecting import Following


class Served:
    """A server that answers, and the keys to it."""

    def __init__(self, url: str, tollbook: Tollbook, keys: ApiKeys, admin_key: str) -> None:
        """Know where it listens, and what lies behind."""
        self.url = url
        self.tollbook = tollbook
        self.keys = keys
        self.admin_key = admin_key
        self._made: dict[tuple[str, str | None], str] = {("admin", None): admin_key}

    def key(self, role: str = "admin", customer: str | None = None) -> str:
        """Return a key of a role; a customer's key is for one customer."""
        assert role in ROLES
        wanted = (role, customer if role == CUSTOMER else None)
        if wanted not in self._made:
            made = self.keys.create(role=wanted[0], customer=wanted[1])
            self._made[wanted] = self.known(made["key"])
        return self._made[wanted]

    def known(self, key: str) -> str:
        """Return a new key once the server has heard of it, which takes a moment."""
        headers = {"Authorization": f"Bearer {key}"}
        until = time.monotonic() + 10
        while httpx.get(f"{self.url}/v1/prices", headers=headers).status_code == 401:
            assert time.monotonic() < until, "the server never heard of a new key"
            time.sleep(0.05)
        return key

    def client(self, role: str = "admin", customer: str | None = None) -> httpx.Client:
        """Return a client with a key of a role; the caller closes it."""
        headers = {"Authorization": f"Bearer {self.key(role, customer)}"}
        return httpx.Client(base_url=f"{self.url}/v1", headers=headers, timeout=20)


@contextmanager
def serving(database: Database) -> Iterator[Served]:
    """Serve a ledger for the length of the block, with a projector beside it."""
    with (
        tollbook_on(database) as tollbook,
        closing(PostgresEventStore(database.app_url)) as store,
        closing(PostgresEventStore(database.app_url)) as probing,
    ):
        keys = ApiKeys(store.run, database.master_key)
        admin_key = keys.make_first_admin()
        assert admin_key is not None
        following = Following(database)
        try:
            with _listening(database, tollbook, keys, probing) as url:
                yield Served(url, tollbook, keys, admin_key)
        finally:
            following.stop()


@contextmanager
def _listening(
    database: Database, tollbook: Tollbook, keys: ApiKeys, probing: PostgresEventStore
) -> Iterator[str]:
    """Run the server in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    servers: list[uvicorn.Server] = []
    failures: list[BaseException] = []
    ready = threading.Event()

    async def serve() -> None:
        async with _service(database, tollbook, keys, probing) as service:
            config = uvicorn.Config(build_app(service), lifespan="off", log_config=None, ws="none")
            servers.append(uvicorn.Server(config))
            ready.set()
            await servers[0].serve(sockets=[listener])

    def run() -> None:
        try:
            uvloop.run(serve())  # as in earnest; asyncio's own loop would answer 40 ms later
        except BaseException as failure:
            failures.append(failure)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="test-server")
    thread.start()
    try:
        assert ready.wait(30)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        for server in servers:
            server.should_exit = True
        thread.join(30)
        listener.close()
        assert not failures, failures


class _service:  # noqa: N801 - used as a context manager alone
    """The service for the running loop, closed with the block."""

    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    async def __aenter__(self) -> Service:
        database, tollbook, keys, probing = self._parts
        self._readers = Readers(database, tollbook.executor)
        self._keyring = Keyring(keys)
        return Service(
            tollbook=tollbook,
            readers=self._readers,
            submitter=Submitter(tollbook.executor),
            keyring=self._keyring,
            health=Health(probing.run, Metrics(tollbook.executor)),
            keys=keys,
            middlewares=(RequestIds,),
        )

    async def __aexit__(self, *_: object) -> None:
        self._keyring.close()
        self._readers.close()
