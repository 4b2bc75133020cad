"""PostgreSQL killed under a loaded `tollbook serve`: it says so, goes on, and loses nothing."""

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.faults.invariants import assert_sound
from tests.faults.own_server import OwnServer
from tests.support.databases import query
from tests.support.ledger import MODEL, USAGE, price_book
from tests.support.serve_process import ServeProcess, serve_process
from tests.support.sizes import all_or

THREADS = 8
BOUND_SECONDS = 60
NOTHING_DONE = {"unavailable", "overloaded"}


class Clients:
    """Threads that reserve, each with ids of its own, and remember every answer."""

    def __init__(self, served: ServeProcess, headers: dict[str, str]) -> None:
        """Begin to send."""
        self._served = served
        self._headers = headers
        self._stop = threading.Event()
        self.failures: list[Exception] = []
        self.answers: list[tuple[str, httpx.Response]] = []
        self._threads = [threading.Thread(target=self._send, args=(n,)) for n in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let what is under way be answered."""
        self._stop.set()
        for thread in self._threads:
            thread.join(BOUND_SECONDS)
        assert not any(thread.is_alive() for thread in self._threads), "somebody waits for ever"
        assert self.failures == []

    def count(self, status: int) -> int:
        """Count the answers of a status."""
        return sum(answer.status_code == status for _, answer in list(self.answers))

    def _send(self, thread: int) -> None:
        number = 0
        with httpx.Client(base_url=self._served.url, timeout=30) as client:
            while not self._stop.is_set():
                name = f"r-{thread}-{number}"
                number += 1
                headers = {**self._headers, "X-Request-Id": f"request-{name}"}
                try:
                    answer = client.post("/v1/reservations", json=body_of(name), headers=headers)
                except httpx.HTTPError as error:
                    self.failures.append(error)
                    return
                self.answers.append((name, answer))
                if answer.status_code >= 500:
                    time.sleep(0.05)


def body_of(name: str) -> dict[str, Any]:
    """Return the body of a reservation."""
    return {"id": name, "customer": "cust-1", "model": MODEL, "estimate": USAGE}


def eventually(what: str, is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    until = time.monotonic() + BOUND_SECONDS
    while not is_so():
        assert time.monotonic() < until, f"never: {what}"
        time.sleep(0.05)


def set_up(client: httpx.Client) -> None:
    """Publish prices, and make a customer with enough money."""
    customer = {"id": "cust-1", "name": "N", "currency": "USD"}
    grant = {"id": "g-1", "amount": "1000000", "kind": "paid"}
    for path, body in (
        ("/v1/prices", price_book()),
        ("/v1/customers", customer),
        ("/v1/customers/cust-1/grants", grant),
    ):
        client.post(path, json=body).raise_for_status()


KILLS = {
    "everything": OwnServer.kill_everything,
    "postmaster": OwnServer.kill_postmaster,
}


@pytest.mark.parametrize("victim", all_or(1, KILLS))
def test_a_server_without_postgres_says_so_and_loses_nothing(
    own_server: OwnServer, victim: str
) -> None:
    with serve_process(own_server.folder) as served:
        headers = {"Authorization": f"Bearer {served.admin_key}"}
        probe = httpx.Client(base_url=served.url, headers=headers, timeout=30)
        set_up(probe)
        clients = Clients(served, headers)
        eventually("answers", lambda: clients.count(201) > 50)
        KILLS[victim](own_server)
        eventually("not ready", lambda: probe.get("/readyz").status_code == 503)
        assert probe.get("/healthz").status_code == 200
        eventually("unavailable", lambda: clients.count(503) > 0)
        own_server.revive()
        eventually("ready again", lambda: probe.get("/readyz").status_code == 200)
        before = clients.count(201)
        eventually("answers again", lambda: clients.count(201) > before + 50)
        clients.stop()
        assert_kept(probe, clients)
        probe.close()
    assert_sound(own_server.super_url)
    correlated = query(
        own_server.super_url,
        "SELECT count(*) FROM events WHERE name = 'reservation_held' "
        "AND correlation IS DISTINCT FROM 'request-' || command",
    )
    assert correlated == [(0,)]


def assert_kept(probe: httpx.Client, clients: Clients) -> None:
    """What was answered stands; what was not done can be done; what is unknown can be asked."""
    for name, answer in clients.answers:
        found = answer.json()
        if answer.status_code == 201:
            assert probe.get(f"/v1/reservations/{name}").status_code == 200, name
            again = probe.post("/v1/reservations", json=body_of(name))
            assert (again.status_code, again.json()) == (200, found)
        elif answer.status_code == 503:
            assert found["code"] in NOTHING_DONE
            assert probe.get(f"/v1/reservations/{name}").status_code == 404, name
        else:
            assert (answer.status_code, found["code"]) == (504, "unknown")
            named = {"X-Request-Id": f"request-{name}"}
            again = probe.post("/v1/reservations", json=body_of(name), headers=named)
            assert again.status_code in (200, 201)
