"""Receipts: what a gateway says an inference used, signed when its answer leaves.

A receipt is for the usage, not for the price: it can be compared with the charge that the ledger
shows under the same request. docs/formats/tokens.md is the specification, with test vectors.
"""

from typing import Any, NamedTuple

from tollbook import tokens
from tollbook.times import format_instant
from tollbook.tokens import Kind, SigningKey, TrustedKeys

KIND = Kind("receipt", "tollbook.receipt.v1")

_TEXTS = ("customer", "gateway", "license", "model", "request", "request_hash", "response_hash")
_CLAIMS = {*_TEXTS, "iat", "pending", "usage"}


class Receipt(NamedTuple):
    """What an inference used, as the gateway that carried it counted."""

    request: str
    """The id of the inference, which is its reservation's as well."""
    customer: str
    license: str
    model: str
    """As the price book names it."""
    usage: dict[str, Any]
    """Units to quantities, as they travel."""
    pending: tuple[str, ...]
    """Units that are counted later, from the server's traces."""
    request_hash: str
    """SHA-256 in hex of the request as the client sent it."""
    response_hash: str
    """SHA-256 in hex of the answer as it left the gateway."""
    gateway: str
    issued_at: int
    """In microseconds since 1970."""


def sign(receipt: Receipt, key: SigningKey) -> str:
    """Write the token of a receipt."""
    claims: dict[str, Any] = {name: getattr(receipt, name) for name in _TEXTS}
    claims["iat"] = format_instant(receipt.issued_at)
    claims["pending"] = list(receipt.pending)
    claims["usage"] = receipt.usage
    return tokens.sign(KIND, receipt.request, claims, key)


def verify(token: str, trusted: TrustedKeys, request: str) -> Receipt:
    """Return the receipt of the inference with this id; raises unless the token is that."""
    claims = tokens.verify(token, KIND, request, trusted)
    if claims.keys() != _CLAIMS or not _is_well_formed(claims) or claims["request"] != request:
        raise tokens.malformed(KIND, f"of the claims of {KIND.typ}")
    return Receipt(
        **{name: claims[name] for name in _TEXTS},
        usage=claims["usage"],
        pending=tuple(claims["pending"]),
        issued_at=tokens.instant(claims, "iat", KIND),
    )


def _is_well_formed(claims: dict[str, Any]) -> bool:
    pending, usage = claims["pending"], claims["usage"]
    return (
        all(type(claims[name]) is str for name in _TEXTS)
        and type(pending) is list
        and all(type(unit) is str for unit in pending)
        and type(usage) is dict
        and all(type(count) in (int, str) for count in usage.values())
    )
