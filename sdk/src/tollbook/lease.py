"""Leases: a seat of a licence for a short while, signed, and bound to the key of its holder.

Whoever verifies needs no server: only the public keys of the ledger and a clock. A lease cannot be
called back, so its life bounds how long a revoked licence is still honoured:
`WORST_REVOCATION_SECONDS`, but for leases that were borrowed for longer.
docs/formats/tokens.md is the specification, with test vectors.
"""

import re
from hashlib import sha256
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tollbook import paseto, strict_base64, tokens
from tollbook.errors import Invalid, Refused, Tampered
from tollbook.times import SECOND, format_instant
from tollbook.tokens import Kind, SigningKey, TrustedKeys

LEASE_SECONDS_MAX = 300
BORROW_SECONDS_MAX = 2_678_400
SKEW_SECONDS = 5
"""How far the clock of whoever verifies may be from the ledger's."""
WORST_REVOCATION_SECONDS = LEASE_SECONDS_MAX + SKEW_SECONDS

CHALLENGE_BYTES_MIN = 16
CHALLENGE_BYTES_MAX = 64

KIND = Kind("lease", "tollbook.lease.v1")

_PROOF = b"tollbook.lease-proof.v1"
_THUMBPRINT = re.compile(r"[0-9a-f]{64}")
_CLAIMED_HOLDER = re.compile(rb'"holder":"([0-9a-f]{64})"')
_TEXTS = ("lease", "license", "customer", "model", "policy")
_CLAIMS = {*_TEXTS, "holder", "features", "iat", "exp", "renew_at", "borrowed"}


class Lease(NamedTuple):
    """What a lease allows, to whom and for how long; instants in microseconds."""

    id: str
    license: str
    customer: str
    model: str
    holder: str
    """The thumbprint of the holder's public key."""
    policy: str
    """The version of the policy by which it was granted."""
    issued_at: int
    expires_at: int
    features: tuple[str, ...] = ()
    borrowed: bool = False
    device: str | None = None

    def renew_at(self) -> int:
        """Return when to ask for the next lease: at half of this one's life."""
        return (self.issued_at + self.expires_at) // 2


def thumbprint(public_key: bytes) -> str:
    """Return what a lease says of its holder's raw public key: its SHA-256 in hex."""
    return sha256(public_key).hexdigest()


def sign(lease: Lease, key: SigningKey) -> str:
    """Write the token of a lease."""
    claims: dict[str, Any] = {
        "borrowed": lease.borrowed,
        "customer": lease.customer,
        "exp": format_instant(lease.expires_at),
        "features": list(lease.features),
        "holder": lease.holder,
        "iat": format_instant(lease.issued_at),
        "lease": lease.id,
        "license": lease.license,
        "model": lease.model,
        "policy": lease.policy,
        "renew_at": format_instant(lease.renew_at()),
    }
    if lease.device is not None:
        claims["device"] = lease.device
    if _read(claims) != lease:
        raise tokens.malformed(KIND, "a lease that reads back as it was written")
    return tokens.sign(KIND, lease.holder, claims, key)


def verify(
    token: str,
    trusted: TrustedKeys,
    holder: bytes,
    now: int,
    *,
    license: str,
    model: str,
) -> Lease:
    """Return the lease of a token, if it allows this holder this model now; raises unless so.

    The holder is a raw public key, whose private key must sign a challenge as well (`verify_proof`)
    where the token comes from somebody else.
    """
    bound_to = thumbprint(holder)
    try:
        claims = tokens.verify(token, KIND, bound_to, trusted)
    except Tampered as error:
        if error.code == "lease_tampered" and _is_of_another(token, trusted):
            raise Refused("the lease is another holder's", code="lease_other_holder") from None
        raise
    lease = _read(claims)
    if lease.holder != bound_to:
        raise tokens.malformed(KIND, "signed for the holder that it names")
    _check_use(lease, now, license, model)
    return lease


def prove(token: str, holder_key: Ed25519PrivateKey, challenge: bytes) -> str:
    """Sign a challenge of whoever verifies, which shows that the token is the holder's own."""
    return strict_base64.encode_url(holder_key.sign(_challenged(token, challenge)))


