"""Reading briefly: what the fold of a customer needs of a payload, without reading all of it.

A cold process folds every licence that a customer has, whichever of them is asked for. Their
payloads differ in ids, keys and times only, so the rest is read strictly once and known again by
its text (the stored form is canonical: docs/formats/events.md).
"""

import re

from adapters.event_store.mapper import decode
from domain.event import Event
from domain.license_events import LicenseIssued, LimitsIssued
from domain.policy import Limit
from domain.values import ID_PATTERN

_ID = ID_PATTERN[1:-1]
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z"
_HEAD = re.compile(
    rf'\{{"customer":"{_ID}","deployment":"(?:saas|on_premise|hybrid)",'
    rf'(?:"expires_at":"{_TIME}",)?"key_hash":"[0-9a-f]{{32}}","key_hint":"[a-z2-7]{{4}}",'
    rf'"license":"({_ID})","maintenance_until":"{_TIME}",'
)
_TAIL = re.compile(
    rf',(?:"reference":"[ !#-\[\]-~]{{0,1000}}",)?(?:"starts_at":"{_TIME}",)?'
    rf'"template":"{_ID}","template_version":(?:0|[1-9][0-9]{{0,14}})\}}'
)

_KNOWN: dict[str, tuple[Limit, ...]] = {}
"""What stands between head and tail, to the limits in it."""

_KNOWN_MAX, _TEXT_MAX = 1000, 4000


def decode_briefly(name: str, version: int, data: str) -> Event:
    """Read what a fold needs of a payload; raises as `decode` does.

    Of the issue of a licence that is like an earlier one, times are known by their form alone.
    """
    if name == LicenseIssued.NAME and version == LicenseIssued.VERSION:
        return _issued(data)
    return decode(name, version, data)


def _issued(data: str) -> Event:
    head = _HEAD.match(data)
    end = data.rfind("},") + 1
    if head is None or not _TAIL.fullmatch(data, end):
        return decode(LicenseIssued.NAME, LicenseIssued.VERSION, data)
    license, text = head[1], data[head.end() : end]
    limits = _KNOWN.get(text)
    if limits is not None:
        return LimitsIssued(license, limits)
    event = decode(LicenseIssued.NAME, LicenseIssued.VERSION, data)
    assert isinstance(event, LicenseIssued)
    if event.license == license and len(text) <= _TEXT_MAX:
        if len(_KNOWN) >= _KNOWN_MAX:
            _KNOWN.clear()
        _KNOWN[text] = event.policy.limits
    return event
