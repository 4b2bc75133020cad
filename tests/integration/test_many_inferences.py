"""A reservation for several inferences in the ledger: parts that count, and an audit of them."""

from typing import Any

import pytest
from tollbook.times import format_instant

from tests.integration.audit_fixtures import audited, rewrite, whats
from tests.integration.guarded_ledger import HOUR, MODEL, NOON, SECOND, Command, Guarded, guarded
from tests.support.databases import TestDatabase

DAILY: dict[str, Any] = {"id": "daily", "unit": "requests", "limit": 10, "calendar": "day"}
ONE = {"output_tokens": 0, "requests": 1}
KEY = {"key_hash": "a" * 32, "key_hint": "abcd"}
LIMITS = [{"id": "day", "unit": "requests", "limit": 10, "per": "day"}]


def part(name: str, **fields: Any) -> Command:
    """Return a part that names no requests."""
    return "settle", {"id": name, "reservation": "many", "usage": {}, "final": False, **fields}


def record(name: str, at: int, **fields: Any) -> Command:
    """Return a usage record in part."""
    body = {"source": "gateway", "customer": "acme", "model": MODEL, "reservation": "many"}
    when = {"occurred_at": format_instant(at), "usage": {"requests": 1}, "final": False}
    return "usage", {"id": name, **body, **when, **fields}


def hold(acme: Guarded, inferences: int, **fields: Any) -> dict[str, Any]:
    """Reserve for several, and return the answer."""
    body = {"id": "many", "customer": "acme", "model": MODEL, "inferences": inferences}
    (answer,) = acme.send(NOON, ("reserve", {**body, "estimate": ONE, **fields}))
    return answer.result()


def test_a_burst_of_parts_blocks_the_account(embedded_database: TestDatabase) -> None:
    with guarded(embedded_database) as acme:
        acme.use(NOON - HOUR - 6 * 60 * SECOND, 1).result()
        hold(acme, 2_000)
        for answer in acme.send(NOON, *(part(f"p{number}") for number in range(1_000))):
            answer.result()
        assert acme.balance().block is None
        acme.send(NOON, part("p1000"))[0].result()
        assert acme.balance().block is not None
        assert acme.reserve(NOON).code == "account_blocked"
        acme.send(NOON, part("p1001"))[0].result()  # what was admitted before is charged as ever
    assert audited(embedded_database).differences == ()


def spent(embedded_database: TestDatabase) -> dict[str, int]:
    """Spend from a reservation of several under a licence and a cap; return where things stand."""
    with guarded(embedded_database) as acme:
        acme.one(NOON, "set_caps", caps=[DAILY]).result()
        own = {"template": "professional", "overrides": {"limits": LIMITS}, **KEY}
        acme.send(NOON, ("issue_license", {"id": "lic", "customer": "acme", **own}))[0].result()
        assert hold(acme, 4, license="lic")["remaining"][0]["remaining"] == 6
        under = {"license": "lic", "model": MODEL, "inferences": 7, "estimate": ONE}
        refused = acme.one(NOON, "reserve", **under)
        no = refused.problem()
        assert no is not None
        assert (no.code, no.facts["requested"]) == ("license_limit_reached", 7)
        told, again = acme.send(NOON, record("u", NOON), record("u", NOON))
        assert again.repeated
        assert again.result() == told.result()
        longer = {"id": "longer", "reservation": "many", "ttl_seconds": 900}
        (extended,) = acme.send(NOON, ("extend", longer))
        assert (extended.code, extended.recorded) == ("invalid", None)
        parked = acme.send(NOON, record("late", NOON + 60 * SECOND))[0].result()
        assert parked["why"]["code"] == "occurred_at_out_of_range"
    with guarded(embedded_database) as acme:  # from here on with what the log says alone
        again_now = {"id": "again", "parked": parked["parked"]}
        acme.send(NOON + 60 * SECOND, ("release_usage", again_now))[0].result()
        (cap,) = acme.ledger.caps("acme")
        assert (cap["used"], cap["held"]) == (2, 2)
        back = {"id": "back", "reservation": "many"}
        (released,) = acme.send(NOON + 61 * SECOND, ("release", back))
        assert released.result()["released"]["amount"] == "0.000002000000"
        (cap,) = acme.ledger.caps("acme")
        assert (cap["used"], cap["held"]) == (2, 0)
    found: list[Any] = embedded_database.query(
        "SELECT position, data FROM events ORDER BY position"
    )
    marks = {"held": '"inferences":4', "told": '"inference":true', "refused": '"inferences":7'}
    return {
        which: next(position for position, data in found if mark in data)
        for which, mark in marks.items()
    }


