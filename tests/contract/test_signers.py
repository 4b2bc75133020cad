"""Whoever signs with a key, the signature is the same bytes."""

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tollbook import paseto, tokens

from adapters.signing import Ed25519Signer

OF_SEED: list[Callable[[bytes], paseto.Signer]] = [
    Ed25519PrivateKey.from_private_bytes,
    Ed25519Signer,
]

RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
]
"""The first two tests of its section 7.1: seed, message and signature."""


@pytest.mark.parametrize("signer", OF_SEED)
@pytest.mark.parametrize(("seed", "message", "signature"), RFC_8032)
def test_signatures_are_those_of_the_specification(
    signer: Callable[[bytes], paseto.Signer], seed: str, message: str, signature: str
) -> None:
    assert signer(bytes.fromhex(seed)).sign(bytes.fromhex(message)).hex() == signature


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=2_000))
def test_all_signers_write_the_same_token(seed: bytes, message: bytes) -> None:
    written = {paseto.sign(message, signer(seed), footer=b"f") for signer in OF_SEED}
    assert len(written) == 1
    key = tokens.SigningKey(Ed25519PrivateKey.from_private_bytes(seed), Ed25519Signer(seed))
    paseto.verify(written.pop(), tokens.public_key(key.public_key))
