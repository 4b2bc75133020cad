"""One event with a line for each of several inferences: stored, audited, listed, line by line."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from tollbook.times import format_instant

from adapters.event_store.store import PostgresEventStore
from domain.inferences import apart
from projections import charges, commands, journal, usage
from tests.integration.audit_fixtures import audited, rewrite, whats
from tests.integration.guarded_ledger import MODEL, NOON, SECOND, Command, Guarded, guarded
from tests.support.databases import TestDatabase
from tests.support.views import project

PARTS = 5


def record(number: int, **fields: Any) -> Command:
    """Return a usage record of one inference of the reservation `many`."""
    body = {"source": "gateway", "customer": "acme", "model": MODEL, "reservation": "many"}
    when = {"occurred_at": format_instant(NOON + number), "final": False}
    return "usage", {"id": f"u{number}", **body, **when, "usage": {"requests": number}, **fields}


def spent(acme: Guarded) -> int:
    """Settle several inferences at once; return the position of the event that tells them."""
    body = {"id": "many", "customer": "acme", "model": MODEL, "inferences": 2 * PARTS}
    acme.send(NOON, ("reserve", {**body, "estimate": {"requests": 2}}))[0].result()
    hashes = {"request_hash": "0a" * 32, "response_hash": "f9" * 32}
    answers = acme.send(NOON + SECOND, *(record(number, **hashes) for number in range(PARTS)))
    (position,) = {answer.result()["position"] for answer in answers}
    return int(position)


@pytest.fixture
def ledger(embedded_database: TestDatabase) -> Iterator[Guarded]:
    """Open a ledger with five inferences in one event."""
    with guarded(embedded_database) as acme:
        spent(acme)
        yield acme


def test_the_audit_is_clean_and_every_line_answers_its_command(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        position = spent(acme)
    with guarded(embedded_database) as acme:  # from here on with what the log says alone
        for number in range(PARTS):
            answer = acme.ledger.outcome("usage", "gateway", f"u{number}")
            assert answer.result()["charged"]["amount"] == f"0.00000{number}000000"
            assert answer.result()["position"] == position
        (again, other) = acme.send(NOON + 2 * SECOND, record(3), record(3, usage={}))
        assert (again.code, other.code) == ("id_reused", "id_reused"), "its hashes were others"
        later = acme.send(NOON + 2 * SECOND, *(record(number) for number in range(5, 9)))
        assert {each.result()["position"] for each in later} == {position + 1}
    assert audited(embedded_database).differences == ()


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('"charged":"0.000002000000"', '"charged":"0.000001000000"', "[3].charged"),
        ('"charged":"0.000002000000"', '"charged":"0.000002000001"', "[3].charged"),
        ('"requests":3', '"requests":4', "[4].charged"),
        ('"volume":0', '"volume":1', "[1].volume"),
        ('"grants":[["grant-acme","0.000002000000"]],', "", "[3].grants"),
        ('"charged":"0.000002000000",', '"charged":"0.000002000000","credit":"0.000000000000",',
         "[3].credit"),
        ('"charged":"0.000002000000",', '"charged":"0.000002000000","receivable":"0.000001000000",',
         "data"),
        ('"period":"2026-03"', '"period":"2026-04"', "[1].period"),
        ('"price_version":1', '"price_version":2', "[1].price_version"),
        ('"model":"gpt4', '"model":"gpt5', "[1].model"),
        ('"source":"gateway"', '"source":"gatewax"', "command_ids"),
        ('"id":"u2"', '"id":"u7"', "command_ids"),
        ('"id":"u2"', '"id":"u1"', "command_ids"),
        ('"id":"u2"', '"id":"u1"', "inferences_settled.lines"),
        ('"id":"u0"', '"id":"u7"', "inferences_settled.lines"),
        ('000001Z","request_hash"', '000001Y","request_hash"', "data"),
    ],
)  # fmt: skip
def test_a_line_that_was_changed_is_found(
    embedded_database: TestDatabase, old: str, new: str, what: str
) -> None:
    with guarded(embedded_database) as acme:
        position = spent(acme)
    rewrite(embedded_database, position, old, new, with_leaf=True)
    found = {name for at, name in whats(audited(embedded_database)) if at == position}
    assert any(name.endswith(what) for name in found), found


def test_a_line_that_was_taken_out_or_told_twice_is_found(embedded_database: TestDatabase) -> None:
    with guarded(embedded_database) as acme:
        position = spent(acme)
    ((data,),) = embedded_database.query(f"SELECT data FROM events WHERE position = {position}")
    first, *_, last = str(data).split('},{"charged"')
    line = '{"charged"' + last.partition("}]")[0] + "},"
    assert first.startswith('{"customer"')
    rewrite(embedded_database, position, "," + line[:-1], "", with_leaf=True)
    assert not audited(embedded_database).ok
    rewrite(embedded_database, position, "}],", "}," + line + line[:-1] + "],", with_leaf=True)
    assert not audited(embedded_database).ok


def test_a_line_that_is_told_twice_is_found_though_a_stray_id_makes_up_for_it(
    embedded_database: TestDatabase,
) -> None:
    with guarded(embedded_database) as acme:
        position = spent(acme)
    ((data,),) = embedded_database.query(f"SELECT data FROM events WHERE position = {position}")
    last = '{"charged"' + str(data).rpartition('},{"charged"')[2].partition("}]")[0] + "}"
    rewrite(embedded_database, position, last, f"{last},{last}", with_leaf=True)
    _plant(embedded_database, position, "settle", "acme", "u1")
    embedded_database.query("DELETE FROM snapshots RETURNING 1")
    found = whats(audited(embedded_database))
    assert {(position, "command_ids"), (position, "inferences_settled.lines")} <= found


@pytest.mark.parametrize("data", ["no json", "{}", '{"lines":5}', '{"lines":null}'])
def test_an_event_that_nobody_can_read_hides_no_other_finding(
    embedded_database: TestDatabase, data: str
) -> None:
    with guarded(embedded_database) as acme:
        position = spent(acme)
    ((old,),) = embedded_database.query(f"SELECT data FROM events WHERE position = {position}")
    rewrite(embedded_database, position, str(old), data)
    found = whats(audited(embedded_database))
    assert {(position, "leaf"), (position, "data"), (position, "event")} <= found
    assert (position, "command_ids") not in found
    _plant(embedded_database, position - 1, "usage", "gateway", "nobody")
    assert (position - 1, "command_ids") in whats(audited(embedded_database))


def _plant(database: TestDatabase, position: int, *key: str) -> None:
    with psycopg.connect(database.super_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO command_ids (position, kind, scope, id) VALUES (%s, %s, %s, %s)",
            (position, *key),
        )


def test_an_id_that_no_line_has_is_a_stray(embedded_database: TestDatabase) -> None:
    with guarded(embedded_database) as acme:
        position = spent(acme)
    _plant(embedded_database, position, "usage", "gateway", "nobody")
    (difference,) = audited(embedded_database).differences
    assert (difference.position, difference.what) == (position, "command_ids")
    assert "nobody" in difference.found


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("customer", [None, "acme"])
@pytest.mark.parametrize("limit", [1, 2, 3, PARTS, 100])
def test_lists_go_on_in_the_middle_of_an_event(
    embedded_database: TestDatabase,
    ledger: Guarded,
    newest_first: bool,
    customer: str | None,
    limit: int,
) -> None:
    head = ledger.ledger.store.head().position
    project(embedded_database, head)
    with closing(PostgresEventStore(embedded_database.app_url)) as store:
        for page in (charges.page, commands.page):
            items: list[dict[str, Any]] = []
            after: str | None = None
            while True:
                found = page(
                    store.run,
                    customer=customer,
                    newest_first=newest_first,
                    after=after,
                    limit=limit,
                )
                assert len(found.items) <= limit
                items += found.items
                after = found.next
                if after is None:
                    break
            ids = [each["id"] for each in items if each["id"].startswith("u")]
            ordered = [f"u{number}" for number in range(PARTS)]
            assert ids == (ordered[::-1] if newest_first else ordered)
            behind = page(store.run, customer=customer, newest_first=newest_first, after=str(head))
            seen = [each["position"] for each in behind.items]
            assert all(each < head for each in seen) if newest_first else not seen


def test_each_view_adds_up_all_lines(embedded_database: TestDatabase, ledger: Guarded) -> None:
    store = ledger.ledger.store
    head = store.head().position
    project(embedded_database, head)
    paid = sum(range(PARTS))
    amount = f"0.0000{paid}000000"
    with closing(PostgresEventStore(embedded_database.app_url)) as views:
        (day,) = usage.page(views.run).items
        assert (day["charges"], day["charged"]["amount"]) == (PARTS, amount)
        assert day["usage"] == {"requests": paid}
        entry = journal.page(views.run, newest_first=True).items[0]
        found = {each["account"]: each["amount"]["amount"] for each in entry["postings"]}
        assert found[f"revenue:usage:{MODEL}"] == f"-{amount}"
        shown = commands.one(views.run, "usage", "gateway", "u3")
        assert shown is not None
        (line,) = shown["data"]["lines"]
        assert (line["id"], line["charged"]) == ("u3", "0.000003000000")
        every = charges.page(views.run).items
    assert [(each["position"], each["line"]) for each in every] == [
        (head, line) for line in range(1, PARTS + 1)
    ]
    told = apart(store.at([head])[head])
    assert [each["occurred_at"] for each in every] == [
        format_instant(each.occurred_at) for each in told
    ]
    assert {each["request_hash"] for each in every} == {"0a" * 32}


def test_a_command_has_the_time_of_its_own_line(ledger: Guarded) -> None:
    run = ledger.ledger.store.run  # type: ignore[attr-defined]
    listed = commands.page(run, kind="usage").items
    assert [each["occurred_at"] for each in listed] == [
        format_instant(NOON + number) for number in range(PARTS)
    ]
