"""Holding money: at the worst price that can come, in one step with the check (A6, A8)."""

from typing import Any

import pytest
from tollbook.amounts import format_pico

from domain.customer import Customer
from domain.pricebook import PriceBook
from tests.domain.account import Account, parts, reserve_command
from tests.domain.examples import (
    ALWAYS,
    EVERYTHING,
    FOUNDING,
    GPT4,
    NOON,
    REQUEST,
    SECOND,
    instant,
    price_book,
    usd,
    version_of,
)


def graduated(**terms: Any) -> Account:
    """Return a customer with plenty of money and the founding book."""
    account = Account(price_book(version_of(ALWAYS, FOUNDING)), **terms)
    account.grant("g", 1_000_000)
    return account


def usd_wire(text: str) -> dict[str, str]:
    """Return an amount as it travels."""
    return {"amount": format_pico(usd(text)), "currency": "USD"}


def test_a_hold_takes_its_money_from_what_is_available() -> None:
    account = Account()
    account.grant("g", 10)
    held = account.reserve("r", requests=4)
    assert (held.held, held.credit, held.grants) == (usd(4), 0, parts(("g", 4)))
    assert (account.view().available, account.view().held) == (usd(6), usd(4))


@pytest.mark.parametrize(("ttl", "seconds"), [(None, 300), (1, 1), (86_400, 86_400)])
def test_a_hold_lives_300_seconds_unless_it_says_otherwise(ttl: int | None, seconds: int) -> None:
    account = Account()
    account.grant("g", 1)
    assert account.reserve("r", ttl_seconds=ttl).expires_at == NOON + seconds * SECOND


def test_a_refusal_says_what_is_available_and_what_is_required() -> None:
    account = Account(credit_limit=usd("0.5"))
    account.grant("g", 3)
    account.reserve("r1")
    refusal = account.refusal(reserve_command("r2", requests=3))
    assert refusal.code == "insufficient_balance"
    assert refusal.facts == {"available": usd_wire("2.5"), "required": usd_wire("3")}
    assert "2.500000000000 USD" in refusal.detail
    assert account.view().available == usd("2.5"), "a refusal holds nothing"


def test_the_last_unit_of_money_can_be_held_and_not_one_more() -> None:
    account = Account()
    account.grant("g", 3)
    assert account.reserve("r1", requests=3).held == usd(3)
    refusal = account.refusal(reserve_command("r2"))
    assert refusal.facts["available"] == usd_wire("0")


def test_an_estimate_of_nothing_holds_nothing_even_without_money() -> None:
    assert Account().reserve("r", estimate={}).held == 0


@pytest.mark.parametrize(
    ("estimate", "held"),
    [
        ({"input_tokens": 1000, "output_tokens": 1000}, "0.04"),
        ({"input_tokens": 1000}, "0.50152"),
        ({"input_tokens": 0, "output_tokens": 20_000}, "0.49152"),
        ({"input_tokens": 1, "cached_input_tokens": 1, "output_tokens": 0}, "0.00002"),
    ],
)
def test_output_is_held_up_to_the_cap_of_the_model(estimate: dict[str, int], held: str) -> None:
    """Without a word about output, all that the model can produce is held."""
    assert graduated().reserve("r", model=GPT4, estimate=estimate).held == usd(held)


def test_a_hold_follows_the_volume_reached_so_far() -> None:
    account = graduated()
    account.use({"input_tokens": 1_000_000}, model=GPT4)
    held = account.reserve("r", model=GPT4, estimate={"output_tokens": 1000})
    assert held.held == usd("0.024")


def test_a_later_tier_that_is_dearer_is_held() -> None:
    tiers = [{"up_to": 1000, "input": "1", "output": "1"}, {"input": "2", "output": "9"}]
    account = Account(price_book(version_of(ALWAYS, {"name": "m", "tiers": tiers})))
    account.grant("g", 1)
    held = account.reserve("r", model="m", estimate={"output_tokens": 1})
    assert held.held == usd("0.000009"), "others may settle first and push it into that tier"


CHANGE = instant("2026-03-10T12:05:00Z")


@pytest.mark.parametrize(
    ("price_later", "ttl", "held"),
    [
        ("5", 300, "5"),
        ("5", 299, "2"),
        ("1", 300, "2"),
    ],
)
def test_a_change_of_prices_before_the_expiry_counts_when_it_is_dearer(
    price_later: str, ttl: int, held: str
) -> None:
    """The new version takes effect exactly 300 s after the reservation."""
    assert NOON + 300 * SECOND == CHANGE
    book = price_book(
        version_of(ALWAYS, {"name": "m", "prices": {"requests": "2"}}),
        version_of("2026-03-10T12:05:00Z", {"name": "m", "prices": {"requests": price_later}}),
    )
    account = Account(book)
    account.grant("g", 10)
    assert account.reserve("r", model="m", ttl_seconds=ttl).held == usd(held)


