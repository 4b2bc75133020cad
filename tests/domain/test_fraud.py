"""The hard fraud rule: on both sides of each of its lines, and against a count of everything."""

from bisect import bisect_right
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tollbook.errors import Invalid

from domain.activity import Activity, counted, of_buckets, requests_of
from domain.balance import Balance, Block
from domain.commands import Unblock
from domain.folding import evolve
from domain.fraud import Crossing, blocked, decide_unblock, judge, stopped
from domain.guard_events import AccountUnblocked
from domain.outcomes import Refusal
from tests.domain.examples import DAY, HOUR, MINUTE, NOON, SECOND


class Use(NamedTuple):
    """Requests at an instant."""

    at: int
    requests: int


def used(*uses: Use) -> Balance:
    """Return a balance after these uses, in this order."""
    activity = Activity()
    for number, use in enumerate(uses, 1):
        activity = counted(activity, use.at, use.requests, number)
    return Balance(activity=activity, sequence=len(uses))


def up_to(uses: tuple[Use, ...], edge: int) -> int:
    """Count all requests at or before an instant."""
    return sum(use.requests for use in uses if use.at <= edge)


def verdict(*uses: Use, balance: Balance | None = None, at: int | None = None) -> Crossing | None:
    """Judge the last use, answering what the rule asks from the list of all of them."""
    balance = balance or used(*uses)
    at = uses[-1].at if at is None else at
    found = judge(balance, at, {})
    if isinstance(found, Crossing) or found is None:
        return found
    known = {}
    for question in found:
        start, end = question.bucket.start, question.bucket.start + question.length
        inside = tuple(use for use in uses if start <= use.at < end)
        assert sum(use.requests for use in inside) == question.bucket.units
        numbers = [n for n, use in enumerate(uses, 1) if use in inside and use.requests]
        assert (question.bucket.first, question.bucket.last) == (numbers[0], numbers[-1])
        known[question.edge] = up_to(inside, question.edge)
    answer = judge(balance, at, known)
    assert answer is None or isinstance(answer, Crossing)
    return answer


def by_hand(uses: tuple[Use, ...], at: int) -> Crossing | None:
    """Judge a use by the words of the contract, over a list of everything."""
    first = min(use.at for use in uses)
    begin = max(first, at - DAY)
    windows = (at - 5 * MINUTE - begin) // (5 * MINUTE)
    recent = sum(use.requests for use in uses if at - 5 * MINUTE < use.at <= at)
    total = sum(use.requests for use in uses if at - DAY <= use.at <= at - 5 * MINUTE)
    newest = max(use.at for use in uses)
    too_old = begin // (5 * MINUTE) < newest // (5 * MINUTE) - 300
    if windows < 12 or too_old or recent <= 1000 or recent * windows <= 10 * total:
        return None
    return Crossing(recent, total, windows)


OPENING = NOON - 5 * MINUTE
"""The border between what is recent at noon and what is not."""


@pytest.mark.parametrize(
    ("recent", "crossing"),
    [(1000, None), (1001, Crossing(1001, 1, 12)), (999_999, Crossing(999_999, 1, 12))],
)
def test_a_thousand_recent_requests_never_block(recent: int, crossing: Crossing | None) -> None:
    first = Use(OPENING - HOUR, 1)
    assert verdict(first, Use(NOON, recent)) == crossing


def test_a_thousand_recent_requests_do_not_block_after_others_just_before_them() -> None:
    """These others are no longer recent, though they are still kept by the minute."""
    before = (Use(OPENING - HOUR, 1), Use(OPENING - MINUTE, 50))
    assert verdict(*before, Use(NOON, 1000)) is None
    assert verdict(*before, Use(NOON, 1001)) == Crossing(1001, 51, 12)


@pytest.mark.parametrize(
    ("total", "crossing"),
    [(1440, None), (1439, Crossing(1200, 1439, 12)), (1441, None)],
)
def test_ten_times_the_average_does_not_block_and_more_does(
    total: int, crossing: Crossing | None
) -> None:
    """1,200 requests against 1,440 in 12 windows are ten times the average exactly."""
    assert verdict(Use(OPENING - HOUR, total), Use(NOON, 1200)) == crossing


@pytest.mark.parametrize(
    ("first", "windows"),
    [(OPENING - HOUR, 12), (OPENING - HOUR + 1, None), (OPENING - HOUR - 1, 12)],
)
def test_there_is_no_verdict_before_twelve_whole_windows(first: int, windows: int | None) -> None:
    found = verdict(Use(first, 1), Use(NOON, 5000))
    assert (found and found.windows) == windows


@pytest.mark.parametrize(("at", "recent", "total"), [(OPENING, 2000, 3), (OPENING + 1, 2002, 1)])
def test_five_minutes_ago_is_not_recent_and_a_microsecond_later_is(
    at: int, recent: int, total: int
) -> None:
    found = verdict(Use(OPENING - HOUR, 1), Use(at, 2), Use(NOON, 2000))
    assert found == Crossing(recent, total, 12)


@pytest.mark.parametrize(("at", "total"), [(NOON - DAY, 5), (NOON - DAY - 1, 3)])
def test_a_day_ago_counts_and_a_microsecond_earlier_does_not(at: int, total: int) -> None:
    found = verdict(Use(at, 2), Use(NOON - 5 * HOUR, 3), Use(NOON, 2000))
    assert found == Crossing(2000, total, 287)


def test_usage_that_came_later_is_not_recent_for_usage_before_it() -> None:
    uses = (Use(OPENING - HOUR, 1), Use(NOON + 1, 5000), Use(NOON, 900))
    assert verdict(*uses) is None
    assert verdict(*uses[:2], Use(NOON + 1, 900)) == Crossing(5900, 1, 12)


