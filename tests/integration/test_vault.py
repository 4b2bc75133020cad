"""The vault: names are sealed per customer and field, and gone when the customer's key is."""

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tollbook.errors import Invalid, Tampered, Unavailable

from adapters.event_store.store import PostgresEventStore
from adapters.postgres import connect
from adapters.vault import SEALED_TEXT_MAX, KeyVault, make_master_key, read_master_key
from application.ports import Snapshot
from entrypoints.bootstrap import Database, tollbook_on
from tests.support.databases import MASTER_KEY, TestDatabase
from tests.support.ledger import a_customer, create_customer, open_ledger, reserve, settle

PERSON = "Zoë Łukasiewicz-漢字"


@pytest.fixture
def store(database: TestDatabase) -> Iterator[PostgresEventStore]:
    """Open a store on a fresh ledger, for the table of keys."""
    opened = PostgresEventStore(database.app_url)
    yield opened
    opened.close()


@pytest.fixture
def vault(store: PostgresEventStore) -> KeyVault:
    """Open a vault with the tests' master key."""
    return KeyVault(store.run, MASTER_KEY)


def test_what_is_sealed_opens_again(vault: KeyVault, store: PostgresEventStore) -> None:
    sealed = vault.seal("cust-1", "name", PERSON)
    assert vault.open("cust-1", "name", sealed) == PERSON
    assert KeyVault(store.run, MASTER_KEY).open("cust-1", "name", sealed) == PERSON


def test_the_same_text_seals_to_the_same_in_every_process(
    vault: KeyVault, store: PostgresEventStore
) -> None:
    """So a command that is tried again has the same body."""
    another = KeyVault(store.run, MASTER_KEY)
    assert another.seal("cust-1", "name", PERSON) == vault.seal("cust-1", "name", PERSON)


def test_equal_names_of_two_customers_do_not_look_equal(vault: KeyVault) -> None:
    assert vault.seal("cust-1", "name", PERSON) != vault.seal("cust-2", "name", PERSON)
    assert vault.seal("cust-1", "name", PERSON) != vault.seal("cust-1", "e-mail", PERSON)


@pytest.mark.parametrize(("customer", "field"), [("cust-2", "name"), ("cust-1", "e-mail")])
def test_a_sealed_text_opens_nowhere_else(vault: KeyVault, customer: str, field: str) -> None:
    sealed = vault.seal("cust-1", "name", PERSON)
    vault.seal("cust-2", "name", PERSON)
    with pytest.raises(Tampered, match="does not open"):
        vault.open(customer, field, sealed)


def test_a_changed_text_does_not_open(vault: KeyVault) -> None:
    sealed = bytearray(base64.b64decode(vault.seal("cust-1", "name", PERSON)))
    sealed[-1] ^= 1
    with pytest.raises(Tampered):
        vault.open("cust-1", "name", base64.b64encode(sealed).decode())


def test_a_destroyed_key_opens_nothing_and_a_new_key_is_another(
    vault: KeyVault, store: PostgresEventStore
) -> None:
    before = vault.seal("cust-1", "name", PERSON)
    kept = vault.seal("cust-2", "name", PERSON)
    vault.destroy("cust-1")
    assert vault.open("cust-1", "name", before) is None
    assert KeyVault(store.run, MASTER_KEY).open("cust-1", "name", before) is None
    assert vault.open("cust-2", "name", kept) == PERSON
    after = vault.seal("cust-1", "name", PERSON)
    assert after != before
    assert vault.open("cust-1", "name", after) == PERSON


def test_a_customer_without_a_key_has_nothing_to_open(vault: KeyVault) -> None:
    assert vault.open("nobody", "name", "c2VhbGVk") is None


def test_another_master_key_is_noticed(vault: KeyVault, store: PostgresEventStore) -> None:
    sealed = vault.seal("cust-1", "name", PERSON)
    wrong = KeyVault(store.run, bytes(32))
    for use in (wrong.seal, wrong.open):
        with pytest.raises(Unavailable, match="not the one this ledger was made with"):
            use("cust-1", "name", sealed)