@pytest.mark.parametrize(("before", "code"), [(0, "done"), (1, "unknown_model")])
def test_nothing_is_held_before_the_first_version(before: int, code: str) -> None:
    """Dearer prices may still be added there, so no hold would be large enough."""
    account = Account(price_book(version_of("2026-03-10T12:00:00Z", REQUEST)))
    account.now = NOON - before
    account.grant("g", 10)
    if code == "done":
        assert account.reserve("r").held == usd(1)
    else:
        assert account.refusal(reserve_command("r")).code == code


def test_a_model_that_leaves_the_book_before_the_expiry_is_refused() -> None:
    book = price_book(
        version_of(ALWAYS, {"name": "m", "prices": {"requests": "2"}}),
        version_of("2026-03-10T12:05:00Z", REQUEST),
    )
    account = Account(book)
    account.grant("g", 10)
    assert account.refusal(reserve_command("r", model="m")).code == "unknown_model"
    assert account.reserve("r2", model="m", ttl_seconds=299).held == usd(2)


@pytest.mark.parametrize(
    ("zone", "now", "held"),
    [
        ("UTC", "2026-03-31T23:54:59.999999Z", "0.000024"),
        ("UTC", "2026-03-31T23:55:00Z", "0.00003"),
        ("Europe/Berlin", "2026-03-31T21:54:59.999999Z", "0.000024"),
        ("Europe/Berlin", "2026-03-31T21:55:00Z", "0.00003"),
        ("Europe/Berlin", "2026-03-31T22:00:00Z", "0.00003"),
    ],
)
def test_a_month_that_turns_before_the_expiry_may_start_the_volume_again(
    zone: str, now: str, held: str
) -> None:
    """2,000,000 tokens in the month: the second tier; after the turn, the first and dearest."""
    account = graduated(time_zone=zone)
    account.use({"input_tokens": 2_000_000}, model=GPT4, occurred_at=account.now)
    account.now = instant(now)
    assert account.reserve("r", model=GPT4, estimate={"output_tokens": 1}).held == usd(held)


@pytest.mark.parametrize(
    ("model", "estimate", "code", "facts"),
    [
        ("unheard-of", {"requests": 1}, "unknown_model", {"model": "unheard-of"}),
        ("per-request", {"pages": 1}, "unknown_unit", {"model": "per-request", "unit": "pages"}),
        ("per-request", {"wishes": 1}, "unknown_unit", {"model": "per-request", "unit": "wishes"}),
    ],
)
def test_what_has_no_price_is_refused_by_name(
    model: str, estimate: dict[str, int], code: str, facts: dict[str, str]
) -> None:
    account = Account()
    account.grant("g", 10)
    refusal = account.refusal(reserve_command("r", model=model, estimate=estimate))
    assert refusal.code == code
    assert facts.items() <= refusal.facts.items()


def test_a_unit_without_a_price_may_be_named_with_zero() -> None:
    assert Account().reserve("r", estimate={"pages": 0, "wishes": 0}).held == 0


@pytest.mark.parametrize("when", ["2019-12-31T23:54:59.999999Z", "2010-01-01T00:00:00Z"])
def test_before_its_first_version_a_book_prices_nothing(when: str) -> None:
    account = Account(price_book(version_of(ALWAYS, REQUEST)))
    account.now = instant(when)
    account.grant("g", 1)
    assert account.refusal(reserve_command("r")).code == "unknown_model"


def test_a_book_that_nobody_published_prices_nothing() -> None:
    account = Account(PriceBook("default"), price_book="nowhere")
    assert account.refusal(reserve_command("r")).code == "unknown_model"


def test_a_book_in_another_currency_prices_nothing() -> None:
    account = Account(currency="EUR")
    account.grant("g", 10)
    refusal = account.refusal(reserve_command("r"))
    assert refusal.code == "unknown_model"
    assert "USD" in refusal.detail
    assert "EUR" in refusal.detail


def test_every_unit_of_an_estimate_is_held() -> None:
    account = Account(price_book(version_of(ALWAYS, EVERYTHING)))
    account.grant("g", 1)
    estimate = {"pages": 2, "gpu_seconds": "1.5", "input_tokens": 10, "images": 1}
    held = account.reserve("r", model="everything", estimate=estimate)
    assert held.held == usd("0.0603675")


def test_the_terms_of_a_customer_are_what_creation_said() -> None:
    terms = Account(credit_limit=usd(5), time_zone="Asia/Kolkata").balance.customer
    assert isinstance(terms, Customer)
    assert (terms.credit_limit, terms.time_zone, terms.plan) == (
        usd(5),
        "Asia/Kolkata",
        "standard",
    )
