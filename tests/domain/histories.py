"""Random histories of one account: commands at times, for the properties of the rules."""

from typing import Any

from hypothesis import strategies as st

from domain.command import Command
from domain.commands import (
    ChangeCustomer,
    ChargeUsage,
    Extend,
    IssueGrant,
    Release,
    Reserve,
    Settle,
)
from domain.pricebook import PriceBook
from tests.domain.account import CUSTOMER
from tests.domain.examples import ALWAYS, NOON, SECOND, price_book, usd, version_of

RESERVATIONS = ("r0", "r1", "r2")
MODELS = ("flat", "tiered")

FLAT: dict[str, Any] = {"name": "flat", "prices": {"requests": "1"}}
TIERED: dict[str, Any] = {
    "name": "tiered",
    "max_output_tokens": 900_000,
    "prices": {"requests": "0.5"},
    "tiers": [
        {"up_to": 400_000, "input": "2", "output": "3"},
        {"up_to": 1_000_000, "input": "4", "cached_input": "1", "output": "1"},
        {"input": "1", "output": "2"},
    ],
}
CHEAPER: dict[str, Any] = {"name": "flat", "prices": {"requests": "0.25"}}

BOOK: PriceBook = price_book(
    version_of(ALWAYS, FLAT, TIERED), version_of("2026-03-10T12:20:00Z", CHEAPER, TIERED)
)
"""Prices of a few units of money per command, which change 20 minutes into the history."""

AMOUNTS = st.integers(0, 12).map(lambda halves: usd(halves) // 2)
USAGE: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "requests": st.integers(0, 8),
        "input_tokens": st.integers(0, 6).map(lambda units: units * 150_000),
        "cached_input_tokens": st.integers(0, 3).map(lambda units: units * 150_000),
        "output_tokens": st.integers(0, 6).map(lambda units: units * 150_000),
    },
)
REQUESTS: st.SearchStrategy[dict[str, Any]] = st.builds(
    lambda count: {"requests": count}, st.integers(0, 8)
)
STEPS = st.sampled_from([0, 0, 1, SECOND, 60 * SECOND, 299 * SECOND, 300 * SECOND, 900 * SECOND])
"""How far time goes on before a command, in microseconds."""


@st.composite
def commands(draw: st.DrawFn, number: int, now: int) -> Command:
    """Draw a command that fits into a history, with an id of its own."""
    kind = draw(st.sampled_from((IssueGrant, Reserve, Reserve, Settle, Extend, Release, *OTHERS)))
    name, reservation = f"c{number}", draw(st.sampled_from(RESERVATIONS))
    if kind is IssueGrant:
        return _grant(draw, name, now)
    if kind is Reserve:
        model = draw(st.sampled_from(MODELS))
        estimate = draw(REQUESTS if model == "flat" else USAGE)
        ttl = draw(st.sampled_from([None, 1, 600, 3600]))
        return Reserve(
            id=f"r{number}", customer=CUSTOMER, model=model, estimate=estimate, ttl_seconds=ttl
        )
    if kind is Settle:
        final = draw(st.booleans())
        return Settle(id=name, reservation=reservation, usage=draw(USAGE), final=final)
    if kind is Extend:
        ttl = draw(st.sampled_from([None, 1, 600]))
        return Extend(id=name, reservation=reservation, estimate=draw(REQUESTS), ttl_seconds=ttl)
    if kind is Release:
        return Release(id=name, reservation=reservation)
    if kind is ChangeCustomer:
        return ChangeCustomer(id=name, customer=CUSTOMER, credit_limit=draw(AMOUNTS))
    return ChargeUsage(
        id=name,
        source="s",
        customer=CUSTOMER,
        model=draw(st.sampled_from(MODELS)),
        usage=draw(USAGE),
        occurred_at=now,
    )


OTHERS = (ChangeCustomer, ChargeUsage)


def _grant(draw: st.DrawFn, name: str, now: int) -> IssueGrant:
    lifetime = draw(st.sampled_from([None, 1, 300 * SECOND, 2000 * SECOND]))
    models = draw(st.sampled_from([None, None, ("flat",), ("tiered",)]))
    return IssueGrant(
        id=name,
        customer=CUSTOMER,
        amount=draw(st.integers(1, 12)) * usd(1) // 2,
        kind=draw(st.sampled_from(["paid", "promotional"])),
        priority=draw(st.integers(0, 2)),
        expires_at=None if lifetime is None else now + lifetime,
        models=models,
    )


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, Command]]:
    """Draw (time, command) pairs whose settlements name reservations made on the way.

    The first reservations are called r0, r1 and r2, so that later commands find them.
    """
    now, history, opened = NOON, list[tuple[int, Command]](), 0
    for number in range(draw(st.integers(3, 18))):
        now += draw(STEPS)
        command = draw(commands(100 + number, now))
        if isinstance(command, Reserve) and opened < len(RESERVATIONS):
            command = Reserve(
                id=f"r{opened}",
                customer=CUSTOMER,
                model=command.model,
                estimate=command.estimate,
                ttl_seconds=command.ttl_seconds,
            )
            opened += 1
        history.append((now, command))
    return history
