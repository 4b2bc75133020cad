"""What the model found once, as examples: ids in one job, groups, and writers that lag behind."""

from collections.abc import Iterator
from typing import Any

import pytest

from adapters.clock import TraceClock
from application.answers import Answer
from application.executor import Executor
from application.jobs import Item
from domain.commands import parse
from tests.model.wire import instant
from tests.support.memory_store import MemoryEventStore

NOON = instant("2026-03-10T12:00:00Z")
WHEN = "2026-03-10T12:00:00Z"
PRICES = [{"name": "m", "prices": {"requests": "1"}}]

Command = tuple[str, dict[str, Any]]


class Ledger:
    """A ledger in memory with any number of writers, and the price of 1 USD per request."""

    def __init__(self) -> None:
        """Open it with one writer and two customers, `rich` and `poor`."""
        self._store = MemoryEventStore()
        self._writers: list[Executor] = []
        self.first = self.writer()
        self.run(prices("2026-01-01T00:00:00.000000Z"), customer("rich"), customer("poor"))
        self.run(grant("g-rich", "rich"))

    def writer(self) -> Executor:
        """Return a writer that knows nothing yet."""
        self._writers.append(Executor(self._store, TraceClock(NOON)))
        return self._writers[-1]

    def close(self) -> None:
        """Stop every writer."""
        for writer in self._writers:
            writer.close()

    def run(
        self, *commands: Command, by: Executor | None = None, atomic: bool = False
    ) -> list[Answer]:
        """Send commands in one job."""
        items = [Item(parse(kind, body), at=NOON) for kind, body in commands]
        return (by or self.first).execute(items, atomic=atomic)

    def codes(
        self, *commands: Command, by: Executor | None = None, atomic: bool = False
    ) -> list[str]:
        """Send commands in one job and return the codes of their answers."""
        return [answer.code for answer in self.run(*commands, by=by, atomic=atomic)]


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    """Open a ledger for the length of a test."""
    opened = Ledger()
    yield opened
    opened.close()


def prices(effective_from: str, *models: dict[str, Any]) -> Command:
    """Return the publication of a version, with the usual models unless others are given."""
    book = {"id": "default", "currency": "USD", "effective_from": effective_from}
    body = {**book, "models": list(models) or PRICES}
    return "publish_prices", {"id": f"default:{effective_from}", "book": body}


def customer(name: str, **terms: Any) -> Command:
    """Return the creation of a customer."""
    return "create_customer", {"id": name, "name_sealed": "", "currency": "USD", **terms}


def grant(name: str, owner: str, **fields: Any) -> Command:
    """Return a grant of 10 USD."""
    body = {"id": name, "customer": owner, "amount": "10", "kind": "paid", **fields}
    return "issue_grant", body


def reserve(name: str, owner: str, requests: int = 1) -> Command:
    """Return the reservation of so many requests."""
    estimate = {"requests": requests}
    return "reserve", {"id": name, "customer": owner, "model": "m", "estimate": estimate}


def test_two_customers_want_the_same_grant_id_in_one_job(ledger: Ledger) -> None:
    """Nobody else in the job suffers."""
    codes = ledger.codes(grant("g", "rich"), reserve("r", "rich"), grant("g", "poor"))
    assert codes == ["done", "done", "already_exists"]


def test_a_reservation_cannot_take_the_id_of_a_customer_created_in_the_same_job(
    ledger: Ledger,
) -> None:
    assert ledger.codes(customer("new"), reserve("new", "rich")) == ["done", "already_exists"]


def test_a_customer_cannot_take_the_id_of_a_reservation_made_in_the_same_job(
    ledger: Ledger,
) -> None:
    assert ledger.codes(reserve("new", "rich"), customer("new")) == ["done", "already_exists"]


def test_a_writer_knows_what_another_has_created(ledger: Ledger) -> None:
    """An answer without an event is checked against the head like any other."""
    lagging = ledger.writer()
    ledger.run(customer("new", credit_limit="5"), reserve("r", "new"))
    settle = {"id": "s", "reservation": "r", "usage": {"requests": 1}}
    assert ledger.codes(("settle", settle), by=lagging) == ["done"]
    late = ledger.writer()
    ledger.run(customer("newer", credit_limit="5"))
    assert ledger.codes(("change_customer", {"id": "c", "customer": "newer"}), by=late) == ["done"]


