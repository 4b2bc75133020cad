"""Quotes: the exact price now, by the very rules of reservations, and nothing changes."""

from typing import Any

import pytest
from hypothesis import given, settings
from tollbook.errors import Invalid

from domain.command import Command
from domain.commands import Reserve
from domain.outcomes import Refusal
from domain.quoting import quote, quote_request, quote_to_wire
from tests.domain.account import CUSTOMER, Account
from tests.domain.examples import ALWAYS, FOUNDING, GPT4, SECOND, price_book, usd, version_of
from tests.domain.histories import BOOK, histories

USAGE = {"input_tokens": 1000, "output_tokens": 500}


def asked(account: Account, **fields: Any) -> dict[str, Any]:
    """Ask for the price of USAGE and return the answer as it travels."""
    body = {"customer": CUSTOMER, "model": GPT4, "usage": USAGE, **fields}
    quoted = quote(account.balance, account.book, quote_request(body), account.now)
    return quote_to_wire(quoted, "USD")


def founded(amount: int = 1) -> Account:
    """Return an account with the founding prices and an amount of money."""
    account = Account(price_book(version_of(ALWAYS, FOUNDING)))
    account.grant("g", amount)
    return account


def test_a_quote_is_the_exact_price_and_the_hold_that_it_would_take() -> None:
    assert asked(founded()) == {
        "price": {"amount": "0.025000000000", "currency": "USD"},
        "price_version": 1,
        "price_book": "default",
        "would_admit": True,
        "why": None,
        "required": {"amount": "0.025000000000", "currency": "USD"},
        "available": {"amount": "1.000000000000", "currency": "USD"},
    }


def test_a_quote_is_priced_at_the_volume_reached_so_far() -> None:
    account = founded(100)
    account.use({"input_tokens": 999_500}, model=GPT4)
    assert asked(account)["price"]["amount"] == "0.021000000000", "500 at 10, 500 at 8, 500 at 24"


def test_a_quote_beyond_the_balance_says_what_is_missing() -> None:
    account = Account(price_book(version_of(ALWAYS, FOUNDING)))
    answer = asked(account)
    assert answer["price"]["amount"] == "0.025000000000"
    assert answer["would_admit"] is False
    assert answer["why"]["code"] == "insufficient_balance"
    assert answer["required"] == answer["why"]["required"]
    assert answer["available"] == answer["why"]["available"]


def test_a_quote_and_a_reservation_agree_on_credit_beyond_its_limit() -> None:
    account = Account(price_book(version_of(ALWAYS, FOUNDING)), credit_limit=usd(1))
    account.use({"input_tokens": 100_000}, model=GPT4)
    account.change(credit_limit=usd("0.2"))
    account.grant("late", "0.82", kind="promotional")
    answer = asked(account)
    assert (answer["would_admit"], answer["available"]["amount"]) == (False, "0.020000000000")
    assert answer["available"] == answer["why"]["available"]
    assert answer["required"]["amount"] == "0.025000000000"
    assert asked(account, usage={"input_tokens": 2000, "output_tokens": 0})["would_admit"] is True


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "unheard-of"}, "unknown_model"),
        ({"usage": {"pages": 1}}, "unknown_unit"),
    ],
)
def test_what_has_no_price_is_not_quoted_as_zero(fields: dict[str, Any], code: str) -> None:
    answer = asked(founded(), **fields)
    assert (answer["price"], answer["price_version"], answer["required"]) == (None, None, None)
    assert (answer["would_admit"], answer["why"]["code"]) == (False, code)


def test_a_quote_counts_what_has_expired_by_now() -> None:
    account = founded(1)
    account.reserve("r", model=GPT4, estimate={"input_tokens": 99_000, "output_tokens": 0})
    assert asked(account)["would_admit"] is False
    account.now += 300 * SECOND
    assert asked(account)["would_admit"] is True


def test_more_output_than_the_model_has_is_priced_in_full_but_held_at_its_cap() -> None:
    usage = {"output_tokens": 16_384 + 100}
    answer = asked(founded(), usage=usage)
    assert answer["price"]["amount"] == "0.494520000000"
    assert answer["required"]["amount"] == "0.491520000000"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"usage": {"input_tokens": 1.5}}, "usage"),
        ({"usage": None}, "usage"),
        ({"customer": "a b"}, "customer"),
        ({"model": 7}, "model"),
        ({"surprise": 1}, "surprise"),
        ({"id": "q"}, "id"),
        ({"ttl_seconds": 5}, "ttl_seconds"),
    ],
)
def test_a_malformed_question_names_the_field(body: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        quote_request({"customer": CUSTOMER, "model": GPT4, "usage": USAGE, **body})
    assert refused.value.facts["field"] == field


@given(histories())
@settings(max_examples=150)
def test_a_quote_says_what_a_reservation_then_does(history: list[tuple[int, Command]]) -> None:
    account = Account(BOOK)
    for now, command in history:
        account.now = now
        if isinstance(command, Reserve) and command.id not in account.reservations:
            body = {"customer": CUSTOMER, "model": command.model, "usage": command.estimate}
            before = account.balance
            answer = asked(account, **body)
            assert account.balance == before
            decision = account.run(Reserve(id=command.id, customer=CUSTOMER, **_estimate(command)))
            assert answer["would_admit"] == (not isinstance(decision, Refusal))
            if isinstance(decision, Refusal):
                assert answer["why"] == {"code": decision.code, "detail": decision.detail} | (
                    decision.facts
                )
        elif not hasattr(command, "reservation"):
            account.run(command)


def _estimate(command: Reserve) -> dict[str, Any]:
    return {"model": command.model, "estimate": command.estimate}


def test_money_of_other_models_is_not_available() -> None:
    account = founded()
    account.grant("other", 5, models=("something-else",))
    assert asked(account)["available"]["amount"] == "1.000000000000"
    assert account.view().available == usd(6)
