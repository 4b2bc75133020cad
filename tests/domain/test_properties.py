"""What holds for every history and every price: conservation, additivity, the floor, purity."""

import copy
import pickle
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.allocation import NEVER, Grant, available, burn_key, draw, in_burn_order
from domain.balance import Balance, due, earliest_expiry
from domain.command import Command
from domain.event import Event
from domain.events import (
    GrantIssued,
    GrantsExpired,
    ReservationExtended,
    ReservationHeld,
    ReservationReleased,
    ReservationSettled,
    UsageCharged,
)
from domain.folding import evolve
from domain.outcomes import Refusal
from domain.pricing import capped, charge, token_volume, worst
from tests.domain.account import Account
from tests.domain.examples import EVERYTHING, FOUNDING, compiled
from tests.domain.histories import BOOK, TIERED, histories

PRICES = [compiled(model) for model in (FOUNDING, TIERED)]
TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens")
VOLUMES = st.integers(0, 3_000_000) | st.integers(99_000_000, 101_000_000)
TOKEN_USAGE = st.fixed_dictionaries({unit: st.integers(0, 2_000_000) for unit in TOKENS})


@given(st.sampled_from(PRICES), VOLUMES, TOKEN_USAGE, st.data())
def test_a_stream_of_tokens_costs_the_same_however_it_is_cut(
    prices: Any, volume: int, usage: dict[str, int], data: st.DataObject
) -> None:
    """Cut anywhere in the order input, cached, output, with the volume carried on."""
    cut = data.draw(st.integers(0, sum(usage.values())))
    first: dict[str, int] = {}
    left = cut
    for unit in TOKENS:
        first[unit] = min(left, usage[unit])
        left -= first[unit]
    rest = {unit: usage[unit] - first[unit] for unit in TOKENS}
    parts = charge(prices, first, volume) + charge(prices, rest, volume + token_volume(first))
    assert parts == charge(prices, usage, volume)


@given(
    st.dictionaries(st.sampled_from(sorted(EVERYTHING["prices"])), st.integers(0, 10**12)),
    st.integers(1, 7),
)
def test_flat_prices_are_proportional_and_add_up_over_units(
    usage: dict[str, int], times: int
) -> None:
    prices = compiled(EVERYTHING)
    whole = charge(prices, usage, 0)
    assert whole == sum(charge(prices, {unit: count}, 0) for unit, count in usage.items())
    assert (
        charge(prices, {unit: count * times for unit, count in usage.items()}, 0) == whole * times
    )


@given(st.sampled_from(PRICES), VOLUMES, st.integers(0, 10**8), TOKEN_USAGE)
def test_the_worst_price_covers_the_charge_at_any_later_volume(
    prices: Any, volume: int, others: int, usage: dict[str, int]
) -> None:
    assert worst(prices, usage, volume) >= charge(prices, usage, volume + others)


@given(st.sampled_from(PRICES), VOLUMES, TOKEN_USAGE)
def test_the_cap_never_raises_an_estimate(prices: Any, volume: int, usage: dict[str, int]) -> None:
    bounded = capped(prices, usage)
    assert worst(prices, bounded, volume) <= worst(prices, usage, volume)


GRANTS = st.lists(
    st.builds(
        Grant,
        st.text(st.sampled_from("abcde"), min_size=1, max_size=2),
        st.sampled_from(["paid", "promotional"]),
        st.integers(0, 1),
        st.sampled_from([5, 10, 20, NEVER]),
        st.sampled_from([None, ("m",), ("n",), ("m", "n")]),
        st.integers(0, 9),
        st.integers(0, 9),
    ),
    max_size=6,
    unique_by=lambda grant: grant.id,
).map(in_burn_order)


@given(GRANTS, st.sampled_from(["m", "n"]), st.integers(0, 20), st.integers(0, 60))
def test_drawing_loses_nothing_and_keeps_the_burn_order(
    grants: tuple[Grant, ...], model: str, now: int, amount: int
) -> None:
    parts, uncovered = draw(grants, model, now, amount)
    reach = available(grants, model, now)
    assert sum(part for _, part in parts) + uncovered == amount
    assert uncovered == max(0, amount - reach)
    by_name = {grant.id: grant for grant in grants}
    drawn = [by_name[name] for name, _ in parts]
    assert drawn == sorted(drawn, key=burn_key)
    for name, part in parts:
        assert 0 < part <= by_name[name].free
        assert by_name[name].serves(model, now)
    for grant in grants:
        later = [other for other in drawn if burn_key(other) > burn_key(grant)]
        if later and grant.serves(model, now):
            assert dict(parts).get(grant.id, 0) == grant.free, "nobody is passed over"


@given(GRANTS, st.integers(0, 60), st.dictionaries(st.text("abcde", max_size=2), st.integers(1, 9)))
def test_what_a_hold_has_of_its_own_can_be_drawn_even_after_expiry(
    grants: tuple[Grant, ...], amount: int, own: dict[str, int]
) -> None:
    names = {grant.id for grant in grants}
    reach = available(grants, "m", 12) + sum(part for name, part in own.items() if name in names)
    parts, uncovered = draw(grants, "m", 12, amount, own)
    assert sum(part for _, part in parts) == min(amount, reach)
    assert uncovered == amount - min(amount, reach)


