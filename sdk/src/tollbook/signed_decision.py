"""Signed decisions: the ledger's answer to one question, bound to the nonce that came with it.

The nonce is random and used once, so an old token cannot be shown again as a new one. An id that
was used before is answered as before, under the new nonce: `issued_at` is the time of that
decision, and the answer's `id` says which request it is about. Look at both, and at `dry_run`.
docs/formats/tokens.md is the specification, with test vectors.
"""

import re
from typing import Any, NamedTuple

from tollbook import tokens
from tollbook.errors import Invalid
from tollbook.times import format_instant
from tollbook.tokens import Kind, SigningKey, TrustedKeys

KIND = Kind("decision", "tollbook.decision.v1")
NONCE_RULE = "16 to 128 characters of A to Z, a to z, 0 to 9, - and _"

_NONCE = re.compile(r"[A-Za-z0-9_-]{16,128}")
_CLAIMS = {"answer", "iat", "nonce"}


class Decision(NamedTuple):
    """An answer of the ledger, whole, and when it was decided (microseconds)."""

    answer: dict[str, Any]
    issued_at: int


def sign(answer: dict[str, Any], nonce: str, now: int, key: SigningKey) -> str:
    """Write the token of an answer to a question with this nonce."""
    check_nonce(nonce)
    claims = {"answer": answer, "iat": format_instant(now), "nonce": nonce}
    return tokens.sign(KIND, nonce, claims, key)


def verify(token: str, trusted: TrustedKeys, nonce: str) -> Decision:
    """Return the decision that answers the question with this nonce; raises unless it does."""
    check_nonce(nonce)
    claims = tokens.verify(token, KIND, nonce, trusted)
    if claims.keys() != _CLAIMS or claims["nonce"] != nonce or type(claims["answer"]) is not dict:
        raise tokens.malformed(KIND, f"of the claims of {KIND.typ}")
    return Decision(claims["answer"], tokens.instant(claims, "iat", KIND))


def check_nonce(nonce: str) -> None:
    """Refuse a nonce that is too short to be random, or that could be read as something else."""
    if _NONCE.fullmatch(nonce) is None:
        raise Invalid.because("nonce", nonce, NONCE_RULE)
