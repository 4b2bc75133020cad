"""The life of a licence: every change from every state, and its ends (C1, C6)."""

from typing import Any

import pytest
from tollbook.errors import Invalid

from domain.license_commands import (
    ActivateLicense,
    DeactivateLicense,
    ExpireLicense,
    ReinstateLicense,
    RenewLicense,
    RevokeLicense,
    RotateLicenseKey,
    SuspendLicense,
    UpgradeLicense,
)
from domain.outcomes import Refusal
from tests.domain.examples import DAY, HOUR, NOON, SECOND, instant
from tests.domain.licensee import LICENSE, NEW_KEY, Licensee, admitted, code

GRACE = 60
END = NOON + DAY
LONG_AGO = "2026-03-01T00:00:00Z"
LATER = "2026-06-01T00:00:00Z"


def licensee(state: str) -> Licensee:
    """Return the customer of a licence in a state, half an hour after whatever led there."""
    acme = Licensee(now=NOON)
    acme.issue(
        deployment="hybrid",
        starts_at="2026-03-10T18:00:00Z" if state == "to begin" else None,
        expires_at="2026-03-11T12:00:00Z",
        grace_seconds=GRACE,
        devices=2,
        seats=1,
    )
    if state == "to begin":
        acme.now += HOUR
        return acme
    admitted(acme.life(ActivateLicense, id="box"))
    if state in ("in grace", "over", "over and booked", "over and suspended"):
        acme.now = END if state == "in grace" else END + GRACE * SECOND
    if state == "over and booked":
        admitted(acme.life(ExpireLicense))
    elif state == "revoked":
        admitted(acme.life(RevokeLicense, reason="not paid"))
    elif state.endswith("suspended"):
        admitted(acme.life(SuspendLicense, reason="not paid"))
    return acme


STATES = (
    *("to begin", "active", "in grace", "over", "over and booked"),
    *("suspended", "over and suspended", "revoked"),
)
DONE = "done"
GONE, HALTED, PAST = "license_revoked", "license_suspended", "license_expired"
NOT_SUSPENDED, NOT_OVER = "license_not_suspended", "license_not_expired"

WHAT: dict[str, tuple[type[Any], dict[str, Any], tuple[str, ...]]] = {
    # command: class, fields, and its outcome in each state
    "activate": (
        ActivateLicense,
        {"id": "new-box"},
        (DONE, DONE, DONE, PAST, PAST, HALTED, HALTED, GONE),
    ),
    "renew": (RenewLicense, {"expires_at": LATER}, (*(DONE,) * 7, GONE)),
    "upgrade": (UpgradeLicense, {"overrides": {}}, (*(DONE,) * 7, GONE)),
    "suspend": (SuspendLicense, {"reason": "?"}, (*(DONE,) * 5, HALTED, HALTED, GONE)),
    "reinstate": (ReinstateLicense, {}, (*(NOT_SUSPENDED,) * 5, DONE, DONE, GONE)),
    "revoke": (RevokeLicense, {"reason": "?"}, (*(DONE,) * 7, GONE)),
    "expire": (ExpireLicense, {}, (*(NOT_OVER,) * 3, DONE, *(NOT_OVER,) * 4)),
    "rotate": (
        RotateLicenseKey,
        {"key_hash": NEW_KEY, "key_hint": "efgh"},
        (*(DONE,) * 7, GONE),
    ),
}
OUTCOMES = [
    (what, state, outcome)
    for what, (_, _, outcomes) in WHAT.items()
    for state, outcome in zip(STATES, outcomes, strict=True)
]


@pytest.mark.parametrize(("what", "state", "outcome"), OUTCOMES)
def test_a_change_is_made_or_refused_by_where_the_licence_stands(
    what: str, state: str, outcome: str
) -> None:
    acme = licensee(state)
    before = acme.licenses[LICENSE]
    kind, fields, _ = WHAT[what]
    assert code(acme.life(kind, **fields)) == outcome
    after = acme.licenses[LICENSE]
    assert after.version == before.version + (outcome == DONE)
    if outcome != DONE:
        assert after == before


USE_OUTCOMES = ("license_not_started", DONE, DONE, PAST, PAST, HALTED, HALTED, GONE)


@pytest.mark.parametrize(("state", "outcome"), [*zip(STATES, USE_OUTCOMES, strict=True)])
def test_a_licence_is_used_only_while_it_is_active_and_in_its_time(
    state: str, outcome: str
) -> None:
    acme = licensee(state)
    facts = {"environment": "development"}
    assert code(acme.validate(facts=facts)) == outcome
    assert code(acme.hold("r", facts=facts)) == outcome
    assert code(acme.lease("seat")) == outcome


@pytest.mark.parametrize("state", STATES)
def test_a_machine_is_given_up_in_whatever_state(state: str) -> None:
    acme = licensee(state)
    outcome = "license_device_unknown" if state == "to begin" else DONE
    assert code(acme.life(DeactivateLicense, device="box")) == outcome
    assert code(acme.life(DeactivateLicense, device="box")) == "license_device_unknown"


AFTER: list[tuple[str, str, str, str, bool]] = [
    # (state, command, its status then, and whether it admits)
    ("over and booked", "renew", "active", "", True),
    ("over", "renew", "active", "", True),
    ("suspended", "renew", "suspended", "not paid", False),
    ("suspended", "reinstate", "active", "", True),
    ("over and suspended", "reinstate", "active", "", False),
    ("over and booked", "suspend", "suspended", "?", False),
    ("over and booked", "upgrade", "expired", "", False),
    ("active", "revoke", "revoked", "?", False),
]


