"""The SDK's clients against the real server, on a ledger of its own."""

import os
import re
import select
import socket
import socketserver
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio.from_thread
import pytest
from tollbook.client import Client, Money, UsageRecord
from tollbook.errors import Conflict, Invalid, NotFound, Refused

from sdk.tests.driven import Driven
from tests.support.databases import fresh_database
from tests.support.servers import embedded_server
from tests.support.serving import Served, serving

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = re.compile(r"^```python client\n(.*?)^```$", re.MULTILINE | re.DOTALL)
USAGE = {"input_tokens": 1200, "output_tokens": 300}
BOOK = {
    "id": "default",
    "currency": "USD",
    "effective_from": "2026-01-01T00:00:00Z",
    "models": [{"name": "small", "prices": {"input_tokens": "0.50", "output_tokens": "1.50"}}],
}


@contextmanager
def served(config: pytest.Config) -> Iterator[Served]:
    """Serve a new ledger."""
    with fresh_database(embedded_server(config)) as made, serving(made.parts) as server:
        yield server


@pytest.fixture(scope="module")
def server(pytestconfig: pytest.Config) -> Iterator[Served]:
    """Serve for this module, with prices."""
    with served(pytestconfig) as server:
        with Client(server.url, key=server.key()) as client:
            client.publish_prices(BOOK)
        yield server


@pytest.fixture(params=["blocking", "asynchronous"])
def client(request: pytest.FixtureRequest, server: Served) -> Iterator[Any]:
    """Open a client of either kind."""
    if request.param == "blocking":
        with Client(server.url, key=server.key()) as client:
            yield client
        return
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        Driven(portal, server.url, server.key()) as client,
    ):
        yield client


@pytest.fixture
def ada(client: Any, request: pytest.FixtureRequest) -> str:
    """Create a customer for one test, with five dollars."""
    name = re.sub(r"[^a-z_]", "-", request.node.name)
    assert client.create_customer(name, name="Ada Byron", currency="USD").customer == name
    granted = client.grant(name, "5.00", "paid", id=f"grant-{name}")
    assert granted.amount == Money.of(5, "USD")
    return name


