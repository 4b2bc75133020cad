"""Fraud cases: one at a time, flagged by the rule or by somebody, cleared or confirmed for good."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook.errors import Invalid

from domain.balance import Balance
from domain.command import Command
from domain.commands import Unblock, parse
from domain.event import Event
from domain.folding import evolve
from domain.fraud import Crossing, blocked, blocked_since, decide_unblock, stopped
from domain.fraud_case import CLEARED, CONFIRMED, FLAGGED, FraudCase, case_id, named
from domain.fraud_commands import ClearCase, ConfirmCase, FlagCustomer
from domain.fraud_events import FraudCleared, FraudConfirmed, FraudFlagged
from domain.fraud_review import decide_clear, decide_confirm, decide_flag
from domain.guard_events import AccountUnblocked
from domain.outcomes import Decision, Refusal

BLOCK = blocked("acme", 5, Crossing(5000, 1, 12))
FLAG = FraudFlagged(case="acme.1", customer="acme", reason="odd")
CONFIRMED_1 = FraudConfirmed(case="acme.1", customer="acme", reason="stolen card")
CLEARED_1 = FraudCleared(case="acme.1", customer="acme", reason="a test", unblocked=False)


def after(*events: Event) -> Balance:
    """Fold events, one recorded at 1, the next at 2, and so on."""
    balance = Balance()
    for at, event in enumerate(events, 1):
        balance = evolve(balance, event, at)
    return balance


def review(balance: Balance, kind: str, case: str = "acme.1") -> Decision:
    """Decide a verdict."""
    command = parse(kind, {"id": "v", "case": case, "reason": "looked at"})
    if isinstance(command, ClearCase):
        return decide_clear(balance, command)
    assert isinstance(command, ConfirmCase)
    return decide_confirm(balance, command)


def only(decision: Decision) -> Event:
    """Return the one event of a decision that is no refusal."""
    assert not isinstance(decision, Refusal)
    (event,) = decision
    return event


def flag(balance: Balance, **more: Any) -> Decision:
    """Decide a flag."""
    command = parse("flag_customer", {"id": "f", "customer": "acme", "reason": "odd", **more})
    assert isinstance(command, FlagCustomer)
    return decide_flag(balance, command, 9)


@pytest.mark.parametrize(
    ("events", "case"),
    [
        ((BLOCK,), FraudCase(1, FLAGGED, 1, 1)),
        ((FLAG,), FraudCase(1, FLAGGED, 1, 1)),
        ((FLAG, BLOCK, FLAG), FraudCase(1, FLAGGED, 1, 1)),
        ((FLAG, CLEARED_1), FraudCase(1, CLEARED, 1, 2)),
        ((FLAG, CONFIRMED_1), FraudCase(1, CONFIRMED, 1, 2)),
        ((FLAG, CONFIRMED_1, FLAG, BLOCK), FraudCase(1, CONFIRMED, 1, 2)),
        ((FLAG, CONFIRMED_1, CLEARED_1), FraudCase(1, CLEARED, 1, 3)),
        ((FLAG, CLEARED_1, BLOCK), FraudCase(2, FLAGGED, 3, 3)),
        ((BLOCK, AccountUnblocked(customer="acme", reason="ok")), FraudCase(1, FLAGGED, 1, 1)),
        ((), None),
    ],
)
def test_a_case_stands_until_it_is_cleared_and_later_flags_join_it(
    events: tuple[Event, ...], case: FraudCase | None
) -> None:
    assert after(*events).case == case


@pytest.mark.parametrize(
    ("kind", "events", "outcome"),
    [
        ("clear_case", (FLAG,), FraudCleared),
        ("clear_case", (FLAG, CONFIRMED_1), FraudCleared),
        ("clear_case", (FLAG, CLEARED_1), "case_cleared"),
        ("confirm_case", (FLAG,), FraudConfirmed),
        ("confirm_case", (FLAG, CONFIRMED_1), "case_confirmed"),
        ("confirm_case", (FLAG, CLEARED_1), "case_cleared"),
        ("confirm_case", (FLAG, CLEARED_1, FLAG), "case_cleared"),
    ],
)
def test_a_verdict_follows_where_it_makes_sense(
    kind: str, events: tuple[Event, ...], outcome: type[Event] | str
) -> None:
    decision = review(after(*events), kind)
    if isinstance(decision, Refusal):
        assert (decision.code, decision.facts) == (outcome, {"case": "acme.1"})
    else:
        assert [type(event) for event in decision] == [outcome]


def test_clearing_ends_the_block_of_the_rule_in_the_same_fact() -> None:
    balance = after(BLOCK)
    event = only(review(balance, "clear_case"))
    assert event == dataclasses.replace(CLEARED_1, reason="looked at", unblocked=True)
    cleared = evolve(balance, event, 7)
    assert (cleared.block, cleared.cleared_at, stopped(cleared)) == (None, 7, None)
    assert cleared.own_version == 2


def test_a_case_without_a_block_is_cleared_without_unblocking() -> None:
    balance = after(FLAG)
    event = only(review(balance, "clear_case"))
    assert isinstance(event, FraudCleared)
    assert not event.unblocked
    assert evolve(balance, event, 7).cleared_at == 0


def test_a_flag_alone_stops_nobody_and_a_confirmed_case_stops_what_is_new() -> None:
    assert stopped(after(FLAG)) is None
    confirmed = after(FLAG, CONFIRMED_1)
    refusal = stopped(confirmed)
    assert refusal is not None
    assert (refusal.code, blocked_since(confirmed)) == ("account_blocked", 2)
    assert blocked_since(after(BLOCK, CONFIRMED_1)) == 1, "the block goes on"


def test_nobody_unblocks_a_confirmed_case_but_by_clearing_it() -> None:
    command = Unblock(id="u", customer="acme", reason="please")
    for events in ((BLOCK, CONFIRMED_1), (FLAG, CONFIRMED_1)):
        refusal = decide_unblock(after(*events), command)
        assert isinstance(refusal, Refusal)
        assert (refusal.code, refusal.facts) == ("case_confirmed", {"case": "acme.1"})


def test_a_flag_names_the_case_that_it_opens_or_joins() -> None:
    for events, name in (
        ((), "acme.1"),
        ((FLAG,), "acme.1"),
        ((FLAG, CONFIRMED_1), "acme.1"),
        ((FLAG, CLEARED_1), "acme.2"),
    ):
        event = only(flag(after(*events)))
        assert isinstance(event, FraudFlagged)
        assert event.case == name


SIGNS = [["machines", 40], ["rate", 30]]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"reason": " "}, "reason"),
        ({"score": 70}, "score"),
        ({"rule": 1}, "rule"),
        ({"seen": 1}, "seen"),
        ({"signs": SIGNS, "score": 71, "rule": 1, "seen": 1}, "score"),
        ({"signs": SIGNS, "rule": 1, "seen": 1}, "score"),
        ({"signs": SIGNS[::-1], "score": 70, "rule": 1, "seen": 1}, "signs"),
        ({"signs": [SIGNS[0], SIGNS[0]], "score": 80, "rule": 1, "seen": 1}, "signs"),
        ({"signs": SIGNS, "score": 70, "seen": 1}, "rule"),
        ({"signs": SIGNS, "score": 70, "rule": 1}, "seen"),
    ],
)
def test_a_score_without_its_signs_is_invalid(more: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        flag(Balance(), **more)
    assert refused.value.facts["field"] == field


def test_signs_beyond_a_hundred_are_a_hundred() -> None:
    more = {"signs": [["machines", 60], ["rate", 60]], "score": 100, "rule": 1, "seen": 7}
    event = only(flag(Balance(), **more))
    assert isinstance(event, FraudFlagged)
    assert (event.score, event.signs) == (100, (("machines", 60), ("rate", 60)))


@pytest.mark.parametrize("kind", ["clear_case", "confirm_case"])
def test_a_verdict_needs_a_reason(kind: str) -> None:
    command: Command = parse(kind, {"id": "v", "case": "acme.1", "reason": "  "})
    decide: Any = decide_clear if kind == "clear_case" else decide_confirm
    with pytest.raises(Invalid, match="reason"):
        decide(after(FLAG), command)


@given(st.from_regex(r"\A[A-Za-z0-9._:-]{1,128}\Z"), st.integers(1, 999_999_999))
def test_a_cases_id_says_whose_it_is_and_which(customer: str, number: int) -> None:
    name = case_id(customer, FraudCase(number, FLAGGED, 0, 0))
    assert named(name) == (customer, number)
    parse("clear_case", {"id": "v", "case": name, "reason": "r"})
