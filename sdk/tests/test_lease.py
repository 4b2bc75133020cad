"""Leases: whom they let in, for how long, and every way in which a token is refused."""

import string
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tollbook import canonical, lease, paseto, signed_decision, strict_base64, tokens
from tollbook.errors import Invalid, Refused, Tampered, TollbookError
from tollbook.lease import Lease
from tollbook.times import MAX_INSTANT, SECOND, format_instant

LEDGER = tokens.SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
STRANGER = tokens.SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
TRUSTED = tokens.TrustedKeys([LEDGER.public_key])
HOLDER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34)))
HOLDER = HOLDER_KEY.public_key().public_bytes_raw()
THIEF_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(3, 35)))
THIEF = THIEF_KEY.public_key().public_bytes_raw()

NOW = 1_767_323_045_000_000
SKEW = lease.SKEW_SECONDS * SECOND
LEASE = Lease(
    id="lease-1",
    license="lic-1",
    customer="cust-1",
    model="m",
    holder=lease.thumbprint(HOLDER),
    policy="enterprise:0:2",
    issued_at=NOW,
    expires_at=NOW + lease.LEASE_SECONDS_MAX * SECOND,
    features=("batch", "streaming"),
    device="dev-1",
)
TOKEN = lease.sign(LEASE, LEDGER)


def verify(token: str = TOKEN, now: int = NOW, **changed: Any) -> Lease:
    """Verify a token as its rightful holder would, but for what is changed."""
    use = {"holder": HOLDER, "trusted": TRUSTED, "license": "lic-1", "model": "m", **changed}
    return lease.verify(token, now=now, **use)


def refusal(token: str = TOKEN, now: int = NOW, **changed: Any) -> TollbookError:
    """Return the error that a token is refused with; it never shows the token."""
    with pytest.raises((Invalid, Refused, Tampered)) as refused:
        verify(token, now, **changed)
    assert len(token) < 20 or token not in str(refused.value.problem())
    return refused.value


def forged(claims: dict[str, Any], key: tokens.SigningKey = LEDGER) -> str:
    """Sign claims that no lease has; only the ledger itself could."""
    return tokens.sign(lease.KIND, LEASE.holder, claims, key)


def claims_of(token: str = TOKEN) -> dict[str, Any]:
    """Return the claims of a token without their type."""
    claims: dict[str, Any] = canonical.loads(paseto.parse(token).message)
    del claims["typ"]
    return claims


ids = st.text(string.ascii_letters + string.digits + "._:-", min_size=1, max_size=128)


@given(
    st.builds(
        Lease,
        *[ids] * 4,
        st.just(LEASE.holder),
        ids,
        st.just(NOW),
        st.integers(NOW + 1, NOW + lease.LEASE_SECONDS_MAX * SECOND),
        st.lists(ids, max_size=100).map(tuple),
        st.booleans(),
        st.none() | ids,
    )
)
def test_a_signed_lease_comes_back(granted: Lease) -> None:
    opened = verify(lease.sign(granted, LEDGER), license=granted.license, model=granted.model)
    assert opened == granted


def test_the_largest_lease_fits_into_a_token() -> None:
    longest = "x" * 128
    features = tuple(f"{number:03d}".ljust(128, "x") for number in range(100))
    largest = LEASE._replace(
        id=longest, license=longest, customer=longest, model=longest, policy=longest + "x" * 32
    )._replace(features=features, device=longest)
    assert verify(lease.sign(largest, LEDGER), license=longest, model=longest) == largest


def test_the_token_says_when_to_renew() -> None:
    assert verify().renew_at() == NOW + 150 * SECOND
    assert claims_of()["renew_at"] == format_instant(NOW + 150 * SECOND)


@pytest.mark.parametrize(
    ("now", "code"),
    [
        (NOW - SKEW - 1, "lease_not_yet"),
        (NOW - SKEW, None),
        (NOW, None),
        (LEASE.expires_at + SKEW - 1, None),
        (LEASE.expires_at + SKEW, "lease_expired"),
        (0, "lease_not_yet"),
        (MAX_INSTANT, "lease_expired"),
    ],
)
def test_a_lease_holds_for_its_life_and_the_skew_of_clocks(now: int, code: str | None) -> None:
    if code is None:
        assert verify(now=now) == LEASE
    else:
        assert refusal(now=now).code == code


def test_the_worst_delay_of_a_revocation_is_305_seconds() -> None:
    """A licence is revoked right after a lease was granted; no ordinary lease holds for longer."""
    assert lease.WORST_REVOCATION_SECONDS == 305
    last = NOW + lease.WORST_REVOCATION_SECONDS * SECOND - 1
    assert verify(now=last) == LEASE
    assert refusal(now=last + 1).code == "lease_expired"
    with pytest.raises(Invalid, match="life of at most 300 seconds"):
        lease.sign(LEASE._replace(expires_at=LEASE.expires_at + 1), LEDGER)


def test_only_a_borrowed_lease_lives_longer() -> None:
    longest = NOW + lease.BORROW_SECONDS_MAX * SECOND
    borrowed = LEASE._replace(borrowed=True, expires_at=longest)
    assert verify(lease.sign(borrowed, LEDGER), longest) == borrowed
    with pytest.raises(Invalid, match="life of at most 2678400"):
        lease.sign(borrowed._replace(expires_at=longest + 1), LEDGER)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"license": "lic-2"}, "lease_other_license"),
        ({"license": ""}, "lease_other_license"),
        ({"model": "m2"}, "lease_other_model"),
        ({"holder": THIEF}, "lease_other_holder"),
        ({"holder": b""}, "lease_other_holder"),
        ({"trusted": tokens.TrustedKeys([STRANGER.public_key])}, "lease_unknown_key"),
    ],
)
def test_a_lease_lets_nobody_else_in(changed: dict[str, Any], code: str) -> None:
    assert refusal(**changed).code == code


