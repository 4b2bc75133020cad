"""Receipts of inferences: whole when they come back, and of no use for another request."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tollbook import receipt, signed_decision, tokens
from tollbook.errors import Invalid, Tampered
from tollbook.receipt import Receipt

KEY = tokens.SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
TRUSTED = tokens.TrustedKeys([KEY.public_key])
RECEIPT = Receipt(
    request="inf_1",
    customer="cust-1",
    license="lic-1",
    model="gpt4-equivalent",
    usage={"gpu_seconds": "0.25", "output_tokens": 7},
    pending=(),
    request_hash="0" * 64,
    response_hash="f" * 64,
    gateway="gateway",
    issued_at=1_767_323_045_000_000,
)
CLAIMS: dict[str, Any] = {
    **{name: getattr(RECEIPT, name) for name in ("customer", "gateway", "license", "model")},
    **{name: getattr(RECEIPT, name) for name in ("request", "request_hash", "response_hash")},
    "iat": "2026-01-02T03:04:05.000000Z",
    "pending": [],
    "usage": RECEIPT.usage,
}


@given(
    st.dictionaries(st.sampled_from(["pages", "output_tokens"]), st.integers(0, 10**15)),
    st.lists(st.sampled_from(["gpu_seconds"]), max_size=1),
)
def test_a_receipt_comes_back_whole(usage: dict[str, int], pending: list[str]) -> None:
    made = RECEIPT._replace(usage=usage, pending=tuple(pending))
    assert receipt.verify(receipt.sign(made, KEY), TRUSTED, "inf_1") == made


def test_a_receipt_is_for_one_request() -> None:
    with pytest.raises(Tampered) as refused:
        receipt.verify(receipt.sign(RECEIPT, KEY), TRUSTED, "inf_2")
    assert refused.value.code == "receipt_tampered"


def test_another_kind_of_token_is_no_receipt() -> None:
    nonce = "0123456789abcdef"
    token = signed_decision.sign(CLAIMS, nonce, RECEIPT.issued_at, KEY)
    with pytest.raises(Tampered):
        receipt.verify(token, TRUSTED, nonce)


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1},
        {"usage": []},
        {"usage": {"pages": 1.5}},
        {"usage": {"pages": True}},
        {"usage": {"pages": None}},
        {"pending": "gpu_seconds"},
        {"pending": [1]},
        {"customer": 1},
        {"request": "inf_2"},
        {"iat": 1},
    ],
)
def test_signed_claims_that_are_no_receipt_are_refused(change: dict[str, Any]) -> None:
    try:
        token = tokens.sign(receipt.KIND, "inf_1", {**CLAIMS, **change}, KEY)
    except Invalid:
        return  # canonical JSON carries no such value at all
    with pytest.raises(Invalid) as refused:
        receipt.verify(token, TRUSTED, "inf_1")
    assert refused.value.code == "receipt_malformed"


@pytest.mark.parametrize("claim", sorted(CLAIMS))
def test_a_receipt_without_a_claim_is_refused(claim: str) -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != claim}
    token = tokens.sign(receipt.KIND, "inf_1", claims, KEY)
    with pytest.raises(Invalid):
        receipt.verify(token, TRUSTED, "inf_1")