def totals(log: list[Event]) -> Counter[str]:
    """Add up, from the facts alone, where granted money went."""
    total: Counter[str] = Counter()
    for fact in log:
        if isinstance(fact, GrantIssued):
            total["granted"] += fact.amount
            total["repaid"] += fact.overdraft_repaid
        elif isinstance(fact, GrantsExpired):
            total["breakage"] += sum(part for _, part in fact.grants)
        elif isinstance(fact, ReservationSettled | UsageCharged):
            assert fact.charged == fact.from_balance + fact.receivable
            assert fact.from_balance == sum(part for _, part in fact.grants) + fact.credit
            total["spent_from_grants"] += sum(part for _, part in fact.grants)
            total["credit"] += fact.credit
            total["receivable"] += fact.receivable
        elif isinstance(fact, ReservationHeld):
            assert fact.held == sum(part for _, part in fact.grants) + fact.credit
    return total


def check_balance(balance: Balance, total: Counter[str]) -> None:
    """Check the laws that every balance obeys."""
    in_grants = sum(grant.free + grant.held for grant in balance.grants)
    gone = total["spent_from_grants"] + total["breakage"] + total["repaid"]
    assert total["granted"] - gone == in_grants
    assert balance.overdraft == total["credit"] - total["repaid"]
    assert balance.receivable == total["receivable"]
    holds = [hold for _, hold in balance.holds.items()]
    held: Counter[str] = Counter()
    for hold in holds:
        assert hold.amount == sum(part for _, part in hold.parts) + hold.credit
        assert hold.credit >= 0
        assert all(part > 0 for _, part in hold.parts)
        held.update(dict(hold.parts))
    assert balance.held == sum(hold.amount for hold in holds)
    assert balance.credit_held == sum(hold.credit for hold in holds)
    assert {grant.id: grant.held for grant in balance.grants if grant.held} == dict(held)
    assert all(grant.free >= 0 <= grant.held for grant in balance.grants)
    assert all(grant.free or grant.held for grant in balance.grants)
    assert list(balance.grants) == sorted(balance.grants, key=burn_key)
    assert balance.next_expiry <= earliest_expiry(balance)


def skipped(account: Account, command: Command) -> bool:
    """Say whether a command names a reservation that its history never made."""
    name = getattr(command, "reservation", None)
    return name is not None and name not in account.reservations


@given(histories())
@settings(max_examples=150)
def test_money_is_conserved_after_every_fact(history: list[tuple[int, Command]]) -> None:
    account = Account(BOOK)
    for now, command in history:
        if skipped(account, command):
            continue
        account.now = now
        account.run(command)
        check_balance(account.balance, totals(account.log))
        # What a hold gives back to a grant that expired meanwhile is due before the next decision.
        left = due(account.balance, now)
        closing = (ReservationSettled, ReservationReleased)
        gives_back = any(isinstance(each, closing) for each in account.log[-2:])
        assert left == () or (gives_back and {type(each) for each in left} == {GrantsExpired})


@given(histories())
@settings(max_examples=150)
def test_no_hold_takes_more_than_is_available(history: list[tuple[int, Command]]) -> None:
    account = Account(BOOK)
    for now, command in history:
        if skipped(account, command):
            continue
        account.now = now
        before = account.view()
        decision = account.run(command)
        if isinstance(decision, Refusal):
            continue
        after = account.view()
        if isinstance(decision[0], ReservationHeld | ReservationExtended):
            assert after.available >= min(0, before.available)
            assert before.available - after.available == after.held - before.held
        if isinstance(decision[0], ReservationSettled | UsageCharged):
            assert after.available >= min(0, before.available)


@given(histories(), st.integers(0, 4000))
@settings(max_examples=100)
def test_a_view_at_any_later_instant_is_what_booking_would_show(
    history: list[tuple[int, Command]], seconds: int
) -> None:
    account = Account(BOOK)
    for now, command in history:
        if not skipped(account, command):
            account.now = now
            account.run(command)
    later = account.now + seconds * 1_000_000
    booked = account.balance
    for fact in due(booked, later):
        booked = evolve(booked, fact, later)
    seen = account.view(later)
    account.balance = booked
    assert account.view(later) == seen
    assert due(booked, later) == ()


@given(histories())
@settings(max_examples=100)
def test_deciding_and_evolving_change_nothing_they_are_given(
    history: list[tuple[int, Command]],
) -> None:
    """Everything that goes in is compared, to the last byte, with how it was before."""
    account = Account(BOOK)
    for now, command in history:
        if skipped(account, command):
            continue
        account.now = now
        inputs = (account.balance, dict(account.reservations), account.book, command)
        before = copy.deepcopy(inputs)
        facts = len(account.log)
        frozen = pickle.dumps(account.log)
        account.run(command)
        assert inputs == before
        assert pickle.dumps(account.log[:facts]) == frozen
        added = copy.deepcopy(account.log[facts:])
        balance = inputs[0]
        for fact in account.log[facts:]:
            balance = evolve(balance, fact, now)
        assert balance == account.balance, "the same facts give the same state"
        assert account.log[facts:] == added


def test_the_state_of_a_new_balance_is_shared_by_nobody() -> None:
    one, two = Account(BOOK), Account(BOOK)
    one.use({"requests": 1}, model="flat")
    assert two.balance.volumes == {}
    assert Balance().volumes == {}
    with pytest.raises(AttributeError):
        two.balance.held = 1  # type: ignore[misc]
