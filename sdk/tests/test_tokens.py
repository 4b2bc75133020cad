"""Signed decisions, and the keys that leases and decisions are signed with."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tollbook import signed_decision, tokens
from tollbook.errors import Invalid, Tampered

KEY = tokens.SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
NEXT = tokens.SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
TRUSTED = tokens.TrustedKeys([KEY.public_key])
NONCE = "0123456789abcdef"
NOW = 1_767_323_045_000_000
ANSWER = {"decision": {"policy": "free:0:0", "remaining": [["daily", 4, 7]]}, "status": "admitted"}
TOKEN = signed_decision.sign(ANSWER, NONCE, NOW, KEY)

answers = st.dictionaries(
    st.text(max_size=8).filter(lambda text: text.isprintable()),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.just("é"),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=5,
    ),
    max_size=5,
)


@given(answers, st.from_regex(r"\A[A-Za-z0-9_-]{16,128}\Z"))
def test_a_signed_answer_comes_back_whole(answer: dict[str, Any], nonce: str) -> None:
    token = signed_decision.sign(answer, nonce, NOW, KEY)
    assert signed_decision.verify(token, TRUSTED, nonce) == (answer, NOW)


def test_an_answer_may_have_members_with_the_names_of_claims() -> None:
    answer = {"typ": "tollbook.lease.v1", "nonce": "x", "iat": 1, "answer": {}}
    token = signed_decision.sign(answer, NONCE, NOW, KEY)
    assert signed_decision.verify(token, TRUSTED, NONCE).answer == answer


def test_the_largest_answer_fits_into_a_token() -> None:
    """A hundred features, and twenty limits with what is left of each."""
    longest = "x" * 128
    answer = {
        "features": [longest] * 100,
        "remaining": [[longest, 2**53 - 1, "9999-12-31T23:59:59.999999Z"]] * 20,
        **{f"field-{number}": longest for number in range(10)},
    }
    token = signed_decision.sign(answer, "n" * 128, NOW, KEY)
    assert signed_decision.verify(token, TRUSTED, "n" * 128).answer == answer


def test_an_old_answer_does_not_serve_a_new_question() -> None:
    with pytest.raises(Tampered) as refused:
        signed_decision.verify(TOKEN, TRUSTED, NONCE[::-1])
    assert refused.value.code == "decision_tampered"


@pytest.mark.parametrize("nonce", ["", "n" * 15, "n" * 129, NONCE + "\n", NONCE + ":", NONCE + "é"])
def test_a_nonce_is_neither_guessable_nor_free_text(nonce: str) -> None:
    with pytest.raises(Invalid, match="nonce is"):
        signed_decision.sign(ANSWER, nonce, NOW, KEY)
    with pytest.raises(Invalid, match="nonce is"):
        signed_decision.verify(TOKEN, TRUSTED, nonce)


@pytest.mark.parametrize(
    "claims",
    [
        {"answer": ANSWER, "nonce": NONCE},
        {"answer": [], "iat": "2026-01-02T03:04:05Z", "nonce": NONCE},
        {"answer": ANSWER, "iat": "2026-01-02T03:04:05Z", "nonce": NONCE[::-1]},
        {"answer": ANSWER, "iat": NOW, "nonce": NONCE},
        {"answer": ANSWER, "iat": "2026-01-02T03:04:05Z", "nonce": NONCE, "more": 1},
    ],
)
def test_signed_claims_that_are_no_decision_are_refused(claims: dict[str, Any]) -> None:
    token = tokens.sign(signed_decision.KIND, NONCE, claims, KEY)
    with pytest.raises(Invalid) as refused:
        signed_decision.verify(token, TRUSTED, NONCE)
    assert refused.value.code == "decision_malformed"


def test_after_a_rotation_tokens_of_both_keys_hold() -> None:
    both = tokens.TrustedKeys([NEXT.public_key, KEY.public_key])
    newer = signed_decision.sign(ANSWER, NONCE, NOW, NEXT)
    assert signed_decision.verify(newer, both, NONCE).answer == ANSWER
    assert signed_decision.verify(TOKEN, both, NONCE).answer == ANSWER
    with pytest.raises(Tampered) as refused:
        signed_decision.verify(newer, TRUSTED, NONCE)
    assert refused.value.code == "decision_unknown_key"
    assert refused.value.facts == {"key": NEXT.id}


def test_trusted_keys_are_read_from_a_file() -> None:
    text = f"# this ledger\n{KEY.public_key.hex()}  # of 2026\n\n  {NEXT.public_key.hex()}\r\n"
    read = tokens.TrustedKeys.parse(text)
    for key in (KEY, NEXT):
        found = read.get(key.id)
        assert found is not None
        assert found.public_bytes_raw() == key.public_key
    assert read.get("0" * 16) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        KEY.public_key.hex()[:-1],
        KEY.public_key.hex().upper(),
        f"{KEY.id}",
        f"{KEY.public_key.hex()}\n{KEY.public_key.hex()}\n",
    ],
)
def test_a_file_without_good_keys_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="trusted key"):
        tokens.TrustedKeys.parse(text)


def test_a_public_key_has_32_bytes() -> None:
    with pytest.raises(Invalid, match="public key"):
        tokens.TrustedKeys([bytes(31)])


def test_a_signing_key_is_never_shown() -> None:
    assert bytes(range(32)).hex() not in f"{KEY!r} {KEY}"
