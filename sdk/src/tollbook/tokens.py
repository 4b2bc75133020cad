"""Signed claims of one kind, by keys that are known by their ids.

A token's kind (`tollbook.lease.v1`) and its context (whose it is, whose question it answers) are
its implicit assertion, so that no token serves as another. Its footer names the key, and names
nothing else: which keys count is decided by whoever verifies. docs/formats/tokens.md is the
specification, with test vectors.
"""

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, NamedTuple, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from tollbook import canonical, paseto
from tollbook.errors import Invalid, Tampered
from tollbook.times import parse_instant

_PUBLIC_KEY = re.compile(r"[0-9a-f]{64}")
_FOOTER = re.compile(rb'\{"kid":"([0-9a-f]{16})"\}')


class Kind(NamedTuple):
    """What a token is for."""

    name: str
    """Its name in messages and in the codes of errors: `lease_tampered`."""
    typ: str
    """Its name in the token and under the signature, with the version of the claims."""


class SigningKey:
    """A private key with its id; it is never shown."""

    __slots__ = ("footer", "id", "private_key", "public_key", "signer")

    def __init__(self, private_key: Ed25519PrivateKey, signer: paseto.Signer | None = None) -> None:
        """Take a key and compute its id; `signer` signs in its place, if given, by the same key."""
        self.private_key = private_key
        self.signer = private_key if signer is None else signer
        self.public_key = private_key.public_key().public_bytes_raw()
        self.id = key_id(self.public_key)
        self.footer = canonical.dumps({"kid": self.id})
        """How its tokens name it."""


class TrustedKeys:
    """The public keys whose tokens count, by their ids; they never come from a token."""

    __slots__ = ("_keys",)

    def __init__(self, public_keys: Iterable[bytes]) -> None:
        """Take raw public keys of 32 bytes, at least one and each once."""
        listed = list(public_keys)
        self._keys = {key_id(raw): public_key(raw) for raw in listed}
        if not listed or len(self._keys) != len(listed):
            raise Invalid.because("trusted keys", len(listed), "at least one, and each once")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a file of keys: 64 hex digits a line; empty lines and `#` comments are skipped."""
        lines = [line.partition("#")[0].strip() for line in text.splitlines()]
        keys = [line for line in lines if line]
        for key in keys:
            if _PUBLIC_KEY.fullmatch(key) is None:
                # It is not shown, for it may be the wrong file.
                rule = "64 lower-case hex digits"
                raise Invalid(f"a trusted key must be {rule}", field="trusted key", rule=rule)
        return cls(bytes.fromhex(key) for key in keys)

    def get(self, id: str) -> Ed25519PublicKey | None:
        """Return the key of an id, if it is trusted."""
        return self._keys.get(id)


def key_id(public_key: bytes) -> str:
    """Return the id of a raw public key: the first 16 hex digits of its SHA-256."""
    return sha256(public_key).hexdigest()[:16]


def public_key(raw: bytes) -> Ed25519PublicKey:
    """Read a raw public key."""
    if len(raw) != 32:
        raise Invalid.because("public key", f"{len(raw)} bytes", "32 bytes")
    return Ed25519PublicKey.from_public_bytes(raw)


def sign(kind: Kind, context: str, claims: dict[str, Any], key: SigningKey) -> str:
    """Write the token of these claims; their `typ` is added."""
    message = canonical.dumps({**claims, "typ": kind.typ}, max_bytes=paseto.MAX_TOKEN_BYTES)
    implicit = _implicit(kind, context)
    return paseto.sign(message, key.signer, footer=key.footer, implicit=implicit)


def verify(text: str, kind: Kind, context: str, trusted: TrustedKeys) -> dict[str, Any]:
    """Return the claims, without `typ`, of a token that a trusted key has signed so."""
    token = paseto.parse(text, kind.name)
    if not is_signed(token, kind, context, trusted):
        raise Tampered(
            f"the signature of the {kind.name} does not hold", code=f"{kind.name}_tampered"
        )
    try:
        claims = canonical.loads(token.message, max_bytes=paseto.MAX_TOKEN_BYTES)
    except Invalid as error:
        raise malformed(kind, error.facts["rule"]) from None
    if type(claims) is not dict or claims.pop("typ", None) != kind.typ:
        raise malformed(kind, f"of the type {kind.typ}")
    return claims


def is_signed(token: paseto.Token, kind: Kind, context: str, trusted: TrustedKeys) -> bool:
    """Tell whether the trusted key that the token names has signed it; raises without one."""
    match = _FOOTER.fullmatch(token.footer)
    if match is None:
        raise malformed(kind, "a token with a key id as its footer")
    key = trusted.get(match[1].decode())
    if key is None:
        raise Tampered(
            f"the {kind.name} names a key that is not trusted",
            code=f"{kind.name}_unknown_key",
            key=match[1].decode(),
        )
    return paseto.holds(token, key, _implicit(kind, context))


def malformed(kind: Kind, rule: str) -> Invalid:
    """Make the error of a token that breaks a rule of form; it does not show the token."""
    return paseto.malformed(kind.name, rule)


def instant(claims: dict[str, Any], name: str, kind: Kind) -> int:
    """Read a claim that is a time, in microseconds."""
    try:
        return parse_instant(claims[name], name)
    except Invalid as error:
        raise malformed(kind, f"of times; {name} must be {error.facts['rule']}") from None


def _implicit(kind: Kind, context: str) -> bytes:
    return f"{kind.typ}:{context}".encode()
