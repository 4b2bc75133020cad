"""Limits of rate: token buckets for keys and for addresses, and how many are served at once."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send
from tollbook.errors import Invalid

from entrypoints.http.identity import Identity
from entrypoints.http.limits import PEERS_MAX, Bucket, Crowd, PeerLimits, RateLimits, network_of
from entrypoints.http.problems import RateLimited
from entrypoints.settings import ServeSettings, serve_settings_from


class Watch:
    """A clock that stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


SERVICE = Identity("aaaaaaaaaaaa", "service", None)
CUSTOMER = Identity("bbbbbbbbbbbb", "customer", "cust-1")


def test_a_bucket_gives_what_flows_in_and_no_more() -> None:
    bucket = Bucket(10, 0.0)
    assert sum(bucket.take(1, 0.0) == 0 for _ in range(100)) == 20
    assert bucket.take(1, 0.0) == pytest.approx(0.1)
    assert sum(bucket.take(1, 0.5) == 0 for _ in range(100)) == 5
    assert sum(bucket.take(1, 1000.0) == 0 for _ in range(100)) == 20


def test_more_than_a_bucket_holds_is_taken_from_a_full_one_and_paid_off() -> None:
    bucket = Bucket(10, 0.0)
    assert bucket.take(100, 0.0) == 0
    assert bucket.take(1, 8.0) == pytest.approx(0.1)
    assert bucket.take(1, 8.2) == 0


def test_requests_and_commands_are_counted_apart() -> None:
    watch = Watch()
    limits = RateLimits(ServeSettings(rate_requests=100, rate_commands=500), watch)
    limits.spend(SERVICE, 1000)
    for _ in range(99):
        limits.spend(SERVICE, 0)
    with pytest.raises(RateLimited, match="commands") as refused:
        limits.spend(SERVICE, 1)
    assert refused.value.facts["retry_after"] == 1


def test_a_customers_key_has_less_and_nobody_takes_from_another() -> None:
    limits = RateLimits(ServeSettings(rate_customer_requests=3), Watch())
    for _ in range(6):
        limits.spend(CUSTOMER, 0)
    with pytest.raises(RateLimited, match="requests"):
        limits.spend(CUSTOMER, 0)
    for _ in range(100):
        limits.spend(SERVICE, 0)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("testclient", "testclient", True),
    ],
)
def test_an_address_stands_for_its_line(one: str, other: str, same: bool) -> None:
    assert (network_of((one, 1)) == network_of((other, 2))) is same


def test_no_address_is_somebody_as_well() -> None:
    assert network_of(None) == ""


async def answered(app: Any, client: str) -> int:
    """Ask an app once, and return the status that it answers."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "client": (client, 1), "headers": [], "method": "GET", "path": "/"}
    await app(scope, None, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    return int(sent[0]["status"])


def answering(status: int) -> Any:
    """Return an app that answers everything alike."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


def test_an_address_without_a_key_is_slowed_down_and_others_are_not() -> None:
    async def scenario() -> None:
        watch = Watch()
        limited = PeerLimits(answering(401), ServeSettings(rate_refused=5), watch)
        statuses = [await answered(limited, "192.0.2.1") for _ in range(15)]
        assert statuses == [401] * 10 + [429] * 5
        assert await answered(limited, "192.0.2.2") == 401
        watch.now += 1
        assert await answered(limited, "192.0.2.1") == 401

    asyncio.run(scenario())


def test_a_valid_key_is_served_whatever_else_comes_from_its_address() -> None:
    async def scenario() -> None:
        refusing = PeerLimits(answering(401), ServeSettings(rate_refused=1), Watch())
        serving = PeerLimits(answering(200), ServeSettings(rate_refused=1), Watch())
        serving._peers = refusing._peers
        for _ in range(9):
            await answered(refusing, "192.0.2.1")
        assert await answered(refusing, "192.0.2.1") == 429
        assert await answered(serving, "192.0.2.1") == 200

    asyncio.run(scenario())


def test_only_so_many_addresses_are_remembered() -> None:
    limited = PeerLimits(answering(401), ServeSettings(), Watch())
    for number in range(PEERS_MAX + 100):
        limited._take(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(limited._peers) == PEERS_MAX
    assert "10.0.0.0" not in limited._peers


def test_one_request_too_many_at_once_is_refused() -> None:
    async def scenario() -> None:
        gate = asyncio.Event()

        async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
            await gate.wait()
            await answering(200)(scope, receive, send)

        crowd = Crowd(waiting, ServeSettings(requests_at_once=3))
        inside = [asyncio.create_task(answered(crowd, "192.0.2.1")) for _ in range(3)]
        await asyncio.sleep(0)
        assert await answered(crowd, "192.0.2.1") == 503
        gate.set()
        assert [await task for task in inside] == [200] * 3
        assert await answered(crowd, "192.0.2.1") == 200

    asyncio.run(scenario())


def test_settings_come_from_variables_of_their_name() -> None:
    found = serve_settings_from({"TOLLBOOK_RATE_COMMANDS": "7", "TOLLBOOK_LOG_LEVEL": "error"})
    assert found == ServeSettings(rate_commands=7, log_level="error")
    assert serve_settings_from({}) == ServeSettings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOLLBOOK_RATE_COMMANDS", "0"),
        ("TOLLBOOK_RATE_COMMANDS", "-1"),
        ("TOLLBOOK_RATE_COMMANDS", "many"),
        ("TOLLBOOK_BODY_BYTES", "9" * 5000),
        ("TOLLBOOK_LOG_LEVEL", "loud"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(name: str, value: str) -> None:
    with pytest.raises(Exception, match=name):
        serve_settings_from({name: value})


def test_a_level_of_the_log_that_is_none_is_told_with_those_that_are() -> None:
    with pytest.raises(Invalid, match=r"'loud': must be one of debug, info, warning, error$"):
        serve_settings_from({"TOLLBOOK_LOG_LEVEL": "loud"})