@pytest.mark.parametrize(("state", "what", "status", "reason", "admits"), AFTER)
def test_a_change_leaves_the_licence_where_it_says(
    state: str, what: str, status: str, reason: str, admits: bool
) -> None:
    acme = licensee(state)
    kind, fields, _ = WHAT[what]
    admitted(acme.life(kind, **fields))
    license = acme.licenses[LICENSE]
    assert (license.status, license.reason) == (status, reason)
    facts = {"environment": "development"}
    assert (code(acme.validate(facts=facts)) == DONE) == admits


@pytest.mark.parametrize(
    ("at", "outcome"),
    [
        (END - 1, DONE),
        (END, DONE),
        (END + GRACE * SECOND - 1, DONE),
        (END + GRACE * SECOND, PAST),
    ],
)
def test_the_end_and_its_grace_are_kept_to_the_microsecond(at: int, outcome: str) -> None:
    acme = licensee("active")
    acme.now = at
    facts = {"environment": "development"}
    decision = acme.validate(facts=facts)
    assert code(decision) == outcome
    assert code(acme.life(ExpireLicense)) == ("license_not_expired" if outcome == DONE else DONE)
    if isinstance(decision, Refusal):
        assert instant(decision.facts["expired_at"]) == END
    else:
        assert getattr(decision[0], "decision", {}).get("grace") == (True if at >= END else None)


@pytest.mark.parametrize(("offset", "outcome"), [(-1, "license_not_started"), (0, DONE)])
def test_a_licence_begins_with_its_first_instant(offset: int, outcome: str) -> None:
    acme = Licensee()
    acme.issue(starts_at="2026-03-10T18:00:00Z")
    acme.now = instant("2026-03-10T18:00:00Z") + offset
    assert code(acme.validate()) == outcome


@pytest.mark.parametrize(
    ("state", "earliest"), [("active", END), ("over and booked", END + GRACE * SECOND)]
)
def test_a_renewal_moves_the_end_later(state: str, earliest: int) -> None:
    acme = licensee(state)
    with pytest.raises(Invalid) as caught:
        acme.life(RenewLicense, expires_at=earliest)
    assert caught.value.facts["field"] == "expires_at"
    admitted(acme.life(RenewLicense, expires_at=earliest + 1, reference="offer-2"))
    license = acme.licenses[LICENSE]
    assert (license.expires_at, license.reference) == (earliest + 1, "offer-2")
    assert license.maintenance_until == instant("2028-03-10T12:00:00Z"), "a year was added"


def test_a_licence_without_an_end_can_be_given_one() -> None:
    acme = Licensee()
    acme.issue(reference="offer-1")
    admitted(acme.life(RenewLicense, expires_at=NOON + 1, maintenance_until=NOON + 2))
    license = acme.licenses[LICENSE]
    assert (license.expires_at, license.maintenance_until) == (NOON + 1, NOON + 2)
    assert license.reference == "offer-1"


def test_an_upgrade_keeps_the_life_and_counts_the_policies() -> None:
    acme = licensee("active")
    before = acme.licenses[LICENSE]
    assert before.policy_version() == "open:3:0"
    acme.upgrade(priority=1)
    acme.upgrade(priority=2)
    after = acme.licenses[LICENSE]
    assert after.policy_version() == "open:3:2"
    assert (after.policy.priority, after.policy.grace_seconds) == (2, 0)
    assert (after.keys, after.devices, after.expires_at) == (
        before.keys,
        before.devices,
        before.expires_at,
    )
    (only,) = admitted(acme.life(UpgradeLicense, overrides={}))
    assert getattr(only, "template", None) == "open"
    admitted(acme.life(UpgradeLicense, template="other", deployment="saas"))
    last = acme.licenses[LICENSE]
    assert (last.policy_version(), last.deployment) == ("other:3:4", "saas")


# --- machines -----------------------------------------------------------------------------------


def test_a_machine_more_than_the_policy_allows_has_no_place_until_another_gives_it_up() -> None:
    acme = licensee("active")
    admitted(acme.life(ActivateLicense, id="second"))
    refusal = acme.life(ActivateLicense, id="third")
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.facts["devices"]) == ("license_devices_taken", 2)
    admitted(acme.life(DeactivateLicense, device="box"))
    admitted(acme.life(ActivateLicense, id="third"))
    assert [device.id for device in acme.licenses[LICENSE].devices] == ["second", "third"]


def test_fewer_places_do_not_turn_machines_out_but_admit_none() -> None:
    acme = licensee("active")
    admitted(acme.life(ActivateLicense, id="second"))
    acme.upgrade(devices=1)
    admitted(acme.life(DeactivateLicense, device="second"))
    assert code(acme.life(ActivateLicense, id="third")) == "license_devices_taken"


def test_a_licence_for_the_api_alone_is_activated_nowhere() -> None:
    acme = Licensee()
    acme.issue(deployment="saas", devices=2)
    assert code(acme.life(ActivateLicense)) == "license_channel_denied"


def test_components_stand_in_the_order_of_their_names_however_they_were_given() -> None:
    acme = licensee("active")
    admitted(acme.life(ActivateLicense, components={"disk": "d" * 32, "cpu": "c" * 32}))
    assert list(acme.licenses[LICENSE].devices[-1].components) == ["cpu", "disk"]


@pytest.mark.parametrize(("count", "fits"), [(0, False), (1, False), (2, True), (3, True)])
def test_a_machine_names_as_many_components_as_bind_it(count: int, fits: bool) -> None:
    acme = Licensee()
    acme.issue(deployment="on_premise", devices=1, hardware={"required": 2})
    components = {f"part-{number}": f"{number}" * 32 for number in range(count)} or None
    if fits:
        admitted(acme.life(ActivateLicense, components=components))
        return
    with pytest.raises(Invalid) as caught:
        acme.life(ActivateLicense, components=components)
    assert caught.value.facts["field"] == "components"
