"""Seats of a licence: never more live leases than seats, whatever happens to either (C12)."""

from typing import Any

import pytest

from domain.license_commands import RevokeLicense, SuspendLicense
from domain.outcomes import Refusal
from domain.values import INSTANT_MAX
from tests.domain.examples import HOUR, MINUTE, NOON, SECOND, instant
from tests.domain.licensee import HOLDER, KEY, LICENSE, MODEL, Licensee, code

ENDED, TAKEN = "license_lease_ended", "license_seats_taken"


def licensee(seats: int = 2, **policy: Any) -> Licensee:
    """Return the customer of a licence with seats."""
    acme = Licensee()
    acme.issue(**{"deployment": "on_premise", "seats": seats, **policy})
    return acme


def seated(acme: Licensee) -> list[str]:
    """Return the leases that are known of, expired ones included."""
    use = acme.balance.uses.get(LICENSE)
    return [] if use is None else [lease.id for lease in use.leases]


def test_a_lease_says_what_it_is_for_and_until_when() -> None:
    acme = licensee(lease_seconds=60)
    lease = acme.leased("a", license_key=KEY)
    assert (lease.lease, lease.license, lease.model) == ("a", LICENSE, MODEL)
    assert (lease.holder, lease.license_key, lease.borrow_seconds) == (HOLDER, KEY, None)
    assert lease.expires_at == NOON + MINUTE
    assert lease.decision == {"policy": "open:3:0"}


def test_a_seat_more_than_there_are_is_refused_until_one_is_free() -> None:
    acme = licensee(2, lease_seconds=60)
    acme.leased("a")
    acme.now += SECOND
    acme.leased("b")
    refusal = acme.lease("c")
    assert isinstance(refusal, Refusal)
    assert refusal.code == TAKEN
    assert refusal.facts["seats"] == 2
    assert instant(refusal.facts["resets_at"]) == NOON + MINUTE


def test_without_seats_nothing_is_leased_and_nothing_resets() -> None:
    refusal = licensee(0).lease("a")
    assert isinstance(refusal, Refusal)
    assert (refusal.code, "resets_at" in refusal.facts) == (TAKEN, False)


@pytest.mark.parametrize(("after", "outcome"), [(-1, TAKEN), (0, "done")])
def test_the_seat_of_a_holder_who_crashed_is_free_when_the_lease_expires(
    after: int, outcome: str
) -> None:
    acme = licensee(1, lease_seconds=60)
    acme.leased("a")
    acme.now += MINUTE + after
    assert code(acme.lease("b")) == outcome
    assert seated(acme) == (["b"] if outcome == "done" else ["a"])


def test_a_seat_that_is_given_back_is_free_at_once() -> None:
    acme = licensee(1)
    acme.leased("a")
    assert code(acme.give_back("a")) == "done"
    assert acme.balance.uses.get(LICENSE) is None, "nothing is kept of what says nothing"
    assert code(acme.lease("b")) == "done"
    assert code(acme.give_back("a")) == ENDED


@pytest.mark.parametrize(("after", "outcome"), [(-1, "done"), (0, ENDED)])
def test_a_lease_is_renewed_while_it_is_live(after: int, outcome: str) -> None:
    acme = licensee(1, lease_seconds=60)
    acme.leased("a")
    acme.now += MINUTE + after
    decision = acme.renew_lease("a")
    assert code(decision) == outcome
    if isinstance(decision, Refusal):
        assert instant(decision.facts["expired_at"]) == NOON + MINUTE
        assert code(acme.give_back("a")) == ENDED
    else:
        assert acme.renewed("a").expires_at == acme.now + MINUTE


def test_a_lease_that_nobody_took_cannot_be_renewed_or_given_back() -> None:
    acme = licensee()
    for decision in (acme.renew_lease("a"), acme.give_back("a")):
        assert isinstance(decision, Refusal)
        assert (decision.code, decision.facts["lease"]) == (ENDED, "a")
        assert "expired_at" not in decision.facts


def test_a_renewal_needs_no_free_seat_and_keeps_its_own() -> None:
    acme = licensee(1)
    acme.leased("a")
    for _ in range(5):
        acme.now += 4 * MINUTE
        acme.renewed("a")
        assert code(acme.lease("b")) == TAKEN
    use = acme.balance.uses.get(LICENSE)
    assert use is not None
    assert [(lease.id, lease.version, lease.leased_at) for lease in use.leases] == [("a", 6, NOON)]


# --- how long -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "lives"),
    [
        ({}, 300 * SECOND),
        ({"lease_seconds": 60}, 60 * SECOND),
        ({"expires_at": NOON + MINUTE}, 60 * SECOND),
        ({"expires_at": NOON + MINUTE, "grace_seconds": 30}, 90 * SECOND),
        ({"expires_at": NOON + HOUR, "grace_seconds": 30}, 300 * SECOND),
    ],
)
def test_a_lease_never_outlives_the_licence_and_its_grace(
    policy: dict[str, Any], lives: int
) -> None:
    acme = licensee(1, **policy)
    assert acme.leased("a").expires_at == NOON + lives
    acme.now += 10 * SECOND
    assert acme.renewed("a").expires_at == min(
        acme.now + acme.licenses[LICENSE].policy.lease_seconds * SECOND,
        acme.licenses[LICENSE].ends_at(),
    )


def test_a_lease_at_the_end_of_time_ends_with_it() -> None:
    acme = Licensee(now=INSTANT_MAX - MINUTE)
    acme.issue(deployment="on_premise", seats=1)
    assert acme.leased("a").expires_at == INSTANT_MAX