def test_usage_out_of_order_is_counted_where_it_occurred() -> None:
    uses = (Use(NOON, 900), Use(OPENING - HOUR, 1), Use(NOON - MINUTE, 50), Use(NOON, 51))
    assert verdict(*uses) == Crossing(1001, 1, 12)


def test_usage_too_late_to_be_judged_exactly_has_no_verdict() -> None:
    """25 hours before the newest usage are kept: a day, and an hour of lateness."""
    old = (Use(NOON - 30 * HOUR, 1), Use(NOON, 1))
    late = NOON - HOUR
    assert verdict(*old, Use(late, 5000)) == Crossing(5000, 0, 287)
    later = late - 5 * MINUTE - 1
    assert verdict(*old, Use(later, 5000)) is None


def test_no_verdict_on_a_blocked_account_or_on_what_began_before_it_was_unblocked() -> None:
    uses = (Use(OPENING - HOUR, 1), Use(NOON, 5000))
    balance = used(*uses)
    block = Block(NOON, NOON, 5000, 1, 12)
    assert verdict(*uses, balance=balance) == Crossing(5000, 1, 12)
    assert verdict(*uses, balance=balance._replace(block=block)) is None
    assert verdict(*uses, balance=balance._replace(cleared_at=OPENING + 1)) is None
    assert verdict(*uses, balance=balance._replace(cleared_at=OPENING)) == Crossing(5000, 1, 12)


@pytest.mark.parametrize(
    ("usage", "final", "requests"),
    [
        ({}, True, 1),
        ({"input_tokens": 5}, True, 1),
        ({"requests": 0}, True, 0),
        ({"requests": 400}, True, 400),
        ({"input_tokens": 5}, False, 0),
        ({"requests": 3}, False, 3),
    ],
)
def test_a_charge_is_one_request_unless_it_says_more_and_a_part_is_none(
    usage: dict[str, int], final: bool, requests: int
) -> None:
    assert requests_of(usage, final) == requests


def test_the_figures_of_a_block_stop_where_json_numbers_do() -> None:
    event = blocked("acme", NOON, Crossing(2**60, 2**61, 12))
    assert (event.recent, event.total, event.occurred_at) == (2**53 - 1, 2**53 - 1, NOON)


def test_a_block_stands_until_somebody_unblocks_with_a_reason() -> None:
    balance = evolve(Balance(), blocked("acme", NOON, Crossing(5000, 1, 12)), NOON + 1)
    assert balance.block == Block(NOON + 1, NOON, 5000, 1, 12)
    refusal = stopped(balance)
    assert refusal is not None
    assert (refusal.code, refusal.facts) == (
        "account_blocked",
        {"blocked_at": "2026-03-10T12:00:00.000001Z"},
    )
    command = Unblock(id="u", customer="acme", reason="checked by phone")
    decision = decide_unblock(balance, command)
    assert decision == (AccountUnblocked(customer="acme", reason="checked by phone"),)
    after = evolve(balance, decision[0], NOON + 2)
    assert (after.block, after.cleared_at, stopped(after)) == (None, NOON + 2, None)
    again = decide_unblock(after, command)
    assert isinstance(again, Refusal)
    assert again.code == "not_blocked"
    with pytest.raises(Invalid, match="reason"):
        decide_unblock(balance, Unblock(id="u", customer="acme", reason=" "))


STEPS = st.sampled_from(
    [0, 1, SECOND, 30 * SECOND, MINUTE, 5 * MINUTE - 1, 5 * MINUTE, 5 * MINUTE + 1, HOUR, 6 * HOUR]
)
LATE = st.sampled_from([0, 0, 0, 1, 20 * SECOND, 5 * MINUTE, HOUR, DAY, DAY + 2 * HOUR])


@st.composite
def histories(draw: st.DrawFn) -> tuple[Use, ...]:
    """Draw uses whose time goes on, and of which some are late."""
    now, uses = NOON - NOON % DAY, []
    for _ in range(draw(st.integers(1, 40))):
        now += draw(STEPS)
        requests = draw(st.sampled_from([0, 1, 1, 2, 90, 400, 1001]))
        uses.append(Use(now - draw(LATE), requests))
    return tuple(uses)


@settings(max_examples=400)
@given(histories())
def test_the_verdict_on_every_use_is_that_of_a_count_of_everything(uses: tuple[Use, ...]) -> None:
    activity = Activity()
    for number, use in enumerate(uses, 1):
        activity = counted(activity, use.at, use.requests, number)
        balance = Balance(activity=activity)
        so_far = uses[:number]
        assert verdict(*so_far, balance=balance) == by_hand(so_far, use.at)


@given(histories())
def test_the_order_of_uses_leaves_no_trace_but_in_their_numbers(uses: tuple[Use, ...]) -> None:
    """What is kept depends on the uses alone, so two programs that count them agree."""
    one, other = Activity(), Activity()
    for use in uses:
        one = counted(one, use.at, use.requests, 1)
    for use in reversed(uses):
        other = counted(other, use.at, use.requests, 1)
    assert one == other
    again = of_buckets(one.first_use, one.newest, one.minutes, one.windows)
    assert again == one


def test_a_busy_customer_takes_no_more_room_than_a_day_of_windows() -> None:
    activity = Activity()
    for number in range(3 * 24 * 60 * 2):
        activity = counted(activity, NOON + number * 30 * SECOND, 1, number + 1)
    assert len(activity.minutes) <= 20
    assert len(activity.windows) <= 300
    starts = [bucket.start for bucket in activity.windows]
    assert starts == sorted(starts)
    assert bisect_right(starts, activity.newest - DAY - HOUR - 5 * MINUTE) == 0