def test_the_readmes_example_runs(pytestconfig: pytest.Config) -> None:
    (example,) = EXAMPLE.findall((ROOT / "sdk" / "README.md").read_text(encoding="utf-8"))
    with served(pytestconfig) as server:
        done = subprocess.run(
            [sys.executable, "-c", example],
            env={**os.environ, "TOLLBOOK_URL": server.url, "TOLLBOOK_KEY": server.key()},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    # 1,200 input tokens at 0.50 and 250 output tokens at 1.50 USD per million.
    assert "charged 0.000975000000 USD" in done.stdout
    assert "refused: insufficient_balance required 5000000.000000000000" in done.stdout
    assert "available 4.999025000000 USD" in done.stdout
    events = [line.split()[1] for line in done.stdout.splitlines() if line.endswith(" True")]
    assert events == [
        *("customer_created", "grant_issued", "reservation_held"),
        *("reservation_settled", "command_refused"),
    ]


def test_a_customer_can_be_read_changed_and_listed(client: Any, ada: str) -> None:
    changed = client.change_customer(ada, credit_limit="2.5", time_zone="Europe/Rome")
    assert changed.customer == ada
    found = client.customer(ada)
    assert (found.id, found.name, found.time_zone) == (ada, "Ada Byron", "Europe/Rome")
    assert found.credit_limit == Money.of("2.5", "USD")
    assert ada in [each.id for each in client.customers(wait_for=changed.position)]
    assert [each.version for each in client.prices()] == [1]


def test_a_hold_is_extended_and_settled_in_parts(client: Any, ada: str) -> None:
    hold = client.reserve(ada, "small", USAGE, ttl_seconds=60)
    assert hold.held == Money.of("0.00105", "USD")
    more = client.extend(hold.id, estimate={"output_tokens": 100}, ttl_seconds=120)
    assert more.held > hold.held
    assert more.expires_at > hold.expires_at
    part = client.settle(hold.id, {"output_tokens": 100}, final=False)
    assert part.charged == Money.of("0.00015", "USD")
    rest = client.settle(hold.id, {"input_tokens": 1200}, occurred_at=datetime.now(UTC))
    assert rest.charged == Money.of("0.0006", "USD")
    assert [each.amount for each in rest.grants] == [rest.charged]
    found = client.reservation(hold.id)
    assert (found.status, found.customer, found.model) == ("settled", ada, "small")
    balance = client.balance(ada)
    assert balance.spent == part.charged + rest.charged
    assert balance.available.amount == Decimal("4.99925")


def test_the_past_can_be_asked_for(client: Any, ada: str) -> None:
    before = client.balance(ada)
    client.settle(client.reserve(ada, "small", USAGE).id, USAGE)
    assert client.balance(ada).available < before.available
    assert client.balance(ada, at=before.position).available == before.available
    *_, held, settled = client.events(customer=ada)
    between = client.balance(ada, at=held.recorded_at)
    assert (between.held, between.spent) == (Money.of("0.00105", "USD"), Money.of(0, "USD"))
    assert client.balance(ada, at=settled.recorded_at).spent == between.held


def test_a_quote_is_exact_and_changes_nothing(client: Any, ada: str) -> None:
    quote = client.quote(ada, "small", USAGE)
    assert (quote.price, quote.would_admit, quote.why) == (Money.of("0.00105", "USD"), True, None)
    dear = client.quote(ada, "small", {"input_tokens": 10**13})
    assert (dear.would_admit, dear.why["code"]) == (False, "insufficient_balance")
    assert client.balance(ada).held == Money.of(0, "USD")


def test_the_same_id_is_the_same_answer_and_another_body_a_conflict(client: Any, ada: str) -> None:
    name = f"r-{ada}"
    first = client.reserve(ada, "small", USAGE, id=name)
    assert client.reserve(ada, "small", USAGE, id=name) == first
    with pytest.raises(Conflict) as caught:
        client.reserve(ada, "small", {"input_tokens": 1}, id=name)
    assert (caught.value.code, caught.value.facts["field"]) == ("id_reused", "estimate")
    released = client.release(name, reason="not wanted")
    assert released.released == first.held
    with pytest.raises(Refused, match="released"):
        client.release(name)


def test_errors_are_the_ledgers_own(client: Any, ada: str) -> None:
    with pytest.raises(NotFound):
        client.customer("nobody")
    with pytest.raises(NotFound):
        client.reservation("..")
    with pytest.raises(Invalid) as caught:
        client.reserve(ada, "small", {"input_tokens": -1})
    assert caught.value.facts["request_id"]
    with pytest.raises(Refused) as refused:
        client.reserve(ada, "unheard-of", USAGE)
    assert refused.value.code == "unknown_model"


def test_usage_records_are_charged_once_and_parked_with_the_reason(client: Any, ada: str) -> None:
    client.change_customer(ada, plan="standard")
    hold = client.reserve(ada, "small", USAGE)
    fixed: dict[str, Any] = {"source": f"gateway/{ada}", "customer": ada, "usage": USAGE}
    fixed["occurred_at"] = datetime.now(UTC)
    records = [
        UsageRecord(id="one", model="small", reservation=hold.id, **fixed),
        UsageRecord(id="two", model="unheard-of", reservation=hold.id, **fixed),
    ]
    settled, parked = client.usage(records)
    assert (settled.status, settled.charged) == ("accepted", Money.of("0.00105", "USD"))
    assert parked.status == "parked"
    assert parked.why["code"]
    assert [each.status for each in client.usage(records)] == ["duplicate", "parked"]
    assert client.balance(ada).spent == settled.charged


def test_a_record_settles_a_part_where_it_says_so(client: Any, ada: str) -> None:
    hold = client.reserve(ada, "small", USAGE)
    fixed: dict[str, Any] = {"source": f"gateway/{ada}", "customer": ada, "reservation": hold.id}
    fixed |= {"usage": {"input_tokens": 100}, "occurred_at": datetime.now(UTC)}
    part = UsageRecord(id="part", model="small", final=False, **fixed)
    (settled,) = client.usage([part])
    assert settled.status == "accepted"
    assert client.reservation(hold.id).status == "open"
    client.release(hold.id)
    assert client.balance(ada).spent == settled.charged


def test_a_batch_is_answered_one_by_one_or_as_a_whole(client: Any, ada: str) -> None:
    reserve = {"kind": "reserve", "customer": ada, "model": "small", "estimate": USAGE}
    dear = {**reserve, "estimate": {"input_tokens": 10**13}}
    results = client.commands([reserve, dear, reserve])
    assert [each.status for each in results] == ["done", "refused", "done"]
    assert results[0].done().held == Money.of("0.00105", "USD")
    with pytest.raises(Refused) as caught:
        results[1].done()
    assert caught.value.code == "insufficient_balance"
    together = client.commands([reserve, dear], atomic=True)
    assert Counter(each.error.code for each in together) == {
        "aborted": 1,
        "insufficient_balance": 1,
    }


def test_an_outcome_can_be_asked_for_by_id(client: Any, ada: str) -> None:
    hold = client.reserve(ada, "small", USAGE)
    found = client.outcome("reserve", hold.id, customer=ada)
    assert (found.status, found.id) == ("done", hold.id)
    with pytest.raises(NotFound):
        client.outcome("reserve", "never-given", customer=ada)


def test_events_come_page_after_page(client: Any, ada: str) -> None:
    for _ in range(3):
        client.settle(client.reserve(ada, "small", USAGE).id, USAGE)
    events = list(client.events(customer=ada, limit=2))
    assert [each.customer_sequence for each in events] == list(range(1, 9))
    assert {each.customer for each in events} == {ada}
    assert [each.position for each in client.events(after=events[5].position, customer=ada)] == [
        each.position for each in events[6:]
    ]


def test_an_inference_is_held_settled_and_released(client: Any, ada: str) -> None:
    with client.inference(ada, "small", USAGE) as inference:
        inference.used(input_tokens=1200)
        inference.used(output_tokens=250)
    assert inference.charged == Money.of("0.000975", "USD")
    with pytest.raises(ZeroDivisionError), client.inference(ada, "small", USAGE):
        raise ZeroDivisionError
    balance = client.balance(ada)
    assert (balance.held, balance.spent) == (Money.of(0, "USD"), inference.charged)


class LosingProxy(socketserver.ThreadingTCPServer):
    """Passes connections on to a server; the first ones are cut when their answer comes."""

    daemon_threads = True

    def __init__(self, url: str, losses: int) -> None:
        """Stand before the server that a URL names."""
        super().__init__(("127.0.0.1", 0), _Losing)
        self.behind = ("127.0.0.1", urlsplit(url).port)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.losses = losses


class _Losing(socketserver.BaseRequestHandler):
    server: LosingProxy

    def handle(self) -> None:
        losing, self.server.losses = self.server.losses > 0, self.server.losses - 1
        with socket.create_connection(self.server.behind) as behind:
            while True:
                for ready in select.select([self.request, behind], [], [], 30)[0]:
                    data = ready.recv(65536)
                    if not data or (ready is behind and losing):
                        return
                    (self.request if ready is behind else behind).sendall(data)


@pytest.mark.parametrize("losses", [1, 4])
def test_lost_answers_of_the_real_server_have_one_effect(server: Served, losses: int) -> None:
    name = f"lost-{losses}"
    steps: list[Callable[[Client], Any]] = [
        lambda client: client.create_customer(name, name="Ada", currency="USD"),
        lambda client: client.grant(name, 5, "paid", id=f"g-{name}"),
        lambda client: client.reserve(name, "small", USAGE, id=f"r-{name}"),
        lambda client: client.settle(f"r-{name}", USAGE),
    ]
    with LosingProxy(server.url, 0) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True).start()
        for step in steps:
            proxy.losses = losses
            with Client(proxy.url, key=server.key()) as client:  # with a new connection
                step(client)
            assert proxy.losses < 0
        proxy.shutdown()
    with Client(server.url, key=server.key()) as client:
        assert [each.name for each in client.events(customer=name)] == [
            *("customer_created", "grant_issued", "reservation_held", "reservation_settled")
        ]
        assert client.balance(name).available == Money.of("4.99895", "USD")
