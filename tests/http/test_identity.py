"""Who is asking: keys are checked in memory, revoked within a second, and in constant work."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tollbook.errors import Unavailable

from adapters import api_keys
from adapters.api_keys import ROLES, ApiKeys, _make
from entrypoints.bootstrap import Database, open_keys
from entrypoints.http import identity, roles
from entrypoints.http.identity import FRESH_SECONDS, Keyring
from entrypoints.http.problems import Unauthorized
from tests.support.databases import MASTER_KEY, TestDatabase
from tests.support.proxy import Proxy


class Counted(ApiKeys):
    """Keys that count what they are asked."""

    reads = 0
    hashes = 0

    def changes(self, version: int) -> list[api_keys.StoredKey]:
        """Count one query."""
        self.reads += 1
        return super().changes(version)

    def hash(self, text: str) -> bytes:
        """Count one hash."""
        self.hashes += 1
        return super().hash(text)


class Watch:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def keys(embedded_database: TestDatabase) -> Iterator[Counted]:
    """Give the test a fresh ledger's keys."""
    with open_keys(embedded_database.parts) as opened:
        yield Counted(opened._query, MASTER_KEY)


def with_keyring(
    keys: ApiKeys, scenario: Callable[[Keyring, Watch], Awaitable[Any]], **clocks: Any
) -> Any:
    """Run a scenario on an event loop, with a keyring on it."""

    async def run() -> Any:
        watch = Watch()
        keyring = Keyring(keys, monotonic=watch, **clocks)
        try:
            return await scenario(keyring, watch)
        finally:
            keyring.close()

    return asyncio.run(run())


async def refused(keyring: Keyring, authorization: str | None) -> str:
    """Return what is said to who shows no valid key."""
    with pytest.raises(Unauthorized) as said:
        await keyring.identify(authorization)
    return said.value.message


def test_a_key_names_its_id_its_role_and_its_customer(keys: Counted) -> None:
    made = keys.create(role="finance")

    async def scenario(keyring: Keyring, _: Watch) -> identity.Identity:
        assert await keyring.identify(f"bearer  {made['key']} ") == (made["id"], "finance", None)
        return await keyring.identify(f"Bearer {made['key']}")

    assert with_keyring(keys, scenario).role == "finance"


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "tb_admin_x", "Bearer tb_admin_x"]
)
def test_what_is_no_key_is_refused_without_a_query(keys: Counted, header: str | None) -> None:
    with_keyring(keys, lambda keyring, _: refused(keyring, header))
    assert (keys.reads, keys.hashes) == (0, 0)


def test_a_revoked_key_stops_within_a_second(keys: Counted) -> None:
    made = keys.create(role="service")

    async def scenario(keyring: Keyring, watch: Watch) -> None:
        await keyring.identify(f"Bearer {made['key']}")
        keys.revoke(made["id"])
        watch.now += FRESH_SECONDS
        await refused(keyring, f"Bearer {made['key']}")

    with_keyring(keys, scenario)


def test_keys_are_read_at_most_twice_a_second_whoever_asks(keys: Counted) -> None:
    async def scenario(keyring: Keyring, watch: Watch) -> None:
        for _ in range(300):
            text, _name = _make("admin")
            await refused(keyring, f"Bearer {text}")
            await asyncio.sleep(0)
            watch.now += 0.01

    with_keyring(keys, scenario)
    assert 3 <= keys.reads <= 7
    assert keys.hashes == 300


def test_an_unknown_key_costs_the_same_work_as_a_wrong_one(
    keys: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hash and one comparison of the same length, whatever is wrong with the key."""
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def counting(one: Any, other: Any) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    known = keys.create(role="service")
    over = keys.create(role="service")["key"]
    keys.revoke(api_keys.key_id(over) or "")
    begin = known["key"].rpartition("_")[0].rpartition("_")[0] + "_" + "a" * 40
    wrong = f"{begin}_{api_keys._check(begin)}"
    unknown, _ = _make("service")
    monkeypatch.setattr(hmac, "compare_digest", counting)

    async def scenario(keyring: Keyring, _: Watch) -> None:
        said = {await refused(keyring, f"Bearer {text}") for text in (wrong, unknown, over)}
        assert len(said) == 1
        await keyring.identify(f"Bearer {known['key']}")

    with_keyring(keys, scenario)
    assert compared == [(32, 32)] * 4
    assert keys.hashes - 2 == 4  # two keys were made


def test_a_key_ends_when_it_was_said_to(keys: Counted) -> None:
    made = keys.create(role="auditor", expires_at="2100-01-01T00:00:00Z")
    until = 4_102_444_800

    def at(seconds: float) -> None:
        async def scenario(keyring: Keyring, _: Watch) -> None:
            await keyring.identify(f"Bearer {made['key']}")

        with_keyring(keys, scenario, clock=lambda: seconds)

    at(until - 0.001)
    with pytest.raises(Unauthorized):
        at(until)


def test_use_is_noted_once_a_minute(keys: Counted) -> None:
    made = keys.create(role="auditor")

    async def scenario(keyring: Keyring, watch: Watch) -> None:
        for _ in range(3):
            await keyring.identify(f"Bearer {made['key']}")
            watch.now += FRESH_SECONDS

    with_keyring(keys, scenario)
    assert "last_used_at" in keys.get(made["id"])


def test_without_the_database_nobody_is_let_in_and_afterwards_everybody(
    embedded_database: TestDatabase, tmp_path: Path
) -> None:
    proxy = Proxy(embedded_database.app_url, tmp_path)
    through = Database(embedded_database.owner_url, proxy.url, MASTER_KEY)
    with open_keys(through) as keys:
        made = keys.create(role="admin")

        async def scenario(keyring: Keyring, watch: Watch) -> None:
            await keyring.identify(f"Bearer {made['key']}")
            proxy.down = True
            proxy.lose("request", b"api_keys", stay_down=True)
            watch.now += FRESH_SECONDS
            for _ in range(3):
                with pytest.raises(Unavailable):
                    await keyring.identify(f"Bearer {made['key']}")
                watch.now += 0.05
            proxy.down = False
            watch.now += FRESH_SECONDS
            assert (await keyring.identify(f"Bearer {made['key']}")).role == "admin"

        try:
            with_keyring(keys, scenario)
        finally:
            proxy.close()


def test_the_roles_of_keys_are_those_of_the_routes() -> None:
    assert roles.ROLES == ROLES
