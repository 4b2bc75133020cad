"""The checks of a licence: each code, their order, both sides of every bound, what is absent."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from domain.admission import standing
from domain.allocation import NEVER
from domain.denials import DENIALS
from domain.license import LicenseKey
from domain.outcomes import Refusal
from tests.domain.examples import DAY, NOON, SECOND
from tests.domain.licensed import (
    CPU,
    DISK,
    KEY,
    OPEN,
    OTHER_KEY,
    asked,
    code,
    fact,
    licence,
    policy,
)


class Breach(NamedTuple):
    """A change of the example that one check refuses."""

    license: dict[str, Any]
    facts: dict[str, Any]
    request: dict[str, Any]
    told: dict[str, Any]
    """What the refusal says besides the licence and its policy."""


DOCUMENT = Path(__file__).parents[2] / "docs" / "formats" / "licenses.md"
MINUTE = 60 * SECOND

BREACHES: dict[str, Breach] = {
    "license_key_invalid": Breach({}, {}, {"key": OTHER_KEY}, {}),
    "license_revoked": Breach(
        {"status": "revoked", "since": NOON},
        {},
        {},
        {"revoked_at": "2026-03-10T12:00:00.000000Z"},
    ),
    "license_suspended": Breach(
        {"status": "suspended", "since": NOON, "reason": "unpaid"},
        {},
        {},
        {"reason": "unpaid", "suspended_at": "2026-03-10T12:00:00.000000Z"},
    ),
    "license_not_started": Breach(
        {"starts_at": NOON + 1},
        {},
        {},
        {"starts_at": "2026-03-10T12:00:00.000001Z"},
    ),
    "license_expired": Breach(
        {"expires_at": NOON - MINUTE}, {}, {}, {"expired_at": "2026-03-10T11:59:00.000000Z"}
    ),
    "license_channel_denied": Breach({"deployment": "saas"}, {}, {}, {"channel": "on_premise"}),
    "license_not_activated": Breach({"devices": ()}, {}, {}, {}),
    "license_model_denied": Breach({}, {}, {"model": "llama"}, {"model": "llama"}),
    "license_feature_denied": Breach(
        {}, {"features": ["vision", "batch", "audio"]}, {}, {"feature": "audio"}
    ),
    "license_version_denied": Breach({}, {"model_version": "5.0.0"}, {}, {"version": "5.0.0"}),
    "license_watermark_required": Breach(
        {}, {"watermark": None}, {}, {"absent": True, "fact": "watermark"}
    ),
    "license_hardware_mismatch": Breach({}, {"hardware": {"cpu": CPU, "board": DISK}}, {}, {}),
    "license_gpu_mismatch": Breach({}, {"gpus": ["GPU-1", "GPU-3"]}, {}, {}),
    "license_cloud_mismatch": Breach({}, {"cloud_account": "444"}, {}, {}),
    "license_domain_mismatch": Breach({}, {"domain": "www.example.com"}, {}, {}),
    "license_address_mismatch": Breach(
        {}, {"address": {"value": "192.0.3.0", "from": "observed"}}, {}, {}
    ),
    "license_region_denied": Breach({}, {"region": "us-1"}, {}, {"region": "us-1"}),
    "license_export_denied": Breach({}, {"country": "KP"}, {}, {"country": "KP"}),
}

ELSEWHERE = ["license_limit_reached", "license_seats_taken"]
"""The checks that need what was used."""


def refused(*breaches: Breach) -> Refusal | None:
    """Ask with several changes at once."""
    license: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    request: dict[str, Any] = {}
    for breach in breaches:
        license |= breach.license
        facts |= breach.facts
        request |= breach.request
    return asked(licence(**license), fact(**facts), **request)


def test_the_example_is_admitted() -> None:
    assert asked(licence()) is None


def test_every_code_has_its_row_here_in_the_order_of_the_document() -> None:
    assert [*BREACHES, *ELSEWHERE] == list(DENIALS)


@pytest.mark.parametrize("expected", BREACHES)
def test_every_code_is_reached_and_told_with_its_facts(expected: str) -> None:
    breach = BREACHES[expected]
    refusal = refused(breach)
    assert refusal is not None
    common = {"license": "lic", "policy_version": "enterprise:2:1"}
    assert (refusal.code, refusal.facts) == (expected, {**common, **breach.told})
    assert refusal.detail.startswith(f"licence lic: {DENIALS[expected]}")


# A licence has one status, so revoked and suspended exclude each other; the others can be joined.
PAIRS = [
    (first, second)
    for number, first in enumerate(BREACHES)
    for second in list(BREACHES)[number + 1 :]
    if not BREACHES[first].license.keys() & BREACHES[second].license.keys()
]


def test_all_adjacent_codes_but_one_pair_can_be_joined() -> None:
    missing = set(pairwise(BREACHES)) - set(PAIRS)
    assert missing == {("license_revoked", "license_suspended")}


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_of_two_failing_checks_the_earlier_one_answers(first: str, second: str) -> None:
    assert code(refused(BREACHES[first], BREACHES[second])) == first


def test_the_document_names_the_same_codes_in_the_same_order() -> None:
    rows = re.findall(r"^\| (\d+) \| `(license_\w+)` \|", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    assert rows == [(str(number), each) for number, each in enumerate(DENIALS, 1)]


LONG_AGO = NOON - 100 * DAY


@pytest.mark.parametrize(
    ("fields", "now", "expected"),
    [
        ({"starts_at": NOON}, NOON - 1, "license_not_started"),
        ({"starts_at": NOON}, NOON, None),
        ({"expires_at": NOON}, NOON - 1, None),
        ({"expires_at": NOON}, NOON, None),
        ({"expires_at": NOON}, NOON + MINUTE - 1, None),
        ({"expires_at": NOON}, NOON + MINUTE, "license_expired"),
        ({"expires_at": NEVER}, 253_402_300_799_999_999, None),
        ({"starts_at": NOON, "expires_at": LONG_AGO}, NOON - 1, "license_not_started"),
        ({"status": "expired"}, NOON, "license_expired"),
    ],
)
def test_a_licence_admits_from_its_start_to_the_end_of_its_grace(
    fields: dict[str, Any], now: int, expected: str | None
) -> None:
    assert code(asked(licence(**fields), now=now)) == expected


def test_without_grace_the_end_is_the_end() -> None:
    license = licence(policy(grace_seconds=None), expires_at=NOON)
    assert code(asked(license, now=NOON - 1)) is None
    assert code(asked(license, now=NOON)) == "license_expired"


ROTATED = (LicenseKey(OTHER_KEY, "zzzz", NOON), LicenseKey(KEY, "abcd", NEVER))


@pytest.mark.parametrize(
    ("key", "now", "expected"),
    [
        (OTHER_KEY, NOON - 1, None),
        (OTHER_KEY, NOON, "license_key_invalid"),
        (KEY, NOON, None),
        (None, NOON, None),
        ("", NOON, "license_key_invalid"),
        (KEY.upper(), NOON, "license_key_invalid"),
        (KEY[:-1], NOON, "license_key_invalid"),
    ],
)
def test_a_replaced_key_opens_until_its_overlap_ends(
    key: str | None, now: int, expected: str | None
) -> None:
    assert code(asked(licence(keys=ROTATED), key=key, now=now)) == expected


def test_a_running_inference_is_asked_for_the_standing_alone() -> None:
    for status, expected in [("revoked", "license_revoked"), ("suspended", "license_suspended")]:
        assert code(standing(licence(status=status), NOON)) == expected
    over = licence(expires_at=NOON - MINUTE)
    assert code(standing(over, NOON)) == "license_expired"
    assert standing(over, NOON - 1) is None
    assert standing(licence({"models": []}, starts_at=NOON + 1), NOON) is None


@pytest.mark.parametrize(
    ("deployment", "channel", "environment", "expected"),
    [
        ("saas", "api", None, None),
        ("saas", "on_premise", "development", "license_channel_denied"),
        ("on_premise", "on_premise", None, None),
        ("on_premise", "api", "development", "license_channel_denied"),
        ("hybrid", "api", "development", None),
        ("hybrid", "api", "production", "license_channel_denied"),
        ("hybrid", "api", None, "license_channel_denied"),
        ("hybrid", "on_premise", "production", None),
        ("hybrid", "on_premise", None, None),
    ],
)
def test_a_deployment_says_where_the_model_may_run(
    deployment: str, channel: str, environment: str | None, expected: str | None
) -> None:
    facts = {} if environment is None else {"environment": environment}
    license = licence(OPEN, deployment=deployment)
    assert code(asked(license, {"channel": channel, **facts})) == expected
    assert code(asked(license, facts, channel=channel)) == expected, "the default does as well"


def test_a_hybrid_licence_says_that_it_misses_the_environment() -> None:
    refusal = asked(licence(OPEN, deployment="hybrid"), {"channel": "api"})
    assert refusal is not None
    assert refusal.facts["fact"] == "environment"
    assert refusal.facts["absent"] is True
    assert "channel" not in refusal.facts


def test_a_default_channel_is_no_better_than_declared() -> None:
    license = licence({**OPEN, "provenance": {"channel": "observed"}}, deployment="saas")
    refusal = asked(license, {}, channel="api")
    assert refusal is not None
    assert (refusal.code, refusal.facts["fact"]) == ("license_channel_denied", "channel")
    assert asked(license, {"channel": {"value": "api", "from": "observed"}}) is None
