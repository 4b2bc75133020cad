"""Reading briefly: the issues of licences, of which many are alike, without reading each anew.

A cold process folds every licence that a customer has, whichever of them is asked for. Their
payloads differ in ids, keys and times only, so the rest is read strictly once and known again by
its text (the stored form is canonical: docs/formats/events.md). Holds have a form of their own
(`adapters.event_store.held`).
"""

import re
from typing import Any, NamedTuple, TypeVar

from tollbook.errors import Invalid
from tollbook.times import parse_instant

from adapters.event_store.held import held
from adapters.event_store.mapper import decode
from domain.event import Event
from domain.events import ReservationHeld
from domain.license_events import LicenseIssued, LimitsIssued
from domain.policy import Limit, Policy
from domain.values import ID_PATTERN

T = TypeVar("T")

_ID = ID_PATTERN[1:-1]
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z"
_HEAD = re.compile(
    rf'\{{"customer":"({_ID})","deployment":"(saas|on_premise|hybrid)",'
    rf'(?:"expires_at":"({_TIME})",)?"key_hash":"([0-9a-f]{{32}})","key_hint":"([a-z2-7]{{4}})",'
    rf'"license":"({_ID})","maintenance_until":"({_TIME})",'
)
_LICENSE = 6
"""The group of the head that is the licence's id."""

_TAIL = re.compile(
    rf',(?:"reference":"([ !#-\[\]-~]{{0,1000}})",)?(?:"starts_at":"({_TIME})",)?'
    rf'"template":"({_ID})","template_version":(0|[1-9][0-9]{{0,14}})\}}'
)
_REFERENCE, _STARTS_AT = 1, 2
"""The groups of the tail that are mostly a licence's own."""

_NAME, _VERSION = LicenseIssued.NAME, LicenseIssued.VERSION
_HELD, _HELD_VERSION = ReservationHeld.NAME, ReservationHeld.VERSION


class _Terms(NamedTuple):
    """What stands between head and tail, which nobody changes."""

    overrides: dict[str, Any] | None
    policy: Policy
    provenance: dict[str, str]


_KNOWN: dict[str, _Terms] = {}
"""What stands between head and tail, to what it says."""

_LIMITS: dict[str, tuple[Limit, ...]] = {}
"""All that stands behind a head, where nothing of it is a licence's own, to the limits it names."""

_KNOWN_MAX, _TEXT_MAX = 1000, 4000


def decode_briefly(name: str, version: int, data: str) -> Event:
    """Read what a fold needs of a payload; raises as `decode` does.

    Of the issue of a licence that is like an earlier one, times are known by their form alone.
    """
    if name != _NAME or version != _VERSION:
        return _other(name, version, data)
    head = _HEAD.match(data)
    if head is None:
        return decode(name, version, data)
    limits = _LIMITS.get(data[head.end() :])
    if limits is not None:
        return LimitsIssued(head[_LICENSE], limits)
    end = data.rfind("},") + 1
    tail = _TAIL.fullmatch(data, end)
    if tail is None:
        return decode(name, version, data)
    terms = _KNOWN.get(data[head.end() : end])
    if terms is None:
        return _learned(data, head, end)
    if tail[_REFERENCE] is None and tail[_STARTS_AT] is None:
        _keep(_LIMITS, data[head.end() :], terms.policy.limits)
    return LimitsIssued(head[_LICENSE], terms.policy.limits)


def decode_likewise(name: str, version: int, data: str) -> Event:
    """Read all of a payload, as `decode` does, in less time if it is like one read before."""
    if name != _NAME or version != _VERSION:
        return _other(name, version, data)
    head = _HEAD.match(data)
    end = data.rfind("},") + 1
    tail = None if head is None else _TAIL.fullmatch(data, end)
    if head is None or tail is None:
        return decode(name, version, data)
    terms = _KNOWN.get(data[head.end() : end])
    return _learned(data, head, end) if terms is None else _issued(data, head, terms, tail)


def _other(name: str, version: int, data: str) -> Event:
    """Read what is no issue of a licence: a hold by its text, and all else as `decode` does."""
    found = held(data) if name == _HELD and version == _HELD_VERSION else None
    return decode(name, version, data) if found is None else found


def _learned(data: str, head: re.Match[str], end: int) -> Event:
    """Read a payload strictly, and keep what may stand in others as well."""
    event = decode(_NAME, _VERSION, data)
    assert isinstance(event, LicenseIssued)
    if event.license == head[_LICENSE]:
        terms = _Terms(event.overrides, event.policy, event.provenance)
        _keep(_KNOWN, data[head.end() : end], terms)
    return event


def _keep(known: dict[str, T], text: str, said: T) -> None:
    """Keep what a text says, unless it is long; when there are too many, begin anew."""
    if len(text) <= _TEXT_MAX:
        if len(known) >= _KNOWN_MAX:
            known.clear()
        known[text] = said


def _issued(data: str, head: re.Match[str], terms: _Terms, tail: re.Match[str]) -> Event:
    found: tuple[Any, ...] = head.groups()
    customer, deployment, expires_at, key_hash, key_hint, license, maintained = found
    reference, starts_at, template, template_version = tail.groups()
    try:
        return LicenseIssued(
            customer=customer,
            deployment=deployment,
            expires_at=_instant(expires_at),
            key_hash=key_hash,
            key_hint=key_hint,
            license=license,
            maintenance_until=parse_instant(maintained),
            overrides=terms.overrides,
            policy=terms.policy,
            provenance=terms.provenance,
            reference=reference,
            starts_at=_instant(starts_at),
            template=template,
            template_version=int(template_version),
        )
    except Invalid:  # a day that there is not, say: told as for every other payload
        return decode(_NAME, _VERSION, data)


def _instant(text: str | None) -> int | None:
    return None if text is None else parse_instant(text)
