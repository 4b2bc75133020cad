"""The secrets of licences: what is hashed and signed with the master key, and without it."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tollbook import lease, license_key
from tollbook.errors import Invalid, Tampered, Unavailable
from tollbook.lease import Lease

from adapters.api_keys import ApiKeys
from adapters.event_store.store import PostgresEventStore
from adapters.license_secrets import COMPONENT_TEXT_MAX, EPOCH_MAX, LicenseSecrets
from adapters.master_key import Run
from tests.support.databases import MASTER_KEY, TestDatabase, fresh_database

PAGE = Path(__file__).parents[2] / "docs" / "formats" / "license-key.md"
KEY = "tb_license_aaaqeayeaudaocajbifqydiob4ibceqt_79eddcb8"
HOLDER = bytes(range(32))
NOW = 1_767_323_045_000_000
LEASE = Lease(
    "lease-1", "lic-1", "cust-1", "m", lease.thumbprint(HOLDER), "free:0:0", NOW, NOW + 60_000_000
)


@pytest.fixture
def run(database: TestDatabase) -> Iterator[Run]:
    """Give the test the queries of a fresh ledger, in the application's role."""
    with closing(PostgresEventStore(database.app_url)) as store:
        yield store.run


@pytest.fixture
def secrets(run: Run) -> LicenseSecrets:
    """Give the test the secrets of that ledger."""
    return LicenseSecrets(run, MASTER_KEY)


def test_the_hashes_are_the_same_for_ever(run: Run, secrets: LicenseSecrets) -> None:
    """These are in the events of every ledger, so no release may compute them otherwise."""
    page = PAGE.read_text(encoding="utf-8")
    told = json.loads(page.partition("```json hashes\n")[2].partition("```")[0])
    assert bytes.fromhex(told["master_key_hex"]) == MASTER_KEY
    assert secrets.key_hash(told["key"]) == told["key_hash"]
    assert secrets.component_hash(*told["component"]) == told["component_hash"]
    assert secrets.signing_key.id == "c3831bdfc6bd6655"
    again = LicenseSecrets(run, MASTER_KEY)
    assert again.key_hash(KEY) == secrets.key_hash(KEY)


def test_every_key_has_a_hash_of_its_own(secrets: LicenseSecrets) -> None:
    keys = [license_key.make() for _ in range(100)]
    hashes = {secrets.key_hash(key) for key in keys}
    assert len(hashes) == 100
    assert all(len(text) == 32 for text in hashes)


@pytest.mark.parametrize("text", ["", KEY[:-1], KEY.replace("q", "r"), "tb_admin_x"])
def test_a_mistyped_key_is_not_hashed(secrets: LicenseSecrets, text: str) -> None:
    with pytest.raises(Invalid, match="licence key must be"):
        secrets.key_hash(text)


def test_another_master_key_is_noticed(run: Run, secrets: LicenseSecrets) -> None:
    secrets.key_hash(KEY)
    other = LicenseSecrets(run, bytes(32))
    for use in (
        lambda: other.key_hash(KEY),
        lambda: other.component_hash("lic-1", "mac", "x"),
        lambda: other.signing_key,
        other.public_keys,
    ):
        with pytest.raises(Unavailable, match="not the one"):
            use()


def test_api_keys_and_licences_notice_each_others_master_key(run: Run) -> None:
    """One mark in the database tells both, whichever was there first."""
    ApiKeys(run, MASTER_KEY)
    with pytest.raises(Unavailable, match="not the one"):
        LicenseSecrets(run, bytes(32)).key_hash(KEY)
    assert LicenseSecrets(run, MASTER_KEY).key_hash(KEY)


def test_licences_first_then_api_keys_with_another_master_key(
    run: Run, secrets: LicenseSecrets
) -> None:
    secrets.key_hash(KEY)
    with pytest.raises(Unavailable, match="not the one"):
        ApiKeys(run, bytes(32))


