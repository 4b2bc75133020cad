"""Allowances: never more is drawn than is held, nothing outlives the hold, and it all adds up."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.allowances import (
    Allowance,
    NoDraw,
    draw,
    estimated_cost,
    filling,
    tally,
    used_cost,
)
from domain.outcomes import Refusal
from domain.quoting import quote, quote_request
from domain.reserving import required
from tests.domain.account import CUSTOMER, Account
from tests.domain.examples import (
    ALWAYS,
    EVERYTHING,
    FOUNDING,
    GPT4,
    HOUR,
    NOON,
    REQUEST,
    SECOND,
    price_book,
    usd,
    version_of,
)

BOOK = price_book(version_of(ALWAYS, FOUNDING, EVERYTHING, REQUEST))
ENDS = 100 * SECOND


def slice_of(amount: int, **more: int) -> Allowance:
    return Allowance("slice", amount, ENDS, **more)


@pytest.mark.parametrize(
    ("allowance", "cost", "now", "longest", "found"),
    [
        (slice_of(10), 4, 0, SECOND, slice_of(10, drawn=4)),
        (slice_of(10, drawn=4), 6, 0, SECOND, slice_of(10, drawn=10)),
        (slice_of(10, drawn=4), 7, 0, SECOND, NoDraw("spent", 7, 6)),
        (slice_of(10, drawn=4, spent=6), 1, 0, SECOND, NoDraw("spent", 1, 0)),
        (slice_of(10, drawn=4, spent=6), 0, 0, SECOND, slice_of(10, drawn=4, spent=6)),
        (slice_of(10, spent=12), 1, 0, SECOND, NoDraw("spent", 1, 0)),
        (slice_of(10), 4, ENDS - SECOND - 1, SECOND, slice_of(10, drawn=4)),
        (slice_of(10), 4, ENDS - SECOND, SECOND, NoDraw("ending", 4, 10)),
        (slice_of(10), 4, ENDS + 1, 0, NoDraw("ending", 4, 10)),
    ],
)
def test_a_draw_takes_what_is_left_while_it_ends_before_the_hold(
    allowance: Allowance, cost: int, now: int, longest: int, found: Allowance | NoDraw
) -> None:
    assert draw(allowance, cost, now, longest) == found


def test_what_an_inference_did_not_use_may_be_drawn_again() -> None:
    assert tally(slice_of(10, drawn=9), 9, 2).left == 8
    assert tally(slice_of(10, drawn=9), 9, 0) == slice_of(10)
    assert tally(slice_of(10, drawn=9), 9, 15).left == 0, "it used more than was drawn for it"


_STEPS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 100), st.integers(0, 120)))


@given(st.integers(0, 200), _STEPS)
def test_never_more_is_drawn_than_is_held_and_the_tally_adds_up(
    amount: int, steps: list[tuple[int, int, int]]
) -> None:
    """Each step draws, and ends one of those under way for a share of what was drawn for it."""
    allowance, under_way, spent = slice_of(amount), [], 0
    for cost, share, now in steps:
        drawn = draw(allowance, cost, now * SECOND, 20 * SECOND)
        if isinstance(drawn, Allowance):
            assert now < 80
            allowance = drawn
            under_way.append(cost)
        elif drawn.why == "spent":
            assert cost > amount - sum(under_way) - spent
        assert sum(under_way) + spent <= amount
        if under_way and share % 2:
            ended = under_way.pop(share % len(under_way))
            allowance = tally(allowance, ended, ended * share // 100)
            spent += ended * share // 100
        assert (allowance.drawn, allowance.spent) == (sum(under_way), spent)
        assert allowance.left == amount - sum(under_way) - spent
    for each in under_way:
        allowance = tally(allowance, each, 0)
    assert (allowance.drawn, allowance.left) == (0, amount - spent)


@given(
    st.integers(0, 200_000_000),
    st.fixed_dictionaries(
        {"input_tokens": st.integers(0, 10**6)}, optional={"output_tokens": st.integers(0, 16_384)}
    ),
)
def test_an_estimate_costs_as_much_as_its_hold_or_more_and_usage_as_its_charge_or_more(
    volume: int, usage: dict[str, int]
) -> None:
    """Only the ledger knows the volume that its customer has reached."""
    account = Account(BOOK)
    account.grant("g", 10**7)
    if volume:
        account.use({"input_tokens": volume}, model=GPT4)
    end = account.now + HOUR
    hold = required(account.balance, BOOK, GPT4, usage, account.now, end)
    estimated = estimated_cost(BOOK, GPT4, usage, account.now, end)
    assert isinstance(hold, int)
    assert isinstance(estimated, int)
    assert estimated >= hold
    body: dict[str, Any] = {"customer": CUSTOMER, "model": GPT4, "usage": usage}
    price = quote(account.balance, BOOK, quote_request(body), account.now).price
    assert price is not None
    assert used_cost(BOOK, GPT4, usage, account.now, end) >= price


@pytest.mark.parametrize(
    ("model", "amount", "size"),
    [
        ("per-request", usd(5), {"output_tokens": 0, "requests": 5}),
        ("per-request", usd("4.5"), {"output_tokens": 0, "requests": 5}),
        (GPT4, usd("0.5"), {"input_tokens": 50_000, "output_tokens": 0}),
        ("everything", usd(2), {"images": 50, "output_tokens": 0}),
    ],
)
def test_an_amount_is_held_by_as_few_units_as_may_be(
    model: str, amount: int, size: dict[str, int]
) -> None:
    found = filling(BOOK, model, amount, NOON, NOON + HOUR)
    assert found == size
    held = estimated_cost(BOOK, model, size, NOON, NOON + HOUR)
    assert isinstance(held, int)
    assert held >= amount


def test_no_amount_is_held_of_what_has_no_price() -> None:
    assert isinstance(filling(BOOK, "unknown", 1, NOON, NOON + HOUR), Refusal)
    assert isinstance(estimated_cost(BOOK, GPT4, {"pages": 1}, NOON, NOON + HOUR), Refusal)
    assert used_cost(BOOK, GPT4, {"pages": 1}, NOON, NOON + HOUR) == 0