def test_a_writer_knows_the_prices_that_another_has_published(ledger: Ledger) -> None:
    lagging = ledger.writer()
    assert ledger.codes(reserve("r", "rich"), by=lagging) == ["done"]
    ledger.run(prices("2026-03-12T00:00:00.000000Z"))
    other = {"name": "m", "prices": {"requests": "7"}}
    sooner = prices("2026-03-11T00:00:00.000000Z", other)
    assert ledger.codes(sooner, by=lagging) == ["invalid"], "a version in between only adds"


def test_an_answer_repeated_by_another_writer_is_the_same_to_the_last_letter(
    ledger: Ledger,
) -> None:
    lagging = ledger.writer()
    ledger.run(customer("new"))
    (first,) = ledger.run(grant("g-new", "new"))
    (again,) = ledger.run(grant("g-new", "new"), by=lagging)
    assert again.result() == first.result()
    assert again.result()["amount"] == {"amount": "10.000000000000", "currency": "USD"}


def test_a_refusal_in_a_group_that_would_have_created_its_customer_is_nobodys(
    ledger: Ledger,
) -> None:
    group = (customer("new"), reserve("r", "new"))
    aborted, refused = ledger.run(*group, atomic=True)
    assert (aborted.code, refused.code) == ("aborted", "insufficient_balance")
    assert refused.recorded is None
    ledger.run(customer("new", credit_limit="5"))
    assert ledger.codes(reserve("r", "new")) == ["done"], "the id was free"


def record(name: str, owner: str, **fields: Any) -> Command:
    """Return a usage record of one request."""
    body = {"id": name, "source": "//gateway", "customer": owner, "model": "m"}
    return "usage", {**body, "usage": {"requests": 1}, "occurred_at": WHEN, **fields}


def release_usage(name: str, parked: str) -> Command:
    """Return the release of a parked usage record."""
    return "release_usage", {"id": name, "parked": parked}


def test_direct_usage_is_not_the_same_as_usage_of_a_reservation(ledger: Ledger) -> None:
    ledger.run(reserve("r", "rich"))
    assert ledger.codes(record("u", "rich", reservation="r")) == ["done"]
    (answer,) = ledger.run(record("u", "rich"))
    problem = answer.problem()
    assert problem is not None
    assert (problem.code, problem.facts["field"]) == ("id_reused", "reservation")


def test_a_writer_knows_what_another_has_parked_and_released(ledger: Ledger) -> None:
    lagging = ledger.writer()
    (parked,) = ledger.run(record("u", "new"))
    (again,) = ledger.run(record("u", "new"), by=lagging)
    assert again.result() == parked.result()
    ledger.run(customer("new"))
    name = parked.result()["parked"]
    assert ledger.codes(release_usage("v1", name), by=lagging) == ["done"]
    assert ledger.codes(release_usage("v2", name)) == ["already_released"]
    (late,) = ledger.run(record("u", "new"))
    assert late.repeated
    assert late.result()["charged"] == {"amount": "1.000000000000", "currency": "USD"}


def test_a_writer_that_has_a_parked_record_in_memory_learns_of_its_release(ledger: Ledger) -> None:
    lagging = ledger.writer()
    (parked,) = ledger.run(record("u", "new"), by=lagging)
    name = parked.result()["parked"]
    assert ledger.codes(customer("new"), release_usage("v1", name)) == ["done", "done"]
    (late,) = ledger.run(record("u", "new"), by=lagging)
    assert "charged" in late.result()
    assert ledger.codes(release_usage("v2", name), by=lagging) == ["already_released"]


