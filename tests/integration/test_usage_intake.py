"""Usage intake on a real ledger: accepted, duplicate, parked, refused, and released once."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tollbook.errors import Invalid, NotFound
from tollbook.times import format_instant

from application.answers import Answer
from application.tollbook import Tollbook
from application.usage_intake import usage_command, usage_result
from tests.support.databases import TestDatabase
from tests.support.ledger import (
    MODEL,
    PRICE_OF_USAGE,
    USAGE,
    a_customer,
    create_customer,
    open_ledger,
    release_usage,
    reserve,
)

WHEN = "2024-02-29T23:59:59.999999Z"


@pytest.fixture
def ledger(embedded_database: TestDatabase) -> Iterator[Tollbook]:
    """Open a ledger with a customer who has money, and a reservation."""
    with open_ledger(embedded_database) as opened:
        a_customer(opened)
        reserve(opened, "r-1").result()
        yield opened


def send(ledger: Tollbook, subject: str, **changes: Any) -> dict[str, Any]:
    """Send an event about a subject and return what became of it."""
    data: dict[str, Any] = {"customer": "cust-1", "model": MODEL, "usage": USAGE}
    data |= {"occurred_at": format_instant(ledger.now()), **changes.pop("data", {})}
    event = {"specversion": "1.0", "type": "tollbook.usage.v1", "source": "//m", "id": "1"}
    command = usage_command({**event, "subject": subject, **changes, "data": data})
    return usage_result(ledger.executor.one(command), command.source)


def test_a_record_of_a_reservation_is_accepted_once_and_a_duplicate_for_ever(
    ledger: Tollbook, embedded_database: TestDatabase
) -> None:
    data = {"occurred_at": format_instant(ledger.now()), "request_hash": "0a" * 32}
    first = send(ledger, "r-1", data=data)
    assert (first["status"], first["source"], first["id"]) == ("accepted", "//m", "1")
    assert first["charged"] == {"amount": PRICE_OF_USAGE, "currency": "USD"}
    assert first["price_version"] == 1
    assert ledger.reservation("r-1").status == "settled"
    duplicate = {**first, "status": "duplicate"}
    assert send(ledger, "r-1", data=data) == duplicate
    with open_ledger(embedded_database) as another:
        assert send(another, "r-1", data=data) == duplicate, "after a restart as well"
    other = send(ledger, "r-1", data={**data, "request_hash": "f9" * 32})
    assert other["status"] == "refused"
    assert other["problem"]["code"] == "id_reused"
    assert other["problem"]["field"] == "request_hash"
    assert (other["source"], other["id"]) == ("//m", "1")


def test_the_same_id_from_another_source_is_another_record(ledger: Tollbook) -> None:
    assert send(ledger, "cust-1")["status"] == "accepted"
    assert send(ledger, "cust-1", source="//n")["status"] == "accepted"
    assert ledger.balance("cust-1").spent == 2 * 25 * 10**9


def test_a_record_that_names_nobody_is_parked_and_charged_when_there_is_somebody(
    ledger: Tollbook,
) -> None:
    data = {"customer": "late", "occurred_at": WHEN}
    parked = send(ledger, "late", data=data)
    assert (parked["status"], parked["why"]["code"]) == ("parked", "unknown_customer")
    assert send(ledger, "late", data=data) == parked
    refused = release_usage(ledger, parked["parked"], "v-1")
    assert (refused.code, refused.recorded) == ("unknown_customer", None)
    create_customer(ledger, "late").result()
    released = release_usage(ledger, parked["parked"], "v-1").result()
    assert released["receivable"] == {"amount": PRICE_OF_USAGE, "currency": "USD"}
    again = send(ledger, "late", data=data)
    assert again["status"] == "duplicate"
    assert again["charged"] == released["charged"]
    assert ledger.outcome("usage", "//m", "1").result() == {**released, "id": "1"}
    assert ledger.balance("late").receivable == 25 * 10**9


def test_usage_from_the_future_is_parked_until_its_time_has_come(ledger: Tollbook) -> None:
    soon = format_instant(ledger.now() + 3600 * 10**6)
    parked = send(ledger, "cust-1", data={"occurred_at": soon})
    assert parked["why"]["code"] == "occurred_at_out_of_range"
    assert release_usage(ledger, parked["parked"]).code == "occurred_at_out_of_range"


def test_a_parked_record_is_released_once_under_any_number_of_races(
    ledger: Tollbook, embedded_database: TestDatabase
) -> None:
    """Two processes, eight threads, every release with an id of its own; and it is sent again."""
    records = 12
    names = [send(ledger, "r-x", id=f"u-{n}")["parked"] for n in range(records)]
    data = {"occurred_at": format_instant(ledger.now())}
    reserve(ledger, "r-x").result()
    ledger.run("change_customer", {"id": "c", "customer": "cust-1", "plan": "reserved_only"})
    direct = [send(ledger, "cust-1", id=f"d-{n}", data=data)["parked"] for n in range(records)]
    ledger.run("change_customer", {"id": "d", "customer": "cust-1", "plan": "standard"})
    answers: list[Answer] = []
    start = threading.Barrier(8)

    def work(writer: Tollbook, number: int) -> None:
        start.wait()
        for name in [*direct, *names]:
            answers.append(release_usage(writer, name, f"v-{number}-{name}"))

    with open_ledger(embedded_database) as other:
        writers = [ledger, other] * 4
        threads = [
            threading.Thread(target=work, args=(writer, number))
            for number, writer in enumerate(writers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    done = [answer for answer in answers if answer.done]
    assert len(answers) == 8 * 2 * records
    assert len(done) == records + 1, "each direct record, and one record of the one reservation"
    assert {answer.code for answer in answers} <= {"done", "already_released", "already_settled"}
    charged = embedded_database.query(
        "SELECT data::json ->> 'record', count(*) FROM events "
        "WHERE name IN ('usage_charged', 'reservation_settled') GROUP BY 1"
    )
    assert all(count == 1 for _, count in charged)
    assert ledger.balance("cust-1").spent == len(done) * 25 * 10**9


def test_a_malformed_record_leaves_its_key_free(ledger: Tollbook) -> None:
    with pytest.raises(Invalid):
        send(ledger, "cust-1", data={"usage": {"input_tokens": -1}})
    assert send(ledger, "cust-1")["status"] == "accepted"


def test_a_batch_is_answered_record_by_record(ledger: Tollbook) -> None:
    when = format_instant(ledger.now())
    data = {"customer": "cust-1", "model": MODEL, "usage": USAGE, "occurred_at": when}
    event = {"specversion": "1.0", "type": "tollbook.usage.v1", "source": "//m", "data": data}
    events = [
        {**event, "id": "a", "subject": "r-1"},
        {**event, "id": "b", "subject": "cust-1"},
        {**event, "id": "a", "subject": "r-1"},
        {**event, "id": "c", "subject": "r-unknown"},
        {**event, "id": "b", "subject": "r-1"},
    ]
    commands = [usage_command(each) for each in events]
    results = [usage_result(answer, "//m") for answer in ledger.executor.execute(commands)]
    statuses = ["accepted", "accepted", "duplicate", "parked", "refused"]
    assert [result["status"] for result in results] == statuses
    assert [result["id"] for result in results] == ["a", "b", "a", "c", "b"]


def test_a_quote_is_what_a_reservation_would_hold_and_records_nothing(ledger: Tollbook) -> None:
    before = ledger.store.head()
    quoted = ledger.quote({"customer": "cust-1", "model": MODEL, "usage": USAGE})
    assert quoted["price"] == {"amount": PRICE_OF_USAGE, "currency": "USD"}
    assert (quoted["would_admit"], quoted["why"], quoted["price_version"]) == (True, None, 1)
    assert ledger.store.head() == before
    assert reserve(ledger, "r-2").result()["held"] == quoted["required"]


def test_a_quote_for_nobody_is_not_found(ledger: Tollbook) -> None:
    with pytest.raises(NotFound):
        ledger.quote({"customer": "nobody", "model": MODEL, "usage": USAGE})