def test_in_the_grace_a_lease_says_so() -> None:
    acme = licensee(1, expires_at=NOON + MINUTE, grace_seconds=60)
    acme.now += MINUTE
    assert acme.leased("a").decision == {"grace": True, "policy": "open:3:0"}


@pytest.mark.parametrize(
    ("asked", "lives"),
    [(None, 300), (60, 60), (86_400, 86_400), (86_401, None)],
)
def test_a_seat_is_lent_for_as_long_as_the_policy_lends(
    asked: int | None, lives: int | None
) -> None:
    acme = licensee(1, borrow_seconds=86_400)
    decision = acme.lease("a", borrow_seconds=asked)
    if lives is None:
        assert isinstance(decision, Refusal)
        assert decision.code == "license_borrow_denied"
        assert decision.facts["borrow_seconds"] == 86_400
        return
    assert code(decision) == "done"
    acme.now += lives * SECOND - 1
    assert code(acme.lease("b")) == TAKEN
    acme.now += 1
    assert code(acme.lease("b")) == "done"


def test_a_policy_that_lends_nothing_still_leases() -> None:
    acme = licensee(1)
    assert code(acme.lease("a", borrow_seconds=60)) == "license_borrow_denied"
    assert code(acme.lease("a")) == "done"


def test_a_borrowed_seat_is_given_back_early_or_renewed_without_being_shortened() -> None:
    acme = licensee(1, borrow_seconds=86_400)
    borrowed = acme.leased("a", borrow_seconds=86_400)
    acme.now += HOUR
    assert acme.renewed("a").expires_at == borrowed.expires_at
    acme.now = borrowed.expires_at - SECOND
    assert acme.renewed("a").expires_at == acme.now + 300 * SECOND
    assert code(acme.give_back("a")) == "done"
    assert code(acme.lease("b")) == "done"


# --- a policy changed while leases are out --------------------------------------------------------


def test_with_fewer_seats_only_the_oldest_leases_are_renewed() -> None:
    acme = licensee(4)
    for name in ("d", "c"):
        acme.leased(name)
    acme.now += SECOND
    for name in ("b", "a"):
        acme.leased(name)
    acme.upgrade(seats=2)
    assert code(acme.lease("e")) == TAKEN
    # At one instant the id decides.
    assert [code(acme.renew_lease(name)) for name in "abcd"] == [TAKEN, TAKEN, "done", "done"]
    acme.give_back("d")
    assert [code(acme.renew_lease(name)) for name in "abc"] == ["done", TAKEN, "done"]
    acme.upgrade(seats=0)
    assert {code(acme.renew_lease(name)) for name in "abc"} == {TAKEN}
    acme.now += 5 * MINUTE
    acme.upgrade(seats=1)
    assert code(acme.lease("e")) == "done"


def test_more_seats_are_there_at_once() -> None:
    acme = licensee(1)
    acme.leased("a")
    acme.upgrade(seats=2)
    assert code(acme.lease("b")) == "done"
    assert code(acme.lease("c")) == TAKEN


def test_a_changed_policy_neither_ends_nor_forgets_leases() -> None:
    acme = licensee(2, limits=[{"id": "l", "unit": "requests", "limit": 1, "per": "day"}])
    lease = acme.leased("a")
    acme.upgrade(seats=2, lease_seconds=60)
    assert seated(acme) == ["a"]
    assert acme.renewed("a").expires_at == lease.expires_at, "the token is good for as long anyway"


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [(SuspendLicense, "license_suspended"), (RevokeLicense, ENDED)],
)
def test_a_licence_that_stands_no_more_renews_nothing(kind: type[Any], outcome: str) -> None:
    acme = licensee(1)
    acme.leased("a")
    acme.life(kind, reason="?")
    assert code(acme.renew_lease("a")) == outcome
    assert code(acme.lease("b")) == (
        "license_revoked" if kind is RevokeLicense else "license_suspended"
    )
    assert code(acme.give_back("a")) == ("done" if kind is SuspendLicense else ENDED)


def test_a_renewal_is_checked_by_the_facts_of_its_own_time() -> None:
    acme = licensee(1, regions={"allow": ["eu-*"]}, models=["every*"])
    acme.leased("a", facts={"region": "eu-west-1"})
    assert code(acme.renew_lease("a")) == "license_region_denied"
    assert code(acme.renew_lease("a", facts={"region": "us-east-1"})) == "license_region_denied"
    assert code(acme.renew_lease("a", facts={"region": "EU-north-1"})) == "done"
    acme.upgrade(seats=1, models=["other"])
    assert code(acme.renew_lease("a")) == "license_model_denied"


def test_a_lease_is_for_where_customers_run_the_model_unless_it_says_otherwise() -> None:
    acme = licensee(1, deployment="saas")
    assert code(acme.lease("a")) == "license_channel_denied"
    assert code(acme.lease("a", facts={"channel": "api"})) == "done"


def test_limits_do_not_count_leases() -> None:
    acme = licensee(5, limits=[{"id": "l", "unit": "requests", "limit": 0, "per": "day"}])
    assert "remaining" not in acme.leased("a").decision
    assert acme.used() == 0


def test_licences_do_not_share_their_seats() -> None:
    acme = licensee(1)
    acme.issue("other", key_hash="c" * 32, deployment="on_premise", seats=1)
    acme.leased("a")
    acme.leased("b", license="other")
    assert code(acme.lease("c", license="other")) == TAKEN


def test_a_wrong_key_leases_nothing() -> None:
    assert code(licensee().lease("a", license_key="b" * 32)) == "license_key_invalid"
