"""Proof of possession: a lease that was copied is of no use without its holder's key."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tollbook import lease, strict_base64, tokens
from tollbook.errors import Invalid, Tampered
from tollbook.lease import Lease

LEDGER = tokens.SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
HOLDER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(2, 34)))
HOLDER = HOLDER_KEY.public_key().public_bytes_raw()
THIEF_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(3, 35)))
THIEF = THIEF_KEY.public_key().public_bytes_raw()

NOW = 1_767_323_045_000_000
LEASE = Lease(
    "lease-1", "lic-1", "cust-1", "m", lease.thumbprint(HOLDER), "free:0:0", NOW, NOW + 60_000_000
)
TOKEN = lease.sign(LEASE, LEDGER)
NEXT_TOKEN = lease.sign(LEASE._replace(id="lease-2"), LEDGER)
CHALLENGE = bytes(range(32))


def test_the_holder_proves_that_the_token_is_its_own() -> None:
    proof = lease.prove(TOKEN, HOLDER_KEY, CHALLENGE)
    lease.verify_proof(TOKEN, proof, HOLDER, CHALLENGE)


@pytest.mark.parametrize(
    ("proof", "challenge"),
    [
        (lease.prove(TOKEN, THIEF_KEY, CHALLENGE), CHALLENGE),
        (lease.prove(TOKEN, HOLDER_KEY, CHALLENGE), CHALLENGE[::-1]),
        (lease.prove(TOKEN, HOLDER_KEY, CHALLENGE), CHALLENGE + b"\0"),
        (lease.prove(NEXT_TOKEN, HOLDER_KEY, CHALLENGE), CHALLENGE),
        (strict_base64.encode_url(HOLDER_KEY.sign(CHALLENGE)), CHALLENGE),
        (lease.prove(TOKEN, HOLDER_KEY, CHALLENGE) + "=", CHALLENGE),
        ("", CHALLENGE),
        ("\ud800", CHALLENGE),
        ("A" * 100_000, CHALLENGE),
    ],
)
def test_a_stolen_token_is_of_no_use_without_its_key(proof: str, challenge: bytes) -> None:
    """Nor does a proof that was overheard serve for another challenge or another token."""
    with pytest.raises(Tampered) as refused:
        lease.verify_proof(TOKEN, proof, HOLDER, challenge)
    assert refused.value.code == "lease_proof_broken"


@pytest.mark.parametrize("holder", [THIEF, b"", bytes(31), bytes(32), b"\xff" * 32])
def test_a_proof_is_by_the_holder_alone(holder: bytes) -> None:
    proof = lease.prove(TOKEN, HOLDER_KEY, CHALLENGE)
    with pytest.raises(Tampered):
        lease.verify_proof(TOKEN, proof, holder, CHALLENGE)


@pytest.mark.parametrize("challenge", [b"", bytes(15), bytes(65)])
def test_a_challenge_is_neither_guessable_nor_huge(challenge: bytes) -> None:
    for ask in (
        lambda: lease.prove(TOKEN, HOLDER_KEY, challenge),
        lambda: lease.verify_proof(TOKEN, "", HOLDER, challenge),
    ):
        with pytest.raises(Invalid, match="challenge is"):
            ask()
