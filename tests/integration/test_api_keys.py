"""API keys in the database: made once, kept as a keyed hash, revoked for ever."""

import re
from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook.errors import Invalid, NotFound, Unavailable

from adapters.api_keys import ROLES, ApiKeys, _make, key_id
from entrypoints.bootstrap import Database, open_keys, tollbook_on
from tests.support.databases import MASTER_KEY, TestDatabase
from tests.support.ledger import create_customer


@pytest.fixture
def keys(database: TestDatabase) -> Iterator[ApiKeys]:
    """Give the test a fresh ledger's keys; the test runs on both servers."""
    with open_keys(database.parts) as opened:
        yield opened


@pytest.mark.parametrize("role", [role for role in ROLES if role != "customer"])
def test_a_key_is_shown_once_and_only_its_hash_is_stored(
    database: TestDatabase, keys: ApiKeys, role: str
) -> None:
    made = keys.create(role=role, note="for a test")
    text = made.pop("key")
    assert re.fullmatch(rf"tb_{role}_[a-z2-7]{{12}}_[a-z2-7]{{40}}_[0-9a-f]{{8}}", text)
    assert key_id(text) == made["id"]
    assert keys.get(made["id"]) == made
    stored = database.query("SELECT api_keys::text FROM api_keys")
    secret = text.split("_")[3]
    assert secret not in str(stored)
    assert keys.hash(text).hex() in str(stored)


def test_the_hash_needs_the_master_key(database: TestDatabase, keys: ApiKeys) -> None:
    text = keys.create(role="service")["key"]
    other = Database(database.owner_url, database.app_url, bytes(32))
    with pytest.raises(Unavailable, match="not the one"), open_keys(other):
        pass
    with open_keys(database.parts) as again:
        assert again.hash(text) == keys.hash(text)


def test_without_a_master_key_the_words_say_how_to_set_one(database: TestDatabase) -> None:
    bare = Database(database.owner_url, database.app_url, None)
    with pytest.raises(Unavailable, match="TOLLBOOK_MASTER_KEY_FILE"), open_keys(bare):
        pass


@given(st.integers(0, 75), st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789"))
def test_one_wrong_character_is_no_key(place: int, character: str) -> None:
    text, name = _make("auditor")
    place = place % len(text)
    mistyped = text[:place] + character + text[place + 1 :]
    assert key_id(mistyped) == (name if mistyped == text else None)


@pytest.mark.parametrize(
    "text", ["", "tb_", "x" * 5000, "tb_root_aaaaaaaaaaaa_" + "a" * 40 + "_aaaaaa", "tb_admin_é"]
)
def test_other_text_is_no_key(text: str) -> None:
    assert key_id(text) is None


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"role": "root"}, "role"),
        ({"role": "customer"}, "customer"),
        ({"role": "admin", "customer": "cust-1"}, "customer"),
        ({"role": "admin", "note": "n" * 201}, "note"),
        ({"role": "admin", "note": "two\nlines"}, "note"),
        ({"role": "admin", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"role": "admin", "expires_at": "tomorrow"}, "expires_at"),
    ],
)
def test_terms_that_make_no_sense_are_refused(
    keys: ApiKeys, terms: dict[str, str], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        keys.create(**terms)
    assert refused.value.facts["field"] == field
    assert keys.page() == ([], None)


def test_a_customers_key_needs_the_customer(database: TestDatabase, keys: ApiKeys) -> None:
    with pytest.raises(NotFound):
        keys.create(role="customer", customer="cust-1")
    with tollbook_on(database.parts) as ledger:
        create_customer(ledger, "cust-1").result()
    assert keys.create(role="customer", customer="cust-1")["customer"] == "cust-1"


def test_the_first_admin_key_is_made_once_whoever_asks(database: TestDatabase) -> None:
    with open_keys(database.parts) as one, open_keys(database.parts) as other:
        first = one.make_first_admin()
        assert first is not None
        assert other.make_first_admin() is None
        one.revoke(key_id(first) or "")
        assert one.make_first_admin() is None


def test_of_two_first_admin_keys_one_is_kept(keys: ApiKeys) -> None:
    """Both processes saw that there was none; the index lets one in."""
    for text, name in (_make("admin"), _make("admin")):
        keys._insert(text, name, "admin", None, "", None, is_first=True)
    items, _ = keys.page()
    assert len(items) == 1


def test_a_ledger_with_an_admin_key_gets_no_first_one(keys: ApiKeys) -> None:
    keys.create(role="admin")
    assert keys.make_first_admin() is None


def test_revoking_is_for_ever_and_may_be_repeated(keys: ApiKeys) -> None:
    name = keys.create(role="service")["id"]
    once = keys.revoke(name)
    assert once["revoked_at"] >= once["created_at"]
    assert keys.revoke(name) == once
    with pytest.raises(NotFound):
        keys.revoke("aaaaaaaaaaaa")
    with pytest.raises(NotFound):
        keys.revoke("' OR true --")


def test_pages_hold_every_key_once(keys: ApiKeys) -> None:
    names = {keys.create(role="service")["id"] for _ in range(7)}
    found: list[str] = []
    after = None
    while True:
        items, after = keys.page(after=after, limit=3)
        found += [item["id"] for item in items]
        if after is None:
            break
    assert found == sorted(names)


def test_changes_tell_what_is_new_since_a_version(keys: ApiKeys) -> None:
    one, two = (keys.create(role="service")["id"] for _ in range(2))
    seen = keys.changes(0)
    assert [stored.id for stored in seen] == [one, two]
    assert keys.changes(seen[-1].version) == []
    keys.revoke(one)
    (changed,) = keys.changes(seen[-1].version)
    assert (changed.id, changed.is_revoked) == (one, True)


def test_use_is_noted_by_the_hour(keys: ApiKeys) -> None:
    name = keys.create(role="service")["id"]
    assert "last_used_at" not in keys.get(name)
    keys.touch({name})
    noted = keys.get(name)["last_used_at"]
    assert noted.endswith(":00:00.000000Z")


def test_the_application_cannot_delete_or_rewrite_a_key(embedded_database: TestDatabase) -> None:
    """It makes and revokes; what a key was made for stands."""
    with open_keys(embedded_database.parts) as keys:
        keys.create(role="auditor")
    for statement in (
        "DELETE FROM api_keys",
        "UPDATE api_keys SET role = 'admin'",
        "UPDATE api_keys SET hash = '\\x00'",
        "TRUNCATE api_keys",
    ):
        with (
            closing(psycopg.connect(embedded_database.app_url, autocommit=True)) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement.encode())


def test_the_pepper_is_not_the_master_key(keys: ApiKeys) -> None:
    assert keys._pepper != MASTER_KEY
