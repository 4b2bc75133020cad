"""A running server for the tests: the real app on a real socket, on a ledger of its own.

It runs on a thread with its own event loop, as `tollbook serve` runs it, so that tests can look at
the ledger behind it as well.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import httpx
import uvicorn
import uvloop

from adapters.api_keys import ApiKeys
from adapters.event_store.store import PostgresEventStore
from application.tollbook import Tollbook
from entrypoints.bootstrap import Database, tollbook_on
from entrypoints.http.roles import CUSTOMER, ROLES
from entrypoints.http.server import Parts, configured, listen, service_of, url_of
from entrypoints.projecting import Following
from entrypoints.settings import ServeSettings

# As `tollbook serve` has it, but that a test may be refused and ask as often as it likes.
SETTINGS = ServeSettings(
    rate_refused=100_000, rate_customer_requests=100_000, rate_customer_commands=100_000
)


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
    ):
        keys = ApiKeys(store.run, database.master_key)
        admin_key = keys.make_first_admin()
        assert admin_key is not None
        following = Following(database)
        parts = Parts(
            database=database,
            tollbook=tollbook,
            keys=keys,
            settings=SETTINGS,
            projector_lives=following.is_alive,
        )
        try:
            with _listening(parts) as url:
                yield Served(url, tollbook, keys, admin_key)
        finally:
            following.stop()


@contextmanager
def _listening(parts: Parts) -> Iterator[str]:
    """Run the server in a thread of its own."""
    listener = listen("127.0.0.1", 0)
    servers: list[uvicorn.Server] = []
    failures: list[BaseException] = []
    ready = threading.Event()

    async def serve() -> None:
        async with service_of(parts) as service:
            servers.append(uvicorn.Server(configured(service, parts.settings, 1_000)))
            ready.set()
            await servers[0].serve(sockets=[listener])

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(serve())
        except BaseException as failure:
            failures.append(failure)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name="test-server")
    thread.start()
    try:
        assert ready.wait(30)
        yield url_of(listener)
    finally:
        for server in servers:
            server.should_exit = True
        thread.join(30)
        listener.close()
        assert not failures, failures
