"""The licence desk: what it keeps, what it must ask, and what it says without a master key."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from tollbook import lease, license_key
from tollbook.errors import Invalid, NotFound, Refused, Unavailable

from adapters.event_store.store import PostgresEventStore
from adapters.license_secrets import LicenseSecrets
from application.answers import Answer
from application.license_desk import LicenseDesk, NotAtHandError, Prepared
from application.tollbook import Tollbook
from application.trying import tried
from domain.commands import parse
from tests.support.databases import MASTER_KEY, TestDatabase
from tests.support.ledger import MODEL, USAGE, a_customer, open_ledger

HOLDER = lease.thumbprint(bytes(range(32)))
UNKNOWN_KEY = "tb_license_aaaqeayeaudaocajbifqydiob4ibceqt_79eddcb8"
VALIDATION: dict[str, Any] = {"id": "v", "license": "lic", "model": MODEL}


class Shop:
    """A ledger, and its desk."""

    def __init__(self, ledger: Tollbook, store: PostgresEventStore) -> None:
        """Take the parts."""
        self.ledger = ledger
        self.store = store
        self.desk = LicenseDesk(LicenseSecrets(store.run, MASTER_KEY))

    def run(self, kind: str, body: dict[str, Any]) -> tuple[Prepared, Answer, dict[str, Any]]:
        """Carry a command out as the edge does."""
        prepared = self.desk.prepare(kind, body, self.store)
        answer = self.ledger.run(kind, prepared.body)
        return prepared, answer, self.desk.complete(prepared, answer, self.store)

    def issue(self, name: str = "lic", **more: Any) -> str:
        """Issue a licence and return its key."""
        body = {"id": name, "customer": "cust-1", "template": "professional", **more}
        return str(self.run("issue_license", body)[2]["license_key"])


@pytest.fixture
def shop(embedded_database: TestDatabase) -> Iterator[Shop]:
    """Open a ledger with one customer."""
    with (
        open_ledger(embedded_database) as ledger,
        closing(PostgresEventStore(embedded_database.app_url)) as store,
    ):
        a_customer(ledger)
        yield Shop(ledger, store)


def test_what_was_asked_once_is_at_hand(shop: Shop) -> None:
    """The second request with the same key, under the same policy, asks the store nothing."""
    key = shop.issue()
    body = {"id": "v-1", "license_key": key, "model": MODEL}
    with pytest.raises(NotAtHandError):
        LicenseDesk(LicenseSecrets(shop.store.run, MASTER_KEY)).prepare("validate_license", body)
    prepared, answer, added = shop.run("validate_license", body)
    assert shop.desk.prepare("validate_license", body) == prepared
    assert shop.desk.complete(prepared, answer) == added
    assert prepared.body["license"] == "lic"


def test_an_answer_has_the_terms_of_the_policy_that_it_was_decided_by(shop: Shop) -> None:
    """Also when it is given again, by a desk that knows only what came after."""
    shop.issue()
    first = shop.run("validate_license", {**VALIDATION, "id": "v-1"})[2]
    upgrade = {"id": "u-1", "license": "lic", "template": "enterprise"}
    shop.run("upgrade_license", upgrade)
    second = shop.run("validate_license", {**VALIDATION, "id": "v-2"})[2]
    assert (first["priority"], second["priority"]) == (5, 1)
    newer = LicenseDesk(LicenseSecrets(shop.store.run, MASTER_KEY))
    for name, added in (("v-2", second), ("v-1", first)):
        prepared = newer.prepare("validate_license", {**VALIDATION, "id": name}, shop.store)
        again = shop.ledger.run("validate_license", prepared.body)
        assert again.repeated
        assert newer.complete(prepared, again, shop.store) == added


def test_a_key_is_only_shown_by_who_made_it(shop: Shop) -> None:
    body = {"id": "lic", "customer": "cust-1", "template": "professional"}
    first, answer, added = shop.run("issue_license", body)
    other = shop.desk.prepare("issue_license", body, shop.store)
    assert other.new_key != first.new_key
    again = shop.ledger.run("issue_license", other.body)
    assert shop.desk.complete(other, again) == {"key_shown": False}
    # An answer that was lost and is found again still shows the key that was made for it.
    assert shop.desk.complete(first, answer) == added
    assert added == {"license_key": first.new_key, "key_shown": True}


def test_a_customer_has_no_licences_but_its_own(shop: Shop) -> None:
    key = shop.issue()
    a_customer(shop.ledger, "cust-2")
    body = {"id": "v-1", "model": MODEL}
    for own, error in (("cust-2", Refused), ("nobody", Refused)):
        with pytest.raises(error, match="no licence here"):
            shop.desk.prepare("validate_license", {**body, "license_key": key}, shop.store, own)
        with pytest.raises(NotFound, match="there is no licence lic"):
            shop.desk.prepare("validate_license", {**body, "license": "lic"}, shop.store, own)
    with pytest.raises(NotFound, match="there is no licence lic"):
        shop.desk.prepare("return_lease", {"license": "lic", "lease": "l"}, shop.store, "cust-2")
    mine = shop.desk.prepare("validate_license", {**body, "license_key": key}, shop.store, "cust-1")
    assert mine.body["license"] == "lic"


def test_a_dry_run_leaves_the_ledger_as_it_is(shop: Shop) -> None:
    limit = {"id": "all", "unit": "requests", "limit": 1, "per": "total"}
    shop.issue(overrides={"limits": [limit]})
    head = shop.store.head().position
    command = parse("validate_license", VALIDATION)
    for _ in range(2):
        assert tried(shop.store, command, shop.ledger.now()).done
    assert shop.store.head().position == head
    shop.run("validate_license", {**VALIDATION, "id": "v-1"})
    refused = tried(shop.store, command, shop.ledger.now())
    assert refused.code == "license_limit_reached"
    assert shop.store.head().position == head + 1


def test_without_a_master_key_only_what_is_secret_is_unavailable(shop: Shop) -> None:
    key = shop.issue(deployment="hybrid")
    bare = LicenseDesk(LicenseSecrets(shop.store.run, None))
    reserve = {"id": "r", "customer": "cust-1", "model": MODEL, "estimate": USAGE}
    secret: list[tuple[str, dict[str, Any]]] = [
        ("issue_license", {"id": "l2", "customer": "cust-1", "template": "free"}),
        ("rotate_license_key", {"id": "rot", "license": "lic"}),
        ("lease_seat", {"id": "s", "license": "lic", "model": MODEL, "holder": HOLDER}),
        ("validate_license", {**VALIDATION, "license_key": key}),
        ("validate_license", {**VALIDATION, "nonce": "0123456789abcdef"}),
        ("validate_license", {**VALIDATION, "facts": {"hardware": {"mac": "x"}}}),
        ("reserve", {**reserve, "license_key": key}),
        ("activate_license", {"id": "d", "license": "lic", "components": {"mac": "x"}}),
    ]
    for kind, body in secret:
        with pytest.raises(Unavailable, match="TOLLBOOK_MASTER_KEY_FILE"):
            bare.prepare(kind, body, shop.store)
    facts = {"channel": "on_premise", "region": "eu-1"}
    prepared = bare.prepare("validate_license", {**VALIDATION, "facts": facts})
    answer = shop.ledger.run("validate_license", prepared.body)
    assert bare.complete(prepared, answer, shop.store)["pool"] == "shared"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"license_key": UNKNOWN_KEY[:-1]}, "license_key"),
        ({"license_key": {"x": 1}}, "license_key"),
        ({"license": "lic", "nonce": "short"}, "nonce"),
        ({"license": "no id", "facts": {"hardware": {"mac": "x"}}}, "facts.hardware"),
        ({"license": "lic", "facts": {"hardware": {"mac": "\ud800"}}}, "hardware"),
    ],
)
def test_a_mistake_is_named_before_anything_is_looked_up(
    shop: Shop, body: dict[str, Any], field: str
) -> None:
    shop.desk.public_keys()
    with pytest.raises(Invalid) as caught:
        shop.desk.prepare("validate_license", body, shop.store)
    assert caught.value.facts["field"] == field
    assert UNKNOWN_KEY[:-1] not in str(caught.value)


def test_a_key_of_nobody_is_no_key(shop: Shop) -> None:
    license_key.check(UNKNOWN_KEY)
    with pytest.raises(Refused) as caught:
        shop.desk.prepare("validate_license", {"license_key": UNKNOWN_KEY}, shop.store)
    assert caught.value.code == "license_key_invalid"