def verify_proof(token: str, proof: str, holder: bytes, challenge: bytes) -> None:
    """Check that the holder's key has signed this challenge for this token; raises unless it has.

    The challenge is random, made for this one question by whoever asks.
    """
    signed = _challenged(token, challenge)
    try:
        key = tokens.public_key(holder)
        key.verify(strict_base64.decode_url(proof, "proof"), signed)
    except (InvalidSignature, Invalid):
        raise Tampered(
            "the proof is not by the holder of the lease", code="lease_proof_broken"
        ) from None


def _check_use(lease: Lease, now: int, license_id: str, model: str) -> None:
    if now < lease.issued_at - SKEW_SECONDS * SECOND:
        raise Refused(
            f"the lease begins at {format_instant(lease.issued_at)}",
            code="lease_not_yet",
            starts_at=format_instant(lease.issued_at),
        )
    if now >= lease.expires_at + SKEW_SECONDS * SECOND:
        raise Refused(
            f"the lease expired at {format_instant(lease.expires_at)}",
            code="lease_expired",
            expired_at=format_instant(lease.expires_at),
        )
    if lease.license != license_id:
        raise Refused("the lease is of another licence", code="lease_other_license")
    if lease.model != model:
        raise Refused("the lease is for another model", code="lease_other_model", model=lease.model)


def _is_of_another(token: str, trusted: TrustedKeys) -> bool:
    """Tell whether the signature holds for the holder that the token itself names.

    It only makes the refusal say more. Nothing is read but that name, for nothing is true yet.
    """
    parts = paseto.parse(token, KIND.name)
    named = _CLAIMED_HOLDER.search(parts.message)
    return named is not None and tokens.is_signed(parts, KIND, named[1].decode(), trusted)


def _read(claims: dict[str, Any]) -> Lease:
    """Read claims strictly: what this version does not know might be a limit."""
    if claims.keys() - {"device"} != _CLAIMS:
        raise tokens.malformed(KIND, f"of the claims of {KIND.typ}")
    texts = [claims[name] for name in (*_TEXTS, "holder")] + [claims.get("device", "-")]
    features = claims["features"]
    if type(features) is not list or not all(type(text) is str and text for text in texts):
        raise tokens.malformed(KIND, "of claims that are texts, and features that are a list")
    if (
        not all(type(feature) is str for feature in features)
        or type(claims["borrowed"]) is not bool
    ):
        raise tokens.malformed(KIND, "of features that are texts, and borrowed or not")
    if _THUMBPRINT.fullmatch(claims["holder"]) is None:
        raise tokens.malformed(KIND, "bound to a holder by 64 hex digits")
    lease = Lease(
        id=claims["lease"],
        license=claims["license"],
        customer=claims["customer"],
        model=claims["model"],
        holder=claims["holder"],
        policy=claims["policy"],
        issued_at=tokens.instant(claims, "iat", KIND),
        expires_at=tokens.instant(claims, "exp", KIND),
        features=tuple(features),
        borrowed=claims["borrowed"],
        device=claims.get("device"),
    )
    longest = BORROW_SECONDS_MAX if lease.borrowed else LEASE_SECONDS_MAX
    if not 0 < lease.expires_at - lease.issued_at <= longest * SECOND:
        raise tokens.malformed(KIND, f"of a life of at most {longest} seconds")
    if tokens.instant(claims, "renew_at", KIND) != lease.renew_at():
        raise tokens.malformed(KIND, "renewed at half of its life")
    return lease


def _challenged(token: str, challenge: bytes) -> bytes:
    if not CHALLENGE_BYTES_MIN <= len(challenge) <= CHALLENGE_BYTES_MAX:
        rule = f"{CHALLENGE_BYTES_MIN} to {CHALLENGE_BYTES_MAX} bytes"
        raise Invalid.because("challenge", f"{len(challenge)} bytes", rule)
    paseto.parse(token, KIND.name)
    return paseto.encode_pieces(_PROOF, sha256(token.encode()).digest(), challenge)