def test_without_a_master_key_nothing_is_sealed(store: PostgresEventStore) -> None:
    with pytest.raises(Unavailable, match="TOLLBOOK_MASTER_KEY_FILE"):
        KeyVault(store.run, None).seal("cust-1", "name", PERSON)


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_master_key_has_32_bytes(store: PostgresEventStore, size: int) -> None:
    with pytest.raises(Invalid):
        KeyVault(store.run, bytes(size))


@pytest.mark.parametrize("text", ["", "x" * (SEALED_TEXT_MAX + 1), "a\x00b", "\ud800"])
def test_a_text_that_is_none_is_refused(vault: KeyVault, text: str) -> None:
    with pytest.raises(Invalid):
        vault.seal("cust-1", "name", text)


def test_the_longest_text_is_sealed(vault: KeyVault) -> None:
    longest = "漢" * SEALED_TEXT_MAX
    assert vault.open("cust-1", "name", vault.seal("cust-1", "name", longest)) == longest


def dump(database: TestDatabase) -> bytes:
    """Copy every table of the database out, as a backup would."""
    connection = connect(database.super_url)
    tables = connection.execute(
        "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"
    ).fetchall()
    text = b""
    for (table,) in tables:
        with connection.cursor().copy(f"COPY {table} TO STDOUT".encode()) as copied:
            text += b"".join(bytes(part) for part in copied)
    connection.close()
    return text


def test_no_name_stands_in_clear_in_any_table(database: TestDatabase) -> None:
    with open_ledger(database) as ledger:
        a_customer(ledger, "cust-1", name=PERSON)
        create_customer(ledger, "cust-1", name="Another Person")  # refused: the id is used
        create_customer(ledger, "cust-2", name="Second Person", plan="none")
        change = {"id": "c", "customer": "cust-1", "name": "Renamed Person"}
        ledger.run("change_customer", change).result()
        reserve(ledger, "r-1").result()
        settle(ledger, "r-1").result()
        ledger.executor._committer._store.save_snapshots(
            [Snapshot(ledger.balance_state("cust-1"), ledger.executor.position)]
        )
        assert ledger.name("cust-1") == "Renamed Person"
    stored = dump(database)
    assert b"name_sealed" in stored
    for name in (PERSON, "Another Person", "Second Person", "Renamed Person"):
        plain = name.encode()
        hidden = [base64.b64encode(plain + bytes(pad))[:-4] for pad in range(3)]
        escaped = name.encode("unicode_escape")
        for form in (plain, plain.hex().encode(), escaped, *hidden):
            assert form not in stored, form


def test_an_erased_customer_keeps_their_history_and_loses_their_name(
    database: TestDatabase,
) -> None:
    with open_ledger(database) as ledger:
        a_customer(ledger, "cust-1")
        before = ledger.store.since(0, 100)
        assert isinstance(ledger.store, PostgresEventStore)
        KeyVault(ledger.store.run, MASTER_KEY).destroy("cust-1")
    with open_ledger(database) as ledger:
        assert ledger.name("cust-1") is None
        assert ledger.store.since(0, 100) == before
        assert reserve(ledger, "r-1").done


def test_a_ledger_without_its_master_key_still_settles(database: TestDatabase) -> None:
    with open_ledger(database) as ledger:
        a_customer(ledger)
    with tollbook_on(Database(database.owner_url, database.app_url, None)) as ledger:
        assert reserve(ledger, "r-1").done
        with pytest.raises(Unavailable):
            create_customer(ledger, "cust-2")


def test_a_new_master_key_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    before = os.umask(0)
    try:
        key = make_master_key(path)
    finally:
        os.umask(before)
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert make_master_key(path) == read_master_key(path) == key
    assert make_master_key(tmp_path / "another.key") != key


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_master_key_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    make_master_key(path)
    path.chmod(mode)
    for use in (read_master_key, make_master_key):
        with pytest.raises(Unavailable, match="chmod 600"):
            use(path)


@pytest.mark.parametrize("text", ["not hex", "0" * 63, "é" * 64])
def test_a_file_that_holds_no_master_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "master.key"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(Unavailable, match="does not hold 64 hex digits"):
        read_master_key(path)


def test_a_missing_key_file_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="/nothing cannot be read: No such file"):
        read_master_key(tmp_path / "nothing")