def test_parts_are_records_once_and_the_audit_is_clean(embedded_database: TestDatabase) -> None:
    spent(embedded_database)
    assert audited(embedded_database).differences == ()


@pytest.mark.parametrize(
    ("which", "old", "new", "what"),
    [
        ("held", '"inferences":4,', '"inferences":5,', "reservation_held.held"),
        ("held", '"inferences":4,', "", "reservation_held.held"),
        ("told", '"inference":true,', "", "reservation_settled.inference"),
        ("told", '"final":false', '"final":true', "reservation_settled.inference"),
        ("refused", '"inferences":7', '"inferences":8', "command_refused.facts"),
        ("refused", '"inferences":7,', "", "command_refused.code"),
    ],
)
def test_another_number_or_a_part_without_its_mark_is_found(
    embedded_database: TestDatabase, which: str, old: str, new: str, what: str
) -> None:
    position = spent(embedded_database)[which]
    rewrite(embedded_database, position, old, new, with_leaf=True)
    assert (position, what) in whats(audited(embedded_database))


def test_a_record_that_was_told_otherwise_before_is_released_only_where_one_is_charged(
    embedded_database: TestDatabase,
) -> None:
    """A reservation for several stays open, and so nothing else would keep both from it."""
    aside = "u~0123456789abcdef"
    kept: dict[str, Any] = {"reason": "id_reused", "usage": {"requests": 5}}
    with guarded(embedded_database) as acme:
        hold(acme, 4)
        one = {"customer": "acme", "model": MODEL, "estimate": ONE}
        acme.send(NOON, ("reserve", {"id": "one", **one}))[0].result()
        acme.send(NOON, record("u", NOON))[0].result()
        ways: dict[str, dict[str, Any]] = {
            "several": {},
            "in part": {"reservation": "one"},
            "direct": {"reservation": None, "final": None},
        }
        for way, more in ways.items():
            fields = {"source": way, **kept, **more}
            _, body = record(aside, NOON, **fields)
            body = {name: value for name, value in body.items() if value is not None}
            parked = acme.send(NOON, ("park_usage", body))[0].result()["parked"]
            again = acme.send(NOON, ("release_usage", {"id": f"r-{way[0]}", "parked": parked}))
            problem = again[0].problem()
            assert problem is not None, way
            assert (problem.code, problem.facts) == (
                "told_before",
                {"parked": parked, "record": aside},
            )
        spent = acme.balance().spent
        _, body = record(aside, NOON, source="whole", reservation="one", **kept)
        del body["final"]
        parked = acme.send(NOON, ("park_usage", body))[0].result()["parked"]
        acme.send(NOON, ("release_usage", {"id": "whole", "parked": parked}))[0].result()
        assert acme.balance().spent > spent
    assert audited(embedded_database).differences == ()
    ((position,),) = embedded_database.query(
        "SELECT max(position) FROM events WHERE name = 'command_refused'"
    )
    assert isinstance(position, int)
    rewrite(embedded_database, position, "told_before", "plan_forbids", with_leaf=True)
    assert (position, "command_refused.code") in whats(audited(embedded_database))