def test_a_lease_signed_by_a_stranger_is_refused() -> None:
    """Under the stranger's own key id, and under that of a key that is trusted."""
    assert refusal(lease.sign(LEASE, STRANGER)).code == "lease_unknown_key"
    footer = paseto.parse(TOKEN).footer
    message = paseto.parse(TOKEN).message
    implicit = f"{lease.KIND.typ}:{LEASE.holder}".encode()
    lying = paseto.sign(message, STRANGER.private_key, footer=footer, implicit=implicit)
    assert refusal(lying).code == "lease_tampered"


def test_a_stranger_cannot_rebind_a_lease() -> None:
    """The thief writes their own name into the claims, or signs them with their own key."""
    claims = {**claims_of(), "holder": lease.thumbprint(THIEF)}
    rebound = tokens.sign(lease.KIND, claims["holder"], claims, STRANGER)
    assert refusal(rebound, holder=THIEF).code == "lease_unknown_key"
    parts = paseto.parse(TOKEN)
    message = parts.message.replace(LEASE.holder.encode(), lease.thumbprint(THIEF).encode())
    body = strict_base64.encode_url(message + parts.signature)
    footer = strict_base64.encode_url(parts.footer)
    assert refusal(f"{paseto.HEADER}{body}.{footer}", holder=THIEF).code == "lease_tampered"


def test_no_token_serves_as_another_kind() -> None:
    nonce = "n" * 16
    decision = signed_decision.sign({}, nonce, NOW, LEDGER)
    assert refusal(decision).code == "lease_tampered"
    with pytest.raises(Tampered) as refused:
        signed_decision.verify(TOKEN, TRUSTED, nonce)
    assert refused.value.code == "decision_tampered"
    # Not even where the contexts are the same bytes, or the claims say another type.
    same = signed_decision.sign(claims_of(), LEASE.holder, NOW, LEDGER)
    assert refusal(same).code == "lease_tampered"
    typed = canonical.dumps({**claims_of(), "typ": signed_decision.KIND.typ})
    implicit = f"{lease.KIND.typ}:{LEASE.holder}".encode()
    footer = paseto.parse(TOKEN).footer
    lying = paseto.sign(typed, LEDGER.private_key, footer=footer, implicit=implicit)
    assert refusal(lying).code == "lease_malformed"


def test_no_changed_character_verifies() -> None:
    for place in range(len(TOKEN)):
        for character in "A-_.=\n" + string.ascii_lowercase[place % 26]:
            changed = TOKEN[:place] + character + TOKEN[place + 1 :]
            if changed != TOKEN:
                codes = ("lease_malformed", "lease_tampered", "lease_unknown_key")
                assert refusal(changed).code in codes


@pytest.mark.parametrize(
    "change",
    [
        *({name: None} for name in claims_of()),
        *({name: ""} for name in claims_of()),
        *({name: 1} for name in claims_of()),
        {"device": []},
        {"features": "all"},
        {"features": [1]},
        {"holder": LEASE.holder.upper()},
        {"holder": lease.thumbprint(THIEF)},
        {"exp": format_instant(NOW)},
        {"exp": format_instant(LEASE.expires_at + 2)},
        {"exp": "9999-12-31T23:59:59"},
        {"renew_at": format_instant(NOW)},
        {"limit": 7},
    ],
)
def test_signed_claims_that_are_no_lease_are_refused(change: dict[str, Any]) -> None:
    assert refusal(forged({**claims_of(), **change})).code == "lease_malformed"


@pytest.mark.parametrize("name", [name for name in claims_of() if name != "device"])
def test_every_claim_is_needed(name: str) -> None:
    claims = claims_of()
    del claims[name]
    assert refusal(forged(claims)).code == "lease_malformed"


@pytest.mark.parametrize("message", [b"", b"[]", b"1.5", b"{", b'{"typ":"tollbook.lease.v1"}'])
def test_a_signed_message_that_is_no_claims_is_refused(message: bytes) -> None:
    implicit = f"{lease.KIND.typ}:{LEASE.holder}".encode()
    footer = paseto.parse(TOKEN).footer
    token = paseto.sign(message, LEDGER.private_key, footer=footer, implicit=implicit)
    assert refusal(token).code == "lease_malformed"


@pytest.mark.parametrize(
    "footer",
    [
        b"",
        b"{}",
        LEDGER.id.encode(),
        b'{"kid":"%s"} ' % LEDGER.id.encode(),
        b'{"kid": "%s"}' % LEDGER.id.encode(),
        b'{"kid":"%s"}' % LEDGER.id.upper().encode(),
        b'{"kid":"%s","key":"%s"}' % (LEDGER.id.encode(), b"0" * 64),
    ],
)
def test_a_footer_is_a_key_id_and_nothing_else(footer: bytes) -> None:
    message = paseto.parse(TOKEN).message
    implicit = f"{lease.KIND.typ}:{LEASE.holder}".encode()
    token = paseto.sign(message, LEDGER.private_key, footer=footer, implicit=implicit)
    assert refusal(token).code == "lease_malformed"


@given(st.text(max_size=300), st.binary(max_size=40))
def test_hostile_tokens_and_holders_are_refused(text: str, holder: bytes) -> None:
    for token in (text, paseto.HEADER + text, TOKEN + text[:1] + "x"):
        assert refusal(token, holder=holder).code.startswith("lease_")
    assert refusal(holder=holder).code == "lease_other_holder"
