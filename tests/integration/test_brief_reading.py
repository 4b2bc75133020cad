"""Reading briefly: a licence's limits are found in its issue as reading all of it finds them."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tollbook.errors import Invalid, Tampered, Unavailable
from tollbook.times import parse_instant

from adapters.event_store import brief
from adapters.event_store.brief import decode_briefly, decode_likewise
from adapters.event_store.mapper import decode, encode
from domain.event import Event
from domain.folding import evolve
from domain.license_events import LicenseIssued, LicenseSuspended, LimitsIssued
from domain.license_folding import after_issues
from domain.policy import policy_from_wire
from tests.domain.state_values import balances, ids, instants, policies

ISSUED = LicenseIssued.NAME, LicenseIssued.VERSION
TEXTS = st.sampled_from(["offer 7", "", 'a "quoted" one', "a},b", "é", '},"license":"x",'])
OVERRIDES: list[dict[str, Any] | None] = [None, {}, {"seats": 3}, {"limits": [{"id": "},{"}]}]

issues = st.builds(
    LicenseIssued,
    customer=ids,
    deployment=st.sampled_from(["saas", "on_premise", "hybrid"]),
    expires_at=st.none() | instants,
    key_hash=st.text("0123456789abcdef", min_size=32, max_size=32),
    key_hint=st.text("abcxyz27", min_size=4, max_size=4),
    license=ids,
    maintenance_until=instants,
    overrides=st.sampled_from(OVERRIDES),
    policy=policies,
    provenance=st.dictionaries(st.sampled_from(["embed", "provenance"]), st.just("0a" * 32)),
    reference=st.none() | TEXTS,
    starts_at=st.none() | instants,
    template=ids,
    template_version=st.integers(0, 2**53 - 1),
)


def known(event: Event) -> tuple[str, Any]:
    """Return what a fold learns from an issue, however it was read."""
    if isinstance(event, LimitsIssued):
        return event.license, event.limits
    assert isinstance(event, LicenseIssued)
    return event.license, event.policy.limits


def stored(event: Event) -> str:
    """Return the text that the ledger keeps."""
    return encode(event).decode()


@given(issues, ids, st.text("0123456789abcdef", min_size=32, max_size=32))
def test_what_is_read_briefly_is_what_stands_there(
    event: LicenseIssued, license: str, key_hash: str
) -> None:
    other = decode(*ISSUED, stored(event).replace(event.key_hash, key_hash))
    assert isinstance(other, LicenseIssued)
    for each in (event, other, event):
        text = re.sub('"license":"[^"]*"', f'"license":"{license}"', stored(each), count=1)
        assert known(decode_briefly(*ISSUED, text)) == known(decode(*ISSUED, text))


@given(issues, st.data())
def test_what_strict_reading_refuses_is_not_read_briefly_but_for_days_that_there_are_not(
    event: LicenseIssued, data: st.DataObject
) -> None:
    text = stored(event)
    for _ in range(2):  # its like is known from here on: its terms, then all behind its head
        decode_briefly(*ISSUED, text)
    at = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(at, min(len(text), at + 2)))
    changed = text[:at] + data.draw(st.text('{}[]",:\\a0 \n', max_size=2)) + text[end:]
    try:
        expected = known(decode(*ISSUED, changed))
    except Tampered:
        try:
            found = decode_briefly(*ISSUED, changed)
        except Tampered:
            return
        assert isinstance(found, LimitsIssued)
        assert not all(map(is_time, re.findall(r'"([0-9]{4}-[0-9T:.-]+Z)"', changed)))
    else:
        assert known(decode_briefly(*ISSUED, changed)) == expected


@given(issues, st.data())
def test_what_is_read_like_an_earlier_one_is_all_that_strict_reading_finds(
    event: LicenseIssued, data: st.DataObject
) -> None:
    text = stored(event)
    assert decode_likewise(*ISSUED, text) == event
    own = stored(replace(event, license="other", key_hash="0f" * 16, expires_at=7, starts_at=8))
    assert decode_likewise(*ISSUED, own) == decode(*ISSUED, own)
    at = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(at, min(len(text), at + 2)))
    changed = text[:at] + data.draw(st.text('{}[]",:\\a0Z \n', max_size=2)) + text[end:]
    try:
        expected = decode(*ISSUED, changed)
    except Tampered:
        with pytest.raises(Tampered):
            decode_likewise(*ISSUED, changed)
    else:
        assert decode_likewise(*ISSUED, changed) == expected


def is_time(text: str) -> bool:
    """Say whether an instant is one of the calendar."""
    try:
        parse_instant(text)
    except Invalid:
        return False
    return True


@given(balances(), issues, st.integers(0, 10**15))
def test_a_balance_changes_by_the_limits_as_by_the_whole_event(
    balance: Any, event: LicenseIssued, at: int
) -> None:
    limits = LimitsIssued(event.license, event.policy.limits)
    assert evolve(balance, limits, at) == evolve(balance, event, at)


@given(balances(), st.lists(issues, min_size=1, max_size=4), st.data())
def test_issues_that_follow_one_another_change_a_balance_as_one_by_one(
    balance: Any, events: list[LicenseIssued], data: st.DataObject
) -> None:
    times = sorted(data.draw(st.lists(instants, min_size=len(events), max_size=len(events))))
    expected = balance
    for event, at in zip(events, times, strict=True):
        expected = evolve(expected, event, at)
    limits = [LimitsIssued(event.license, event.policy.limits) for event in events]
    assert after_issues(balance, limits, times[-1]) == expected


def example(**changed: Any) -> str:
    """Return the stored issue of a licence with one limit."""
    limit = {"id": "a", "limit": 7, "per": "day", "unit": "pages"}
    fields: dict[str, Any] = {
        "customer": "acme",
        "deployment": "saas",
        "key_hash": "0a" * 16,
        "key_hint": "ab27",
        "license": "lic-1",
        "maintenance_until": 7,
        "policy": policy_from_wire({"models": ["*"], "limits": [limit]}),
        "provenance": {},
        "template": "gold",
        "template_version": 1,
    }
    return stored(LicenseIssued(**{**fields, **changed}))


def test_a_licence_like_an_earlier_one_is_read_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brief, "_KNOWN", {})
    first = decode_briefly(*ISSUED, example())
    assert first == decode(*ISSUED, example())
    assert isinstance(first, LicenseIssued)
    own = {"license": "lic-2", "customer": "b", "key_hash": "f9" * 16, "expires_at": 9}
    for changed in (own, {"reference": "offer 8"}, {"starts_at": 3, "template_version": 2}):
        license = changed.get("license", "lic-1")
        limits = LimitsIssued(str(license), first.policy.limits)
        assert decode_briefly(*ISSUED, example(**changed)) == limits
    other = example(policy=policy_from_wire({"models": ["*"], "seats": 3}))
    assert known(decode_briefly(*ISSUED, other)) == ("lic-1", ())


def test_a_licence_like_an_earlier_one_is_read_whole_without_reading_all_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(brief, "_KNOWN", {})
    own = {"license": "lic-2", "customer": "b", "key_hash": "f9" * 16, "expires_at": 9}
    others = [example(**changed) for changed in (own, {"reference": "offer 8"}, {"starts_at": 3})]
    expected = [decode(*ISSUED, text) for text in others]
    decode_likewise(*ISSUED, example())
    impossible = example().replace("1970-01-01T", "1970-02-31T")
    assert impossible != example()
    with pytest.raises(Tampered):
        decode_likewise(*ISSUED, impossible)
    monkeypatch.setattr(brief, "decode", None)
    assert [decode_likewise(*ISSUED, text) for text in others] == expected


def test_few_and_short_texts_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brief, "_KNOWN", {})
    monkeypatch.setattr(brief, "_KNOWN_MAX", 3)
    decode_briefly(*ISSUED, example(overrides={"features": ["f" * 100] * 40}))
    assert brief._KNOWN == {}
    for number in range(10):
        decode_briefly(*ISSUED, example(overrides={"seats": number}))
        assert 1 <= len(brief._KNOWN) <= 3


def test_other_events_are_read_as_ever() -> None:
    event = LicenseSuspended(customer="acme", license="lic-1", reason="unpaid")
    for read in (decode_briefly, decode_likewise):
        assert read("license_suspended", 1, stored(event)) == event
        with pytest.raises(Tampered):
            read("license_suspended", 1, example())
        with pytest.raises(Unavailable):
            read("license_issued", 2, example())
