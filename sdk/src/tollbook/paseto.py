"""PASETO v4.public: a message signed with Ed25519, in a token that cannot choose its algorithm.

    v4.public.<base64url of message and signature>[.<base64url of the footer>]

The signature also covers an implicit assertion: bytes that both sides know and the token does not
carry. docs/formats/tokens.md says what we use, with the test vectors of the specification.
"""

from functools import lru_cache
from struct import Struct
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tollbook import strict_base64
from tollbook.errors import Invalid, Tampered

HEADER = "v4.public."
_HEADER_BYTES = HEADER.encode()
MAX_TOKEN_BYTES = 65_536
MAX_FOOTER_BYTES = 512

_SIGNATURE_BYTES = 64
_written_length = Struct("<Q").pack


class Token(NamedTuple):
    """A token taken apart: nothing in it is true before `verify` says so."""

    message: bytes
    signature: bytes
    footer: bytes


class Signer(Protocol):
    """A private key of Ed25519: that of `cryptography`, or another's."""

    def sign(self, data: bytes, /) -> bytes:
        """Return the signature of some bytes (RFC 8032), 64 bytes."""


def encode_pieces(*pieces: bytes) -> bytes:
    """Join pieces so that no two lists of them give the same bytes (PAE of the specification)."""
    joined = [_written_length(len(pieces))]
    for piece in pieces:
        joined += (_written_length(len(piece)), piece)
    return b"".join(joined)


def sign(message: bytes, key: Signer, *, footer: bytes = b"", implicit: bytes = b"") -> str:
    """Write the token of a message."""
    if len(footer) > MAX_FOOTER_BYTES:
        raise Invalid.because("footer length", len(footer), f"at most {MAX_FOOTER_BYTES} bytes")
    signature = key.sign(encode_pieces(_HEADER_BYTES, message, footer, implicit))
    token = HEADER + strict_base64.encode_url(message + signature)
    if footer:
        token += "." + _footer_text(footer)
    if len(token) > MAX_TOKEN_BYTES:
        raise Invalid.because("token length", len(token), f"at most {MAX_TOKEN_BYTES} bytes")
    return token


@lru_cache(maxsize=16)
def _footer_text(footer: bytes) -> str:
    """Return a footer as it is written: a key's tokens all have the same."""
    return strict_base64.encode_url(footer)


def parse(token: str, field: str = "token") -> Token:
    """Take a token apart; `field` names it in errors, which never show it."""
    if not 0 < len(token) <= MAX_TOKEN_BYTES:
        raise malformed(field, f"of 1 to {MAX_TOKEN_BYTES} characters")
    if not token.startswith(HEADER):
        raise malformed(field, f"text that begins with {HEADER}")
    body, point, end = token[len(HEADER) :].partition(".")
    try:
        signed = strict_base64.decode_url(body, field)
        footer = strict_base64.decode_url(end, field)
    except Invalid as error:
        raise malformed(field, error.facts["rule"]) from None
    if len(signed) < _SIGNATURE_BYTES:
        raise malformed(field, "a message and a signature")
    if bool(point) != bool(footer) or len(footer) > MAX_FOOTER_BYTES:
        raise malformed(field, f"without a footer, or with one of 1 to {MAX_FOOTER_BYTES} bytes")
    return Token(signed[:-_SIGNATURE_BYTES], signed[-_SIGNATURE_BYTES:], footer)


def holds(token: Token, key: Ed25519PublicKey, implicit: bytes = b"") -> bool:
    """Tell whether this key has signed the token with this implicit assertion."""
    try:
        key.verify(
            token.signature,
            encode_pieces(_HEADER_BYTES, token.message, token.footer, implicit),
        )
    except InvalidSignature:
        return False
    return True


def verify(text: str, key: Ed25519PublicKey, *, implicit: bytes = b"") -> Token:
    """Return the parts of a token that this key has signed; raises unless it has."""
    token = parse(text)
    if not holds(token, key, implicit):
        raise Tampered("the signature of the token does not hold", code="token_tampered")
    return token


def malformed(field: str, rule: str) -> Invalid:
    """Make the error of a token that breaks a rule of form."""
    return Invalid(f"the {field} must be {rule}", code=f"{field}_malformed", field=field, rule=rule)