def test_without_a_master_key_the_words_say_how_to_set_one(run: Run) -> None:
    """Only at first use: a ledger without licences needs none."""
    bare = LicenseSecrets(run, None)
    with pytest.raises(Unavailable, match="TOLLBOOK_MASTER_KEY_FILE"):
        bare.key_hash(KEY)
    with pytest.raises(Unavailable, match="TOLLBOOK_MASTER_KEY_FILE"):
        bare.signing_key  # noqa: B018 - to derive it is the point


def test_the_secrets_are_not_each_others(run: Run, secrets: LicenseSecrets) -> None:
    hashes = {
        secrets.key_hash(KEY),
        secrets.component_hash("lic-1", "key", KEY),
        ApiKeys(run, MASTER_KEY).hash(KEY).hex()[:32],
        LicenseSecrets(run, MASTER_KEY, epoch=2).signing_key.id,
        secrets.signing_key.id,
    }
    assert len(hashes) == 5


def test_a_component_hash_is_of_its_licence_name_and_value(secrets: LicenseSecrets) -> None:
    """And where one ends and the next begins makes a difference."""
    parts = [
        ("lic-1", "mac", "02:00"),
        ("lic-2", "mac", "02:00"),
        ("lic-1", "cpu", "02:00"),
        ("lic-1", "mac", "02:01"),
        ("lic-1m", "ac", "02:00"),
        ("lic-1", "mac0", "2:00"),
    ]
    assert len({secrets.component_hash(*part) for part in parts}) == len(parts)
    assert secrets.component_hash(*parts[0]) == secrets.component_hash(*parts[0])


@pytest.mark.parametrize("value", ["", "x" * (COMPONENT_TEXT_MAX + 1), "\ud800"])
def test_a_component_is_text_of_some_length(secrets: LicenseSecrets, value: str) -> None:
    with pytest.raises(Invalid) as refused:
        secrets.component_hash("lic-1", "mac", value)
    assert refused.value.facts["field"] == "hardware"


def test_a_new_epoch_signs_and_the_older_ones_hold(run: Run, secrets: LicenseSecrets) -> None:
    newer = LicenseSecrets(run, MASTER_KEY, epoch=3)
    assert newer.public_keys()[-1] == secrets.signing_key.public_key
    assert newer.public_keys()[0] == newer.signing_key.public_key
    assert len(set(newer.public_keys())) == 3
    for signer in (secrets, newer):
        token = lease.sign(LEASE, signer.signing_key)
        opened = lease.verify(token, newer.trusted_keys, HOLDER, NOW, license="lic-1", model="m")
        assert opened == LEASE


def test_an_epoch_that_leaked_is_left_behind(run: Run, secrets: LicenseSecrets) -> None:
    newer = LicenseSecrets(run, MASTER_KEY, epoch=3, oldest_epoch=2)
    assert secrets.signing_key.public_key not in newer.public_keys()
    token = lease.sign(LEASE, secrets.signing_key)
    with pytest.raises(Tampered) as refused:
        lease.verify(token, newer.trusted_keys, HOLDER, NOW, license="lic-1", model="m")
    assert refused.value.code == "lease_unknown_key"


def test_another_deployments_keys_and_tokens_are_of_no_use(
    database: TestDatabase, secrets: LicenseSecrets
) -> None:
    with (
        fresh_database(database.server) as another,
        closing(PostgresEventStore(another.app_url)) as store,
    ):
        other = LicenseSecrets(store.run, bytes(range(1, 33)))
        assert other.key_hash(KEY) != secrets.key_hash(KEY)
        token = lease.sign(LEASE, other.signing_key)
    with pytest.raises(Tampered) as refused:
        lease.verify(token, secrets.trusted_keys, HOLDER, NOW, license="lic-1", model="m")
    assert refused.value.code == "lease_unknown_key"


@pytest.mark.parametrize(("epoch", "oldest"), [(0, 1), (1, 2), (1, 0), (EPOCH_MAX + 1, 1)])
def test_epochs_that_make_no_sense_are_refused(run: Run, epoch: int, oldest: int) -> None:
    with pytest.raises(Invalid, match="epoch"):
        LicenseSecrets(run, MASTER_KEY, epoch=epoch, oldest_epoch=oldest)