PARKED = {"reason": "odd"}
OTHER_BODIES: list[tuple[dict[str, Any], dict[str, Any], str | None]] = [
    ({}, {}, None),
    ({}, {"model": "z"}, "model"),
    ({}, {"usage": {}}, "usage"),
    ({}, {"occurred_at": "2026-03-10T11:59:59Z"}, "occurred_at"),
    ({}, {"reservation": "r"}, "reservation"),
    ({}, {"license": "lic"}, "license"),
    ({}, {"request_hash": "0a" * 32}, "request_hash"),
    ({}, {"response_hash": "0a" * 32}, "response_hash"),
    ({"reservation": "r"}, {}, "reservation"),
    ({"reservation": "r"}, {"reservation": "r"}, None),
    ({"reservation": "r"}, {"reservation": "r", "model": "z"}, "model"),
    ({"reservation": "r9"}, {"reservation": "r9"}, None),
    ({"reservation": "r9"}, {"reservation": "r8"}, "reservation"),
    ({"license": "lic", "model": "z"}, {"model": "z"}, "license"),
    (PARKED, PARKED, None),
    (PARKED, {"reason": "even"}, "reason"),
    (PARKED, {}, None),
    (PARKED, {"license": "lic"}, "license"),
    ({"model": "z"}, {"model": "z", **PARKED}, "reason"),
    ({}, PARKED, "kind"),
]
"""(fields of a record, fields when it is sent again, the first field that differs); a record with
a reason is parked by hand."""


@pytest.mark.parametrize(("first", "again", "field"), OTHER_BODIES)
def test_a_record_sent_again_with_another_body_names_the_field(
    ledger: Ledger, first: dict[str, Any], again: dict[str, Any], field: str | None
) -> None:
    def sent(fields: dict[str, Any]) -> Answer:
        _, body = record("u", "rich", **fields)
        (answer,) = ledger.run(("park_usage" if "reason" in fields else "usage", body))
        return answer

    ledger.run(reserve("r", "rich"))
    original = sent(first)
    repeated = sent(again)
    if field is None:
        assert repeated.repeated
        assert repeated.result() == original.result()
    else:
        problem = repeated.problem()
        assert problem is not None
        assert (problem.code, problem.facts["field"]) == ("id_reused", field)


def test_a_record_parked_released_and_sent_again_in_one_job_is_charged_once(
    ledger: Ledger,
) -> None:
    (parked,) = ledger.run(record("u", "new"))
    name = parked.result()["parked"]
    answers = ledger.run(
        *(customer("new"), release_usage("v1", name), record("u", "new")),
        *(release_usage("v2", name), release_usage("v1", name)),
    )
    codes = ["done", "done", "done", "already_released", "done"]
    assert [answer.code for answer in answers] == codes
    assert answers[2].result()["position"] == answers[1].result()["position"]


def test_a_release_in_a_group_that_fails_leaves_the_record_parked(ledger: Ledger) -> None:
    (parked,) = ledger.run(record("u", "rich", reservation="late"))
    name = parked.result()["parked"]
    ledger.run(reserve("late", "rich"))
    group = (release_usage("v1", name), reserve("too-much", "rich", 100))
    assert ledger.codes(*group, atomic=True) == ["aborted", "insufficient_balance"]
    (again,) = ledger.run(record("u", "rich", reservation="late"))
    assert "why" in again.result()
    assert ledger.codes(release_usage("v1", name)) == ["done"]


def test_a_taken_id_is_refused_as_such_whatever_is_in_memory(ledger: Ledger) -> None:
    """A writer that has just started says the same as one that has seen everything."""
    ledger.run(reserve("r1", "rich"), reserve("r2", "rich"))
    assert ledger.codes(reserve("r1", "poor", 100)) == ["already_exists"]
    assert ledger.codes(reserve("r2", "poor", 100), by=ledger.writer()) == ["already_exists"]


def test_a_stranger_is_not_found_even_with_a_taken_id(ledger: Ledger) -> None:
    ledger.run(reserve("r", "rich"))
    assert ledger.codes(reserve("r", "stranger"), customer("rich")) == ["not_found", "done"]
    assert ledger.codes(customer("rich"), reserve("r", "stranger")) == ["done", "not_found"]


def test_what_was_done_before_a_failing_group_stays_done(ledger: Ledger) -> None:
    ledger.run(reserve("r1", "rich"))
    group = (reserve("r1", "rich"), reserve("r2", "rich", 100))
    assert ledger.codes(*group, atomic=True) == ["aborted", "insufficient_balance"]
    assert ledger.codes(*group) == ["done", "insufficient_balance"]
