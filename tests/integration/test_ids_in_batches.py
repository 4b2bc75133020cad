"""Ids in a batch on something that the batch itself creates, by a process that remembers nothing.

Whose id it is, is known only once the batch is being decided.
"""

import pytest

from tests.integration.guarded_ledger import NOON, Command, Guarded, guarded
from tests.support.databases import TestDatabase

FIRST = {"template": "professional", "key_hash": "a" * 32, "key_hint": "abcd", "customer": "acme"}
SECOND = {**FIRST, "id": "second", "key_hash": "b" * 32}

USES: tuple[Command, ...] = (
    ("validate_license", {"model": "any"}),
    ("suspend_license", {"reason": "?"}),
    ("lease_seat", {"model": "any", "holder": "ab" * 32, "facts": {"channel": "api"}}),
)


@pytest.mark.parametrize(("kind", "body"), USES)
def test_an_id_that_was_used_under_another_licence_is_told_and_nothing_hangs(
    embedded_database: TestDatabase, kind: str, body: dict[str, object]
) -> None:
    with guarded(embedded_database) as acme:
        acme.one(NOON, "issue_license", id="first", **FIRST).result()
        acme.one(NOON, kind, id="again", license="first", **body).result()
    with guarded(embedded_database) as acme:
        issued, used, other = acme.send(
            NOON,
            ("issue_license", SECOND),
            (kind, {"id": "again", "license": "second", **body}),
            acme.usage(1, NOON),
        )
        assert (issued.code, used.code, other.code) == ("done", "id_reused", "done")


def test_an_id_that_settled_another_reservation_is_told_and_nothing_hangs(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        _reserve_and_settle(acme, "r-1", "done")
    with guarded(embedded_database) as acme:
        _reserve_and_settle(acme, "r-2", "id_reused")


def _reserve_and_settle(acme: Guarded, name: str, outcome: str) -> None:
    terms = {"customer": "acme", "model": "gpt4-equivalent", "estimate": {"requests": 1}}
    held, settled = acme.send(
        NOON,
        ("reserve", {"id": name, **terms}),
        ("settle", {"id": "again", "reservation": name, "usage": {"requests": 1}}),
    )
    assert (held.code, settled.code) == ("done", outcome)
