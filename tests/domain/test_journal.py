"""The journal: every event's postings sum to zero, and the accounts agree with the balances."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook.amounts import format_pico, parse_pico

from domain.balance import Balance
from domain.command import Command
from domain.commands import ChangeCustomer, IssueGrant
from domain.event import Event
from domain.events import GrantIssued, ReservationSettled, UsageCharged
from domain.folding import evolve
from domain.journal import Postings, Unbalanced, postings
from tests.domain.account import CUSTOMER, Account
from tests.domain.examples import HOUR, SECOND, price_book, usd, version_of
from tests.domain.histories import BOOK, histories

RECEIVABLE = f"assets:receivable:{CUSTOMER}"
HELD = f"liabilities:held:{CUSTOMER}"
PREPAID = f"liabilities:prepaid:{CUSTOMER}"
PROMOTIONAL = f"liabilities:promotional:{CUSTOMER}"
PAYMENTS = "assets:payments:manual"
REVENUE = "revenue:usage:per-request"

DOCUMENT = Path(__file__).parents[2] / "docs" / "journal.md"


class Books(Account):
    """An account whose every event is posted as it happens."""

    def __init__(self, *arguments: Any, **terms: Any) -> None:
        """Open the account and its books."""
        self.totals: Counter[str] = Counter()
        self.entries: list[tuple[Event, Postings]] = []
        super().__init__(*arguments, **terms)

    def _apply(self, fact: Event, command: str) -> None:
        before = self.balance
        super()._apply(fact, command)
        posted = postings(before, fact, self.balance)
        self.entries.append((fact, posted))
        for account, amount in posted:
            self.totals[account] += amount

    def last(self) -> dict[str, str]:
        """Return what the newest event posted, amounts as short decimals."""
        return {account: short(amount) for account, amount in self.entries[-1][1]}


def short(amount: int) -> str:
    """Write an amount without the zeros that say nothing."""
    return format_pico(amount).rstrip("0").rstrip(".")


def test_a_paid_grant_is_a_payment_that_is_owed_in_service() -> None:
    books = Books()
    books.grant("g", "10")
    assert books.last() == {PAYMENTS: "10", PREPAID: "-10"}


def test_a_promotional_grant_is_an_expense() -> None:
    books = Books()
    books.grant("g", "10", kind="promotional")
    assert books.last() == {"expenses:promotional": "10", PROMOTIONAL: "-10"}


def test_a_hold_moves_money_aside_from_the_grants_it_takes() -> None:
    books = Books()
    books.grant("p", "2", kind="promotional")
    books.grant("g", "10")
    books.reserve("r", requests=5)
    assert books.last() == {HELD: "-5", PREPAID: "3", PROMOTIONAL: "2"}


def test_a_settlement_below_its_hold_earns_the_charge_and_gives_back_the_rest() -> None:
    books = Books()
    books.grant("g", "10")
    books.reserve("r", requests=5)
    books.settle("r", {"requests": 3})
    assert books.last() == {HELD: "5", PREPAID: "-2", REVENUE: "-3"}


def test_what_nobody_could_pay_is_a_receivable() -> None:
    books = Books()
    books.grant("g", "1")
    books.use({"requests": 3})
    assert books.last() == {RECEIVABLE: "2", PREPAID: "1", REVENUE: "-3"}


def test_a_hold_on_credit_alone_posts_nothing() -> None:
    books = Books(credit_limit=usd(10))
    books.reserve("r", requests=5)
    assert books.last() == {}
    books.settle("r", {"requests": 5})
    assert books.last() == {RECEIVABLE: "5", REVENUE: "-5"}


def test_a_payment_repays_an_overdraft_first() -> None:
    books = Books(credit_limit=usd(10))
    books.use({"requests": 4})
    books.grant("g", "10")
    assert books.last() == {PAYMENTS: "10", PREPAID: "-6", RECEIVABLE: "-4"}


@pytest.mark.parametrize(
    ("kind", "lapsed"),
    [
        ("paid", {PREPAID: "7", "revenue:breakage": "-7"}),
        ("promotional", {PROMOTIONAL: "7", "expenses:promotional": "-7"}),
    ],
)
def test_what_expires_is_earned_if_it_was_paid_for_and_undone_if_not(
    kind: str, lapsed: dict[str, str]
) -> None:
    books = Books()
    books.grant("g", "7", kind=kind, expires_at=books.now + SECOND)
    books.now += HOUR
    books.change(credit_limit=usd(1))
    assert {name: short(amount) for name, amount in books.entries[-2][1]} == lapsed


def test_money_that_moves_without_a_posting_is_an_error() -> None:
    """An event that the journal does not know may not move money past it."""
    books = Books()
    issued = books.grant("g", "7")
    before = books.balance
    after = before._replace(receivable=before.receivable + 1)
    with pytest.raises(Unbalanced, match=r"grant_issued of acme is out by"):
        postings(before, issued, after)


def test_an_event_without_a_customer_posts_nothing() -> None:
    books = Books()
    assert postings(None, books.log[0], None) == ()


@given(history=histories())
def test_books_balance_after_every_event_and_agree_with_the_folded_balance(
    history: list[tuple[int, Command]],
) -> None:
    books = Books(BOOK)
    seen = 0
    for now, command in history:
        books.now = now
        if getattr(command, "reservation", None) not in (None, *books.reservations):
            continue
        books.run(command)
        for _, posted in books.entries[seen:]:
            assert sum(amount for _, amount in posted) == 0
            assert len({account for account, _ in posted}) == len(posted)
            assert all(amount for _, amount in posted)
            assert list(posted) == sorted(posted)
        seen = len(books.entries)
        assert sum(books.totals.values()) == 0
        _agree(books.totals, books.balance)
    charged = sum(
        fact.charged for fact in books.log if isinstance(fact, ReservationSettled | UsageCharged)
    )
    revenue = sum(amount for name, amount in books.totals.items() if name.startswith("revenue:u"))
    assert revenue == -charged
    paid = [fact.amount for fact in books.log if isinstance(fact, GrantIssued) and _paid(fact)]
    assert books.totals[PAYMENTS] == sum(paid)


def _paid(fact: GrantIssued) -> bool:
    return fact.kind == "paid"


def _agree(totals: Counter[str], balance: Balance) -> None:
    """Compare the accounts with the totals that the balance counts on its own."""
    assert totals[HELD] == balance.credit_held - balance.held
    free = -totals[PREPAID] - totals[PROMOTIONAL]
    left = balance.granted - balance.spent - balance.breakage
    assert free - totals[HELD] == left + balance.overdraft
    assert totals[RECEIVABLE] == balance.receivable + balance.overdraft
    lapsed = -totals["revenue:breakage"]
    assert 0 <= lapsed <= balance.breakage


@given(st.data())
def test_any_change_of_money_that_is_not_the_events_own_is_found(data: st.DataObject) -> None:
    books = Books(BOOK)
    books.grant("g", "7")
    field = data.draw(st.sampled_from(["receivable", "overdraft"]))
    off = data.draw(st.integers(-(10**15), 10**15).filter(bool))
    changed: dict[str, Any] = {field: off}
    change = ChangeCustomer(id="c", customer=CUSTOMER, credit_limit=usd(3))
    before = books.balance
    fact = books.fact(change)
    after = evolve(before, fact, books.now)
    with pytest.raises(Unbalanced):
        postings(before, fact, after._replace(**changed))


def _table(heading: str) -> list[list[str]]:
    """Return the rows of the table below a heading of the document."""
    text = DOCUMENT.read_text(encoding="utf-8").split(f"## {heading}\n", 1)[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[re.sub(r"[`*]", "", cell).strip() for cell in row] for row in rows[2:]]


def test_the_worked_example_of_the_document_comes_out_as_written() -> None:
    books = Books(price_book(version_of("2020-01-01T00:00:00Z", {**_MODEL})), credit_limit=usd(5))
    books.run(_grant(books, "gift", "10", kind="promotional"))
    books.run(_grant(books, "top-up", "100", expires_at=books.now + HOUR))
    books.reserve("r1", requests=30, model="gpt4-equivalent")
    books.settle("r1", {"requests": 25})
    books.use({"requests": 88}, model="gpt4-equivalent")
    books.run(_grant(books, "top-up-2", "50", expires_at=books.now + HOUR))
    books.now += 2 * HOUR
    books.change(credit_limit=usd(4))
    told = [
        [fact.NAME, account.replace(CUSTOMER, "acme"), short(amount)]
        for fact, posted in books.entries
        for account, amount in posted
    ]
    written = [
        [row[1], row[2], short(parse_pico(row[3] or f"-{row[4]}"))]
        for row in _table("A worked example")
    ]
    assert told == written
    totals = {row[0]: parse_pico(row[1]) for row in _table("The trial balance after it")}
    assert totals == {name: amount for name, amount in books.totals.items() if amount}
    assert sum(totals.values()) == 0


_MODEL = {"name": "gpt4-equivalent", "prices": {"requests": "1"}}


def _grant(books: Books, name: str, amount: str, **fields: Any) -> IssueGrant:
    body = {"customer": CUSTOMER, "amount": usd(amount), "kind": "paid", **fields}
    return IssueGrant(id=name, **body)
